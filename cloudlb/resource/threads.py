"""Where a resource may block."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class Threads(Protocol):
    """Runs what may block."""

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Run it; the result fires on the reactor's thread."""
        ...

    def stop(self) -> None:
        """Take no more work, and wait for none."""
        ...


class ResourceThreads:
    """Threads of one resource alone: one that blocks for ever holds up nobody else, nor the end of the process."""

    def __init__(self, reactor: IReactorFromThreads, name: str, size: int) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, size, name)
        self._pool.threadFactory = _DaemonThread
        self._pool.start()

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Run it on the next free thread."""
        return deferToThreadPool(self._reactor, self._pool, work)

    def stop(self) -> None:
        """Let the threads end, each when its call has returned."""
        # The pool waits for every call, and a hung hypervisor may never return from one: not here.
        Thread(target=self._pool.stop, daemon=True).start()


class _DaemonThread(Thread):
    """A thread that a process that ends does not wait for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, daemon=True)
