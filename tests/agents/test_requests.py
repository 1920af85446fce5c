"""The requests to one host: order, deadlines, limits, and one end for each."""

from __future__ import annotations

import random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import (
    AgentBusy,
    AgentTimedOut,
    AgentUnavailable,
    BadAnswer,
    CommandCancelled,
    CommandError,
    LinkLost,
)
from cloudlb.agents.requests import MAX_REQUESTS, MAX_UNSENT, OWN_ROOM, Answers, Parcel, Requests
from cloudlb.wire import Answer, CheckHealthCommand, Flag, Opaque

NO_FLAGS = Flag(0)


@define
class FakeCarrier:
    """Notes what it is given."""

    unsent: int = 0
    carried: list[int] = field(factory=list)
    """Sequences."""
    called_off: list[tuple[int, str]] = field(factory=list)
    idles: int = 0
    answers_at_once: Requests | None = None

    def carry(self, sequence: int, parcel: Parcel) -> None:
        self.carried.append(sequence)
        if self.answers_at_once is not None:
            self.answers_at_once.answered(sequence, [Answer()] * len(parcel.commands))

    def call_off(self, sequence: int, reason: str) -> None:
        self.called_off.append((sequence, reason))

    def idle(self) -> None:
        self.idles += 1


def parcel(count: int = 1, flags: Flag = NO_FLAGS, body: bytes = b"") -> Parcel:
    return Parcel([CheckHealthCommand()] * count, flags, body)


