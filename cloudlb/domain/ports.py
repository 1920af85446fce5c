"""What the use cases need from storage and the bus; storage implements it, tests run contracts over it.

A use case hands ``Store.run`` a plain function of a :class:`Transaction`. Everything that the function did is
committed together when it returns, and nothing of it when it raises. The function runs on a thread of the store's
own: it must not touch anything but the transaction and its own values.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from attrs import frozen

from cloudlb.domain.models import (
    Account,
    Cluster,
    ClusterId,
    Host,
    HostFacts,
    HostId,
    HostStatus,
    Job,
    JobStatus,
    Message,
    Pod,
    PodId,
    Server,
    ServerId,
    Session,
    Zone,
    ZoneId,
)
from cloudlb.domain.settings import Settings

T = TypeVar("T")


class AlreadyExists(Exception):
    """A name or key is taken; the message says which."""


class NotFound(Exception):
    """No row for an id, uuid or name; the message says which."""


class StoreUnavailable(Exception):
    """The database cannot be reached or is shut down; the work was not done."""


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
    transferred: bool
    """It moves from another server and is Up all the while."""


@frozen(kw_only=True)
class Refused:
    """Why an admission was refused for good."""

    reason: str


class HostRows(Protocol):
    """Hosts."""

    def admit(self, admission: Admission, now: float) -> Host | Refused:
        """Create the host of a GUID or find it, give it to the server and count its session up.

        The status becomes Connecting, but stays Up for an Up host that is transferred. Facts and server are the new
        ones. Refused, with a reason that names the thing, and changing nothing, are: an unknown zone, a pod that is
        not in that zone and a cluster that is not in that pod; a hypervisor host (type Routing) without pod or
        cluster, which system VMs may lack; a GUID whose host was deleted, or stands elsewhere; facts that do not fit
        their columns.
        """
        ...

    def change_status(self, host_id: HostId, session: Session, status: HostStatus, now: float) -> bool:
        """Set the status if ``session`` is still the host's latest and the host is not removed; say whether it was.

        ``disconnected`` becomes the time of the first of Disconnected, Down and Alert after Up, and None with Up.
        """
        ...

    def get(self, host_id: HostId) -> Host | None:
        """A host by its number, removed ones too."""
        ...

    def by_guid(self, guid: str) -> Host | None:
        """A host by its GUID, removed ones too."""
        ...

    def find(self, key: str) -> Host | None:
        """A host that is not removed, by id, uuid or name, in this order of precedence; of one name the oldest."""
        ...

    def all(self) -> list[Host]:
        """Every host that is not removed, ordered by id."""
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

    def remove(self, host_id: HostId, now: float) -> bool:
        """Mark as removed: status Removed, session counted up so that no server owns it. False if it already was."""
        ...


class ServerRows(Protocol):
    """Management servers."""

    def register(
        self, *, name: str, address: str, port: int, version: str, candidate_id: ServerId, now: float
    ) -> Server:
        """The row of the server of this name, made with ``candidate_id`` if new; started and heartbeat are now.

        Raises:
            AlreadyExists: another server has the candidate's id.
        """
        ...

    def heartbeat(self, server_id: ServerId, now: float) -> bool:
        """Stamp the row; False if it is gone."""
        ...

    def stop(self, server_id: ServerId, now: float) -> None:
        """Record a clean stop."""
        ...

    def all(self) -> list[Server]:
        """Every server, ordered by name."""
        ...


class SettingRows(Protocol):
    """Values of settings that were set; defaults have no row."""

    def load(self) -> Settings:
        """All of them."""
        ...

    def set(self, name: str, value: str, cluster_id: ClusterId | None) -> None:
        """Write a value that the domain has checked; NotFound for an unknown cluster."""
        ...

    def reset(self, name: str, cluster_id: ClusterId | None) -> None:
        """Return to the default, or for a cluster to the global value."""
        ...


class TopologyRows(Protocol):
    """Zones, pods and clusters. ``add_*`` raise AlreadyExists for a taken name and NotFound for an unknown parent."""

    def zones(self) -> list[Zone]: ...
    def pods(self) -> list[Pod]: ...
    def clusters(self) -> list[Cluster]: ...
    def add_zone(self, name: str) -> Zone: ...
    def add_pod(self, name: str, zone_id: ZoneId) -> Pod: ...
    def add_cluster(self, name: str, pod_id: PodId, *, hypervisor: str, arch: str) -> Cluster: ...


class AccountRows(Protocol):
    """Users of the API. ``add`` raises AlreadyExists for a taken name or key."""

    def by_api_key(self, api_key: str) -> Account | None: ...
    def by_username(self, username: str) -> Account | None: ...
    def add(self, *, username: str, api_key: str, secret_key: str) -> Account: ...


class JobRows(Protocol):
    """Asynchronous jobs."""

    def start(
        self, *, command: str, account_id: int, server_id: ServerId, host_id: HostId | None, now: float
    ) -> Job: ...
    def finish(self, uuid: str, status: JobStatus, result_code: int, result: Mapping[str, Any], now: float) -> bool:
        """End a running job; False if it had ended or does not exist: a job ends once."""
        ...

    def get(self, uuid: str) -> Job | None: ...


class BusRows(Protocol):
    """The messages of the bus, in the order of commits."""

    def publish(self, topic: str, payload: Mapping[str, Any], now: float) -> None:
        """Add a message that becomes visible with the transaction."""
        ...

    def after(self, sequence: int, limit: int) -> Sequence[Message]:
        """Messages with a greater number, in order."""
        ...

    def last_sequence(self) -> int:
        """The number of the newest message, 0 where there is none."""
        ...

    def prune(self, before: float) -> None:
        """Drop messages older than a time."""
        ...


class Transaction(Protocol):
    """Everything a use case can do in one go."""

    @property
    def hosts(self) -> HostRows: ...
    @property
    def servers(self) -> ServerRows: ...
    @property
    def settings(self) -> SettingRows: ...
    @property
    def topology(self) -> TopologyRows: ...
    @property
    def accounts(self) -> AccountRows: ...
    @property
    def jobs(self) -> JobRows: ...
    @property
    def bus(self) -> BusRows: ...


class Store(Protocol):
    """The database.

    Work that it cannot do fails with StoreUnavailable, anything that the work raises comes as it is, and either way
    nothing is changed.
    """

    def run(self, work: Callable[[Transaction], T]) -> Awaitable[T]:
        """Run and commit. Writers are serialized."""
        ...

    def read(self, work: Callable[[Transaction], T]) -> Awaitable[T]:
        """Run without writing, beside the writer: a long listing delays no admission."""
        ...


class Bus(Protocol):
    """Messages between servers, and within one, in the order of commits, each at least once."""

    def subscribe(self, topic: str, receive: Callable[[Mapping[str, Any]], None]) -> None:
        """Have ``receive`` called with each payload of a topic; what it raises is logged and stops nobody else."""
        ...
