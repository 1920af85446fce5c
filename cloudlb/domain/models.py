"""Frozen values that storage reads and writes and the use cases decide on.

Times are seconds since the epoch, as the injected clock tells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NewType

from attrs import field, frozen

from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.resource_state import ResourceState
from cloudlb.domain.server_state import ServerState

HostId = NewType("HostId", int)
ServerId = NewType("ServerId", int)
"""A management server's msid: 48 random bits, kept in its row, and the packet header's management server id."""
Session = NewType("Session", int)
"""Counts a host's admissions. Only the server that made the latest one may write the host's row."""
ZoneId = NewType("ZoneId", int)
PodId = NewType("PodId", int)
ClusterId = NewType("ClusterId", int)


@frozen(kw_only=True)
class Zone:
    """A zone: the widest group of hosts."""

    id: ZoneId
    uuid: str
    name: str


@frozen(kw_only=True)
class Pod:
    """A pod of a zone."""

    id: PodId
    uuid: str
    name: str
    zone: Zone


@frozen(kw_only=True)
class Cluster:
    """A cluster of a pod: hosts of one hypervisor and architecture."""

    id: ClusterId
    uuid: str
    name: str
    pod: Pod
    hypervisor: str
    arch: str


@frozen(kw_only=True)
class HostFacts:
    """What an agent says of its host in its StartupCommand; storage keeps it as it came."""

    guid: str
    """As the wire carries it: "<guid property>-<resource's class name>". The key of the host."""
    name: str
    type: str
    """CloudStack's host type: Routing, ConsoleProxy, SecondaryStorageVM, Storage."""
    version: str = ""
    ip_address: str = ""
    hypervisor: str = ""
    hypervisor_version: str = ""
    arch: str = ""
    cpus: int = 0
    cpu_speed: int = 0
    """MHz."""
    memory: int = 0
    """Bytes."""
    capabilities: str = ""
    details: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Host:
    """A host's row with the names of where it stands."""

    id: HostId
    uuid: str
    facts: HostFacts
    zone: Zone
    pod: Pod | None
    cluster: Cluster | None
    status: HostStatus
    resource_state: ResourceState
    server_id: ServerId | None
    """The server whose admission was the latest; kept after a disconnect."""
    session: Session
    created: float
    last_heard: float | None
    disconnected: float | None
    removed: float | None
    direct: DirectResource | None = None
    """Set: the host's resource runs inside a management server."""
    tags: tuple[str, ...] = ()
    """What its operator says of it; no agent changes that."""
    looked_into: float | None = None
    """When it was lost, or looked into since; None: it is not lost, or has gone on request."""
    annotation: str | None = None
    """An operator's remark."""


@frozen(kw_only=True)
class DirectResource:
    """The resource of a host that has no agent of its own."""

    resource: str
    """Dotted name of the ServerResource class."""
    properties: Mapping[str, str] = field(repr=False)
    """As they would stand in agent.properties; may hold passwords."""


@frozen(kw_only=True)
class OutOfBand:
    """A host's BMC, through which its power can be asked for while its agent is mute."""

    address: str
    """URL of its Redfish service, such as ``https://10.0.0.7``."""
    username: str
    password: str = field(repr=False)


@frozen(kw_only=True)
class StatusChange:
    """Something happened to a host's agent: what a transition is asked for with."""

    host_id: HostId
    session: Session
    """Changes nothing unless it is the host's latest."""
    event: HostEvent
    server_id: ServerId
    """Who says so."""
    reason: str


@frozen(kw_only=True)
class Transition:
    """A change of status that was written."""

    change: StatusChange
    name: str
    """The host's."""
    before: HostStatus
    after: HostStatus


@frozen(kw_only=True)
class PeerView:
    """How one management server sees another."""

    state: ServerState
    run_id: int
    """Of the life in which it saw it."""
    since: float
    """When it saw the state for the first time."""


@frozen(kw_only=True)
class Server:
    """A management server's row, and what follows from it at the moment of reading.

    All of its times, and the age, are by the clock of the database, which is the same for every server.
    """

    id: ServerId
    uuid: str
    name: str
    address: str
    port: int
    version: str
    run_id: int
    """Grows with each start; under the time of the start in milliseconds it never is."""
    started: float
    heartbeat: float
    stopped: float | None = None
    recorded: ServerState = ServerState.UP
    """What stands in the row: never Down."""
    age: float = 0.0
    """Seconds since the heartbeat."""
    threshold: float = 7.5
    """Seconds for which it counts: ``cluster.heartbeat.threshold``, or what it was then if that is more."""
    alive: bool = True
    """The heartbeat is not older than the threshold, and no clean stop came after it."""
    peers: Mapping[ServerId, PeerView] = field(factory=dict)
    """Its own account of the others."""

    @property
    def state(self) -> ServerState:
        """Of one that lives, what it is about to do."""
        return self.recorded if self.alive else ServerState.DOWN

    def answers_to(self, address: str) -> bool:
        """Tell whether an address of ``host`` means this server."""
        return address in (self.address, self.name)


class JobStatus(Enum):
    """CloudStack's ``jobstatus`` numbers."""

    RUNNING = 0
    SUCCEEDED = 1
    FAILED = 2


@frozen(kw_only=True)
class Job:
    """An asynchronous API call and how it ended."""

    uuid: str
    command: str
    status: JobStatus
    result_code: int
    result: Mapping[str, Any]
    account_id: int
    server_id: ServerId
    host_id: HostId | None
    created: float
    completed: float | None
    key: str | None = None
    """The caller's own name for it: started again with the same one, it is the same job."""
    deadline: float | None = None
    """When whoever runs it must have ended it, by the clock of the database."""
    arguments: Mapping[str, Any] = field(factory=dict, repr=False)
    """What is to be done, for a server that takes it over; may hold secrets."""


@frozen(kw_only=True)
class Message:
    """One message of the bus, in the order in which changes were committed."""

    sequence: int
    topic: str
    payload: Mapping[str, Any]
