"""Zones, pods and clusters, and finding them by what agents and operators call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from attrs import frozen
from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Select,
    String,
    Table,
    and_,
    bindparam,
    case,
    insert,
    or_,
    select,
)
from sqlalchemy.exc import IntegrityError

from cloudlb.domain.models import Cluster, ClusterId, Pod, PodId, Zone, ZoneId
from cloudlb.domain.ports import AlreadyExists, Location, NotFound, Refused
from cloudlb.storage.places import PlaceTable
from cloudlb.storage.schema import cluster, pod, zone

_MAX_DIGITS = 9
"""Ids are 32 bits wide; a longer number is a name."""


@frozen
class Site:
    """Where a host stands."""

    zone: Zone
    pod: Pod | None
    cluster: Cluster | None

    def __str__(self) -> str:
        """As in "zone 'a', pod 'b', cluster 'c'"."""
        parts = (("zone", self.zone), ("pod", self.pod), ("cluster", self.cluster))
        return ", ".join(f"{kind} {place.name!r}" for kind, place in parts if place is not None)


SITE_COLUMNS = (
    *(zone.c.id, zone.c.uuid, zone.c.name),
    *(pod.c.id, pod.c.uuid, pod.c.name),
    *(cluster.c.id, cluster.c.uuid, cluster.c.name, cluster.c.hypervisor, cluster.c.arch),
)


def read_site(values: Sequence[Any]) -> Site:
    """Read the values of ``SITE_COLUMNS``."""
    here = _zone(values)
    within = None if values[3] is None else _pod(values[3:], here)
    return Site(here, within, None if within is None or values[6] is None else _cluster(values[6:], within))


def _zone(values: Sequence[Any]) -> Zone:
    return Zone(id=ZoneId(values[0]), uuid=values[1], name=values[2])


def _pod(values: Sequence[Any], within: Zone) -> Pod:
    return Pod(id=PodId(values[0]), uuid=values[1], name=values[2], zone=within)


def _cluster(values: Sequence[Any], within: Pod) -> Cluster:
    return Cluster(
        id=ClusterId(values[0]), uuid=values[1], name=values[2], pod=within, hypervisor=values[3], arch=values[4]
    )


def matches(table: Table, name: str = "key") -> tuple[ColumnElement[bool], ColumnElement[int]]:
    """How a row is found by its id, uuid or name: the condition, and its rank in this order of precedence.

    A query with them is executed with :func:`key_values` of the same ``name``.
    """
    number = bindparam(f"{name}_number", type_=Integer)
    text = bindparam(f"{name}_text", type_=String)
    by_id, by_uuid, by_name = table.c.id == number, table.c.uuid == text, table.c.name == text
    return or_(by_id, by_uuid, by_name), case((by_id, 0), (by_uuid, 1), else_=2)


def key_values(key: str | None, name: str = "key") -> Mapping[str, Any]:
    """The values for :func:`matches`; None and "" match no row."""
    # isascii: int() takes the digits of all scripts. No row has the number -1.
    is_number = key and key.isascii() and key.isdigit() and len(key) <= _MAX_DIGITS
    return {f"{name}_number": int(key) if key and is_number else -1, f"{name}_text": key or None}


def _locate() -> Select[Any]:
    """Zone, pod in the zone and cluster in the pod, as far as they are found."""
    in_zone, zone_rank = matches(zone, "zone")
    in_pod, pod_rank = matches(pod, "pod")
    in_cluster, cluster_rank = matches(cluster, "cluster")
    return (
        select(*SITE_COLUMNS)
        .outerjoin_from(zone, pod, and_(pod.c.zone_id == zone.c.id, pod.c.removed.is_(None), in_pod))
        .outerjoin(cluster, and_(cluster.c.pod_id == pod.c.id, cluster.c.removed.is_(None), in_cluster))
        .where(in_zone, zone.c.removed.is_(None))
        .order_by(zone_rank, pod_rank, cluster_rank)
        .limit(1)
    )


_LOCATE = _locate()
_ALL_ZONES = select(*SITE_COLUMNS[:3]).where(zone.c.removed.is_(None)).order_by(zone.c.id)
_ALL_PODS = select(*SITE_COLUMNS[:6]).join_from(zone, pod).where(pod.c.removed.is_(None)).order_by(pod.c.id)
_ALL_CLUSTERS = (
    select(*SITE_COLUMNS).join_from(zone, pod).join(cluster).where(cluster.c.removed.is_(None)).order_by(cluster.c.id)
)

_ZONE_BY_ID = _ALL_ZONES.where(zone.c.id == bindparam("key_id"))
_POD_BY_ID = _ALL_PODS.where(pod.c.id == bindparam("key_id"))


class TopologyTable(PlaceTable):
    """Implements the port ``TopologyRows``."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID]) -> None:
        super().__init__(connection)
        self._new_uuid = new_uuid
        self._sites: dict[tuple[Location, bool], Site | Refused] = {}

    def zones(self) -> list[Zone]:
        """All zones, ordered by id."""
        return [_zone(row) for row in self._connection.execute(_ALL_ZONES)]

    def pods(self) -> list[Pod]:
        """All pods, ordered by id."""
        return [_pod(row[3:], _zone(row)) for row in self._connection.execute(_ALL_PODS)]

    def clusters(self) -> list[Cluster]:
        """All clusters, ordered by id."""
        rows = self._connection.execute(_ALL_CLUSTERS)
        return [_cluster(row[6:], _pod(row[3:], _zone(row))) for row in rows]

    def add_zone(self, name: str) -> Zone:
        """Make a zone."""
        row = self._insert(
            insert(zone).returning(*SITE_COLUMNS[:3]),
            {"name": name},
            f"there is a zone {name!r} already",
        )
        return _zone(row)

    def add_pod(self, name: str, zone_id: ZoneId) -> Pod:
        """Make a pod in a zone."""
        parent = self._connection.execute(_ZONE_BY_ID, {"key_id": zone_id}).first()
        if parent is None:
            raise NotFound(f"there is no zone {zone_id}")
        within = _zone(parent)
        row = self._insert(
            insert(pod).returning(*SITE_COLUMNS[3:6]),
            {"name": name, "zone_id": zone_id},
            f"there is a pod {name!r} in zone {within.name!r} already",
        )
        return _pod(row, within)

    def add_cluster(self, name: str, pod_id: PodId, *, hypervisor: str, arch: str) -> Cluster:
        """Make a cluster in a pod."""
        parent = self._connection.execute(_POD_BY_ID, {"key_id": pod_id}).first()
        if parent is None:
            raise NotFound(f"there is no pod {pod_id}")
        within = _pod(parent[3:], _zone(parent))
        row = self._insert(
            insert(cluster).returning(*SITE_COLUMNS[6:]),
            {"name": name, "pod_id": pod_id, "hypervisor": hypervisor, "arch": arch},
            f"there is a cluster {name!r} in pod {within.name!r} already",
        )
        return _cluster(row, within)

    def locate(self, location: Location, *, complete: bool) -> Site | Refused:
        """Find where a host says it stands.

        The agents of one rack come back together, and many of them in one transaction: each place is looked up once.

        Args:
            location: what the host said.
            complete: whether pod and cluster must be given.
        """
        site = self._sites.get((location, complete))
        if site is None:
            site = self._sites[location, complete] = self._locate(location, complete)
        return site

    def _locate(self, wanted: Location, complete: bool) -> Site | Refused:
        values = {
            **key_values(wanted.zone, "zone"),
            **key_values(wanted.pod, "pod"),
            **key_values(wanted.cluster, "cluster"),
        }
        row = self._connection.execute(_LOCATE, values).first()
        if row is None:
            return Refused(reason=f"unknown zone {wanted.zone!r}")
        site = read_site(row)
        if site.pod is None and wanted.pod:
            return Refused(reason=f"unknown pod {wanted.pod!r} in {site}")
        if site.cluster is None and wanted.cluster:
            return Refused(reason=f"unknown cluster {wanted.cluster!r} in {site}")
        if site.pod is None and complete:
            return Refused(reason=f"no pod is given, only {site}")
        if site.cluster is None and complete:
            return Refused(reason=f"no cluster is given, only {site}")
        return site

    def _insert(self, statement: Insert, values: Mapping[str, Any], taken: str) -> Sequence[Any]:
        self._sites.clear()
        try:
            with self._connection.begin_nested():
                return self._connection.execute(statement, {"uuid": str(self._new_uuid()), **values}).one()
        except IntegrityError as error:
            raise AlreadyExists(taken) from error
