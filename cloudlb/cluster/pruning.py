"""What is kept for a while only: old events, investigations, alerts and ended jobs are dropped.

Every server does it. Which rows are old depends on their times and the settings alone, and no row grows young again, so
what one server has dropped the next one simply does not find; that costs it a look at an index. Whichever servers live,
somebody does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime

from cloudlb.agents.live_settings import LiveSettings
from cloudlb.domain.ports import Store, Transaction
from cloudlb.net.periodic import Periodic

INTERVAL = 600.0
"""Seconds between looks for what is old."""
JOB_AGE = 86_400.0
"""Seconds that a job is kept after its end [CloudStack: job.expire.minutes]."""
BATCH = 500
"""Most rows in one transaction: a few milliseconds of the writer's time, between which admissions have theirs."""
_DAY = 86_400.0

_Prune: TypeAlias = Callable[[Transaction, float], int]


class Pruning:
    """Drops what is old."""

    def __init__(self, store: Store, settings: LiveSettings, clock: IReactorTime) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._turns = Periodic(clock, "drop what is old", self.prune)
        self._running = False

    def start(self) -> None:
        """Begin to look."""
        self._running = True
        self._turns.start(INTERVAL)

    def stop(self) -> None:
        """Drop nothing more."""
        self._running = False
        self._turns.stop()

    async def prune(self) -> None:
        """Drop all that is old now, a batch at a time."""
        settings = self._settings.current
        await self._drop(JOB_AGE, lambda txn, before: txn.jobs.prune(before, BATCH))
        if settings.event_purge_delay:
            age = settings.event_purge_delay * _DAY
            await self._drop(age, lambda txn, before: txn.events.prune(before, BATCH))
            await self._drop(age, lambda txn, before: txn.investigations.prune(before, BATCH))
        if settings.alert_purge_delay:
            await self._drop(settings.alert_purge_delay * _DAY, lambda txn, before: txn.alerts.prune(before, BATCH))

    async def _drop(self, age: float, prune: _Prune) -> None:
        before = self._clock.seconds() - age
        while self._running and await self._store.run(lambda txn: prune(txn, before)) == BATCH:
            # More of it may be old.
            pass
