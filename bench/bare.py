"""The baseline: messages echoed on bare links. TLS and framing, no packet, no JSON, no database.

As a program it is the server; :func:`measure_bare` measures it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater

from bench.cluster import Usage, free_port
from bench.fleet import AT_ONCE, CONNECT_TIMEOUT, FleetAgent, LinkFactory, at_most
from bench.loop import Loop
from cloudlb.cli.local_cluster import START_TIMEOUT, LocalCluster
from cloudlb.cli.processes import Daemon, stop_all, wait_until_listening
from cloudlb.config import ServerConfig, load_server_config
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.tls import Identity, server_context
from cloudlb.wire import Link, TlsChannel


class Echo:
    """Sends every message back."""

    def link_established(self, link: LinkProtocol) -> None:
        """Nothing to say first."""

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Send it back."""
        link.send(message)

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Nothing to clean up."""


class _Listener(ServerFactory):
    noisy = False

    def __init__(self, reactor: Any, config: ServerConfig) -> None:
        identity = Identity(ca=config.ca_certificate, certificate=config.certificate, private_key=config.private_key)
        self._context = server_context(identity, strict=True)
        self._reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        link = Link(TlsChannel(self._context, server_side=True))
        return LinkProtocol(link, Echo(), self._reactor, handshake_timeout=CONNECT_TIMEOUT)


@define(eq=False)
class _Client:
    """The bare counterpart of an agent."""

    agent: FleetAgent
    up: Deferred[None] = field(factory=Deferred)
    echoed: int = 0
    running: bool = False
    link: LinkProtocol | None = None
    message: bytes = b""

    def link_established(self, link: LinkProtocol) -> None:
        self.link = link
        self.message = self.agent.ping_packet()
        self.up.callback(None)

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        self.echoed += 1
        if self.running:
            link.send(self.message)

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        if not self.up.called:
            self.up.errback(ConnectionError(reason))

    def begin(self) -> None:
        assert self.link is not None
        self.running = True
        self.link.send(self.message)

    def end(self) -> None:
        assert self.link is not None
        self.running = False
        self.link.abort("done")


@frozen
class Bare:
    """What bare links can do."""

    connects: float
    """Handshakes per second."""
    connect_cpu: float
    """Milliseconds of the server's for one."""
    echoes: Loop


async def measure_bare(reactor: Any, cluster: LocalCluster, fleet: list[FleetAgent], seconds: float) -> Bare:
    """Have messages as long as a ping echoed, on as many links as the fleet has agents and with its certificates."""
    name, config = next(iter(cluster.inventory.server_files.items()))
    port = free_port((name,))
    server = Daemon("bare", [sys.executable, "-m", "bench.bare", str(config), str(port)], cluster.logs / "bare.log")

    def connect(client: _Client) -> Deferred[None]:
        factory = LinkFactory(reactor, client.agent.context, client, client.up)
        reactor.connectTCP(name, port, factory, CONNECT_TIMEOUT, (client.agent.source, 0))
        return client.up

    try:
        server.start()
        wait_until_listening([(server, [(name, port)])], START_TIMEOUT)
        clients = [_Client(agent) for agent in fleet]
        alone = Usage.of(server.pid)
        connecting = await at_most(AT_ONCE, connect, clients)
        before, began = Usage.of(server.pid), time.monotonic()
        for client in clients:
            client.begin()
        await deferLater(reactor, seconds, lambda: None)
        echoes = Loop(
            round_trips=sum(client.echoed for client in clients),
            seconds=time.monotonic() - began,
            cpu=Usage.of(server.pid).cpu - before.cpu,
        )
        for client in clients:
            client.end()
        return Bare(len(fleet) / connecting, (before.cpu - alone.cpu) / len(fleet) * 1000, echoes)
    finally:
        stop_all([server])


def main() -> None:
    """Serve on the address of a mgmt.properties and a port of its own, until a signal."""
    # Importing it installs it, which is nothing for who only measures.
    from twisted.internet import reactor as installed  # noqa: PLC0415

    reactor: Any = installed
    config = load_server_config(Path(sys.argv[1]))
    reactor.listenTCP(int(sys.argv[2]), _Listener(reactor, config), backlog=4096, interface=config.bind_address)
    reactor.run()


if __name__ == "__main__":
    main()
