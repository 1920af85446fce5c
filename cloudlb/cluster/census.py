"""How many hosts there are, and how they are: counted now and then, so that nobody who wants to know asks the database.

Every server counts all of them: there is always one whose metrics are read.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime

from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.ports import Store, StoreUnavailable
from cloudlb.domain.resource_state import ResourceState
from cloudlb.net.periodic import Periodic

INTERVAL = 30.0
"""Seconds between two counts."""


class Census:
    """Counts hosts."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._store = store
        self._counts = Periodic(clock, "count the hosts", self._count)
        self.hosts: Mapping[tuple[HostStatus, ResourceState], int] = {}
        """Of the whole cloud, by what they are; empty while that is not known."""

    def start(self) -> None:
        """Begin to count, now."""
        self._counts.start(INTERVAL, now=True)

    def stop(self) -> None:
        """Count no more."""
        self._counts.stop()

    async def _count(self) -> None:
        try:
            self.hosts = await self._store.read(lambda txn: txn.hosts.by_states())
        except StoreUnavailable:
            # Others say in the log that it is away.
            self.hosts = {}
