"""Links between servers on real loopback sockets, with real certificates."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from attrs import define, evolve
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cloudlb.agents.directory import Directory
from cloudlb.agents.listener import Listener
from cloudlb.cluster.membership import Membership
from cloudlb.cluster.peer_links import NotReached, PeerLinks
from cloudlb.cluster.peer_trust import TlsTrust
from cloudlb.cluster.relays import Relays
from cloudlb.domain.models import Server, ServerId
from cloudlb.metrics.meters import Meters
from cloudlb.net.certificate_names import CertificateMismatch
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.tls import Identity, server_context
from cloudlb.wire import Flag, NoAnswer, TlsChannel, read_body, read_contents, read_header, write_packet
from tests.agents.server import config
from tests.net.certificates import certificates, handshake

CLOCK = IReactorTime(reactor)
ASKING, OWNER = ServerId(11), ServerId(22)


def server(server_id: ServerId, *, port: int = 0, address: str = "127.0.0.1") -> Server:
    """A row."""
    return Server(
        id=server_id,
        uuid="",
        name=f"server-{server_id}",
        address=address,
        port=port,
        version="",
        run_id=1,
        started=0.0,
        heartbeat=0.0,
    )


@define
class Rows:
    """Membership, as far as links between servers look at it."""

    own: Server
    servers: dict[ServerId, Server]
    cut_off: bool = False

    def peer(self, server_id: ServerId) -> Server | None:
        return self.servers.get(server_id)

    def observe(self, changed: Callable[[], None]) -> None:
        """Nothing changes."""


class NoHosts:
    """A directory without any."""

    def get(self, host_id: int) -> None:
        return None


class PeerTlsTests(TestCase):
    """One server that asks, and one that listens, strict or not."""

    timeout = 20

    def listen(self, *, strict: bool) -> None:
        """Have the owner listen."""
        context = server_context(certificates().server, strict=strict)
        chosen = config("127.0.0.1", Path("none"))
        self.servers = {ASKING: server(ASKING)}
        self.relays = Relays(
            cast("Membership", Rows(server(OWNER), self.servers)),
            cast("Directory", NoHosts()),
            TlsTrust(certificates().server),
            CLOCK,
            max_message=2**20,
        )
        self.listener = Listener(
            chosen,
            CLOCK,
            lambda: TlsChannel(context, server_side=True),
            cast("Any", None),
            HalfOpen(CLOCK, 10, 10),
            self.relays.begin,
            Meters(),
        )
        port = IReactorTCP(reactor).listenTCP(0, self.listener, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(self.relays.stop)
        self.addCleanup(self.listener.close)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        self.number = address.port

    def links(self, identity: Identity, **values: Any) -> PeerLinks:
        """Those of the asking server, whose certificate is this."""
        rows = Rows(server(ASKING), {OWNER: evolve(server(OWNER, port=self.number), **values)})
        links = PeerLinks(
            cast("Membership", rows),
            TlsTrust(identity),
            reactor,
            random.Random(1),
            handshake_timeout=5,
            max_message=2**20,
        )
        self.addCleanup(links.stop)
        return links

    async def test_ask(self) -> None:
        """Requests go there and responses come back; 2 MiB one way in many records."""
        self.listen(strict=True)
        link = await self.links(certificates().server).reach(OWNER)
        body = b"[" + random.Random(1).randbytes(700_000).hex().encode() + b"]"
        packet = write_packet(sequence=0, server_id=0, agent_id=5, via=5, flags=Flag.REQUEST, body=body)
        response = await link.ask(packet, timeout=5)
        [said] = read_contents(read_body(response, read_header(response), 2**16))
        assert isinstance(said, NoAnswer)
        self.assertIn("host 5 is not on this server", said.details or "")
        self.assertEqual(len(self.relays), 1)

    async def test_ask_while_it_ends(self) -> None:
        """What cannot be sent any more is not taken for sent, whether or not the link is known to be lost."""
        self.listen(strict=True)
        for end in (LinkProtocol.abort, LinkProtocol.close):
            links = self.links(certificates().server)
            link = await links.reach(OWNER)
            protocol = link._link
            assert protocol is not None
            end(protocol, "it has sent garbage")
            self.assertIsNone(link.lost)
            packet = write_packet(sequence=0, server_id=0, agent_id=5, via=5, flags=Flag.REQUEST, body=b"[]")
            self.assertRaises(NotReached, link.ask, packet, timeout=5)
            self.assertEqual(len(link), 0)

    async def refused(self, links: PeerLinks, words: str) -> None:
        """There is no link, and the reason is told."""
        error = await self.assertFailure(links.reach(OWNER), NotReached)
        self.assertIn(words, str(error))
        self.assertEqual(len(self.relays), 0)

    async def test_no_certificate(self) -> None:
        """Not even where agents need none."""
        self.listen(strict=False)
        await self.refused(self.links(certificates().nobody), "it has shown no certificate")

    async def test_a_certificate_of_an_agent(self) -> None:
        """Is none of a server."""
        self.listen(strict=False)
        await self.refused(self.links(certificates().agent), "that of an agent")

    async def test_another_address(self) -> None:
        """The certificate has to be for the address in the row of the server that it is to be."""
        self.listen(strict=True)
        self.servers[ASKING] = server(ASKING, address="127.0.0.7")
        await self.refused(self.links(certificates().server), "connected to 127.0.0.7")

    async def test_another_server(self) -> None:
        """The one that connects looks, too, before it says a word."""
        self.listen(strict=True)
        await self.refused(self.links(certificates().server, address="localhost"), "connected to localhost")

    async def test_nobody_listens(self) -> None:
        """The next attempt waits a little, and who wants the link meanwhile is told why there is none."""
        self.listen(strict=True)
        links = self.links(certificates().server, port=1)
        for _ in range(2):
            await self.refused(links, "refused")
        self.assertEqual(len(links), 0)


class TlsTrustTests(SynchronousTestCase):
    """What a certificate is good for."""

    def test_tls13_only(self) -> None:
        """Servers of one deployment have no need for less."""
        context = server_context(certificates().server, strict=True)
        _, client = handshake(context, TlsTrust(certificates().server)._context)
        self.assertEqual(client.version(), "TLSv1.3")

    def test_no_certificate(self) -> None:
        """Is none of a server."""
        with self.assertRaises(CertificateMismatch):
            TlsTrust(certificates().server).check(None, server(OWNER))
        with self.assertRaises(CertificateMismatch):
            TlsTrust(certificates().server).check(b"garbage", server(OWNER))
