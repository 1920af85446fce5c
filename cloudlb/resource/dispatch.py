"""From requests to answers: order, time-outs, limits, and no command without an answer.

The commands of one request are carried out one after another. Requests marked in-sequence wait for each other; others
overlap. Of all requests at most ``workers`` are carried out at the same time; the ones beyond wait, up to a limit.

Commands with an id go through the journal. CancelCommand is answered at once, whatever else is under way.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any, TypeVar

import orjson
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock, DeferredSemaphore, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.net.sparse_log import SparseLog
from cloudlb.resource.interface import Answer, Command, Opaque, ServerResource
from cloudlb.resource.journal import Journal
from cloudlb.wire import (
    COMMAND_ID,
    LOGGING_CONTEXT,
    STOPPED_BY_PREVIOUS_FAILURE,
    CancelCommand,
    context_of,
    fields_of,
    read_content,
    simple_name,
    unsupported,
    wire_name,
)

MAX_WAITING = 1000
"""Requests that may wait for a worker. A server that sends more gets failed answers at once."""
MAX_WAIT = 2**31 - 1
"""Seconds; a command that names more has this time."""
MAX_LOGID = 50
"""Characters of a server's logid that reach the log."""

T = TypeVar("T")
Contents = Sequence[Command | Answer | Opaque]
InThread = Callable[[Callable[[], object]], Deferred[object]]
"""Runs a blocking call on a thread; what it returns fires with the result, on the reactor's thread."""


class _Overdue(Exception):
    """The sender's time is up."""


