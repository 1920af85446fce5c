"""A server's site with the dashboard on a port, and a fleet in its database that tests and measurements play with.

Servers and hosts are rows: nobody holds a link. What a cluster would write, a test writes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.protocols.policies import WrappingFactory

from cloudlb.api.sessions import Session
from cloudlb.config import ServerConfig
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, HostId, ServerId, StatusChange
from cloudlb.domain.passwords import hash_password
from cloudlb.domain.ports import Admission, Location, Transaction
from cloudlb.domain.settings import HOST, LB_ALGORITHM
from cloudlb.domain.users import Role
from cloudlb.service import Server
from cloudlb.storage.database import Database
from cloudlb.storage.executor import ThreadExecutor
from tests.contracts.case import admission
from tests.storage.sqlite import new_database
from tests.support.plain_channel import PlainChannel, PlainTrust

T = TypeVar("T")

PASSWORD = "correct horse"
BATCH = 500


class Stage:
    """The site, the rows behind it, and time that passes for the servers."""

    def __init__(self, reactor: Any, folder: Path) -> None:
        self.reactor = reactor
        database = Database(
            new_database(folder),
            writer=ThreadExecutor(reactor, 1, "stage-writer"),
            reader=ThreadExecutor(reactor, 2, "stage-reader"),
        )
        file = Path("unused")
        config = ServerConfig(
            name="mgmt-1",
            address="10.0.0.1",
            database_url="",
            ca_certificate=file,
            certificate=file,
            private_key=file,
            api_address="127.0.0.1",
        )
        # Its parts alone: as a service it would look after hosts whose links nobody has.
        self.service = Server(
            reactor,
            config,
            database,
            random.Random(1),
            channel_factory=lambda: PlainChannel(server_side=True),
            trust=PlainTrust(),
        )
        self.database = database
        self.stream = self.service.website.stream
        self.servers: dict[str, ServerId] = {}
        self.hosts: dict[str, HostId] = {}
        self._beats = LoopingCall(self._beat)
        self._beats.clock = reactor
        self._silent: set[ServerId] = set()

    async def start(self, servers: int, hosts: int, algorithm: str = "roundrobin") -> None:
        """Make servers and hosts, each host Up on the server that it prefers, and listen."""
        service, database = self.service, self.database
        await database.start()
        await service.membership.join()
        own = service.membership.own.id
        service.operations.server_id = service.resource_states.server_id = service.command_jobs.server_id = own
        await database.run(lambda txn: self._found(txn, servers, algorithm))
        self._beats.start(1.0)
        names = iter(range(1, hosts + 1))
        while batch := list(islice(names, BATCH)):
            await self.bring([f"host-{number}" for number in batch], lambda number: (number - 1) % servers)
        await service.settings.load()
        await service.bus.start()
        self._listen()

    def _found(self, txn: Transaction, servers: int, algorithm: str) -> None:
        zone = txn.topology.add_zone("zone")
        pod = txn.topology.add_pod("pod", zone.id)
        txn.topology.add_cluster("cluster-a", pod.id, hypervisor="KVM", arch="x86_64")
        self.servers["mgmt-1"] = self.service.membership.own.id
        for number in range(2, servers + 1):
            name = f"mgmt-{number}"
            row = txn.servers.register(
                name=name,
                address=f"10.0.0.{number}",
                port=8250,
                version=self.service.membership.own.version,
                candidate_id=ServerId(2**47 + number),
            )
            self.servers[name] = row.id
        txn.settings.set(HOST, ",".join(f"10.0.0.{number}" for number in range(1, servers + 1)), None)
        txn.settings.set(LB_ALGORITHM, algorithm, None)
        now = self.reactor.seconds()
        password = hash_password(PASSWORD)
        txn.accounts.add(username="admin", role=Role.ADMINISTRATOR, password=password, now=now)
        txn.accounts.add(username="guest", role=Role.READ_ONLY, password=password, now=now)

    def _listen(self) -> None:
        self._site = WrappingFactory(self.service.website.factory)
        self._port = self.reactor.listenTCP(0, self._site, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._port.getHost().port}/"

    async def stop(self) -> None:
        """End everything."""
        await maybeDeferred(self._port.stopListening)
        self.stream.stop()
        for connection in list(self._site.protocols):
            connection.abortConnection()
        self._beats.stop()
        self.service.settings.stop()
        self.service.rebalancer.stop()
        await self.service.membership.leave()
        self.service.bus.stop()
        # A server that seemed Down for a moment has it look at its lists.
        self.service.lists.stop()
        await self.database.stop()

    def _beat(self) -> Deferred[None]:
        def work(txn: Transaction) -> None:
            for server_id in self.servers.values():
                if server_id not in self._silent:
                    txn.servers.heartbeat(server_id)

        return self.database.run(work)

    def sessions(self) -> MutableMapping[str, Session]:
        """Who is logged in."""
        return self.service.website.sessions._sessions

    def fall_silent(self, server: str) -> None:
        """A server that is not this one does not write any more."""
        self._silent.add(self.servers[server])

    # What a cluster would write.

    async def bring(self, names: Sequence[str], to: Callable[[int], int]) -> None:
        """Have agents come, and be Up: to which server, by the number in the host's name."""
        ids = list(self.servers.values())

        def work(txn: Transaction) -> Mapping[str, HostId]:
            admissions = [_admission(name, ids[to(_number(name))]) for name in names]
            hosts = [host for host in txn.hosts.admit(admissions, self.reactor.seconds()) if isinstance(host, Host)]
            txn.hosts.transition([_change(host, HostEvent.READY) for host in hosts], self.reactor.seconds())
            txn.hosts.touch({host.id: self.reactor.seconds() for host in hosts})
            return {host.facts.name: host.id for host in hosts}

        self.hosts |= await self.database.run(work)

    async def move(self, names: Sequence[str], server: str) -> None:
        """Have agents come to a server, and stay Up meanwhile."""
        place = list(self.servers).index(server)
        await self.bring(names, lambda _: place)

    async def lose(self, names: Sequence[str], event: HostEvent = HostEvent.AGENT_DISCONNECTED) -> None:
        """Take a step with hosts that leads out of Up."""

        def work(txn: Transaction) -> None:
            hosts = txn.hosts.several([self.hosts[name] for name in names])
            changes = [_change(host, event) for host in hosts.values()]
            txn.hosts.transition(changes, self.reactor.seconds())

        await self.database.run(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Do anything else."""
        return await self.database.run(work)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _admission(name: str, server_id: ServerId) -> Admission:
    number = _number(name)
    return admission(
        f"guid-{number}",
        Location(zone="zone", pod="pod", cluster="cluster-a"),
        name=name,
        ip_address=f"10.{1 + number // 65536}.{number // 256 % 256}.{number % 256}",
        capabilities="",
        details={},
        server_id=server_id,
    )


def _change(host: Host, event: HostEvent) -> StatusChange:
    assert host.server_id is not None
    return StatusChange(
        host_id=host.id, session=host.session, event=event, server_id=host.server_id, reason="a test has it so"
    )
