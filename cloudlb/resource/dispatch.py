"""From requests to answers: order, time-outs, limits, and no command without an answer.

The commands of one request are carried out one after another. Requests marked in-sequence wait for each other; others
overlap. Of all requests at most ``workers`` are carried out at the same time; the ones beyond wait, up to a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import isawaitable
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredLock, DeferredSemaphore, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.resource.interface import Answer, Command, Opaque, ServerResource
from cloudlb.wire import STOPPED_BY_PREVIOUS_FAILURE, unsupported, wire_name

MAX_WAITING = 1000
"""Requests that may wait for a worker. A server that sends more gets failed answers at once."""

T = TypeVar("T")
Contents = Sequence[Command | Answer | Opaque]
InThread = Callable[[Callable[[], object]], Deferred[object]]
"""Runs a blocking call on a thread; what it returns fires with the result, on the reactor's thread."""


class _Overdue(Exception):
    """The sender's time is up."""


class Dispatch:
    """Carries requests to one resource."""

    _log = Logger()

    def __init__(
        self,
        resource: ServerResource,
        clock: IReactorTime,
        *,
        workers: int,
        in_thread: InThread | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Prepare.

        Args:
            resource: configured.
            clock: for the time-outs.
            workers: requests that are carried out at the same time.
            in_thread: runs what a blocking resource does; given exactly for those.
            max_waiting: requests beyond ``workers`` that are not refused.
        """
        assert resource.blocking == (in_thread is not None)
        self._resource = resource
        self._clock = clock
        self._in_thread = in_thread
        self._workers = DeferredSemaphore(workers)
        self._sequence = DeferredLock()
        self._limit = workers + max_waiting
        self._busy = 0

    @property
    def busy(self) -> int:
        """Requests under way or waiting. One whose time is up counts until its blocking call has returned."""
        return self._busy

    def execute(self, contents: Contents, *, in_sequence: bool, stop_on_error: bool) -> Deferred[list[Answer]]:
        """Carry out a request. The result has one answer per command and is never a failure."""
        if self._busy >= self._limit:
            return succeed(_all_failed(contents, f"The host is busy: {self._busy} requests are under way or waiting"))
        answers: Deferred[list[Answer]] = Deferred()
        Deferred.fromCoroutine(self._carry_out(contents, in_sequence, stop_on_error, answers.callback))
        return answers

    async def _carry_out(
        self, contents: Contents, in_sequence: bool, stop_on_error: bool, answer: Callable[[list[Answer]], None]
    ) -> None:
        held: list[DeferredLock | DeferredSemaphore] = []
        blocked: list[Deferred[object]] = []
        patience = _wait(contents[0]) if contents else 0
        self._busy += 1
        try:
            if in_sequence:
                await self._within(patience, self._sequence.acquire())
                held.append(self._sequence)
            await self._within(patience, self._workers.acquire())
            held.append(self._workers)
        except _Overdue:
            answer(_all_failed(contents, "Timed out while the host was busy"))
        else:
            answer(await self._answers(contents, stop_on_error, blocked))
        # A blocking call that has overrun its time goes on; before it has ended its worker is not free.
        await DeferredList(blocked)
        for turn in held:
            turn.release()
        self._busy -= 1

    async def _answers(self, contents: Contents, stop_on_error: bool, blocked: list[Deferred[object]]) -> list[Answer]:
        answers: list[Answer] = []
        for content in contents:
            if stop_on_error and answers and not answers[-1].result:
                answers.append(Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE))
            else:
                answers.append(await self._answer(content, blocked))
        return answers

    async def _answer(self, content: Command | Answer | Opaque, blocked: list[Deferred[object]]) -> Answer:
        name = wire_name(content).rpartition(".")[2]
        if isinstance(content, Answer):
            return Answer(result=False, details=f"{name} is no command")
        wait = _wait(content)
        try:
            answer = await self._within(wait, self._start(content, blocked))
        except _Overdue:
            return Answer(result=False, details=f"{name} timed out after {wait} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, the server gets an answer
            self._log.failure("{name} failed", name=name)
            return Answer(result=False, details=f"{type(error).__name__}: {error}")
        if answer is None:
            return unsupported(content)
        if not isinstance(answer, Answer):
            self._log.error("{name} was answered with a {kind}", name=name, kind=type(answer).__qualname__)
            return Answer(result=False, details=f"The resource has no proper answer to {name}")
        return answer

    def _start(self, command: Command | Opaque, blocked: list[Deferred[object]]) -> Deferred[object]:
        if self._in_thread is None:
            return Deferred.fromCoroutine(self._call(command))
        # Two Deferreds: time may be up for the one, while the other tells when the thread is free.
        result: Deferred[object] = Deferred()
        ended: Deferred[object] = Deferred()

        def returned(value: object | Failure) -> None:
            ended.callback(None)
            result.callback(value)

        blocked.append(ended)
        self._in_thread(lambda: self._resource.execute(command)).addBoth(returned)
        return result

    async def _call(self, command: Command | Opaque) -> object:
        returned = self._resource.execute(command)
        return await returned if isawaitable(returned) else returned

    def _within(self, seconds: int, deferred: Deferred[T]) -> Deferred[T]:
        if seconds > 0:
            deferred.addTimeout(seconds, self._clock, _overdue)
        return deferred


def _overdue(_: object, seconds: float) -> Failure:
    return Failure(_Overdue(seconds))  # type: ignore[no-untyped-call]  # Twisted has no types there


def _wait(content: Command | Answer | Opaque) -> int:
    wait = content.fields.get("wait", 0) if isinstance(content, Opaque) else content.wait
    return wait if isinstance(wait, int) else 0


def _all_failed(contents: Contents, details: str) -> list[Answer]:
    return [Answer(result=False, details=details) for _ in contents]
