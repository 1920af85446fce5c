"""Finding and listing hosts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, Select, Text, and_, bindparam, cast, func, or_, select

from cloudlb.domain.disconnects import LEFT_ALONE
from cloudlb.domain.drains import Whereabouts
from cloudlb.domain.host_ports import HostFilter, Stamp, Standing
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import ClusterId, DirectResource, Host, HostFacts, HostId, ServerId, Session, ZoneId
from cloudlb.domain.ports import AmbiguousName
from cloudlb.domain.resource_state import ResourceState
from cloudlb.storage.host_facts import FACTS
from cloudlb.storage.schema import cluster, host, out_of_band, pod, zone
from cloudlb.storage.topology import SITE_COLUMNS, Site, key_values, matches, read_site

MAX_NAMED = 10
"""Most hosts of one name that an error tells."""
_IDS_AT_ONCE = 10_000
"""Databases limit the parameters of a statement."""

_STATE = (
    "id",
    "uuid",
    "status",
    "resource_state",
    "server_id",
    "session",
    "created",
    "last_heard",
    "disconnected",
    "removed",
    "resource",
    "properties",
    "tags",
    "looked_into",
    "annotation",
)
_STATE_COLUMNS = tuple(host.c[name] for name in _STATE)
_COLUMNS = (*_STATE_COLUMNS, *(host.c[name] for name in FACTS))

HOSTS = (
    select(*_COLUMNS, *SITE_COLUMNS)
    .join_from(host, zone, host.c.zone_id == zone.c.id)
    .outerjoin(pod, host.c.pod_id == pod.c.id)
    .outerjoin(cluster, host.c.cluster_id == cluster.c.id)
)
"""Hosts, and where they stand."""
_BY_ID = HOSTS.where(host.c.id == bindparam("of_id"))
_BY_IDS = HOSTS.where(host.c.id.in_(bindparam("ids", expanding=True)))
_BY_GUID = HOSTS.where(host.c.guid == bindparam("of_guid"))
_matches, _rank = matches(host)
_THERE = HOSTS.where(host.c.removed.is_(None))
_BY_KEY = _THERE.where(_matches).order_by(_rank, host.c.id).limit(MAX_NAMED + 1)
_REMOVED_BY_KEY = HOSTS.where(
    host.c.removed.is_not(None), or_(host.c.id == bindparam("key_number"), host.c.uuid == bindparam("key_text"))
)
_ALL = _THERE.order_by(host.c.id)
_ON_SERVER = _ALL.where(
    host.c.server_id == bindparam("of_server"), host.c.status.in_(bindparam("statuses", expanding=True))
)
_LOST_SINCE = select(host.c.id).where(
    host.c.status.in_((HostStatus.DISCONNECTED.value, HostStatus.ALERT.value)),
    host.c.last_heard >= bindparam("heard"),
    host.c.removed.is_(None),
)
_IN_CLUSTER = _ALL.where(host.c.cluster_id == bindparam("of_cluster"), host.c.status == bindparam("of_status"))
_DIRECT = _ALL.where(host.c.resource.is_not(None), host.c.id > bindparam("after")).limit(bindparam("most"))
_OVERDUE = (
    _THERE.where(host.c.status == HostStatus.DISCONNECTED.value, host.c.disconnected < bindparam("before"))
    .order_by(host.c.disconnected, host.c.id)
    .limit(bindparam("most"))
)
_TO_LOOK_INTO = (
    _THERE.where(
        host.c.status == HostStatus.DISCONNECTED.value,
        host.c.looked_into < bindparam("before"),
        host.c.resource_state.not_in(sorted(state.value for state in LEFT_ALONE)),
        or_(
            host.c.server_id == bindparam("of_server"),
            and_(bindparam("orphans", type_=Boolean), host.c.server_id.not_in(bindparam("live", expanding=True))),
        ),
    )
    .order_by(host.c.looked_into, host.c.id)
    .limit(bindparam("most"))
)
# A server of the version before writes no time of a change; where one changes by it, another of these does as well.
_STAMPS = select(
    host.c.id,
    host.c.last_heard,
    host.c.server_id,
    host.c.changed,
    host.c.session,
    host.c.status,
    host.c.resource_state,
    host.c.disconnected,
    cast(host.c.tags, Text),
)


def _stamp_text() -> ColumnElement[str]:
    text: ColumnElement[str] = cast(host.c.id, Text)
    for column in list(_STAMPS.selected_columns)[1:]:
        text = text + "," + func.coalesce(cast(column, Text), "")
    return text


_STAMP_TEXTS = select(_stamp_text().label("stamp"))
_WHEREABOUTS = select(host.c.id, host.c.status, host.c.server_id).where(host.c.id.in_(bindparam("ids", expanding=True)))
_NAMES = select(host.c.id, host.c.uuid, host.c.name).where(host.c.id.in_(bindparam("ids", expanding=True)))
_UP_BY_SERVER = (
    select(host.c.server_id, func.count())
    .where(host.c.status == HostStatus.UP.value, host.c.server_id.is_not(None))
    .group_by(host.c.server_id)
)
_UUIDS_BY_SERVER = (
    select(host.c.server_id, host.c.uuid, host.c.status == HostStatus.UP.value)
    .where(host.c.server_id.is_not(None), host.c.removed.is_(None))
    .order_by(host.c.id)
)
_BY_STATES = (
    select(host.c.status, host.c.resource_state, func.count())
    .where(host.c.removed.is_(None))
    .group_by(host.c.status, host.c.resource_state)
)
_STANDINGS = (
    select(
        host.c.id,
        host.c.guid,
        host.c.zone_id,
        host.c.server_id,
        host.c.status == HostStatus.UP.value,
        host.c.resource.is_not(None),
    )
    .where(host.c.removed.is_(None))
    .order_by(host.c.id)
)
_IDS_IN_ZONE = (
    select(host.c.id).where(host.c.zone_id == bindparam("in_zone"), host.c.removed.is_(None)).order_by(host.c.id)
)


def _gaps() -> Select[Any]:
    """How many hosts of the zone stand from each of some hosts, or the beginning, to the next: one pass in all."""
    some = (
        select(host.c.id, func.lag(host.c.id, 1, 0).over(order_by=host.c.id).label("last"))
        .where(host.c.id.in_(bindparam("ids", expanding=True)))
        .cte("some")
    )
    other = host.alias("other")
    between = (
        select(func.count())
        .where(
            other.c.zone_id == bindparam("in_zone"),
            other.c.removed.is_(None),
            other.c.id >= some.c.last,
            other.c.id < some.c.id,
        )
        .correlate(some)
    )
    return select(some.c.id, between.scalar_subquery()).order_by(some.c.id)


_GAPS = _gaps()


class HostListings:
    """Implements the part of the port ``HostRows`` that reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, host_id: HostId) -> Host | None:
        """A host by its number."""
        return self._one(_BY_ID, {"of_id": host_id})

    def several(self, ids: Collection[HostId]) -> Mapping[HostId, Host]:
        """See HostRows."""
        return {found.id: found for found in self._several(_BY_IDS, {"ids": list(ids)})}

    def by_guid(self, guid: str) -> Host | None:
        """A host by its GUID."""
        return self._one(_BY_GUID, {"of_guid": guid})

    def find(self, key: str) -> Host | None:
        """A host by id, uuid or name."""
        found = self._several(_BY_KEY, key_values(key))
        if len(found) > 1 and key not in (str(found[0].id), found[0].uuid):
            uuids = ", ".join(each.uuid for each in found[:MAX_NAMED])
            more = " and others" if len(found) > MAX_NAMED else ""
            raise AmbiguousName(f"several hosts are named {key!r}: {uuids}{more}")
        return found[0] if found else None

    def find_removed(self, key: str) -> Host | None:
        """A removed host by id or uuid."""
        return self._one(_REMOVED_BY_KEY, key_values(key))

    def all(self) -> list[Host]:
        """Every host that is there."""
        return self._several(_ALL, {})

    def on_server(self, server_id: ServerId, statuses: Collection[HostStatus]) -> list[Host]:
        """Hosts of a server."""
        return self._several(_ON_SERVER, {"of_server": server_id, "statuses": [status.value for status in statuses]})

    def overdue(self, before: float, limit: int) -> list[Host]:
        """Hosts that are Disconnected for long."""
        return self._several(_OVERDUE, {"before": before, "most": limit})

    def to_look_into(
        self, before: float, limit: int, *, server_id: ServerId, live: Collection[ServerId], orphans: bool
    ) -> list[Host]:
        """Hosts that are lost, and whose turn it is."""
        whose = {"of_server": server_id, "live": list(live), "orphans": orphans}
        return self._several(_TO_LOOK_INTO, {"before": before, "most": limit, **whose})

    def lost_since(self, heard: float) -> list[HostId]:
        """Hosts that were lost, and heard."""
        return list(self._connection.scalars(_LOST_SINCE, {"heard": heard}).all())

    def in_cluster(self, cluster_id: ClusterId, status: HostStatus) -> list[Host]:
        """Hosts of a cluster."""
        return self._several(_IN_CLUSTER, {"of_cluster": cluster_id, "of_status": status.value})

    def direct(self, limit: int, *, after: HostId) -> list[Host]:
        """Hosts whose resource runs inside a server."""
        return self._several(_DIRECT, {"after": after, "most": limit})

    def page(self, which: HostFilter, offset: int, limit: int | None) -> tuple[Sequence[Host], int]:
        """A page of hosts."""
        conditions = _there(which)
        return self._several(_page_of(HOSTS, conditions, offset, limit), {}), self._total(conditions)

    def stamps(self, which: HostFilter, offset: int, limit: int) -> Sequence[Stamp]:
        """A page of stamps."""
        page = _page_of(_STAMPS, _there(which), offset, limit)
        return list(map(Stamp._make, self._connection.execute(page).all()))

    def state_of_page(self, which: HostFilter, offset: int, limit: int) -> tuple[str, int]:
        """The stamps of a page in one text, which the database puts together."""
        conditions = _there(which)
        stamps = _page_of(_STAMP_TEXTS, conditions, offset, limit).subquery().c.stamp
        return self._connection.scalar(select(func.aggregate_strings(stamps, ";"))) or "", self._total(conditions)

    def _total(self, conditions: Sequence[ColumnElement[bool]]) -> int:
        return self._connection.scalar(select(func.count()).select_from(host).where(*conditions)) or 0

    def whereabouts(self, ids: Collection[HostId]) -> Mapping[HostId, Whereabouts]:
        """Where some hosts are."""
        rows = self._connection.execute(_WHEREABOUTS, {"ids": list(ids)})
        return {row.id: Whereabouts(HostStatus(row.status), row.server_id) for row in rows}

    def names(self, ids: Collection[HostId]) -> Mapping[HostId, tuple[str, str]]:
        """What to call some hosts."""
        names, left = dict[HostId, tuple[str, str]](), list(ids)
        while left:
            some, left = left[:_IDS_AT_ONCE], left[_IDS_AT_ONCE:]
            rows = self._connection.execute(_NAMES, {"ids": some})
            names |= {HostId(host_id): (uuid, name) for host_id, uuid, name in rows}
        return names

    def uuids_by_server(self) -> Mapping[ServerId, tuple[Sequence[str], Sequence[str]]]:
        """The hosts of each server."""
        found: dict[ServerId, tuple[list[str], list[str]]] = {}
        for server_id, uuid, is_up in self._connection.execute(_UUIDS_BY_SERVER):
            up, others = found.setdefault(ServerId(server_id), ([], []))
            (up if is_up else others).append(uuid)
        return found

    def up_by_server(self) -> Mapping[ServerId, int]:
        """How many hosts are Up on each server."""
        return {ServerId(server_id): count for server_id, count in self._connection.execute(_UP_BY_SERVER)}

    def by_states(self) -> Mapping[tuple[HostStatus, ResourceState], int]:
        """How many hosts are in each status and resource state."""
        rows = self._connection.execute(_BY_STATES)
        return {(HostStatus(status), ResourceState(state)): count for status, state, count in rows}

    def standings(self) -> list[Standing]:
        """What plans need of every host."""
        return [Standing(*row) for row in self._connection.execute(_STANDINGS)]

    def ids_in_zone(self, zone_id: ZoneId) -> list[HostId]:
        """Ids of a zone's hosts, in order."""
        return list(self._connection.scalars(_IDS_IN_ZONE, {"in_zone": zone_id}).all())

    def places(self, zone_id: ZoneId, ids: Sequence[HostId]) -> Mapping[HostId, int]:
        """Places of some of a zone's hosts, with one statement."""
        gaps = self._connection.execute(_GAPS, {"in_zone": zone_id, "ids": ids}).all()
        return dict(zip((HostId(row[0]) for row in gaps), accumulate(row[1] for row in gaps), strict=True))

    def _one(self, statement: Select[Any], values: Mapping[str, Any]) -> Host | None:
        row = self._connection.execute(statement, values).first()
        return None if row is None else _host(row, read_site(row[len(_COLUMNS) :]))

    def _several(self, statement: Select[Any], values: Mapping[str, Any]) -> list[Host]:
        """Hosts of a list, which share the values of the few places in which they stand."""
        sites: dict[tuple[Any, ...], Site] = {}
        hosts = []
        for row in self._connection.execute(statement, values):
            place = row[len(_COLUMNS) :]
            ids = (place[0], place[3], place[6])
            if ids not in sites:
                sites[ids] = read_site(place)
            hosts.append(_host(row, sites[ids]))
        return hosts


