"""Sending commands of which each has its own end."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import AgentTimedOut, CommandCancelled, LinkLost
from cloudlb.agents.sender import Outcome
from cloudlb.wire import STOPPED_BY_PREVIOUS_FAILURE, Answer, CheckHealthCommand
from tests.agents.sending import HOST, Fixture


class SendEachTests(SynchronousTestCase):
    """Answers as they come."""

    def setUp(self) -> None:
        self.fixture = Fixture()
        self.connection = self.fixture.connect()
        self.ends: dict[int, Outcome] = {}

    def send(self, count: int, *, stop_on_error: bool) -> Deferred[None]:
        return self.fixture.sender.send_each(
            HOST, [CheckHealthCommand()] * count, self.receive, timeout=5, stop_on_error=stop_on_error
        )

    def receive(self, index: int, outcome: Outcome) -> None:
        self.assertNotIn(index, self.ends)
        self.ends[index] = outcome

    def test_all_at_once(self) -> None:
        """Each is told when it has ended, and the whole when all have."""
        whole = self.send(3, stop_on_error=False)
        first, second, _ = [header.sequence for header, _ in self.connection.requests()]
        self.connection.answer(second, Answer(result=False))
        self.assertEqual(self.ends, {1: Answer(result=False)})
        self.connection.answer(first)
        self.assertNoResult(whole)
        self.fixture.clock.advance(5)
        self.assertIsInstance(self.ends[2], AgentTimedOut)
        self.successResultOf(whole)

    def test_one_after_another(self) -> None:
        """The next goes when the one before has ended; after one that failed none goes."""
        whole = self.send(4, stop_on_error=True)
        for result in (True, False):
            [(header, _)] = self.connection.requests()
            self.connection.answer(header.sequence, Answer(result=result))
        self.successResultOf(whole)
        self.assertEqual(self.connection.requests(), [])
        stopped = Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE)
        self.assertEqual(self.ends, {0: Answer(), 1: Answer(result=False), 2: stopped, 3: stopped})

    def test_an_error_stops_the_others_too(self) -> None:
        """It is not known that they could be carried out."""
        self.send(2, stop_on_error=True)
        self.connection.lose()
        self.assertIsInstance(self.ends[0], LinkLost)
        self.assertEqual(self.ends[1], Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE))

    def test_cancelled(self) -> None:
        """Those that have not ended are cancelled, whether they were sent or not."""
        for stop_on_error in (True, False):
            self.ends.clear()
            whole = self.send(3, stop_on_error=stop_on_error)
            header = self.connection.requests()[0][0]
            self.connection.answer(header.sequence)
            whole.cancel()
            self.successResultOf(whole)
            self.assertEqual(self.ends.pop(0), Answer())
            self.assertEqual([type(end) for end in self.ends.values()], [CommandCancelled] * 2)
            self.connection.requests()

    def test_who_is_told_fails(self) -> None:
        """It is logged, and the others have their ends all the same."""

        def receive(index: int, outcome: Outcome) -> None:
            self.receive(index, outcome)
            raise ZeroDivisionError

        for stop_on_error in (True, False):
            self.ends.clear()
            whole = self.fixture.sender.send_each(
                HOST, [CheckHealthCommand()] * 2, receive, stop_on_error=stop_on_error
            )
            while packets := self.connection.requests():
                for header, _ in packets:
                    self.connection.answer(header.sequence)
            self.successResultOf(whole)
            self.assertEqual(len(self.ends), 2)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
