"""Admitting hosts: the hot path of a fleet that comes back, with a handful of statements for a whole batch.

A host that is not known is registered first, as an operator would do it, and then admitted like every other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from attrs import evolve
from sqlalchemy import Connection, bindparam, insert, update

from cloudlb.domain.host_status import STATUS_TABLE, HostEvent, HostStatus
from cloudlb.domain.models import DirectResource, Host, HostFacts, HostId, Session
from cloudlb.domain.ports import Admission, AlreadyExists, Location, NotFound, Refused
from cloudlb.domain.resource_state import RESOURCE_TABLE, ResourceEvent, ResourceState
from cloudlb.storage.database_time import database_time
from cloudlb.storage.events import EventTable
from cloudlb.storage.host_facts import FACTS, fact_values, fault, misfit
from cloudlb.storage.host_listings import HOSTS, HostListings
from cloudlb.storage.schema import host
from cloudlb.storage.steps import TRANSITION, step_event, update_all
from cloudlb.storage.texts import is_text
from cloudlb.storage.topology import Site, TopologyTable

_HYPERVISOR_HOST = "Routing"
"""The type of hosts that stand in a cluster; system VMs may stand in a pod, or only in a zone."""

# Locks rows in one order, so that no two servers wait for each other.
_BY_GUIDS = (
    HOSTS.where(host.c.guid.in_(bindparam("guids", expanding=True))).order_by(host.c.id).with_for_update(of=host)
)
_REGISTER = insert(host).values(session=0, changed=database_time()).returning(host.c.id, host.c.guid)
_CHANGE = update(host).where(
    host.c.id == bindparam("of_id"),
    host.c.session == bindparam("old_session"),
    host.c.status == bindparam("old_status"),
    host.c.removed.is_(None),
)
_TAKEN_OVER: Mapping[str, Any] = {
    **{name: bindparam(f"new_{name}") for name in ("server_id", "session", "status", "resource_state")},
    "changed": database_time(),
}
# Most hosts come back as they were, and a statement for many of them costs by its parameters.
_TAKE_OVER = _CHANGE.values(_TAKEN_OVER)
_ADMIT = _CHANGE.values({**_TAKEN_OVER, **{name: bindparam(f"new_{name}") for name in FACTS}})


class HostAdmissions(HostListings):
    """Implements the part of the port ``HostRows`` that takes hosts in."""

    def __init__(
        self, connection: Connection, new_uuid: Callable[[], UUID], topology: TopologyTable, events: EventTable
    ) -> None:
        super().__init__(connection)
        self._new_uuid = new_uuid
        self._topology = topology
        self._events = events

    def admit(self, admissions: Sequence[Admission], now: float) -> list[Host | Refused]:
        """Take hosts in."""
        sites = [_misfit(asked, self._site(asked.facts, asked.location)) for asked in admissions]
        fitting = {
            asked.facts.guid: (asked.facts, site)
            for asked, site in zip(admissions, sites, strict=True)
            if isinstance(site, Site)
        }
        latest = self._known(fitting)
        new = {guid: fits for guid, fits in fitting.items() if guid not in latest}
        latest.update(self._register(new, None, now))
        results: list[Host | Refused] = []
        steps: list[tuple[Host, Host]] = []
        for asked, site in zip(admissions, sites, strict=True):
            if isinstance(site, Refused):
                results.append(site)
                continue
            before = latest[asked.facts.guid]
            after = _admitted(before, asked, site)
            if isinstance(after, Host):
                steps.append((before, after))
                latest[asked.facts.guid] = after
            results.append(after)
        self._write(steps, now)
        return results

    def preregister(self, facts: HostFacts, location: Location, direct: DirectResource | None, now: float) -> Host:
        """Make the row of a host whose agent has yet to come."""
        if (wrong := fault(fact_values(facts))) is not None:
            raise ValueError(wrong)
        site = self._site(facts, location)
        if isinstance(site, Refused):
            raise NotFound(site.reason)
        if self._known([facts.guid]):
            raise AlreadyExists(f"there is a host with the GUID {facts.guid!r} already, or there was one")
        return self._register({facts.guid: (facts, site)}, direct, now)[facts.guid]

    def _site(self, facts: HostFacts, location: Location) -> Site | Refused:
        """Where a host will stand, unless something that it says cannot be kept."""
        if (wrong := fault(fact_values(facts))) is not None:
            return Refused(reason=wrong)
        if not all(is_text(key) for key in (location.zone, location.pod, location.cluster) if key):
            return Refused(reason=f"the location of host {facts.guid!r} is no text")
        return self._topology.locate(location, complete=facts.type == _HYPERVISOR_HOST)

    def _known(self, guids: Collection[str]) -> dict[str, Host]:
        return {known.facts.guid: known for known in self._several(_BY_GUIDS, {"guids": list(guids)})} if guids else {}

    def _register(
        self, new: Mapping[str, tuple[HostFacts, Site]], direct: DirectResource | None, now: float
    ) -> dict[str, Host]:
        """Make rows of hosts, by GUID."""
        if not new:
            return {}
        uuids = {guid: str(self._new_uuid()) for guid in new}
        state = {
            "status": HostStatus.CREATING.value,
            "resource_state": ResourceState.CREATING.value,
            "created": now,
            "resource": direct and direct.resource,
            "properties": direct and dict(direct.properties),
        }
        rows = [
            {
                **fact_values(facts),
                **state,
                "uuid": uuids[guid],
                "zone_id": site.zone.id,
                "pod_id": site.pod and site.pod.id,
                "cluster_id": site.cluster and site.cluster.id,
            }
            for guid, (facts, site) in new.items()
        ]
        registered = {}
        for host_id, guid in self._connection.execute(_REGISTER, rows):
            facts, site = new[guid]
            registered[guid] = Host(
                id=HostId(host_id),
                uuid=uuids[guid],
                facts=facts,
                zone=site.zone,
                pod=site.pod,
                cluster=site.cluster,
                status=HostStatus.CREATING,
                resource_state=ResourceState.CREATING,
                server_id=None,
                session=Session(0),
                created=now,
                last_heard=None,
                disconnected=None,
                removed=None,
                direct=direct,
            )
        return registered

    def _write(self, steps: Sequence[tuple[Host, Host]], now: float) -> None:
        # In their order: a host may come twice.
        for same, some in groupby(steps, lambda step: step[0].facts == step[1].facts):
            rows = [_row(before, after, with_facts=not same) for before, after in some]
            update_all(self._connection, _TAKE_OVER if same else _ADMIT, rows)
        events = []
        for before, after in steps:
            if before.status is not after.status and after.server_id is not None:
                events.append(
                    step_event(
                        TRANSITION,
                        after.id,
                        after.facts.name,
                        (before.status, HostEvent.AGENT_CONNECTED, after.status),
                        "its agent was admitted",
                        server_id=after.server_id,
                        account_id=None,
                        now=now,
                        session=after.session,
                    )
                )
        self._events.add_all(events)


def _row(before: Host, after: Host, *, with_facts: bool) -> dict[str, Any]:
    """What changes a host's row, if it is as before."""
    row: dict[str, Any] = {
        "of_id": before.id,
        "old_session": before.session,
        "old_status": before.status.value,
        "new_server_id": after.server_id,
        "new_session": after.session,
        "new_status": after.status.value,
        "new_resource_state": after.resource_state.value,
    }
    if with_facts:
        row |= {f"new_{name}": value for name, value in fact_values(after.facts).items()}
    return row