@define(eq=False)
class _Request:
    """One request that waits or is under way."""

    contents: Contents
    sequence: int
    in_sequence: bool
    stop_on_error: bool
    answers: Deferred[list[Answer]] = field(factory=Deferred)
    step: Deferred[Any] | None = None
    """What it waits for now and can stop waiting for; None: it is on a thread, or at the journal."""
    held: list[DeferredLock | DeferredSemaphore] = field(factory=list)
    """What others wait for until it has ended."""
    blocked: list[Deferred[object]] = field(factory=list)
    """Its calls on threads; each fires when its thread is free."""
    cancelled: str | None = None
    """Why nothing more of it is to be carried out."""

    @property
    def blocking(self) -> bool:
        """Whether a thread is at work on it."""
        return any(not each.called for each in self.blocked)


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
        journal: Journal | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Prepare.

        Args:
            resource: configured.
            clock: for the time-outs.
            workers: requests that are carried out at the same time.
            in_thread: runs what a blocking resource does; given exactly for those.
            journal: of the commands that have an id; None: they are carried out like any other.
            max_waiting: requests beyond ``workers`` that are not refused.
        """
        assert resource.blocking == (in_thread is not None)
        self._resource = resource
        self._clock = clock
        self._in_thread = in_thread
        self._journal = journal
        self._workers = DeferredSemaphore(workers)
        self._turn = DeferredLock()
        self._limit = workers + max_waiting
        self._requests: dict[int, _Request] = {}
        """By their sequences; of one that comes twice the later one."""
        self._busy = 0
        self._failures = SparseLog(clock, self._log)

    @property
    def busy(self) -> int:
        """Requests under way or waiting. One whose time is up counts until its blocking call has returned."""
        return self._busy

    def execute(
        self, contents: Contents, *, sequence: int, in_sequence: bool, stop_on_error: bool
    ) -> Deferred[list[Answer]]:
        """Carry out a request. The result has one answer per command and is never a failure.

        Args:
            contents: commands, in their order.
            sequence: the request's; CancelCommand names it.
            in_sequence: wait for the end of earlier requests of this kind.
            stop_on_error: carry out nothing after a command that failed.
        """
        if contents and all(isinstance(content, CancelCommand) for content in contents):
            return succeed([self._cancel(content) for content in contents if isinstance(content, CancelCommand)])
        if self._busy >= self._limit:
            return succeed(_all_failed(contents, f"The host is busy: {self._busy} requests are under way or waiting"))
        request = _Request(contents, sequence, in_sequence, stop_on_error)
        self._announce(request)
        Deferred.fromCoroutine(self._carry_out(request))
        return request.answers

    async def _carry_out(self, request: _Request) -> None:
        self._busy += 1
        try:
            await self._wait_for_turn(request)
            answers = await self._answers(request)
        except _Overdue:
            answers = _all_failed(request.contents, "Timed out while the host was busy")
        except CancelledError:
            answers = _all_failed(request.contents, f"Cancelled while the host was busy: {request.cancelled}")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the server gets its answers
            self._failures.info("A request failed: {error} ({place})", error=_said(error), place=_place(error))
            answers = _all_failed(request.contents, _said(error))
        finally:
            # Nothing is awaited from here on: the coroutine may be about to be closed.
            self._withdraw(request)
            request.answers.callback(answers)
            # A blocking call that has overrun its time goes on; before it has ended its worker is not free.
            DeferredList(request.blocked).addCallback(lambda _: self._free(request))

    async def _wait_for_turn(self, request: _Request) -> None:
        patience = _wait(request.contents[0]) if request.contents else 0
        if request.in_sequence:
            await self._step(request, self._turn.acquire(), patience)
            request.held.append(self._turn)
        await self._step(request, self._workers.acquire(), patience)
        request.held.append(self._workers)

    def _free(self, request: _Request) -> None:
        for each in request.held:
            each.release()
        self._busy -= 1

    async def _answers(self, request: _Request) -> list[Answer]:
        answers: list[Answer] = []
        for content in request.contents:
            if request.stop_on_error and answers and not answers[-1].result:
                answers.append(Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE))
            else:
                answers.append(await self._answer(request, content))
        return answers

    async def _answer(self, request: _Request, content: Command | Answer | Opaque) -> Answer:
        if isinstance(content, Answer):
            return Answer(result=False, details=f"{_name(content)} is no command")
        if isinstance(content, CancelCommand):
            return self._cancel(content)
        id_ = _id(content)
        if self._journal is None or id_ is None or request.cancelled is not None:
            return await self._perform(request, content, _wait(content))
        known = await self._journal.begin(id_, wire_name(content), sequence=request.sequence, wait=_wait(content))
        if isinstance(known, Answer):
            return known
        if known is not None:
            try:
                return await self._step(request, known.end, 0)
            except CancelledError:
                return Answer(result=False, details=f"{_name(content)} is under way, and is not waited for any more")
        # On a thread it has no time-out: what is answered then would not be what has become of it.
        wait = _wait(content) if self._in_thread is None else 0
        began = self._clock.seconds()
        answer = await self._perform(request, content, wait)
        self._log.info(
            "{name} {result} after {seconds:.3f} s (logid:{logid})",
            name=_name(content),
            result="is done" if answer.result else "has failed",
            seconds=self._clock.seconds() - began,
            logid=_logid(content),
        )
        return await self._journal.end(id_, answer)

    async def _perform(self, request: _Request, command: Command | Opaque, wait: int) -> Answer:
        """Carry out one command; never fails."""
        name = _name(command)
        try:
            answer = await self._start(request, command, wait)
        except _Overdue:
            return Answer(result=False, details=f"{name} timed out after {wait} s")
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a resource raises, the server gets an answer
            if request.cancelled is not None and isinstance(error, CancelledError):
                return Answer(result=False, details=f"{name} was cancelled: {request.cancelled}")
            self._failures.info(
                "{name} failed: {error} ({place}) (logid:{logid})",
                name=name,
                error=_said(error),
                place=_place(error),
                logid=_logid(command),
            )
            return Answer(result=False, details=_said(error))
        if answer is None:
            return unsupported(command)
        if not isinstance(answer, Answer):
            self._failures.info("{name} was answered with a {kind}", name=name, kind=type(answer).__qualname__)
            return Answer(result=False, details=f"The resource has no proper answer to {name}")
        if (fault := _fault(answer)) is not None:
            self._failures.info("The answer to {name} cannot be written: {fault}", name=name, fault=fault)
            return Answer(result=False, details=f"The answer to {name} cannot be written: {fault}")
        return answer

    def _start(self, request: _Request, command: Command | Opaque, wait: int) -> Awaitable[object]:
        if request.cancelled is not None:
            raise CancelledError
        if self._in_thread is None:
            return self._step(request, Deferred.fromCoroutine(self._call(command)), wait)
        # Two Deferreds: time may be up for the one, while the other tells when the thread is free.
        result: Deferred[object] = Deferred()
        ended: Deferred[object] = Deferred()

        def returned(value: object | Failure) -> None:
            ended.callback(None)
            result.callback(value)

        call = self._in_thread(lambda: self._resource.execute(command))
        request.blocked.append(ended)
        call.addBoth(returned)
        return self._within(wait, result)

    async def _call(self, command: Command | Opaque) -> object:
        returned = self._resource.execute(command)
        return await returned if isawaitable(returned) else returned

    # Who knows of a request.

    def _announce(self, request: _Request) -> None:
        self._requests[request.sequence] = request
        for content in request.contents:
            if self._journal is not None and (id_ := _id(content)) is not None:
                self._journal.announce(id_, wire_name(content), sequence=request.sequence, wait=_wait(content))

    def _withdraw(self, request: _Request) -> None:
        if self._requests.get(request.sequence) is request:
            del self._requests[request.sequence]
        for content in request.contents:
            if self._journal is not None and (id_ := _id(content)) is not None:
                self._journal.withdraw(id_)

    def _cancel(self, command: CancelCommand) -> Answer:
        request = self._requests.get(command.sequence)
        if request is None:
            return Answer(result=False, details=f"No request {command.sequence} waits or is under way")
        if request.blocking:
            return Answer(result=False, details=f"Request {command.sequence} is on a thread and cannot be stopped")
        if not command.check_only:
            request.cancelled = command.reason or "no reason given"
            if request.step is not None:
                request.step.cancel()
        return Answer()

    async def _step(self, request: _Request, deferred: Deferred[T], seconds: int) -> T:
        request.step = deferred
        try:
            return await self._within(seconds, deferred)
        finally:
            request.step = None

    def _within(self, seconds: int, deferred: Deferred[T]) -> Deferred[T]:
        if seconds > 0:
            deferred.addTimeout(seconds, self._clock, _overdue)
        return deferred


def _overdue(_: object, seconds: float) -> Failure:
    return Failure(_Overdue(seconds))  # type: ignore[no-untyped-call]  # Twisted has no types there


def _wait(content: Command | Answer | Opaque) -> int:
    wait = content.fields.get("wait", 0) if isinstance(content, Opaque) else content.wait
    return min(wait, MAX_WAIT) if isinstance(wait, int) else 0


def _id(content: Command | Answer | Opaque) -> str | None:
    id_ = context_of(content).get(COMMAND_ID)
    return id_ if isinstance(id_, str) else None


def _logid(content: Command | Opaque) -> str:
    """What the server's log calls the command by; whatever it sent there."""
    return ascii(context_of(content).get(LOGGING_CONTEXT, "-")).strip("'")[:MAX_LOGID]


def _name(content: Command | Answer | Opaque) -> str:
    return simple_name(wire_name(content))


def _fault(answer: Answer) -> str | None:
    """Why a server could not read an answer; None: it can."""
    try:
        read_content(Opaque(wire_name(answer), orjson.loads(orjson.dumps(fields_of(answer)))))
    except KeyError:
        return f"{type(answer).__qualname__} is no registered class"
    except Exception as error:  # noqa: BLE001 - a resource may have put anything into it
        return _said(error)
    return None


def _said(error: BaseException) -> str:
    name = type(error).__name__
    try:
        # Where Python could not decode something, a file's name say, there are surrogates, which JSON has not.
        text = str(error).encode(errors="backslashreplace").decode()
    except Exception:  # noqa: BLE001 - it is the resource's code that is asked here
        return name
    return f"{name}: {text}" if text else name


def _place(error: BaseException) -> str:
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    return f"{innermost.filename}:{innermost.lineno}"


def _all_failed(contents: Contents, details: str) -> list[Answer]:
    return [Answer(result=False, details=details) for _ in contents]
