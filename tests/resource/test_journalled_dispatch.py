"""The dispatch of commands with an id, which the journal keeps."""

from __future__ import annotations

from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.resource.dispatch import Dispatch
from cloudlb.resource.interface import Answer, Command, MaintainCommand, Opaque, ServerResource
from cloudlb.resource.journal import Journal
from cloudlb.wire import COMMAND_ID, CancelCommand
from tests.resource.scripted import Blocking, Scripted, command, identified
from tests.support.memory_file import MemoryFile, at_once


class JournalledTests(SynchronousTestCase):
    """Commands with an id."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.file = MemoryFile()
        self.sequences = count()
        self.threads: list[Deferred[object]] = []

    def dispatch(self, resource: ServerResource, workers: int = 2) -> Dispatch:
        """One process's dispatch; the file outlives it."""
        return Dispatch(
            resource,
            self.clock,
            workers=workers,
            in_thread=self.in_thread if resource.blocking else None,
            journal=Journal(self.file, self.clock, at_once),
        )

    def in_thread(self, _: object) -> Deferred[object]:
        """A thread whose call returns what the test says."""
        self.threads.append(Deferred())
        return self.threads[-1]

    def execute(
        self, dispatch: Dispatch, *contents: Command | Opaque, in_sequence: bool = False
    ) -> Deferred[list[Answer]]:
        """Carry out a request."""
        return dispatch.execute(contents, sequence=next(self.sequences), in_sequence=in_sequence, stop_on_error=False)

    def test_once(self) -> None:
        """A repeated command has the answer of the first time, whether its class is known or not."""
        numbers = count()
        resource = Scripted(lambda _: Answer(details=str(next(numbers))))
        for content in (MaintainCommand(context_map={COMMAND_ID: "a"}), identified("b")):
            first = self.successResultOf(self.execute(self.dispatch(resource), content))
            self.assertEqual(self.successResultOf(self.execute(self.dispatch(resource), content, content)), first * 2)
        self.assertEqual(len(resource.seen), 2)
        self.successResultOf(self.execute(self.dispatch(resource), command(1), command(1)))
        self.assertEqual(len(resource.seen), 4)

    def test_recorded_first(self) -> None:
        """The id is kept when the resource begins; a process that dies there leaves a definite answer."""
        kept: list[object] = []

        def begin(_: object) -> Deferred[Answer]:
            kept.append(list(self.file.kept))
            return Deferred()

        resource = Scripted(begin)
        self.execute(self.dispatch(resource), identified("a"))
        self.assertEqual(kept, [["a"]])
        [answer] = self.successResultOf(self.execute(self.dispatch(resource), identified("a")))
        self.assertIn("what has become of it is unknown", answer.details or "")
        self.assertEqual(len(resource.seen), 1)

    def test_in_sequence(self) -> None:
        """The order of in-sequence requests holds through the journal."""
        running: list[Deferred[Answer]] = [Deferred(), Deferred()]
        resource = Scripted(lambda _: running[len(resource.seen) - 1])
        dispatch = self.dispatch(resource)
        requests = [self.execute(dispatch, identified(id_), in_sequence=True) for id_ in "ab"]
        self.assertEqual(resource.seen, [identified("a")])
        running[0].callback(Answer())
        self.assertEqual(resource.seen, [identified("a"), identified("b")])
        running[1].callback(Answer())
        for request in requests:
            self.assertEqual(self.successResultOf(request), [Answer()])

    def test_waiting_is_told(self) -> None:
        """A server learns of what waits for its turn, and that it waits no more."""
        journal = Journal(self.file, self.clock, at_once)
        dispatch = Dispatch(Scripted(lambda _: Deferred()), self.clock, workers=1, journal=journal)
        self.execute(dispatch, identified("a"))
        waiting = self.execute(dispatch, identified("b", wait=5), command(1), identified("c"))
        states = [("a", "STARTED"), ("b", "CREATED"), ("c", "CREATED")]
        self.assertEqual([(info.id, info.state) for info in journal.infos()], states)
        self.clock.advance(5)
        self.successResultOf(waiting)
        self.assertEqual([(info.id, info.state) for info in journal.infos()], states[:1])

    def test_blocking_has_no_time_out(self) -> None:
        """What goes on on a thread is answered with what became of it, and never before."""
        dispatch = self.dispatch(Blocking(lambda _: None))
        slow = self.execute(dispatch, identified("a", wait=2))
        self.clock.advance(3)
        self.assertNoResult(slow)
        self.threads[0].callback(Answer(details="done at last"))
        self.assertEqual(self.successResultOf(slow), [Answer(details="done at last")])
        self.assertEqual(dispatch.busy, 0)

    def test_time_out(self) -> None:
        """An awaitable that is cancelled at its time-out has ended: that is the answer, for good."""
        dispatch = self.dispatch(Scripted(lambda _: Deferred()))
        slow = self.execute(dispatch, identified("a", wait=2))
        self.clock.advance(2)
        [answer] = self.successResultOf(slow)
        self.assertEqual(answer.details, "Change timed out after 2 s")
        self.assertEqual(self.successResultOf(self.execute(dispatch, identified("a", wait=2))), [answer])

    def test_cancelled(self) -> None:
        """To cancel a repeated request ends its waiting; to cancel the first one ends the command."""
        dispatch = self.dispatch(Scripted(lambda _: Deferred()))
        first = self.execute(dispatch, identified("a"))
        repeated = self.execute(dispatch, identified("a"))
        self.successResultOf(self.execute(dispatch, CancelCommand(sequence=1)))
        [answer] = self.successResultOf(repeated)
        self.assertEqual(answer.details, "Change is under way, and is not waited for any more")
        self.assertNoResult(first)
        self.successResultOf(self.execute(dispatch, CancelCommand(sequence=0, reason="enough")))
        cancelled = [Answer(result=False, details="Change was cancelled: enough")]
        self.assertEqual(self.successResultOf(first), cancelled)
        self.assertEqual(self.successResultOf(self.execute(dispatch, identified("a"))), cancelled)

    def test_odd_ids(self) -> None:
        """An id that is none, and a time that no disk holds, do not cost a command its answer."""
        dispatch = self.dispatch(Scripted(lambda _: Answer()))
        for content in (
            Opaque("com.example.Change", {"contextMap": {COMMAND_ID: 5}}),
            Opaque("com.example.Change", {"contextMap": 5}),
            identified("a", wait=2**64 - 1),
        ):
            self.assertEqual(self.successResultOf(self.execute(dispatch, content)), [Answer()])
