"""What the use cases need of the rows of hosts; see :mod:`.ports`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from attrs import frozen

from cloudlb.domain.drains import Whereabouts
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import (
    ClusterId,
    DirectResource,
    Host,
    HostFacts,
    HostId,
    OutOfBand,
    PodId,
    ServerId,
    Session,
    StatusChange,
    Transition,
    ZoneId,
)
from cloudlb.domain.resource_state import ResourceEvent, ResourceState


@frozen(kw_only=True)
class Location:
    """Where an agent says it stands; each is an id, a uuid or a name, as in CloudStack."""

    zone: str
    pod: str | None = None
    cluster: str | None = None


@frozen(kw_only=True)
class Admission:
    """An agent that asks to be admitted on a server."""

    facts: HostFacts
    location: Location
    server_id: ServerId


@frozen(kw_only=True)
class Refused:
    """Why an admission was refused for good."""

    reason: str


class Stamp(NamedTuple):
    """Which state of a host's row there is, without the row."""

    id: HostId
    last_heard: float | None
    server_id: ServerId | None
    changed: float
    """The row, but for the time when it was heard; 0: by a server that did not write it down yet."""
    session: Session
    status: str
    resource_state: str
    disconnected: float | None
    tags: str
    """As they are kept."""


@frozen(kw_only=True)
class HostFilter:
    """Which hosts of those that are not removed; None: any. Texts are compared in any case but for the name."""

    host_id: HostId | None = None
    name: str | None = None
    keyword: str | None = None
    """Part of the name."""
    zone_id: ZoneId | None = None
    pod_id: PodId | None = None
    cluster_id: ClusterId | None = None
    server_id: ServerId | None = None
    status: str | None = None
    resource_state: str | None = None
    type: str | None = None
    hypervisor: str | None = None
    arch: str | None = None
    version: str | None = None
    out_of_band: bool | None = None
    """Whether it has a BMC."""


@frozen
class Standing:
    """What a plan of moves needs of a host's row."""

    id: HostId
    guid: str
    zone_id: ZoneId
    server_id: ServerId | None
    up: bool
    direct: bool
    """It has a resource inside a server."""


