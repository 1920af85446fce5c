"""What a watcher of the fleet needs of the rows: everything once, then what has changed; see :mod:`.ports`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from cloudlb.domain.models import HostId, ServerId, ZoneId
from cloudlb.domain.records import Event


class Glance(NamedTuple):
    """As much of a host as a list of ten thousand shows."""

    id: HostId
    changed: float
    """When its row was changed, by the clock of the database; that it was heard is no change."""
    removed: bool
    guid: str
    zone_id: ZoneId
    name: str
    status: str
    resource_state: str
    server_id: ServerId | None
    cluster: str | None
    """The name."""
    ip_address: str
    version: str
    direct: bool
    """It has a resource inside a server."""


class ChangeRows(Protocol):
    """Changes of rows, in the order in which they were made; they are seen in that of their commits.

    So whoever looks again and again asks for what lies a little before its last look.
    """

    def now(self) -> float:
        """The time by the clock that the times of changes are taken from."""
        ...

    def hosts(self) -> list[Glance]:
        """Every host that is there, ordered by id."""
        ...

    def hosts_since(self, changed: float, also: Collection[HostId] = ()) -> list[Glance]:
        """Hosts that were changed after a time, removed ones too, and some others."""
        ...

    def newest_events(self, limit: int) -> Sequence[tuple[int, Event]]:
        """The newest events and their numbers, the newest first."""
        ...

    def events_since(self, number: int, limit: int) -> Sequence[tuple[int, Event]]:
        """Events with a greater number, the newest first; of more than ``limit`` the newest."""
        ...

    def standing_alerts(self) -> int:
        """How many alerts are not archived."""
        ...
