"""What tests of investigators work with: hosts, rows in memory, and neighbours that say what they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed

from cloudlb.agents.errors import AgentUnavailable, CommandError
from cloudlb.agents.investigation import Case, Means
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import (
    Cluster,
    ClusterId,
    Host,
    HostFacts,
    HostId,
    OutOfBand,
    Pod,
    PodId,
    ServerId,
    Session,
    Zone,
    ZoneId,
)
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.domain.records import Investigation
from cloudlb.domain.resource_state import ResourceState
from cloudlb.wire import Answer, Command, Opaque

T = TypeVar("T")
Answers = list[Answer | Opaque]

ZONE = Zone(id=ZoneId(1), uuid="z", name="zone-1")
POD = Pod(id=PodId(1), uuid="p", name="pod-1", zone=ZONE)
CLUSTER = Cluster(id=ClusterId(1), uuid="c", name="cluster-1", pod=POD, hypervisor="KVM", arch="x86_64")


def host(number: int, **values: Any) -> Host:
    """Host ``number``, at 192.0.2.<number>, Up in its first session."""
    facts = HostFacts(
        guid=f"guid-{number}-LibvirtComputingResource",
        name=f"host-{number}",
        type="Routing",
        ip_address=f"192.0.2.{number}",
        hypervisor="KVM",
    )
    made = Host(
        id=HostId(number),
        uuid=f"uuid-{number}",
        facts=facts,
        zone=ZONE,
        pod=POD,
        cluster=CLUSTER,
        status=HostStatus.UP,
        resource_state=ResourceState.ENABLED,
        server_id=ServerId(1),
        session=Session(1),
        created=0.0,
        last_heard=None,
        disconnected=None,
        removed=None,
    )
    return evolve(made, **values)


def with_facts(changed: Host, **values: Any) -> Host:
    """The same host with other facts."""
    return evolve(changed, facts=evolve(changed.facts, **values))


def case(of: Host, *, attache: Any = None, seconds: float = 10.0) -> Case:
    """A case as the chain hands it to an investigator."""
    return Case(host=of, attache=attache, cause=HostEvent.AGENT_DISCONNECTED, seconds=seconds)


class FakeStore:
    """Rows in memory, of what investigations read and write."""

    def __init__(self, *hosts: Host) -> None:
        self.hosts = {each.id: each for each in hosts}
        self.bmcs: dict[HostId, OutOfBand] = {}
        self.servers: list[Any] = []
        self.investigations: list[Investigation] = []
        self.events: list[Mapping[str, Any]] = []
        self.looks: list[tuple[HostId, float]] = []
        self.error: Exception | None = None

    @property
    def store(self) -> Store:
        """Itself, as what it plays."""
        return cast("Store", self)

    def run(self, work: Callable[[Transaction], T]) -> Deferred[T]:
        if self.error is not None:
            return fail(self.error)
        return maybeDeferred(work, cast("Transaction", self._transaction()))

    read = run

    def _transaction(self) -> object:
        def in_cluster(cluster_id: ClusterId, status: HostStatus) -> list[Host]:
            return [h for h in self.hosts.values() if h.status is status and h.cluster and h.cluster.id == cluster_id]

        def add_event(event_type: str, description: str, **values: Any) -> None:
            self.events.append({"type": event_type, "description": description, **values})

        return SimpleNamespace(
            hosts=SimpleNamespace(
                get=self.hosts.get,
                in_cluster=in_cluster,
                out_of_band=self.bmcs.get,
                looked_into=lambda host_id, at: self.looks.append((host_id, at)),
            ),
            servers=SimpleNamespace(all=lambda: self.servers),
            investigations=SimpleNamespace(add=self.investigations.append),
            events=SimpleNamespace(add=add_event),
        )


@define
class FakeSender:
    """Hosts that answer as the test says; the others are on no server."""

    answers: dict[int, Callable[[Command], Answer | CommandError | None]] = field(factory=dict)
    """By host; what one command is answered with, None for never."""
    sent: list[tuple[int, Sequence[Command]]] = field(factory=list)
    cancelled: list[int] = field(factory=list)
    """Hosts whose commands nobody waits for any more."""

    def send(
        self, host_id: HostId, commands: Sequence[Command | Opaque], *, timeout: Any = None, stop_on_error: bool = True
    ) -> Deferred[Answers]:
        asked = [command for command in commands if isinstance(command, Command)]
        self.sent.append((host_id, asked))
        if host_id not in self.answers:
            return fail(AgentUnavailable(f"host-{host_id} is not here"))
        said = [self.answers[host_id](command) for command in asked]
        for each in said:
            if isinstance(each, CommandError):
                return fail(each)
        if None in said:
            return Deferred(lambda _: self.cancelled.append(host_id))
        return succeed([each for each in said if isinstance(each, Answer)])


def means(store: FakeStore, sender: FakeSender | None = None, reactor: Any = None) -> Means:
    """What investigators are made of."""
    sender = sender or FakeSender()
    return Means(store=store.store, sender=sender, server_id=lambda: ServerId(1), reactor=reactor)


UNAVAILABLE = StoreUnavailable("the database is away")
