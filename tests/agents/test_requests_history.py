"""Any history of one host's requests."""

from __future__ import annotations

import random
from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable, BadAnswer, CommandCancelled, CommandError, LinkLost
from cloudlb.agents.requests import Answers, Parcel, Requests
from cloudlb.wire import Answer, CheckHealthCommand, Flag, Opaque
from tests.agents.test_requests import NO_FLAGS


@define(eq=False)
class Sent:
    """One request, as who sent it sees it."""

    number: int
    commands: list[CheckHealthCommand]
    in_sequence: bool
    deadline: float
    sequence: int | None = None
    """None: not carried yet."""
    ends: list[list[Answer | Opaque] | CommandError] = field(factory=list)


class RequestsMachine(RuleBasedStateMachine):
    """Any history of one host's requests."""

    sent = Bundle("sent")

    def __init__(self) -> None:
        """Begin with nothing under way."""
        super().__init__()
        self.clock = Clock()
        self.requests = Requests(self, self.clock, random.Random(3), "host")
        self.history: list[Sent] = []
        self.carried: list[Sent] = []
        self.called_off: list[int] = []
        self.closed = False
        self.lost = False

    # The carrier.

    unsent = 0

    def carry(self, sequence: int, parcel: Parcel) -> None:
        """Note which request goes, and that it may."""
        [sent] = [sent for sent in self.history if sent.commands is parcel.commands]
        assert sent.sequence is None, "sent twice"
        assert not self.lost
        assert self.clock.seconds() < sent.deadline, "sent after its time"
        sent.sequence = sequence
        if sent.in_sequence:
            before = [other for other in self.carried if other.in_sequence]
            # Who sent it is told a moment after the next has gone.
            assert all(other.sequence is not None and other.sequence not in self.requests for other in before)
            assert all(other.number < sent.number for other in before), "out of order"
        self.carried.append(sent)

    def call_off(self, sequence: int, reason: str) -> None:
        """Only what was sent, once."""
        assert sequence in [sent.sequence for sent in self.carried]
        assert sequence not in self.called_off
        self.called_off.append(sequence)

    def idle(self) -> None:
        """Nothing is under way, in fact."""
        assert len(self.requests) == 0

    # What happens.

    @rule(target=sent, in_sequence=st.booleans(), size=st.integers(1, 3), timeout=st.integers(1, 30))
    def send(self, in_sequence: bool, size: int, timeout: int) -> tuple[Sent, Deferred[Answers]]:
        """Ask for something."""
        flags = Flag.IN_SEQUENCE if in_sequence else NO_FLAGS
        commands = [CheckHealthCommand()] * size
        sent = Sent(len(self.history), commands, in_sequence, self.clock.seconds() + timeout)
        self.history.append(sent)
        ended = self.requests.send(Parcel(commands, flags, b"x" * size), float(timeout), own=False)
        ended.addCallbacks(sent.ends.append, lambda failure: sent.ends.append(failure.value))
        if self.closed:
            assert isinstance(sent.ends[0], AgentUnavailable)
        return sent, ended

    def _answer(self, sent: Sent, count: int) -> None:
        if sent.sequence is not None and not self.lost:
            self.requests.answered(sent.sequence, [Answer(details=f"{sent.number}.{i}") for i in range(count)])

    @rule(pair=sent)
    def answer(self, pair: tuple[Sent, Any]) -> None:
        """The host answers, for the first time or again, in time or late."""
        self._answer(pair[0], len(pair[0].commands))

    @rule(pair=sent, off=st.sampled_from([-1, 1]))
    def answer_wrongly(self, pair: tuple[Sent, Any], off: int) -> None:
        """The host gives one answer too few or too many."""
        self._answer(pair[0], len(pair[0].commands) + off)

    @rule(ahead=st.integers(-3, 5))
    def forge(self, ahead: int) -> None:
        """The host answers what it was not sent."""
        known = {sent.sequence for sent in self.carried}
        forged = (self.carried[-1].sequence or 0) + ahead if self.carried else ahead
        if forged not in known:
            self.requests.answered(forged, [Answer(details="forged")])

    @rule(pair=consumes(sent))
    def cancel(self, pair: tuple[Sent, Deferred[Answers]]) -> None:
        """Whoever asked does not want it any more."""
        sent, ended = pair
        had_ended = bool(sent.ends)
        ended.cancel()
        assert sent.ends
        if not had_ended:
            assert isinstance(sent.ends[0], CommandCancelled)
            assert sent.sequence is None or sent.sequence in self.called_off

    @rule(seconds=st.integers(1, 20))
    def pass_time(self, seconds: int) -> None:
        """Deadlines pass, and none is missed."""
        self.clock.advance(seconds)

    @rule()
    def supersede(self) -> None:
        """A newer session has the host."""
        if not self.lost:
            self.closed = True
            self.requests.close("a newer session")

    @rule()
    def lose(self) -> None:
        """The link is gone."""
        self.closed = self.lost = True
        self.requests.lost("the link")
        assert all(sent.ends for sent in self.history)

    @invariant()
    def one_end_each(self) -> None:
        """Never two, never another's answers, none before its time and none much after it."""
        now = self.clock.seconds()
        for sent in self.history:
            assert len(sent.ends) <= 1
            assert sent.ends or now < sent.deadline
            for end in sent.ends:
                if isinstance(end, list):
                    assert [answer.details for answer in end if isinstance(answer, Answer)] == [
                        f"{sent.number}.{i}" for i in range(len(sent.commands))
                    ]
                elif isinstance(end, AgentTimedOut):
                    assert now >= sent.deadline
                    assert sent.sequence is None or sent.sequence in self.called_off
                elif isinstance(end, LinkLost):
                    assert self.lost
                    assert sent.sequence is not None
                elif isinstance(end, BadAnswer):
                    assert sent.sequence is not None
                elif not isinstance(end, CommandCancelled):
                    assert isinstance(end, AgentUnavailable)
                    assert self.closed
                    assert sent.sequence is None

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """While something waits for its turn, one in sequence is under way."""
        waiting = [sent for sent in self.history if sent.sequence is None and not sent.ends]
        running = [sent for sent in self.carried if sent.in_sequence and not sent.ends]
        assert len(running) == 1 or not waiting

    @invariant()
    def nothing_is_left(self) -> None:
        """What has ended is forgotten."""
        open_ = [sent for sent in self.history if not sent.ends]
        assert len(self.requests) == len(open_)
        waiting = [sent for sent in open_ if sent.sequence is None]
        assert len(self.requests._waiting) == len(waiting)
        assert self.requests._waiting_bytes == sum(len(sent.commands) for sent in waiting)
        assert bool(self.clock.getDelayedCalls()) == bool(open_)
        assert len(self.clock.getDelayedCalls()) <= 1

    def teardown(self) -> None:
        """Wait for the last deadline."""
        for _ in range(31):
            self.clock.advance(1)
        self.one_end_each()
        assert all(sent.ends for sent in self.history)
        assert len(self.requests) == 0
        assert self.requests._running is None
        assert self.requests._waiting_bytes == 0
        assert self.clock.getDelayedCalls() == []


class RequestsHistoryTests(SynchronousTestCase):
    """The machine under trial."""

    def test_any_history(self) -> None:
        """After any history each request has ended once."""
        run_state_machine_as_test(
            RequestsMachine, settings=settings(max_examples=150, stateful_step_count=30, deadline=None)
        )