class HostRows(Protocol):
    """Hosts."""

    def admit(self, admissions: Sequence[Admission], now: float) -> list[Host | Refused]:
        """For each in turn: create the host of a GUID or find it, give it to the server and count its session up.

        The status takes the step AgentTransferred where it is Up, and AgentConnected otherwise, from Creating for a new
        host; a status that changes has its event row. The resource state takes InternalCreated, without one.
        Facts and server are the new ones.

        Refused, with a reason that names the thing, and changing nothing, are: an unknown zone, a pod that is not in
        that zone and a cluster that is not in that pod; a hypervisor host (type Routing) without pod or cluster, which
        system VMs may lack; a cluster of another hypervisor or architecture, where both sides name one; a GUID whose
        host was deleted, is in the resource state Error, or stands elsewhere; facts that do not fit their columns.
        """
        ...

    def transition(self, changes: Sequence[StatusChange], now: float) -> list[Transition | None]:
        """Take steps of the status table, in order, each with its event row; None where nothing was changed.

        A step is taken if its session is still the host's latest, the host is not removed, and the table has a row
        for the event; Remove is for :meth:`remove`. A step from a status to itself writes nothing and is reported all
        the same.
        ``disconnected`` becomes the time of the first of Disconnected, Down and Alert after Up, and None with Up.
        ``looked_into`` becomes the time of a step by which a host is lost (:data:`.disconnects.UNANNOUNCED`), and None
        with Up and with ShutdownRequested.
        The event's type is HOST.STATUS.TRANSITION, its details are ``from``, ``to``, ``event`` and ``session``.
        """
        ...

    def preregister(self, facts: HostFacts, location: Location, direct: DirectResource | None, now: float) -> Host:
        """Make the row of a host whose agent has yet to come: status and resource state Creating, session 0.

        Raises:
            AlreadyExists: a host has this GUID, a removed one included.
            NotFound: the location names what is not there.
            ValueError: a fact does not fit its column.
        """
        ...

    def restore(self, host_id: HostId, server_id: ServerId, account_id: int | None, now: float) -> bool:
        """Lift the tombstone of a removed host: status Creating, until its agent comes; with its event row.

        That is HOST.RESTORE. False if it has none. The resource state is what it was.
        """
        ...

    def change_resource_state(
        self,
        host_id: HostId,
        event: ResourceEvent,
        *,
        server_id: ServerId,
        account_id: int | None,
        reason: str,
        now: float,
    ) -> ResourceState | None:
        """Take a step of the resource table; None if the table has none or the host is gone.

        The event row's type is HOST.RESOURCESTATE.TRANSITION, its details are ``from``, ``to`` and ``event``. A step
        that leads from a state to itself writes nothing.
        """
        ...

    def on_server(self, server_id: ServerId, statuses: Collection[HostStatus]) -> list[Host]:
        """Hosts whose latest session is a server's, of some statuses, ordered by id."""
        ...

    def overdue(self, before: float, limit: int) -> list[Host]:
        """Hosts that are Disconnected since before a time, those that are longest so first."""
        ...

    def to_look_into(
        self, before: float, limit: int, *, server_id: ServerId, live: Collection[ServerId], orphans: bool
    ) -> list[Host]:
        """Hosts that are Disconnected and may be asked about, those that have been so longest unasked first.

        They were lost, or looked into since, before a time, and their resource state is not one that is left alone.

        Args:
            before: seconds since the epoch.
            limit: most hosts.
            server_id: whose hosts.
            live: servers that look after their own.
            orphans: also the hosts of servers that are not among these.
        """
        ...

    def looked_into(self, host_id: HostId, at: float) -> None:
        """Note a look into a host, if it is lost; never moves the time back."""
        ...

    def lost_since(self, heard: float) -> list[HostId]:
        """Hosts that are Disconnected or in Alert and were heard at that time or later."""
        ...

    def in_cluster(self, cluster_id: ClusterId, status: HostStatus) -> list[Host]:
        """A cluster's hosts of one status, ordered by id: the neighbours of each of them."""
        ...

    def direct(self, limit: int, *, after: HostId) -> list[Host]:
        """Hosts with a resource inside a server that are not removed, with a greater id, ordered by id."""
        ...

    def out_of_band(self, host_id: HostId) -> OutOfBand | None:
        """A host's BMC."""
        ...

    def set_out_of_band(self, host_id: HostId, out_of_band: OutOfBand | None) -> None:
        """Write or, with None, forget a host's BMC."""
        ...

    def get(self, host_id: HostId) -> Host | None:
        """A host by its number, removed ones too."""
        ...

    def several(self, ids: Collection[HostId]) -> Mapping[HostId, Host]:
        """Those of some hosts that are there, removed ones included."""
        ...

    def by_guid(self, guid: str) -> Host | None:
        """A host by its GUID, removed ones too."""
        ...

    def set_tags(self, host_id: HostId, tags: Sequence[str]) -> None:
        """Write what an operator says of a host, instead of what was said before."""
        ...

    def annotate(self, host_id: HostId, annotation: str | None) -> None:
        """Write an operator's remark about a host, instead of the one before."""
        ...

    def find_removed(self, key: str) -> Host | None:
        """A host that is removed, by id or uuid."""
        ...

    def find(self, key: str) -> Host | None:
        """A host that is not removed, by id, uuid or name, in this order of precedence.

        Raises:
            AmbiguousName: it is the name of several.
        """
        ...

    def all(self) -> list[Host]:
        """Every host that is not removed, ordered by id."""
        ...

    def page(self, which: HostFilter, offset: int, limit: int | None) -> tuple[Sequence[Host], int]:
        """Some of the hosts that a filter lets through, ordered by id, and how many these are in all."""
        ...

    def stamps(self, which: HostFilter, offset: int, limit: int) -> Sequence[Stamp]:
        """Which states there are of such a page's hosts."""
        ...

    def state_of_page(self, which: HostFilter, offset: int, limit: int) -> tuple[str, int]:
        """One text that is another one where any of these stamps is, and how many hosts the filter lets through."""
        ...

    def whereabouts(self, ids: Collection[HostId]) -> Mapping[HostId, Whereabouts]:
        """Status and server of some hosts, removed ones too; a number that no host has is left out."""
        ...

    def names(self, ids: Collection[HostId]) -> Mapping[HostId, tuple[str, str]]:
        """Uuid and name of some hosts, removed ones too; a number that no host has is left out."""
        ...

    def uuids_by_server(self) -> Mapping[ServerId, tuple[Sequence[str], Sequence[str]]]:
        """Uuids of the hosts that are Up on each server, and of those that were there last, ordered by id."""
        ...

    def up_by_server(self) -> Mapping[ServerId, int]:
        """How many hosts are Up on each server that has any."""
        ...

    def by_states(self) -> Mapping[tuple[HostStatus, ResourceState], int]:
        """How many hosts that are not removed are in each status and resource state in which there is any."""
        ...

    def standings(self) -> list[Standing]:
        """Where every host stands that is not removed, ordered by id: a fraction of the cost of :meth:`all`."""
        ...

    def ids_in_zone(self, zone_id: ZoneId) -> list[HostId]:
        """Ids of the zone's hosts that are not removed, in order: the input of roundrobin."""
        ...

    def places(self, zone_id: ZoneId, ids: Sequence[HostId]) -> Mapping[HostId, int]:
        """Where some hosts stand in :meth:`ids_in_zone`, from 0, for a fraction of its cost while they are few."""
        ...

    def touch(self, heard: Mapping[HostId, float]) -> None:
        """Write when hosts were last heard from, in one batch; never moves a time back."""
        ...

    def remove(self, host_id: HostId, server_id: ServerId, account_id: int | None, now: float) -> bool:
        """Mark as removed: status Removed, session counted up so that no server owns it; with its event row.

        That is HOST.DELETE. False if it already was.
        """
        ...
