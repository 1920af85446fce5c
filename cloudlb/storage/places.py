"""What operators say of zones, pods and clusters, and their end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, Table, delete, select, update
from sqlalchemy.exc import IntegrityError

from cloudlb.domain.models import Cluster, Pod, Zone
from cloudlb.domain.places import Place, PlaceDetails, StillInUse
from cloudlb.domain.ports import AlreadyExists
from cloudlb.storage.schema import cluster, cluster_configuration, host, pod, zone

_NAMED = 5
"""Names that an error tells of what is in the way."""


@frozen
class _Kind:
    """Where one of the three kinds of places stands, and what stands in it."""

    name: str
    table: Table
    contents: Mapping[str, Table]
    """By plural."""

    @property
    def reference(self) -> str:
        """The column by which the contents name their place."""
        return f"{self.name}_id"


_KINDS: Mapping[type[Place], _Kind] = {
    Zone: _Kind("zone", zone, {"pods": pod, "hosts": host}),
    Pod: _Kind("pod", pod, {"clusters": cluster, "hosts": host}),
    Cluster: _Kind("cluster", cluster, {"hosts": host}),
}


class PlaceTable:
    """Implements the part of the port ``TopologyRows`` that concerns places which are there."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def details(self, kind: type[Place]) -> Mapping[str, PlaceDetails]:
        """What is said of all places of a kind."""
        table = _KINDS[kind].table
        network = [table.c.network] if "network" in table.c else []
        rows = self._connection.execute(
            select(table.c.uuid, table.c.allocation_state, *network).where(table.c.removed.is_(None))
        )
        return {
            uuid: PlaceDetails(allocation_state=state, network=rest[0] if rest else {}) for uuid, state, *rest in rows
        }

    def describe(self, place: Place, details: PlaceDetails) -> None:
        """Write what is said of a place."""
        values: dict[str, Any] = {"allocation_state": details.allocation_state}
        if not isinstance(place, Cluster):
            values["network"] = dict(details.network)
        self._write(place, values)

    def rename(self, place: Place, name: str) -> None:
        """Give a place another name."""
        kind = _KINDS[type(place)]
        if hosts := self._names(kind, host, place):
            raise StillInUse(
                f"{kind.name} {place.name!r} has {_counted('hosts', hosts)}, whose agents say that they stand there: "
                "they would be refused under another name"
            )
        try:
            with self._connection.begin_nested():
                self._write(place, {"name": name})
        except IntegrityError as error:
            raise AlreadyExists(f"there is a {kind.name} {name!r} already") from error

    def remove(self, place: Place, now: float) -> None:
        """Remove a place in which nothing is left."""
        kind = _KINDS[type(place)]
        # Whoever puts something there from now on waits.
        self._connection.execute(select(kind.table.c.id).where(kind.table.c.id == place.id).with_for_update())
        if left := list(self._left(kind, place)):
            raise StillInUse(f"{kind.name} {place.name!r} has {' and '.join(left)}")
        if isinstance(place, Cluster):
            self._connection.execute(
                delete(cluster_configuration).where(cluster_configuration.c.cluster_id == place.id)
            )
        self._write(place, {"name": place.uuid, "removed": now})

    def _left(self, kind: _Kind, place: Place) -> Iterator[str]:
        for plural, table in kind.contents.items():
            if names := self._names(kind, table, place):
                yield _counted(plural, names)

    def _names(self, kind: _Kind, contents: Table, place: Place) -> list[str]:
        there = contents.c[kind.reference] == place.id, contents.c.removed.is_(None)
        return list(self._connection.scalars(select(contents.c.name).where(*there).order_by(contents.c.id)))

    def _write(self, place: Place, values: Mapping[str, Any]) -> None:
        table = _KINDS[type(place)].table
        self._connection.execute(update(table).where(table.c.id == place.id).values(values))


def _counted(plural: str, names: list[str]) -> str:
    """As in "2 hosts (a, b)"."""
    more = ", ..." if len(names) > _NAMED else ""
    what = plural if len(names) > 1 else plural.removesuffix("s")
    return f"{len(names)} {what} ({', '.join(names[:_NAMED])}{more})"
