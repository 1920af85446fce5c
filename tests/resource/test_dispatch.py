"""The dispatch of requests to a resource."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.resource.dispatch import Dispatch
from cloudlb.resource.interface import (
    Answer,
    CheckHealthAnswer,
    CheckHealthCommand,
    Command,
    MaintainCommand,
    Opaque,
    UnsupportedAnswer,
)
from cloudlb.resource.journal import Journal
from cloudlb.wire import CancelCommand
from tests.resource.scripted import Blocking, Scripted, UnregisteredAnswer, command, identified
from tests.support.memory_file import MemoryFile


class Unspeakable(Exception):
    """Fails when it is to be said."""

    def __str__(self) -> str:
        """Never succeed."""
        raise RuntimeError("no words")


class DispatchTests(SynchronousTestCase):
    """Every command gets one answer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sequences = count()

    def dispatch(
        self,
        act: Callable[[Command | Opaque], Answer | Awaitable[Answer] | None],
        *,
        workers: int = 5,
        max_waiting: int = 1000,
    ) -> Dispatch:
        """A dispatch on a scripted resource, kept as ``self.resource``."""
        self.resource = Scripted(act)
        return Dispatch(self.resource, self.clock, workers=workers, max_waiting=max_waiting)

    def execute(
        self, dispatch: Dispatch, *contents: Command | Answer | Opaque, in_sequence: bool = False, stop: bool = False
    ) -> Deferred[list[Answer]]:
        """Carry out a request."""
        return dispatch.execute(contents, sequence=next(self.sequences), in_sequence=in_sequence, stop_on_error=stop)

    def test_answers_in_order(self) -> None:
        """Each command of a request has its answer, at its place."""
        dispatch = self.dispatch(lambda c: Answer(details=type(c).__name__))
        answers = self.successResultOf(self.execute(dispatch, MaintainCommand(), CheckHealthCommand()))
        self.assertEqual([a.details for a in answers], ["MaintainCommand", "CheckHealthCommand"])
        self.assertEqual(dispatch.busy, 0)

    def test_empty_request(self) -> None:
        """A request without commands is answered with no answers."""
        self.assertEqual(self.successResultOf(self.execute(self.dispatch(lambda c: None), in_sequence=True)), [])

    def test_unsupported(self) -> None:
        """What the resource does not know is answered as unsupported, by name."""
        answers = self.successResultOf(self.execute(self.dispatch(lambda c: None), command(1)))
        self.assertIsInstance(answers[0], UnsupportedAnswer)
        self.assertIn("com.example.Command1", answers[0].details or "")

    def test_raises(self) -> None:
        """Exceptions become failed answers that tell the error, and one line of the log for all of them."""

        def fail(_: object) -> Answer:
            raise RuntimeError("no such volume")

        with capturedLogs() as events:
            answers = self.successResultOf(self.execute(self.dispatch(fail), command(1), command(2)))
        self.assertEqual(answers, [Answer(result=False, details="RuntimeError: no such volume")] * 2)
        [line] = [formatEvent(event) for event in events]
        self.assertIn("Command1 failed: RuntimeError: no such volume (", line)
        self.assertIn("test_dispatch.py:", line)

    def test_fails_later(self) -> None:
        """An awaited failure is answered just the same."""

        async def fail() -> Answer:
            raise OSError("gone")

        answers = self.successResultOf(self.execute(self.dispatch(lambda _: fail()), command(1)))
        self.assertEqual(answers, [Answer(result=False, details="OSError: gone")])

    def test_raises_what_is_no_exception(self) -> None:
        """Whatever is raised, at once, later or on a thread, there is an answer, and the worker is free again."""
        for error, details in (
            (SystemExit(3), "SystemExit: 3"),
            (asyncio.CancelledError(), "CancelledError"),
            (GeneratorExit("closed"), "GeneratorExit: closed"),
            (Unspeakable(), "Unspeakable"),
            (OSError("no such file: \udcff"), "OSError: no such file: \\udcff"),
        ):
            for resource in (Scripted(partial(_raise, error)), Scripted(partial(_raise_later, error))):
                self.failed(Dispatch(resource, self.clock, workers=1), details)
            on_thread = Blocking(partial(_raise, error))
            self.failed(Dispatch(on_thread, self.clock, workers=1, in_thread=_run), details)

    def test_the_others_of_a_request(self) -> None:
        """A command that ends in an exit keeps none of the others from being carried out."""
        dispatch = self.dispatch(lambda c: _raise(SystemExit()) if c == command(1) else Answer())
        answers = self.successResultOf(self.execute(dispatch, command(1), command(2)))
        self.assertEqual(answers, [Answer(result=False, details="SystemExit"), Answer()])

    def failed(self, dispatch: Dispatch, details: str) -> None:
        """See one request after another fail."""
        for _ in range(2):
            answers = self.successResultOf(self.execute(dispatch, command(1), command(2), in_sequence=True))
            self.assertEqual(answers, [Answer(result=False, details=details)] * 2)
        self.assertEqual(dispatch.busy, 0)

    def test_no_thread(self) -> None:
        """Where no thread takes a call there is an answer, and the worker is free again."""

        def in_thread(_: object) -> Deferred[object]:
            raise RuntimeError("can't start new thread")

        dispatch = Dispatch(Blocking(lambda _: Answer()), self.clock, workers=1, in_thread=in_thread)
        self.failed(dispatch, "RuntimeError: can't start new thread")

    def test_a_fault_of_the_journal(self) -> None:
        """What goes wrong outside of the resource is answered, too."""
        journal = Journal(MemoryFile(), self.clock, partial(_raise, ZeroDivisionError("a bug")))
        dispatch = Dispatch(Scripted(lambda _: Answer()), self.clock, workers=1, journal=journal)
        for _ in range(2):
            answers = self.successResultOf(self.execute(dispatch, identified("a")))
            self.assertEqual(answers, [Answer(result=False, details="ZeroDivisionError: a bug")])
        self.assertEqual(dispatch.busy, 0)

    def test_answers_that_cannot_be_written(self) -> None:
        """An answer that no server could read is a failure that names the command and the reason."""
        wrong: Any = "yes"
        for answer, reason in (
            (UnregisteredAnswer(), "UnregisteredAnswer is no registered class"),
            (Answer(details="\udcff"), "surrogates"),
            (Answer(extra={"disk": b"raw"}), "bytes"),
            (Answer(extra={"size": 2**70}), "64"),
            (Answer(result=wrong), "result: true or false was expected, not str"),
            (CheckHealthAnswer(context_map=wrong), "ValueError"),
        ):
            with capturedLogs() as events:
                [given] = self.successResultOf(self.execute(self.dispatch(partial(_give, answer)), command(1)))
            self.assertIs(given.result, False)
            self.assertIn("The answer to Command1 cannot be written: ", given.details or "")
            self.assertIn(reason, given.details or "")
            self.assertEqual(len(events), 1)

    def test_no_answer_returned(self) -> None:
        """A resource that returns something else does not leave the command without an answer."""
        dispatch = self.dispatch(lambda _: "done")  # type: ignore[arg-type,return-value]  # the fault under test
        answers = self.successResultOf(self.execute(dispatch, command(1)))
        self.assertEqual([a.result for a in answers], [False])

    def test_answer_as_command(self) -> None:
        """An answer where a command should be is refused and does not reach the resource."""
        dispatch = self.dispatch(lambda _: Answer())
        answers = self.successResultOf(self.execute(dispatch, Answer(), command(1)))
        self.assertEqual([a.result for a in answers], [False, True])
        self.assertEqual(self.resource.seen, [command(1)])

    def test_stop_on_error(self) -> None:
        """After a failure the rest of a stop-on-error request is answered without being tried."""
        dispatch = self.dispatch(lambda c: Answer(result=c != command(2)))
        answers = self.successResultOf(self.execute(dispatch, *map(command, range(1, 5)), stop=True))
        self.assertEqual([a.result for a in answers], [True, False, False, False])
        self.assertEqual([a.details for a in answers[2:]], ["Stopped by previous failure"] * 2)
        self.assertEqual(self.resource.seen, [command(1), command(2)])

    def test_in_sequence(self) -> None:
        """In-sequence requests wait for each other, and no other request waits for them."""
        running: list[Deferred[Answer]] = [Deferred(), Deferred(), Deferred()]
        dispatch = self.dispatch(lambda c: running[int(c.wire_name[-1])] if isinstance(c, Opaque) else None)
        first = self.execute(dispatch, command(0), in_sequence=True)
        second = self.execute(dispatch, command(1), in_sequence=True)
        third = self.execute(dispatch, command(2))
        self.assertEqual(self.resource.seen, [command(0), command(2)])
        running[2].callback(Answer())
        self.successResultOf(third)
        self.assertNoResult(first)
        running[0].callback(Answer())
        self.successResultOf(first)
        self.assertEqual(self.resource.seen[-1], command(1))
        running[1].callback(Answer())
        self.successResultOf(second)

    def test_workers(self) -> None:
        """No more requests than workers are under way; the next begins when one has ended."""
        running: list[Deferred[Answer]] = [Deferred() for _ in range(4)]
        started = iter(running)
        dispatch = self.dispatch(lambda _: next(started), workers=2)
        requests = [self.execute(dispatch, command(n)) for n in range(4)]
        self.assertEqual(len(self.resource.seen), 2)
        running[0].callback(Answer())
        self.assertEqual(len(self.resource.seen), 3)
        for each in running[1:]:
            each.callback(Answer())
        for request in requests:
            self.successResultOf(request)
        self.assertEqual(dispatch.busy, 0)

    def test_limit(self) -> None:
        """Requests beyond the limit get a clear failed answer at once."""
        running: Deferred[Answer] = Deferred()
        dispatch = self.dispatch(lambda _: running, workers=1, max_waiting=1)
        under_way = [self.execute(dispatch, command(n)) for n in range(2)]
        refused = self.successResultOf(self.execute(dispatch, command(2), command(3)))
        self.assertEqual([a.result for a in refused], [False, False])
        self.assertIn("busy", refused[0].details or "")
        running.callback(Answer())
        for request in under_way:
            self.successResultOf(request)

    def test_time_out(self) -> None:
        """A command whose time is up is cancelled and answered; the next request runs."""
        cancelled: list[object] = []
        dispatch = self.dispatch(
            lambda c: Deferred(cancelled.append) if c == command(1, wait=7) else Answer(), workers=1
        )
        slow = self.execute(dispatch, command(1, wait=7))
        waiting = self.execute(dispatch, command(2))
        self.clock.advance(6.9)
        self.assertNoResult(slow)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(slow), [Answer(result=False, details="Command1 timed out after 7 s")])
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.successResultOf(waiting), [Answer()])

    def test_time_out_while_waiting(self) -> None:
        """A request whose turn does not come in time is answered and never carried out."""
        running: Deferred[Answer] = Deferred()
        dispatch = self.dispatch(lambda _: running, workers=1)
        self.execute(dispatch, command(1), in_sequence=True)
        for in_sequence in (True, False):
            late = self.execute(dispatch, command(2, wait=3), command(3), in_sequence=in_sequence)
            self.clock.advance(3)
            self.assertEqual([a.result for a in self.successResultOf(late)], [False, False])
        running.callback(Answer())
        self.assertEqual(self.resource.seen, [command(1)])
        self.assertEqual(dispatch.busy, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_blocking(self) -> None:
        """A blocking call whose time is up is answered, but keeps its worker until it returns."""
        threads: list[tuple[Callable[[], object], Deferred[object]]] = []

        def in_thread(work: Callable[[], object]) -> Deferred[object]:
            threads.append((work, Deferred()))
            return threads[-1][1]

        resource = Blocking(lambda _: Answer(details="late"))
        dispatch = Dispatch(resource, self.clock, workers=1, in_thread=in_thread)
        slow = self.execute(dispatch, command(1, wait=2))
        waiting = self.execute(dispatch, command(2))
        self.clock.advance(2)
        self.assertEqual([a.result for a in self.successResultOf(slow)], [False])
        self.assertEqual(len(threads), 1)
        work, ended = threads[0]
        ended.callback(work())
        self.assertEqual(len(threads), 2)
        work, ended = threads[1]
        ended.callback(work())
        self.assertEqual(self.successResultOf(waiting), [Answer(details="late")])
        self.assertEqual(dispatch.busy, 0)

    def test_cancel_under_way(self) -> None:
        """CancelCommand stops an awaitable at once, though it is in sequence behind it, and the rest is not begun."""
        cancelled: list[object] = []
        dispatch = self.dispatch(lambda _: Deferred(cancelled.append), workers=1)
        slow = self.execute(dispatch, command(1), command(2), in_sequence=True)
        cancel = CancelCommand(sequence=0, reason="too late")
        self.assertEqual(self.successResultOf(self.execute(dispatch, cancel, in_sequence=True)), [Answer()])
        self.assertEqual(len(cancelled), 1)
        details = [answer.details for answer in self.successResultOf(slow)]
        self.assertEqual(details, ["Command1 was cancelled: too late", "Command2 was cancelled: too late"])
        self.assertEqual(self.resource.seen, [command(1)])
        self.assertEqual(dispatch.busy, 0)

    def test_cancel_waiting(self) -> None:
        """A request that waits for its turn or for a worker is cancelled without being carried out."""
        running: Deferred[Answer] = Deferred()
        dispatch = self.dispatch(lambda _: running, workers=1)
        self.execute(dispatch, command(0), in_sequence=True)
        waiting = [self.execute(dispatch, command(n), in_sequence=n == 1) for n in (1, 2)]
        for sequence, request in enumerate(waiting, start=1):
            self.successResultOf(self.execute(dispatch, CancelCommand(sequence=sequence)))
            [answer] = self.successResultOf(request)
            self.assertEqual(answer.details, "Cancelled while the host was busy: no reason given")
        running.callback(Answer())
        self.assertEqual(self.resource.seen, [command(0)])
        self.assertEqual(dispatch.busy, 0)

    def test_cancel_what_cannot_be(self) -> None:
        """A call on a thread goes on, and what is not there is not stopped: both are said."""
        thread: Deferred[object] = Deferred()
        dispatch = Dispatch(Blocking(lambda _: None), self.clock, workers=1, in_thread=lambda _: thread)
        slow = self.execute(dispatch, command(1))
        for sequence, reason in ((0, "is on a thread and cannot be stopped"), (77, "waits or is under way")):
            [answer] = self.successResultOf(self.execute(dispatch, CancelCommand(sequence=sequence)))
            self.assertIs(answer.result, False)
            self.assertIn(reason, answer.details or "")
        thread.callback(Answer(details="done"))
        self.assertEqual(self.successResultOf(slow), [Answer(details="done")])

    def test_check_only(self) -> None:
        """CancelCommand that only asks stops nothing."""
        running: Deferred[Answer] = Deferred()
        dispatch = self.dispatch(lambda _: running)
        slow = self.execute(dispatch, command(1))
        asked = self.execute(dispatch, CancelCommand(sequence=0, check_only=True))
        self.assertEqual(self.successResultOf(asked), [Answer()])
        self.assertNoResult(slow)
        running.callback(Answer())
        self.assertEqual(self.successResultOf(slow), [Answer()])

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.lists(st.sampled_from(["ok", "fail", "raise", "exit", "unknown", "hang", "later"]), max_size=3),
                st.booleans(),
                st.booleans(),
            ),
            max_size=12,
        ),
        st.integers(1, 3),
    )
    def test_always_answered(self, requests: list[tuple[list[str], bool, bool]], workers: int) -> None:
        """Whatever the commands do, each request gets as many answers as it has commands, and all is free again."""
        clock = Clock()
        later: Callable[[], Deferred[Answer]] = lambda: _after(clock, 1)  # noqa: E731 - read as a table
        acts: dict[str, Callable[[], Answer | Awaitable[Answer] | None]] = {
            "ok": Answer,
            "fail": lambda: Answer(result=False),
            "raise": partial(_raise, RuntimeError("as asked")),
            "exit": partial(_raise, SystemExit()),
            "unknown": lambda: None,
            "hang": Deferred,
            "later": later,
        }
        resource = Scripted(lambda c: acts[c.wire_name]() if isinstance(c, Opaque) else None)
        dispatch = Dispatch(resource, clock, workers=workers)
        answers = [
            dispatch.execute(
                [Opaque(name, {"wait": 5}) for name in names],
                sequence=sequence,
                in_sequence=ordered,
                stop_on_error=stop,
            )
            for sequence, (names, ordered, stop) in enumerate(requests)
        ]
        clock.pump([1] * 200)
        for (names, _, _), answer in zip(requests, answers, strict=True):
            self.assertEqual(len(self.successResultOf(answer)), len(names))
        self.assertEqual(dispatch.busy, 0)
        self.assertEqual(clock.getDelayedCalls(), [])


def _after(clock: Clock, seconds: float) -> Deferred[Answer]:
    deferred: Deferred[Answer] = Deferred()
    clock.callLater(seconds, deferred.callback, Answer())
    return deferred


def _give(answer: Answer, _: object) -> Answer:
    return answer


def _raise(error: BaseException, *_: object) -> Any:
    raise error


async def _raise_later(error: BaseException, _: object) -> Answer:
    raise error


def _run(work: Callable[[], object]) -> Deferred[object]:
    return maybeDeferred(work)
