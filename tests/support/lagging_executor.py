"""Database work that takes a while, so that whatever may happen meanwhile does."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred

from cloudlb.domain.ports import StoreUnavailable
from tests.support.machine import Machine

T = TypeVar("T")


class LaggingExecutor:
    """Runs work on one machine's time: it begins after a lag, and its result comes after another one.

    With the machine's process it dies or freezes, as threads do.
    """

    def __init__(self, machine: Machine, rng: random.Random, lag: float, *, size: int) -> None:
        """Prepare.

        Args:
            machine: whose time passes.
            rng: draws the lags.
            lag: the longest, in seconds.
            size: 1 keeps the order in which work was submitted; more of it may overtake each other.
        """
        self.size = size
        self._machine = machine
        self._rng = rng
        self._lag = lag
        self._last_end = 0.0
        self._under_way = 0
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        """Nothing has to be started."""

    def submit(self, work: Callable[[], T]) -> Deferred[T]:
        """Run ``work`` soon."""
        if self._stopped is not None:
            return fail(StoreUnavailable("the database is shut down"))
        now = self._machine.seconds()
        begin = now + self._rng.uniform(0, self._lag)
        if self.size == 1:
            begin = max(begin, self._last_end)
        self._last_end = end = begin + self._rng.uniform(0, self._lag)
        result: Deferred[T] = Deferred()
        self._under_way += 1
        self._machine.callLater(begin - now, self._run, work, result, end)
        return result

    def stop(self) -> Deferred[None]:
        """Fires when all that was submitted has ended; at once for a dead process, whose work never does."""
        self._stopped = Deferred()
        if not self._machine.alive or not self._under_way:
            self._stopped.callback(None)
        return self._stopped

    def _run(self, work: Callable[[], T], result: Deferred[T], end: float) -> None:
        done = maybeDeferred(work)
        self._machine.callLater(max(0.0, end - self._machine.seconds()), self._tell, done, result)

    def _tell(self, done: Deferred[T], result: Deferred[T]) -> None:
        self._under_way -= 1
        done.chainDeferred(result)
        if self._stopped is not None and not self._under_way:
            self._stopped.callback(None)
