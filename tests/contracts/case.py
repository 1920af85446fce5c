"""What the contracts share: a store to run work on, and the values that most of them need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Cluster, Host, HostFacts, ServerId, Session, StatusChange, Transition
from cloudlb.domain.ports import Admission, Location, Store, Transaction
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.records import Event
from tests.support.results import result_of

T = TypeVar("T")

SERVER = ServerId(2**48 - 1)
"""The greatest msid: it does not fit 32 bits."""
OTHER_SERVER = ServerId(17)


def now(awaitable: Awaitable[T]) -> T:
    """The result of what must be done already; what it failed with is raised."""

    async def wait() -> T:
        return await awaitable

    return result_of(Deferred.fromCoroutine(wait()))


def admission(guid: str, location: Location, **changes: Any) -> Admission:
    """A hypervisor host's admission; ``changes`` are fields of HostFacts or of Admission."""
    facts = HostFacts(
        guid=guid,
        name=f"name of {guid}",
        type="Routing",
        version="4.22.0.0",
        ip_address="127.0.0.9",
        hypervisor="KVM",
        hypervisor_version="7.2",
        arch="x86_64",
        cpus=64,
        cpu_speed=2400,
        memory=2**40,
        capabilities="hvm,snapshot",
        details={"Host.OS": "Debian", "com.cloud.network.Networks.RouterPrivateIpStrategy": "HostLocal"},
    )
    server_id = changes.pop("server_id", SERVER)
    return Admission(facts=evolve(facts, **changes), location=location, server_id=server_id)


class StoreContract(SynchronousTestCase):
    """A contract holds for every implementation: a subclass says how its store is opened."""

    def setUp(self) -> None:
        """Open a store without any row."""
        self.store = self.open_store()

    def open_store(self, clock: Callable[[], float] | None = None) -> Store:
        """A new store, whose work is done when it returns, on its own time or another one."""
        raise NotImplementedError

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run work; raises what it raises."""
        return now(self.store.run(work))

    def look(self, work: Callable[[Transaction], T]) -> T:
        """Run work that only reads."""
        return now(self.store.read(work))

    def add_cluster(self, name: str = "one") -> tuple[Cluster, Location]:
        """Make a zone, pod and cluster of a name, and the location that means them."""

        def work(txn: Transaction) -> Cluster:
            pod = txn.topology.add_pod(f"pod {name}", txn.topology.add_zone(f"zone {name}").id)
            return txn.topology.add_cluster(f"cluster {name}", pod.id, hypervisor="KVM", arch="x86_64")

        cluster = self.write(work)
        return cluster, Location(zone=cluster.pod.zone.name, pod=cluster.pod.name, cluster=cluster.name)

    def admit(self, asked: Admission, at: float = 1000.0) -> Host:
        """Admit a host that must not be refused."""
        (host,) = self.write(lambda txn: txn.hosts.admit([asked], at))
        assert isinstance(host, Host), host
        return host

    def step(self, host: Host, event: HostEvent, at: float = 1000.0, session: int | None = None) -> Transition | None:
        """Have a host take a step as its server, in its own session or another."""
        change = StatusChange(
            host_id=host.id,
            session=host.session if session is None else Session(session),
            event=event,
            server_id=SERVER,
            reason="a test said so",
        )
        (taken,) = self.write(lambda txn: txn.hosts.transition([change], at))
        return taken

    def events(self, **which: Any) -> Sequence[Event]:
        """The events that a filter lets through, the newest first."""
        return self.look(lambda txn: txn.events.list(EventFilter(**which), 0, None))[0]
