"""Agents reduced to the wire: real TLS, real StartupCommands and pings, no resource behind them.

One process holds thousands of them, so that the figures are the server's and not the load's.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory
from twisted.internet.task import deferLater

from bench.cluster import rows
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.net.link_protocol import LinkOwner, LinkProtocol
from cloudlb.net.tls import Identity, client_context
from cloudlb.wire import (
    Flag,
    Header,
    Link,
    PingRoutingCommand,
    ReadyAnswer,
    ReadyCommand,
    SetupMSListAnswer,
    SetupMSListCommand,
    StartupRoutingCommand,
    TlsChannel,
    read_body,
    read_contents,
    read_header,
    response_flags,
    write_contents,
    write_packet,
)

RESOURCE = "SimulatorResource"
CONNECT_TIMEOUT = 60
MAX_MESSAGE = 2**20
AT_ONCE = 100
"""Agents that connect at the same time."""

T = TypeVar("T")
R = TypeVar("R")


@define(eq=False)
class FleetAgent:
    """One agent's conversation."""

    guid: str
    name: str
    context: ssl.SSLContext
    source: str
    ready: Deferred[FleetAgent] = field(factory=Deferred)
    host_id: int = -1
    answered: int = 0
    """Pings that got their answer."""
    sent: int = 0
    lost: str | None = None
    began: float = 0.0
    up_after: float = 0.0
    """Seconds from the connect call to the answered ReadyCommand."""
    pinged: Callable[[FleetAgent], None] = lambda agent: None
    link: LinkProtocol | None = None

    def link_established(self, link: LinkProtocol) -> None:
        """Introduce the host."""
        self.link = link
        startup = StartupRoutingCommand(
            guid=f"{self.guid}-{RESOURCE}",
            name=self.name,
            data_center="1",
            pod="1",
            cluster="1",
            version="0",
            resource_name=RESOURCE,
            hypervisor_type="KVM",
            arch="x86_64",
            private_ip_address=self.source,
            cpus=4,
            speed=2000,
            memory=2**34,
        )
        self._send(self._packet(0, Flag.REQUEST, write_contents([startup])))

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Count ping answers; answer what keeps the agent Up."""
        header = read_header(message)
        if not header.is_request:
            if header.sequence:
                self.answered += 1
                self.pinged(self)
            return
        for content in read_contents(read_body(message, header, MAX_MESSAGE)):
            if isinstance(content, ReadyCommand):
                self.host_id = content.host_id or -1
                self._answer(header, ReadyAnswer())
                self.up_after = time.monotonic() - self.began
                self.ready.callback(self)
            elif isinstance(content, SetupMSListCommand):
                self._answer(header, SetupMSListAnswer())

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Remember why."""
        self.lost = reason
        if not self.ready.called:
            self.ready.errback(ConnectionError(f"{self.name}: {reason}"))

    def ping(self) -> None:
        """Send a ping."""
        self.sent += 1
        self._send(self.ping_packet())

    def ping_packet(self) -> bytes:
        """A ping; its sequence is its number."""
        ping = PingRoutingCommand(host_type="Routing", host_id=self.host_id, host_vm_state_report={})
        return self._packet(self.sent, Flag.REQUEST | Flag.STOP_ON_ERROR, write_contents([ping]))

    def hang_up(self) -> None:
        """Cut the link."""
        assert self.link is not None
        self.link.abort("done")

    def _answer(self, header: Header, answer: ReadyAnswer | SetupMSListAnswer) -> None:
        self._send(self._packet(header.sequence, response_flags(header), write_contents([answer])))

    def _packet(self, sequence: int, flags: Flag, body: bytes) -> bytes:
        return write_packet(
            sequence=sequence, server_id=-1, agent_id=self.host_id, via=self.host_id, flags=flags, body=body
        )

    def _send(self, packet: bytes) -> None:
        assert self.link is not None
        self.link.send(packet)


class LinkFactory(ClientFactory):
    """Makes one link to a server."""

    noisy = False

    def __init__(self, reactor: Any, context: ssl.SSLContext, owner: LinkOwner, ready: Deferred[Any]) -> None:
        self._reactor, self._context, self._owner, self._ready = reactor, context, owner, ready

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        """The shell of the link."""
        link = Link(TlsChannel(self._context, server_side=False))
        return LinkProtocol(link, self._owner, self._reactor, handshake_timeout=CONNECT_TIMEOUT)

    def clientConnectionFailed(self, connector: object, reason: Any) -> None:
        """Nobody is there."""
        self._ready.errback(reason)


def load_fleet(cluster: LocalCluster, count: int) -> list[FleetAgent]:
    """The first ``count`` agents of a deployment, spread over source addresses so that ports do not run out."""
    fleet = []
    for number, name in enumerate(list(cluster.inventory.agents)[:count]):
        config = cluster.inventory.agent(name)
        assert config.ca is not None
        identity = Identity(ca=config.ca, certificate=config.certificate, private_key=config.private_key)
        context = client_context(identity)
        # Nothing for the server is different, and it has more of the machine.
        context.verify_mode = ssl.CERT_NONE
        fleet.append(FleetAgent(guid=config.guid, name=name, context=context, source=f"127.0.1.{1 + number % 200}"))
    return fleet


async def at_most(places: int, begin: Callable[[T], Deferred[R]], items: Iterable[T]) -> float:
    """Do something with every item, so many at a time; return the seconds that all took."""
    semaphore, began = DeferredSemaphore(places), time.monotonic()
    for under_way in [semaphore.run(begin, item) for item in items]:
        await under_way
    return time.monotonic() - began


async def connect_all(reactor: Any, cluster: LocalCluster, fleet: Iterable[FleetAgent], places: int = AT_ONCE) -> float:
    """Connect a fleet to the first server; return the seconds until all had answered their ReadyCommands."""
    server = next(iter(cluster.inventory.servers.values()))

    def connect(agent: FleetAgent) -> Deferred[FleetAgent]:
        agent.began = time.monotonic()
        factory = LinkFactory(reactor, agent.context, agent, agent.ready)
        reactor.connectTCP(server.address, server.port, factory, CONNECT_TIMEOUT, (agent.source, 0))
        return agent.ready

    return await at_most(places, connect, fleet)


async def all_up(reactor: Any, cluster: LocalCluster, fleet: Iterable[FleetAgent]) -> float:
    """Wait until the database calls the hosts of a connected fleet Up; return the seconds that it took."""
    began = time.monotonic()
    names = {agent.name for agent in fleet}
    while names - {name for name, row in rows(cluster).items() if row.state == "Up"}:
        await deferLater(reactor, 0.02, lambda: None)
    return time.monotonic() - began
