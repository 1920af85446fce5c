"""What the use cases need from storage and the bus; storage implements it, tests run contracts over it.

A use case hands ``Store.run`` a plain function of a :class:`Transaction`. Everything that the function did is
committed together when it returns, and nothing of it when it raises. The function runs on a thread of the store's
own: it must not touch anything but the transaction and its own values. It may run more than once, where another
server's transaction got in its way: only its last run counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from cloudlb.domain.change_ports import ChangeRows
from cloudlb.domain.host_ports import Admission, HostFilter, HostRows, Location, Refused, Standing
from cloudlb.domain.models import (
    Cluster,
    ClusterId,
    HostId,
    Job,
    JobStatus,
    Message,
    PeerView,
    Pod,
    PodId,
    Server,
    ServerId,
    Zone,
    ZoneId,
)
from cloudlb.domain.places import Place, PlaceDetails
from cloudlb.domain.record_ports import AlertRows, DrainRows, EventRows, InvestigationRows, JobFilter
from cloudlb.domain.server_state import ServerEvent, ServerState
from cloudlb.domain.settings_in_force import Settings
from cloudlb.domain.user_ports import AccountRows

__all__ = [
    "AccountRows",
    "Admission",
    "AlertRows",
    "AlreadyExists",
    "AmbiguousName",
    "Bus",
    "BusRows",
    "ChangeRows",
    "DrainRows",
    "EventRows",
    "HostFilter",
    "HostRows",
    "InvestigationRows",
    "JobFilter",
    "JobRows",
    "KeyTaken",
    "Location",
    "NotFound",
    "Refused",
    "ServerRows",
    "SettingRows",
    "Standing",
    "Store",
    "StoreUnavailable",
    "TopologyRows",
    "Transaction",
]

T = TypeVar("T")


class AlreadyExists(Exception):
    """A name or key is taken; the message says which."""


class KeyTaken(Exception):
    """A job of the caller's has this key already and is another one; the message names it."""


class AmbiguousName(Exception):
    """Several rows have a name; the message tells their uuids."""


class NotFound(Exception):
    """No row for an id, uuid or name; the message says which."""


class StoreUnavailable(Exception):
    """The database cannot be reached or is shut down; the work was not done."""


class ServerRows(Protocol):
    """Management servers. The time is the database's: no clock of a server is asked."""

    def register(self, *, name: str, address: str, port: int, version: str, candidate_id: ServerId) -> Server:
        """The row of the server of this name, made with ``candidate_id`` if new; started and heartbeat are now.

        Its run id is greater than before, and its state is what the table makes of a start.

        Raises:
            AlreadyExists: another server has the candidate's id.
        """
        ...

    def heartbeat(self, server_id: ServerId) -> bool:
        """Stamp the row; False if it is gone."""
        ...

    def stop(self, server_id: ServerId) -> None:
        """Record a clean stop."""
        ...

    def change_state(self, server_id: ServerId, event: ServerEvent) -> ServerState | None:
        """Take a step of the table, from what is in the row; what is there then, None if there is no such step."""
        ...

    def hold(self, server_id: ServerId) -> None:
        """Have nobody change the state of a server that the work only reads until it is committed."""
        ...

    def remove(self, server_id: ServerId) -> bool:
        """Drop the row of a server, and its drain; False if it is gone. Hosts may still name it."""
        ...

    def record_peers(self, server_id: ServerId, peers: Mapping[ServerId, PeerView]) -> None:
        """Write how a server sees the others."""
        ...

    def report(self, server_id: ServerId, report: Mapping[str, Any]) -> None:
        """Write what a server tells of its machine and itself, instead of what it told before."""
        ...

    def reports(self) -> Mapping[ServerId, Mapping[str, Any]]:
        """What each server has told of its machine and itself; empty where it has told nothing."""
        ...

    def all(self) -> list[Server]:
        """Every server, ordered by name, judged by the threshold in force."""
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
    """Zones, pods and clusters. ``add_*`` raise AlreadyExists for a taken name and NotFound for an unknown parent.

    Those that were removed are in no list, and nothing new finds a place in them.
    """

    def zones(self) -> list[Zone]: ...
    def pods(self) -> list[Pod]: ...
    def clusters(self) -> list[Cluster]: ...
    def add_zone(self, name: str) -> Zone: ...
    def add_pod(self, name: str, zone_id: ZoneId) -> Pod: ...
    def add_cluster(self, name: str, pod_id: PodId, *, hypervisor: str, arch: str) -> Cluster: ...

    def details(self, kind: type[Place]) -> Mapping[str, PlaceDetails]:
        """What is said of all zones, of all pods or of all clusters, by uuid."""
        ...

    def describe(self, place: Place, details: PlaceDetails) -> None:
        """Write what is said of a place, instead of what was said before."""
        ...

    def rename(self, place: Place, name: str) -> None:
        """Give a place another name.

        Raises:
            AlreadyExists: the name is taken.
            StillInUse: hosts stand there, whose agents call it by its name.
        """
        ...

    def remove(self, place: Place, now: float) -> None:
        """Remove a place, with its settings; its name is free again, and hosts that were deleted still stand there.

        A host whose agent is admitted for the first time at the same moment may be overlooked.

        Raises:
            StillInUse: something that is not removed stands there.
        """
        ...


