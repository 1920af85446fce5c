"""Agents reduced to the wire: real TLS, real StartupCommands and pings, no resource behind them.

One process holds thousands of them, so that the figures are the server's and not the load's.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path

import javaproperties
from attrs import define, field
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory

from cloudlb.net.link_protocol import LinkProtocol
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
        self._send(0, Flag.REQUEST, write_contents([startup]))

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
        """Send a ping; its sequence is its number."""
        self.sent += 1
        ping = PingRoutingCommand(host_type="Routing", host_id=self.host_id, host_vm_state_report={})
        self._send(self.sent, Flag.REQUEST | Flag.STOP_ON_ERROR, write_contents([ping]))

    def _answer(self, header: Header, answer: ReadyAnswer | SetupMSListAnswer) -> None:
        self._send(header.sequence, response_flags(header), write_contents([answer]))

    def _send(self, sequence: int, flags: Flag, body: bytes) -> None:
        assert self.link is not None
        packet = write_packet(
            sequence=sequence, server_id=-1, agent_id=self.host_id, via=self.host_id, flags=flags, body=body
        )
        self.link.send(packet)


class _Factory(ClientFactory):
    noisy = False

    def __init__(self, reactor: ReactorBase, agent: FleetAgent) -> None:
        self._reactor = reactor
        self._agent = agent

    def buildProtocol(self, addr: IAddress) -> LinkProtocol:
        link = Link(TlsChannel(self._agent.context, server_side=False))
        return LinkProtocol(link, self._agent, self._reactor, handshake_timeout=CONNECT_TIMEOUT)

    def clientConnectionFailed(self, connector: object, reason: object) -> None:
        self._agent.ready.errback(ConnectionError(f"{self._agent.name}: {reason}"))


def load_fleet(deployment: Path, count: int) -> list[FleetAgent]:
    """The first ``count`` agents of a deployment, spread over source addresses so that ports do not run out."""
    fleet = []
    for number in range(1, count + 1):
        folder = deployment / "agents" / str(number)
        with (folder / "agent.properties").open("rb") as file:
            properties = javaproperties.load(file)
        identity = Identity(
            ca=folder / properties["tls.ca"],
            certificate=folder / properties["tls.certificate"],
            private_key=folder / properties["tls.key"],
        )
        fleet.append(
            FleetAgent(
                guid=properties["guid"],
                name=f"agent-{number}",
                context=client_context(identity),
                source=f"127.0.1.{1 + number % 200}",
            )
        )
    return fleet


async def connect_all(reactor: ReactorBase, fleet: list[FleetAgent], address: str, port: int, at_once: int) -> float:
    """Connect a fleet, at most ``at_once`` handshakes at a time; return the seconds until the last was Up."""
    places = DeferredSemaphore(at_once)
    began = time.monotonic()

    def connect(agent: FleetAgent) -> Deferred[FleetAgent]:
        agent.began = time.monotonic()
        reactor.connectTCP(  # type: ignore[attr-defined]
            address, port, _Factory(reactor, agent), timeout=CONNECT_TIMEOUT, bindAddress=(agent.source, 0)
        )
        return agent.ready

    for under_way in [places.run(connect, agent) for agent in fleet]:
        await under_way
    return time.monotonic() - began
