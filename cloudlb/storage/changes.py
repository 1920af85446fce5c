"""What has changed, for whoever watches the whole fleet. The cost is that of the changes, not of the fleet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, or_, select

from cloudlb.domain.change_ports import Glance
from cloudlb.domain.models import HostId
from cloudlb.domain.records import Event, Level
from cloudlb.storage.database_time import database_time
from cloudlb.storage.schema import alert, cluster, event, host

_NOW = select(database_time())
_GLANCES = select(
    host.c.id,
    host.c.changed,
    host.c.removed.is_not(None),
    host.c.guid,
    host.c.zone_id,
    host.c.name,
    host.c.status,
    host.c.resource_state,
    host.c.server_id,
    cluster.c.name,
    host.c.ip_address,
    host.c.version,
    host.c.resource.is_not(None),
).outerjoin_from(host, cluster, host.c.cluster_id == cluster.c.id)
_THERE = _GLANCES.where(host.c.removed.is_(None)).order_by(host.c.id)
_SINCE = _GLANCES.where(or_(host.c.changed > bindparam("after"), host.c.id.in_(bindparam("ids", expanding=True))))
_EVENTS = select(*event.c).order_by(event.c.id.desc()).limit(bindparam("most"))
_EVENTS_SINCE = _EVENTS.where(event.c.id > bindparam("after"))
_STANDING = select(func.count()).select_from(alert).where(alert.c.archived.is_(False))


class ChangeTable:
    """Implements the port ``ChangeRows``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def now(self) -> float:
        """The time of the database."""
        return float(self._connection.scalar(_NOW) or 0.0)

    def hosts(self) -> list[Glance]:
        """Every host."""
        return [Glance(*row) for row in self._connection.execute(_THERE)]

    def hosts_since(self, changed: float, also: Collection[HostId] = ()) -> list[Glance]:
        """Hosts that were changed."""
        rows = self._connection.execute(_SINCE, {"after": changed, "ids": list(also)})
        return [Glance(*row) for row in rows]

    def newest_events(self, limit: int) -> Sequence[tuple[int, Event]]:
        """The newest events."""
        return self._events(_EVENTS, {"most": limit})

    def events_since(self, number: int, limit: int) -> Sequence[tuple[int, Event]]:
        """Events after one."""
        return self._events(_EVENTS_SINCE, {"after": number, "most": limit})

    def standing_alerts(self) -> int:
        """How many alerts are not archived."""
        return self._connection.scalar(_STANDING) or 0

    def _events(self, statement: Select[Any], values: dict[str, int]) -> list[tuple[int, Event]]:
        found = []
        for row in self._connection.execute(statement, values).mappings():
            columns = {name: value for name, value in row.items() if name != "id"}
            found.append((row["id"], Event(**{**columns, "level": Level(row["level"])})))
        return found
