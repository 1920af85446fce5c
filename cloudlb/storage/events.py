"""Events: what happened, and who asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, insert, or_

from cloudlb.domain.models import HostId, ServerId
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.records import Event, Level
from cloudlb.storage.pages import page, prune
from cloudlb.storage.schema import event
from cloudlb.storage.texts import as_text

_COLUMNS = tuple(column for column in event.c if column.name != "id")
_ADD = insert(event)


class EventTable:
    """Implements the port ``EventRows``."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID]) -> None:
        self._connection = connection
        self._new_uuid = new_uuid

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
        about = {"account_id": account_id, "server_id": server_id, "host_id": host_id, "details": dict(details)}
        self.add_all([{"type": event_type, "level": level.value, "description": description, "created": now, **about}])

    def add_all(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add many with one statement; a row has every column but id and uuid."""
        if rows:
            self._connection.execute(
                _ADD,
                [{"uuid": str(self._new_uuid()), **row, "description": as_text(row["description"])} for row in rows],
            )

    def list(self, which: EventFilter, offset: int, limit: int | None) -> tuple[Sequence[Event], int]:
        """A page of them, the newest first."""
        conditions = list(_conditions(which))
        rows, total = page(self._connection, _COLUMNS, conditions, event.c.id, offset=offset, limit=limit)
        return [_event(row) for row in rows], total

    def prune(self, before: float, limit: int) -> int:
        """Drop what is old."""
        return prune(self._connection, event, event.c.created < before, limit)


def _conditions(which: EventFilter) -> Iterator[ColumnElement[bool]]:
    equal = {
        "uuid": which.uuid,
        "type": which.event_type,
        "level": which.level and which.level.value,
        "host_id": which.host_id,
        "account_id": which.account_id,
    }
    for name, value in equal.items():
        if value is not None:
            yield event.c[name] == value
    if which.after is not None:
        yield event.c.created >= which.after
    if which.before is not None:
        yield event.c.created < which.before
    if which.keyword is not None:
        yield or_(*(column.icontains(which.keyword, autoescape=True) for column in (event.c.description, event.c.type)))


def _event(row: Row[Any]) -> Event:
    values = row._asdict()
    return Event(**{**values, "level": Level(values["level"])})