class JobRows(Protocol):
    """Asynchronous jobs. Where several are listed, they have of their arguments ``class`` alone."""

    def start(
        self,
        *,
        command: str,
        account_id: int,
        server_id: ServerId,
        host_id: HostId | None,
        now: float,
        key: str | None = None,
        deadline: float | None = None,
        arguments: Mapping[str, Any] = MappingProxyType({}),
    ) -> tuple[Job, bool]:
        """Record a job that runs, and say whether it is new. Its deadline is by the clock of the database.

        With the key of one of the account's jobs that one is given back, whatever became of it.

        Raises:
            KeyTaken: that one is of another command, host or arguments.
        """
        ...

    def of_key(self, account_id: int, key: str) -> Job | None:
        """The job that an account has started with a key."""
        ...

    def assign(self, uuid: str, before: ServerId, after: ServerId) -> bool:
        """Give a running job to another server; False if it had ended or was not that server's."""
        ...

    def running(self, server_ids: Collection[ServerId], limit: int) -> Sequence[Job]:
        """Jobs of some servers that have not ended, the oldest first."""
        ...

    def under_way(self) -> Sequence[tuple[ServerId, int, int]]:
        """How many jobs have not ended, by server and account id."""
        ...

    def overdue(self, before: float, limit: int) -> Sequence[Job]:
        """Jobs that have not ended and whose deadline is before a time, the oldest first."""
        ...

    def running_on(self, host_id: HostId) -> Sequence[Job]:
        """Jobs that concern a host and have not ended."""
        ...

    def prune(self, before: float, limit: int) -> int:
        """Drop jobs that ended before a time, at most ``limit``; say how many."""
        ...

    def tell(self, uuid: str, result: Mapping[str, Any]) -> bool:
        """Write how far a running job is, in the shape of its result; False if it has ended or does not exist."""
        ...

    def finish(self, uuid: str, status: JobStatus, result_code: int, result: Mapping[str, Any], now: float) -> bool:
        """End a running job; False if it had ended or does not exist: a job ends once."""
        ...

    def get(self, uuid: str) -> Job | None: ...

    def list(self, which: JobFilter, offset: int, limit: int | None) -> tuple[Sequence[Job], int]:
        """A page of them, the newest first, and how many there are in all; of those that succeeded without the result.

        Answers of hosts may be long, and many of them too much.
        """
        ...


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

    def time(self) -> float:
        """The time by the clock of the database, which is the same for every server."""
        ...

    @property
    def hosts(self) -> HostRows: ...
    @property
    def servers(self) -> ServerRows: ...
    @property
    def drains(self) -> DrainRows: ...
    @property
    def settings(self) -> SettingRows: ...
    @property
    def topology(self) -> TopologyRows: ...
    @property
    def accounts(self) -> AccountRows: ...
    @property
    def jobs(self) -> JobRows: ...
    @property
    def events(self) -> EventRows: ...
    @property
    def alerts(self) -> AlertRows: ...
    @property
    def investigations(self) -> InvestigationRows: ...
    @property
    def bus(self) -> BusRows: ...
    @property
    def changes(self) -> ChangeRows: ...


class Store(Protocol):
    """The database.

    Work that it cannot do fails with StoreUnavailable, anything that the work raises comes as it is, and either way
    nothing is changed.
    """

    def run(self, work: Callable[[Transaction], T]) -> Awaitable[T]:
        """Run and commit.

        Until then no other server changes a row that the work has read and writes. One of which the work has found
        none, another server may make meanwhile, unless a unique constraint forbids that there are two.
        """
        ...

    def read(self, work: Callable[[Transaction], T]) -> Awaitable[T]:
        """Run without writing, beside the writer: a long listing delays no admission."""
        ...


class Bus(Protocol):
    """Messages between servers, and within one, in the order of commits, each at least once."""

    def subscribe(self, topic: str, receive: Callable[[Mapping[str, Any]], object]) -> None:
        """Have ``receive`` called with each payload of a topic; what it raises is logged and stops nobody else."""
        ...