def _there(which: HostFilter) -> Sequence[ColumnElement[bool]]:
    """What holds for hosts that are there and that a filter lets through."""
    return [host.c.removed.is_(None), *_conditions(which)]


def _page_of(
    hosts: Select[Any], conditions: Sequence[ColumnElement[bool]], offset: int, limit: int | None
) -> Select[Any]:
    return hosts.where(*conditions).order_by(host.c.id).offset(offset).limit(limit)


def _conditions(which: HostFilter) -> Iterator[ColumnElement[bool]]:
    same = {
        "id": which.host_id,
        "name": which.name,
        "zone_id": which.zone_id,
        "pod_id": which.pod_id,
        "cluster_id": which.cluster_id,
        "server_id": which.server_id,
    }
    in_any_case = {
        "status": which.status,
        "resource_state": which.resource_state,
        "type": which.type,
        "hypervisor": which.hypervisor,
        "arch": which.arch,
        "version": which.version,
    }
    yield from (host.c[name] == value for name, value in same.items() if value is not None)
    yield from (func.lower(host.c[name]) == text.lower() for name, text in in_any_case.items() if text is not None)
    if which.out_of_band is not None:
        has_one = host.c.id.in_(select(out_of_band.c.host_id))
        yield has_one if which.out_of_band else ~has_one
    if which.keyword is not None:
        yield host.c.name.icontains(which.keyword, autoescape=True)


def _host(row: Sequence[Any], site: Site) -> Host:
    server_id, resource = row[4], row[10]
    return Host(
        id=HostId(row[0]),
        uuid=row[1],
        facts=HostFacts(**dict(zip(FACTS, row[len(_STATE) : len(_COLUMNS)], strict=True))),
        zone=site.zone,
        pod=site.pod,
        cluster=site.cluster,
        status=HostStatus(row[2]),
        resource_state=ResourceState(row[3]),
        server_id=None if server_id is None else ServerId(server_id),
        session=Session(row[5]),
        created=row[6],
        last_heard=row[7],
        disconnected=row[8],
        removed=row[9],
        direct=None if resource is None else DirectResource(resource=resource, properties=row[11]),
        tags=tuple(row[12]),
        looked_into=row[13],
        annotation=row[14],
    )
