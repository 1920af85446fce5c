"""What tests of the stream share: a fleet of rows, and a reader of what viewers get."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, HostFacts, HostId, ServerId, StatusChange
from cloudlb.domain.ports import Admission, Location, Transaction
from cloudlb.domain.settings import HOST, LB_ALGORITHM
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.storage.sqlite import new_database

T = TypeVar("T")

NOW = 1_790_000_000.0
ALPHA, BETA = ServerId(11), ServerId(12)


@frozen
class Told:
    """One event of a stream."""

    name: str
    position: str
    data: Any


def read_events(text: bytes) -> list[Told]:
    """Read what a browser would; comments are left out."""
    told = []
    for block in text.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in fields:
            told.append(Told(fields["event"], fields["id"], json.loads(fields["data"])))
    return told


def inflate(content: bytes) -> bytes:
    """Unpack as much of an endless gzip stream as has come."""
    return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(content)


class FleetTestCase(SynchronousTestCase):
    """Tests with two servers, alpha and beta, and hosts a and b on the servers that they prefer."""

    def setUp(self) -> None:
        """Make the rows."""
        self.clock = Clock()
        self.clock.advance(NOW)
        self.database = Database(
            new_database(Path(self.mktemp())),
            writer=InlineExecutor(),
            reader=InlineExecutor(),
            clock=self.clock.seconds,
        )
        self.successResultOf(Deferred.fromCoroutine(self.database.start()))
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(self.database.stop())))
        self.write(self._found)
        self.a, self.b = self.come("a", ALPHA), self.come("b", BETA)

    def _found(self, txn: Transaction) -> None:
        zone = txn.topology.add_zone("zone")
        pod = txn.topology.add_pod("pod", zone.id)
        txn.topology.add_cluster("cluster", pod.id, hypervisor="KVM", arch="x86_64")
        for server_id, name in ((ALPHA, "alpha"), (BETA, "beta")):
            txn.servers.register(
                name=name, address=f"10.0.0.{server_id - 10}", port=8250, version="1", candidate_id=server_id
            )
        txn.settings.set(HOST, "10.0.0.1,10.0.0.2", None)
        txn.settings.set(LB_ALGORITHM, "roundrobin", None)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Do something to the rows."""
        return self.successResultOf(self.database.run(work))

    def come(self, name: str, server: ServerId) -> HostId:
        """An agent comes to a server, and is Up."""

        def work(txn: Transaction) -> Host:
            (host,) = txn.hosts.admit([admission(name, server)], NOW)
            assert isinstance(host, Host), host
            txn.hosts.transition([_change(host, HostEvent.READY)], NOW)
            return host

        return self.write(work).id

    def step(self, host_id: HostId, event: HostEvent) -> None:
        """A host takes a step."""

        def work(txn: Transaction) -> None:
            host = txn.hosts.get(host_id)
            assert host is not None
            assert txn.hosts.transition([_change(host, event)], NOW) != [None]

        self.write(work)

    def execute(self, statement: str, values: Sequence[object] = ()) -> None:
        """Write behind the back of everybody, as a server of another version may."""
        with self.database._write_engine.begin() as connection:
            connection.exec_driver_sql(statement, tuple(values))


def admission(name: str, server: ServerId) -> Admission:
    """An agent that comes to a server."""
    facts = HostFacts(guid=f"guid-{name}", name=name, type="Routing", version="4.22", ip_address="10.1.0.9")
    return Admission(facts=facts, location=Location(zone="zone", pod="pod", cluster="cluster"), server_id=server)


def _change(host: Host, event: HostEvent) -> StatusChange:
    assert host.server_id is not None
    return StatusChange(host_id=host.id, session=host.session, event=event, server_id=host.server_id, reason="a test")
