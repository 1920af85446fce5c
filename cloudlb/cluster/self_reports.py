"""What a server tells of its machine and its process, for whoever asks any of the servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReactorTime

from cloudlb.cluster.membership import Membership
from cloudlb.domain.ports import Store, StoreUnavailable
from cloudlb.net.periodic import Periodic

INTERVAL = 60.0
"""Seconds between two reports [management.server.stats.interval]."""


class SelfReports:
    """Writes them into the row of the server."""

    def __init__(
        self, store: Store, membership: Membership, clock: IReactorTime, look: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Make it; ``look`` says what there is to report now."""
        self._store = store
        self._membership = membership
        self._clock = clock
        self._look = look
        self._reports = Periodic(clock, "report on this server", self._report)

    def start(self) -> None:
        """Begin to report, now."""
        self._reports.start(INTERVAL, now=True)

    def stop(self) -> None:
        """Report no more."""
        self._reports.stop()

    async def _report(self) -> None:
        own, report = self._membership.own.id, {**self._look(), "at": self._clock.seconds()}
        # Others say in the log that the database is away; the next report is not far.
        with suppress(StoreUnavailable):
            await self._store.run(lambda txn: txn.servers.report(own, report))
