"""Where the database's work runs: on threads of its own, or for a deterministic world right where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cloudlb.domain.ports import StoreUnavailable

T = TypeVar("T")


class Executor(Protocol):
    """Runs blocking work, in the order in which it was submitted."""

    @property
    def size(self) -> int:
        """How many pieces of work can be under way at the same time."""
        ...

    def start(self) -> None:
        """Begin with what was submitted."""
        ...

    def submit(self, work: Callable[[], T]) -> Deferred[T]:
        """Run ``work``; StoreUnavailable after :meth:`stop`."""
        ...

    def stop(self) -> Deferred[None]:
        """Take no more work; fires when all that was submitted has ended."""
        ...


class ThreadExecutor:
    """Threads that no other part of the process shares, so that none of them can starve the database or be starved."""

    def __init__(self, reactor: IReactorFromThreads, size: int, name: str) -> None:
        self.size = size
        self._reactor = reactor
        self._pool = ThreadPool(size, size, name)
        self._under_way = 0
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        """Start the threads."""
        self._pool.start()

    def submit(self, work: Callable[[], T]) -> Deferred[T]:
        """Run ``work`` on the next free thread; its result fires in the reactor's. Cancelling it drops the result."""
        if self._stopped is not None:
            return fail(StoreUnavailable("the database is shut down"))
        result: Deferred[T] = Deferred()
        self._under_way += 1

        def ended(success: bool, value: Any) -> None:
            self._reactor.callFromThread(self._end, result, value)

        self._pool.callInThreadWithCallback(ended, work)
        return result

    def stop(self) -> Deferred[None]:
        """Join the threads when the last work has ended."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._join_if_idle()
        waiter: Deferred[None] = Deferred()
        self._stopped.chainDeferred(waiter)
        return waiter

    def _end(self, result: Deferred[T], value: T | Failure) -> None:
        self._under_way -= 1
        result.callback(value)
        self._join_if_idle()

    def _join_if_idle(self) -> None:
        if self._stopped is not None and self._under_way == 0 and not self._stopped.called:
            self._pool.stop()
            self._stopped.callback(None)


class InlineExecutor:
    """Runs work at once on the caller's thread: for worlds in which everything happens on one clock."""

    size = 1

    def __init__(self) -> None:
        self._stopped = False

    def start(self) -> None:
        """Nothing has to be started."""

    def submit(self, work: Callable[[], T]) -> Deferred[T]:
        """Run ``work`` now."""
        if self._stopped:
            return fail(StoreUnavailable("the database is shut down"))
        return maybeDeferred(work)

    def stop(self) -> Deferred[None]:
        """Refuse all further work."""
        self._stopped = True
        return succeed(None)
