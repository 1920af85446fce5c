"""Hosts: admission, status and the times they were last heard from.

A server writes a host's row only under the session that its own admission began, so a server that has lost a host, or
was away while another took it, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any
from uuid import UUID

from attrs import fields
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Float,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.sql.dml import ReturningInsert

from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostFacts, HostId, ServerId, Session, ZoneId
from cloudlb.domain.ports import Admission, Refused
from cloudlb.domain.resource_state import ResourceState
from cloudlb.storage.schema import cluster, host, pod, zone
from cloudlb.storage.topology import SITE_COLUMNS, Site, TopologyTable, key_values, matches, read_site

_FACTS = tuple(attribute.name for attribute in fields(HostFacts))
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
)
_STATE_COLUMNS = tuple(host.c[name] for name in _STATE)
_COLUMNS = (*_STATE_COLUMNS, *(host.c[name] for name in _FACTS))

_HYPERVISOR_HOST = "Routing"
"""The type of hosts that stand in a cluster; system VMs may stand in a pod, or only in a zone."""

_LOST = tuple(status.value for status in (HostStatus.DISCONNECTED, HostStatus.DOWN, HostStatus.ALERT))


def _admission() -> ReturningInsert[Any]:
    """One statement for a new host and for one that comes back; it gives no row for one that is not taken in."""
    new = upsert(host).values(session=1, status=HostStatus.CONNECTING.value, resource_state=ResourceState.ENABLED.value)
    keeps_up = and_(bindparam("transferred", type_=Boolean), host.c.status == HostStatus.UP.value)
    return new.on_conflict_do_update(
        index_elements=[host.c.guid],
        set_={
            **{name: new.excluded[name] for name in ("server_id", *_FACTS)},
            "session": host.c.session + 1,
            "status": case((keeps_up, HostStatus.UP.value), else_=HostStatus.CONNECTING.value),
        },
        where=and_(
            host.c.removed.is_(None),
            host.c.zone_id == new.excluded.zone_id,
            host.c.pod_id.is_not_distinct_from(new.excluded.pod_id),
            host.c.cluster_id.is_not_distinct_from(new.excluded.cluster_id),
        ),
    ).returning(*_STATE_COLUMNS)


_ADMIT = _admission()
_CHANGE_STATUS = (
    update(host)
    .where(
        host.c.id == bindparam("of_id"),
        host.c.session == bindparam("of_session"),
        host.c.removed.is_(None),
    )
    .values(
        status=bindparam("new_status", type_=String),
        disconnected=case(
            (bindparam("new_status", type_=String) == HostStatus.UP.value, null()),
            (
                bindparam("new_status", type_=String).in_(_LOST),
                func.coalesce(host.c.disconnected, bindparam("now", type_=Float)),
            ),
            else_=host.c.disconnected,
        ),
    )
)
_TOUCH = (
    update(host)
    .where(
        host.c.id == bindparam("of_id"),
        host.c.removed.is_(None),
        or_(host.c.last_heard.is_(None), host.c.last_heard < bindparam("heard")),
    )
    .values(last_heard=bindparam("heard"))
)
_REMOVE = (
    update(host)
    .where(host.c.id == bindparam("of_id"), host.c.removed.is_(None))
    .values(status=HostStatus.REMOVED.value, removed=bindparam("now"), session=host.c.session + 1)
)

_HOSTS = (
    select(*_COLUMNS, *SITE_COLUMNS)
    .join_from(host, zone, host.c.zone_id == zone.c.id)
    .outerjoin(pod, host.c.pod_id == pod.c.id)
    .outerjoin(cluster, host.c.cluster_id == cluster.c.id)
)
_BY_ID = _HOSTS.where(host.c.id == bindparam("of_id"))
_BY_GUID = _HOSTS.where(host.c.guid == bindparam("of_guid"))
_matches, _rank = matches(host)
_BY_KEY = _HOSTS.where(host.c.removed.is_(None), _matches).order_by(_rank, host.c.id).limit(1)
_ALL = _HOSTS.where(host.c.removed.is_(None)).order_by(host.c.id)
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


class HostTable:
    """Implements the port ``HostRows``."""

    def __init__(self, connection: Connection, new_uuid: Callable[[], UUID], topology: TopologyTable) -> None:
        self._connection = connection
        self._new_uuid = new_uuid
        self._topology = topology

    def admit(self, admission: Admission, now: float) -> Host | Refused:
        """Take a host in: one statement for a host that is known and stands where it stood, the hot path."""
        facts = {name: getattr(admission.facts, name) for name in _FACTS}
        if (fault := _fault(facts)) is not None:
            return Refused(reason=fault)
        location, guid = admission.location, admission.facts.guid
        if not all(_is_text(key) for key in (location.zone, location.pod, location.cluster) if key):
            return Refused(reason=f"the location of host {guid!r} is no text")
        site = self._topology.locate(location, complete=admission.facts.type == _HYPERVISOR_HOST)
        if isinstance(site, Refused):
            return site
        row = self._connection.execute(
            _ADMIT,
            {
                **facts,
                "uuid": str(self._new_uuid()),
                "zone_id": site.zone.id,
                "pod_id": site.pod and site.pod.id,
                "cluster_id": site.cluster and site.cluster.id,
                "server_id": admission.server_id,
                "created": now,
                "transferred": admission.transferred,
            },
        ).first()
        return self._refusal(guid, site) if row is None else _host(row, admission.facts, site)

    def change_status(self, host_id: HostId, session: Session, status: HostStatus, now: float) -> bool:
        """Set the status for the owner of the latest session."""
        values = {"of_id": host_id, "of_session": session, "new_status": status.value, "now": now}
        return self._connection.execute(_CHANGE_STATUS, values).rowcount == 1

    def get(self, host_id: HostId) -> Host | None:
        """A host by its number."""
        return self._one(self._connection.execute(_BY_ID, {"of_id": host_id}).first())

    def by_guid(self, guid: str) -> Host | None:
        """A host by its GUID."""
        return self._one(self._connection.execute(_BY_GUID, {"of_guid": guid}).first())

    def find(self, key: str) -> Host | None:
        """A host by id, uuid or name."""
        return self._one(self._connection.execute(_BY_KEY, key_values(key)).first())

    def all(self) -> list[Host]:
        """Every host that is there."""
        sites: dict[tuple[Any, ...], Site] = {}
        hosts = []
        for row in self._connection.execute(_ALL):
            values = row[len(_COLUMNS) :]
            ids = (values[0], values[3], values[6])
            if ids not in sites:
                sites[ids] = read_site(values)
            hosts.append(_host(row, _facts(row), sites[ids]))
        return hosts

    def ids_in_zone(self, zone_id: ZoneId) -> list[HostId]:
        """Ids of a zone's hosts, in order."""
        return list(self._connection.scalars(_IDS_IN_ZONE, {"in_zone": zone_id}).all())

    def places(self, zone_id: ZoneId, ids: Sequence[HostId]) -> Mapping[HostId, int]:
        """Places of some of a zone's hosts, with one statement."""
        gaps = self._connection.execute(_GAPS, {"in_zone": zone_id, "ids": ids}).all()
        return dict(zip((HostId(row[0]) for row in gaps), accumulate(row[1] for row in gaps), strict=True))

    def touch(self, heard: Mapping[HostId, float]) -> None:
        """Stamp hosts, all with one statement."""
        if heard:
            self._connection.execute(_TOUCH, [{"of_id": host_id, "heard": at} for host_id, at in heard.items()])

    def remove(self, host_id: HostId, now: float) -> bool:
        """Mark a host as removed."""
        return self._connection.execute(_REMOVE, {"of_id": host_id, "now": now}).rowcount == 1

    def _refusal(self, guid: str, wanted: Site) -> Refused:
        """Say why the host of a GUID was not taken in again."""
        row = self._connection.execute(_BY_GUID, {"of_guid": guid}).one()
        stands = read_site(row[len(_COLUMNS) :])
        if row.removed is not None:
            return Refused(reason=f"host {guid!r} was deleted")
        return Refused(reason=f"host {guid!r} stands in {stands} and cannot come back in {wanted}")

    def _one(self, row: Sequence[Any] | None) -> Host | None:
        return None if row is None else _host(row, _facts(row), read_site(row[len(_COLUMNS) :]))


