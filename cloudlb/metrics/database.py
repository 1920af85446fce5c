"""How long the database takes, and how often it is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from cloudlb.domain.ports import StoreUnavailable
from cloudlb.metrics.meters import Meters


class DatabaseTimes:
    """Watches work of the database; ``cloudlb.storage.database.Database.measure`` takes one."""

    def __init__(self, meters: Meters, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._meters = {
            operation: (
                meters.database_times.labels(operation),
                meters.database_errors.labels(operation),
                meters.database_under_way.labels(operation),
            )
            for operation in ("read", "write")
        }

    def __call__(self, operation: str, work: Deferred[Any]) -> None:
        """Watch one piece of work, a "read" or a "write"."""
        times, errors, under_way = self._meters[operation]
        began = self._clock()
        under_way.inc()

        def ended(result: object) -> object:
            under_way.dec()
            times.observe(max(0.0, self._clock() - began))
            if isinstance(result, Failure) and isinstance(result.value, StoreUnavailable):
                errors.inc()
            return result

        work.addBoth(ended)