class RequestsTests(SynchronousTestCase):
    """One property each."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.carrier = FakeCarrier()
        self.requests = Requests(self.carrier, self.clock, random.Random(1), "host kvm-1")

    def send(
        self, timeout: float = 10, in_sequence: bool = False, own: bool = False, **values: Any
    ) -> Deferred[Answers]:
        flags = Flag.IN_SEQUENCE if in_sequence else NO_FLAGS
        return self.requests.send(parcel(flags=flags, **values), timeout, own=own)

    def answer(self, sequence: int, details: str = "fine") -> None:
        self.requests.answered(sequence, [Answer(details=details)])

    def failure(self, ended: Deferred[Answers], kind: type[CommandError]) -> str:
        return str(self.failureResultOf(ended, kind).value)

    def test_others_overlap(self) -> None:
        """Requests that are not in sequence go at once, and each gets its own answer, in whatever order they come."""
        first, second = self.send(), self.send()
        one, two = self.carrier.carried
        self.answer(two, "two")
        self.assertNoResult(first)
        self.answer(one, "one")
        self.assertEqual(self.successResultOf(first), [Answer(details="one")])
        self.assertEqual(self.successResultOf(second), [Answer(details="two")])

    def test_in_sequence(self) -> None:
        """One after the other, in the order sent, while others pass."""
        for _ in range(3):
            self.send(in_sequence=True)
        self.assertEqual(len(self.carrier.carried), 1)
        self.send()
        self.assertEqual(len(self.carrier.carried), 2)
        for running in (0, 2, 3):
            self.assertEqual(len(self.carrier.carried), max(2, running + 1))
            self.answer(self.carrier.carried[running])
        sequences = [self.carrier.carried[index] for index in (0, 2, 3)]
        self.assertEqual(sequences, sorted(sequences))

    def test_the_next_goes_when_the_running_one_times_out(self) -> None:
        """The host is told first that nobody waits for that."""
        running, waiting = self.send(5, in_sequence=True), self.send(10, in_sequence=True)
        self.clock.advance(5)
        self.assertIn("host kvm-1 did not answer in time, which was 5 s", self.failure(running, AgentTimedOut))
        first, second = self.carrier.carried
        self.assertEqual(self.carrier.called_off, [(first, "timed out")])
        # Late: it is not the answer to the one that runs now.
        self.answer(first)
        self.assertNoResult(waiting)
        self.answer(second)
        self.assertEqual(self.successResultOf(waiting), [Answer(details="fine")])

    def test_one_whose_time_is_up_before_its_turn_is_never_sent(self) -> None:
        """Its time runs from the moment that it was asked for."""
        running, waiting, last = (self.send(seconds, in_sequence=True) for seconds in (20, 10, 30))
        self.clock.advance(10)
        self.assertIn("was not sent it within 10 s", self.failure(waiting, AgentTimedOut))
        self.assertEqual(self.carrier.called_off, [])
        self.answer(self.carrier.carried[0])
        self.successResultOf(running)
        self.assertEqual(len(self.carrier.carried), 2)
        self.answer(self.carrier.carried[1])
        self.successResultOf(last)

    def test_both_time_out_at_once(self) -> None:
        """The one that waited is not sent for the blink in which the other one has ended."""
        running, waiting = self.send(5, in_sequence=True), self.send(5, in_sequence=True)
        self.clock.advance(5)
        self.failure(running, AgentTimedOut)
        self.failure(waiting, AgentTimedOut)
        self.assertEqual(len(self.carrier.carried), 1)

    def test_cancelled(self) -> None:
        """Called off if it was sent, and the next goes; one that waits just never goes."""
        running, waiting, last = (self.send(in_sequence=True) for _ in range(3))
        waiting.cancel()
        self.failure(waiting, CommandCancelled)
        self.assertEqual(self.carrier.called_off, [])
        running.cancel()
        self.failure(running, CommandCancelled)
        first, second = self.carrier.carried
        self.assertEqual(self.carrier.called_off, [(first, "cancelled")])
        self.answer(second)
        self.successResultOf(last)

    def test_one_cancels_another_when_both_time_out(self) -> None:
        """Each has one end, and is called off once."""
        first, second = self.send(5), self.send(5)
        first.addErrback(lambda failure: second.cancel())
        self.clock.advance(5)
        self.failure(second, CommandCancelled)
        self.assertEqual([reason for _, reason in self.carrier.called_off], ["timed out"] * 2)

    def test_as_many_answers_as_commands(self) -> None:
        """Anything else is a definite error; so is a command where an answer should be."""
        few, many, command = self.send(count=2), self.send(), self.send()
        one, two, three = self.carrier.carried
        self.requests.answered(one, [Answer(result=False, details="cannot be read")])
        self.requests.answered(two, [Answer(), Answer()])
        self.requests.answered(three, [CheckHealthCommand()])
        self.assertEqual(self.failure(few, BadAnswer), "host kvm-1 sent 1 answers to 2 commands: cannot be read")
        self.failure(many, BadAnswer)
        self.failure(command, BadAnswer)

    def test_answers_of_another_kind_stay_as_they_came(self) -> None:
        """What a class means is the caller's to say."""
        sent = self.send()
        strange = Opaque("com.example.StrangeAnswer", {"result": True})
        self.requests.answered(self.carrier.carried[0], [strange])
        self.assertEqual(self.successResultOf(sent), [strange])

    def test_a_command_is_no_answer(self) -> None:
        """Whether its class is known or not."""
        for content in (CheckHealthCommand(), Opaque("com.example.StrangeCommand", {"result": True})):
            sent = self.send()
            self.requests.answered(self.carrier.carried[-1], [content])
            self.assertIn("sent 0 answers to 1 commands", self.failure(sent, BadAnswer))

    def test_a_forged_answer_to_one_that_waits(self) -> None:
        """It was not sent, so nobody can have answered it."""
        self.send(in_sequence=True)
        waiting = self.send(in_sequence=True)
        forged = self.carrier.carried[0] + 1
        self.assertNotIn(forged, self.requests)
        self.answer(forged)
        self.assertNoResult(waiting)
        self.answer(self.carrier.carried[0])
        self.assertEqual(self.carrier.carried[1], forged)

    def test_too_many(self) -> None:
        """Those beyond the limit are refused at once, whether the others wait or are under way."""
        for number in range(MAX_REQUESTS):
            self.send(in_sequence=number % 2 == 0)
        self.assertIn("host kvm-1 is busy: 1000 requests", self.failure(self.send(), AgentBusy))
        self.answer(self.carrier.carried[0])
        self.assertNoResult(self.send())

    def test_room_for_the_server_itself(self) -> None:
        """What the server asks of its own accord gets through to a busy host, within a limit of its own."""
        for _ in range(MAX_REQUESTS):
            self.send(in_sequence=True)
        self.carrier.unsent = MAX_UNSENT + 1
        own = [self.send(own=True, body=b"list") for _ in range(OWN_ROOM)]
        self.assertEqual(len(self.carrier.carried), 1 + OWN_ROOM)
        self.assertIn("is busy: 1050 requests", self.failure(self.send(own=True), AgentBusy))
        self.answer(self.carrier.carried[-1])
        self.successResultOf(own[-1])
        self.failure(self.send(), AgentBusy)
        self.assertNoResult(self.send(own=True))

    def test_too_much(self) -> None:
        """What waits for its turn and what the carrier could not pass on count together."""
        half = b"x" * (MAX_UNSENT // 2)
        self.send(in_sequence=True)
        self.send(in_sequence=True, body=half)
        self.carrier.unsent = MAX_UNSENT // 2
        self.assertIn("bytes wait for it", self.failure(self.send(body=b"y"), AgentBusy))
        self.carrier.unsent = 0
        self.assertNoResult(self.send(body=half))
        # Sent, so that it does not wait any more.
        self.answer(self.carrier.carried[0])
        self.assertNoResult(self.send(body=b"x" * MAX_UNSENT))

    def test_the_link_is_lost(self) -> None:
        """What was sent may have been carried out; what waited was certainly not."""
        running, waiting = self.send(in_sequence=True), self.send(in_sequence=True)
        again: list[Failure] = []

        def send_again(failure: Failure) -> Failure:
            self.send().addErrback(again.append)
            return failure

        running.addErrback(send_again)
        self.requests.lost("its link was lost: gone")
        self.assertIn("host kvm-1 has not answered: its link was lost: gone", self.failure(running, LinkLost))
        self.assertNotIsInstance(self.failureResultOf(waiting, AgentUnavailable).value, LinkLost)
        self.assertEqual(len(self.carrier.carried), 1)
        # And a request from within is refused.
        again[0].trap(AgentUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed(self) -> None:
        """No new requests, and what waits is not sent; what is under way gets its answer, and then it is idle."""
        running, waiting, other = self.send(in_sequence=True), self.send(in_sequence=True), self.send()
        self.requests.close("a newer session has the host")
        self.assertIn("a newer session", self.failure(waiting, AgentUnavailable))
        self.assertIn("a newer session", self.failure(self.send(), AgentUnavailable))
        self.assertEqual(self.carrier.idles, 0)
        for sequence in self.carrier.carried:
            self.answer(sequence)
        self.successResultOf(running)
        self.successResultOf(other)
        self.assertEqual(self.carrier.idles, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_host_that_answers_at_once(self) -> None:
        """A long queue is no deep stack."""
        first = self.send(in_sequence=True)
        others = [self.send(in_sequence=True) for _ in range(MAX_REQUESTS - 1)]
        self.carrier.answers_at_once = self.requests
        self.answer(self.carrier.carried[0])
        self.successResultOf(first)
        for other in others:
            self.successResultOf(other)
        self.assertEqual(self.successResultOf(self.send()), [Answer()])
        self.assertEqual(len(self.requests), 0)

    def test_one_timer(self) -> None:
        """However many requests wait, the clock has one call, for the earliest deadline."""
        late = self.send(100)
        early = self.send(10)
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [10])
        self.clock.advance(10)
        self.failure(early, AgentTimedOut)
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [100])
        self.answer(self.carrier.carried[0])
        self.successResultOf(late)
        self.assertEqual(self.clock.getDelayedCalls(), [])