def _facts(row: Sequence[Any]) -> HostFacts:
    return HostFacts(**dict(zip(_FACTS, row[len(_STATE) : len(_COLUMNS)], strict=True)))


def _host(row: Sequence[Any], facts: HostFacts, site: Site) -> Host:
    server_id = row[4]
    return Host(
        id=HostId(row[0]),
        uuid=row[1],
        facts=facts,
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
    )


def _is_text(value: str) -> bool:
    """Tell text from strings with NUL or with halves of surrogate pairs, which databases do not take."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


_TEXTS = [(name, kind.length) for name in _FACTS if isinstance(kind := host.c[name].type, String)]
_NUMBERS = [
    (name, 2**63 - 1 if isinstance(kind, BigInteger) else 2**31 - 1)
    for name in _FACTS
    if isinstance(kind := host.c[name].type, Integer)
]


def _fault(facts: Mapping[str, Any]) -> str | None:
    """Say which fact does not fit its column: one agent's bad value must not fail the others' admissions with it."""
    if not facts["guid"]:
        return "the host has no GUID"
    for name, length in _TEXTS:
        value = facts[name]
        if not _is_text(value):
            return f"{name} {value[:60]!r} is no text"
        if length is not None and len(value) > length:
            return f"{name} {value[:60]!r}... is longer than {length} characters"
    for name, most in _NUMBERS:
        if not 0 <= facts[name] <= most:
            return f"{name} {facts[name]} is not between 0 and {most}"
    return None
