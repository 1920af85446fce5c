"""Database work that takes a while, so that whatever may happen meanwhile does."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from cloudlb.domain.ports import StoreUnavailable
from tests.support.machine import Machine

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds in which it turns out that the database is away, at most."""


class LaggingExecutor:
    """Runs work on one machine's time: it begins after a lag, and its result comes after another one.

    With the machine's process it dies or freezes, as threads do. While the database is ``away``, work fails with
    StoreUnavailable after a while, and what was under way when it went is in doubt: done, or not, and the one who
    asked does not learn which.
    """

    def __init__(self, machine: Machine, rng: random.Random, lag: float, *, size: int) -> None:
        """Prepare.

        Args:
            machine: whose time passes.
            rng: draws the lags.
            lag: the longest, in seconds; may be changed at any time.
            size: 1 keeps the order in which work was submitted; more of it may overtake each other.
        """
        self.size = size
        self._machine = machine
        self._rng = rng
        self.lag = lag
        self.away = False
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
        begin = now + self._rng.uniform(0, self.lag)
        if self.size == 1:
            begin = max(begin, self._last_end)
        self._last_end = end = begin + self._rng.uniform(0, self.lag)
        result: Deferred[T] = Deferred()
        self._under_way += 1
        self._machine.callLater(begin - now, self._run, work, result, end)
        return result

    def stop(self) -> Deferred[None]:
        """Fires when all that was submitted has ended; at once for a dead process, whose work never does."""
        if self._stopped is None:
            self._stopped = Deferred()
        if not self._stopped.called and not (self._machine.alive and self._under_way):
            self._stopped.callback(None)
        waiter: Deferred[None] = Deferred()
        self._stopped.chainDeferred(waiter)
        return waiter

    def _run(self, work: Callable[[], T], result: Deferred[T], end: float) -> None:
        if self.away:
            self._machine.callLater(self._rng.uniform(0, PATIENCE), self._tell, None, result)
            return
        # Not a Deferred: the process may die before anybody hears of it, and nobody need know how it failed.
        try:
            tell = partial(result.callback, work())
        except Exception:  # noqa: BLE001 - it is the caller's
            tell = partial(result.errback, Failure())
        self._machine.callLater(max(0.0, end - self._machine.seconds()), self._tell, tell, result)

    def _tell(self, tell: Callable[[], None] | None, result: Deferred[T]) -> None:
        self._under_way -= 1
        if tell is None or self.away:
            result.errback(StoreUnavailable("the database is away"))
        else:
            tell()
        if self._stopped is not None and not self._stopped.called and not self._under_way:
            self._stopped.callback(None)
