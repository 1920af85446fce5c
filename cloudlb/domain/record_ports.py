"""What the use cases need of the rows that people read: events, alerts, investigations, jobs; see :mod:`.ports`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from attrs import frozen

from cloudlb.domain.drains import Drain
from cloudlb.domain.models import HostId, ServerId
from cloudlb.domain.records import Alert, AlertType, Event, Investigation, Level


@frozen(kw_only=True)
class EventFilter:
    """Which events; None: any."""

    uuid: str | None = None
    event_type: str | None = None
    level: Level | None = None
    host_id: HostId | None = None
    account_id: int | None = None
    after: float | None = None
    before: float | None = None
    keyword: str | None = None
    """Part of the description or the type, in any case."""


@frozen(kw_only=True)
class AlertFilter:
    """Which alerts; None: any."""

    uuids: Collection[str] | None = None
    alert_type: AlertType | None = None
    after: float | None = None
    before: float | None = None
    """When it happened first."""
    keyword: str | None = None
    """Part of the subject, in any case."""


@frozen(kw_only=True)
class JobFilter:
    """Which jobs; None: any."""

    account_id: int | None = None
    server_id: ServerId | None = None
    host_id: HostId | None = None
    after: float | None = None
    """When they were started."""
    keyword: str | None = None
    """Part of the command's name, in any case."""


class EventRows(Protocol):
    """Events; rows are added and pruned, never changed."""

    def add(
        self,
        event_type: str,
        description: str,
        *,
        now: float,
        level: Level = Level.INFO,
        account_id: int | None = None,
        server_id: ServerId | None = None,
        host_id: HostId | None = None,
        details: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Add one."""
        ...

    def list(self, which: EventFilter, offset: int, limit: int | None) -> tuple[Sequence[Event], int]:
        """A page of them, the newest first, and how many there are in all."""
        ...

    def prune(self, before: float, limit: int) -> int:
        """Drop what is older than a time, at most ``limit`` of it; say how many."""
        ...


class AlertRows(Protocol):
    """Alerts."""

    def send(self, alert_type: AlertType, subject: str, *, host_id: HostId | None, now: float) -> bool:
        """Raise an alert; False if the same one stands already, which is counted up instead."""
        ...

    def list(self, which: AlertFilter, offset: int, limit: int | None) -> tuple[Sequence[Alert], int]:
        """A page of those that are not archived, the newest first, and how many there are in all."""
        ...

    def archive(self, which: AlertFilter) -> int:
        """Archive some; say how many were not archived before."""
        ...

    def delete(self, which: AlertFilter) -> int:
        """Delete some, archived ones too; say how many."""
        ...

    def prune(self, before: float, limit: int) -> int:
        """Drop what happened last before a time, at most ``limit`` of it; say how many."""
        ...


class InvestigationRows(Protocol):
    """What investigations found."""

    def add(self, investigation: Investigation) -> None:
        """Keep one."""
        ...

    def list(self, host_id: HostId | None, offset: int, limit: int | None) -> tuple[Sequence[Investigation], int]:
        """A page of them, the newest first, and how many there are in all."""
        ...

    def prune(self, before: float, limit: int) -> int:
        """Drop those that began before a time, at most ``limit``; say how many."""
        ...


class DrainRows(Protocol):
    """The latest drain of each server."""

    def put(self, drain: Drain) -> Drain:
        """Write a server's new drain, in place of the one before, and give it the next number."""
        ...

    def progress(self, drain: Drain) -> bool:
        """Write how far a drain is, or how it ended; False if it has ended already, or a newer one is in its place."""
        ...

    def get(self, server_id: ServerId) -> Drain | None:
        """A server's latest drain."""
        ...

    def all(self) -> Mapping[ServerId, Drain]:
        """Those of all servers that ever had one."""
        ...
