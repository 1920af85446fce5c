"""The dispatch of requests to a resource."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.resource.dispatch import Dispatch
from cloudlb.resource.interface import (
    Answer,
    CheckHealthCommand,
    Command,
    MaintainCommand,
    Opaque,
    PingCommand,
    ServerResource,
    StartupCommand,
    UnsupportedAnswer,
)


class Scripted(ServerResource):
    """Notes what it is asked and does what the test says."""

    def __init__(self, act: Callable[[Command | Opaque], Answer | Awaitable[Answer] | None]) -> None:
        self.seen: list[Command | Opaque] = []
        self._act = act

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Needs nothing."""

    def startup(self) -> Sequence[StartupCommand]:
        """Has nothing."""
        return [StartupCommand()]

    def ping(self, host_id: int) -> PingCommand:
        """Is well."""
        return PingCommand(host_id=host_id)

    def execute(self, command: Command | Opaque) -> Answer | Awaitable[Answer] | None:
        """Follow the script."""
        self.seen.append(command)
        return self._act(command)


class Blocking(Scripted):
    """The same, on threads."""

    blocking: ClassVar[bool] = True


def command(number: int, wait: int = 0) -> Opaque:
    """A command that a test tells from others."""
    return Opaque(f"com.example.Command{number}", {"wait": wait})


class DispatchTests(SynchronousTestCase):
    """Every command gets one answer."""

    def setUp(self) -> None:
        self.clock = Clock()

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
        return dispatch.execute(contents, in_sequence=in_sequence, stop_on_error=stop)

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
        """An exception becomes a failed answer that tells the error, and a line in the log."""

        def fail(_: object) -> Answer:
            raise RuntimeError("no such volume")

        answers = self.successResultOf(self.execute(self.dispatch(fail), command(1), command(2)))
        self.assertEqual(answers, [Answer(result=False, details="RuntimeError: no such volume")] * 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_fails_later(self) -> None:
        """An awaited failure is answered just the same."""

        async def fail() -> Answer:
            raise OSError("gone")

        answers = self.successResultOf(self.execute(self.dispatch(lambda _: fail()), command(1)))
        self.assertEqual(answers, [Answer(result=False, details="OSError: gone")])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

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

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.lists(st.sampled_from(["ok", "fail", "raise", "unknown", "hang", "later"]), max_size=3),
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
            "raise": _raise,
            "unknown": lambda: None,
            "hang": Deferred,
            "later": later,
        }
        resource = Scripted(lambda c: acts[c.wire_name]() if isinstance(c, Opaque) else None)
        dispatch = Dispatch(resource, clock, workers=workers)
        answers = [
            dispatch.execute([Opaque(name, {"wait": 5}) for name in names], in_sequence=ordered, stop_on_error=stop)
            for names, ordered, stop in requests
        ]
        clock.pump([1] * 200)
        for (names, _, _), answer in zip(requests, answers, strict=True):
            self.assertEqual(len(self.successResultOf(answer)), len(names))
        self.assertEqual(dispatch.busy, 0)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.flushLoggedErrors(RuntimeError)


def _after(clock: Clock, seconds: float) -> Deferred[Answer]:
    deferred: Deferred[Answer] = Deferred()
    clock.callLater(seconds, deferred.callback, Answer())
    return deferred


def _raise() -> Answer:
    raise RuntimeError("as asked")
