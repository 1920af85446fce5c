"""Any history of a sender and a host whose sessions come and go."""

from __future__ import annotations

from typing import cast

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable, BadAnswer, CommandCancelled, CommandError, LinkLost
from cloudlb.agents.requests import Answers
from cloudlb.wire import STOPPED_BY_PREVIOUS_FAILURE, Answer, CheckHealthCommand, Command, MaintainCommand, Opaque
from tests.agents.sending import HOST, Fixture, id_of
from tests.agents.sessions import Session


@define(eq=False)
class Sent:
    """One request, as who sent it sees it, and as the host has seen it."""

    commands: list[Command | Opaque]
    deadline: float
    ended: Deferred[Answers]
    ends: list[Answers | CommandError] = field(factory=list)
    session: Session | None = None
    """Where it was sent, if it was."""
    sequence: int = -1
    answers: list[Answer] | None = None
    """What the host has made of it."""


class SenderMachine(RuleBasedStateMachine):
    """Any history of a host whose sessions come and go, and which keeps its answers."""

    def __init__(self) -> None:
        """Begin with a host that is Up."""
        super().__init__()
        self.fixture = Fixture()
        self.sessions: list[Session] = []
        self.alive: Session | None = None
        self.history: list[Sent] = []
        self.connect()

    def arrived(self) -> None:
        """Note what has reached the host."""
        for each in self.sessions:
            for header, contents in each.requests():
                marks = [_mark(content) for content in contents]
                [sent] = [sent for sent in self.history if [_mark(command) for command in sent.commands] == marks]
                assert sent.session is None, "sent twice"
                sent.session, sent.sequence = each, header.sequence
                sent.commands = cast("list[Command | Opaque]", contents)

    @rule()
    def connect(self) -> None:
        """A session begins; the one before may not know that it is over."""
        before = self.alive
        self.alive = self.fixture.connect(len(self.sessions))
        self.sessions.append(self.alive)
        if before is not None:
            before.attache.supersede()

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """A link turns out to be lost."""
        chosen = data.draw(st.sampled_from(self.sessions))
        if not chosen.link.lost:
            chosen.lose()
        if chosen is self.alive:
            self.alive = None

    @rule(kinds=st.lists(st.booleans(), min_size=1, max_size=3), in_sequence=st.booleans(), timeout=st.integers(1, 40))
    def send(self, kinds: list[bool], in_sequence: bool, timeout: int) -> None:
        """Somebody sends commands, journalled or not."""
        number = len(self.history)
        commands: list[Command | Opaque] = [
            (MaintainCommand if journalled else CheckHealthCommand)(context_map={"mark": f"{number}.{index}"})
            for index, journalled in enumerate(kinds)
        ]
        sent = Sent(commands, self.fixture.clock.seconds() + timeout, Deferred())
        self.history.append(sent)
        sent.ended = self.fixture.sender.send(HOST, commands, timeout=timeout, in_sequence=in_sequence)
        sent.ended.addCallbacks(sent.ends.append, lambda failure: sent.ends.append(failure.value))

    def _carry_out(self, sent: Sent, fails: bool) -> list[Answer]:
        if sent.answers is None:
            answers = [Answer(details=_mark(command)) for command in sent.commands]
            if fails:
                answers[0] = Answer(result=False, details=_mark(sent.commands[0]))
                answers[1:] = [Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE)] * (len(answers) - 1)
            sent.answers = answers
        return sent.answers

    @precondition(lambda self: any(sent.session for sent in self.history))
    @rule(data=st.data(), fails=st.booleans(), by_report=st.booleans())
    def answer(self, data: st.DataObject, fails: bool, by_report: bool) -> None:
        """The host has carried a request out, now or long ago, and tells it on its link or on a later session."""
        sent = data.draw(st.sampled_from([sent for sent in self.history if sent.session]))
        answers = self._carry_out(sent, fails)
        assert sent.session is not None
        if not by_report:
            if sent.session.link.ended is None and not sent.session.link.lost:
                sent.session.answer(sent.sequence, *answers)
            return
        for command, answer in zip(sent.commands, answers, strict=True):
            if isinstance(command, MaintainCommand) and answer.details == _mark(command):
                self.fixture.sender.reported(id_of(command), answer, HOST)

    @precondition(lambda self: any(not sent.ends for sent in self.history))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Somebody does not want an answer any more."""
        sent = data.draw(st.sampled_from([sent for sent in self.history if not sent.ends]))
        sent.ended.cancel()
        assert isinstance(sent.ends[0], CommandCancelled)

    @rule(seconds=st.integers(1, 25))
    def pass_time(self, seconds: int) -> None:
        """Deadlines pass."""
        self.fixture.clock.advance(seconds)

    @invariant()
    def one_end_each(self) -> None:
        """In time, and with the answers that the host gave to these very commands."""
        self.arrived()
        now = self.fixture.clock.seconds()
        for sent in self.history:
            assert len(sent.ends) <= 1
            assert sent.ends or now < sent.deadline
            for end in sent.ends:
                if isinstance(end, list):
                    assert end == sent.answers
                elif isinstance(end, LinkLost):
                    assert sent.session is not None
                    assert sent.session.link.lost
                    assert not all(isinstance(command, MaintainCommand) for command in sent.commands)
                elif isinstance(end, AgentUnavailable):
                    assert sent.session is None
                else:
                    assert isinstance(end, AgentTimedOut | CommandCancelled)
                    assert not isinstance(end, BadAnswer)

    def teardown(self) -> None:
        """Wait for the last deadline; nothing is left then."""
        self.fixture.clock.advance(41)
        self.one_end_each()
        assert all(sent.ends for sent in self.history)
        assert len(self.fixture.sender._late) == 0
        assert not self.fixture.sender._late._lost
        assert not any(each.attache._requests for each in self.sessions)
        assert [call for call in self.fixture.clock.getDelayedCalls() if "_expire" in str(call)] == []


def _mark(content: object) -> str:
    assert isinstance(content, Command)
    return content.context_map["mark"]


class SenderHistoryTests(SynchronousTestCase):
    """The machine under trial."""

    def test_any_history(self) -> None:
        """After any history each request has ended once."""
        run_state_machine_as_test(
            SenderMachine, settings=settings(max_examples=100, stateful_step_count=25, deadline=None)
        )