def _misfit(asked: Admission, site: Site | Refused) -> Site | Refused:
    if isinstance(site, Site) and site.cluster is not None:
        wrong = misfit(asked.facts, site.cluster)
        return site if wrong is None else Refused(reason=wrong)
    return site


def _admitted(known: Host, asked: Admission, wanted: Site) -> Host | Refused:
    """A host as its admission leaves it, or why it is refused."""
    guid = asked.facts.guid
    if known.removed is not None:
        return Refused(reason=f"host {guid!r} was deleted")
    if known.resource_state is ResourceState.ERROR:
        return Refused(reason=f"host {guid!r} is in the resource state Error, out of which an operator deletes it")
    stands = Site(known.zone, known.pod, known.cluster)
    if stands != wanted:
        return Refused(reason=f"host {guid!r} stands in {stands} and cannot come back in {wanted}")
    # Nobody has noted that the session before is lost: the host changes hands, and not its status.
    event = HostEvent.AGENT_TRANSFERRED if known.status is HostStatus.UP else HostEvent.AGENT_CONNECTED
    return evolve(
        known,
        facts=asked.facts,
        server_id=asked.server_id,
        session=Session(known.session + 1),
        status=STATUS_TABLE[known.status, event],
        resource_state=RESOURCE_TABLE[known.resource_state, ResourceEvent.INTERNAL_CREATED],
    )
