"""Links on real loopback sockets: what only a kernel can do."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.trial.unittest import TestCase

from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.tls import client_context, server_context
from cloudlb.wire.link import Link
from cloudlb.wire.tls_channel import TlsChannel
from tests.net.certificates import certificates
from tests.net.owner import Owner

TCP = IReactorTCP(reactor)
CLOCK = IReactorTime(reactor)
REQUIRED = server_context(certificates().server, strict=True)
CLIENT = client_context(certificates().agent)


class SocketTestCase(TestCase):
    """A listening port of its own for each test."""

    timeout = 20

    def setUp(self) -> None:
        """Listen on a free port; the server's owner is the test's to shape."""
        self.server_owner = Owner()
        self.server_links: list[LinkProtocol] = []
        factory = ServerFactory()
        factory.noisy = False
        factory.protocol = self.accept
        self.port = TCP.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        address = self.port.getHost()
        assert isinstance(address, IPv4Address)
        self.number = address.port
        self.server_lost: Deferred[str] = Deferred()
        self.server_owner.on_lost = self.server_lost.callback

    def accept(self) -> LinkProtocol:
        link = LinkProtocol(
            Link(TlsChannel(REQUIRED, server_side=True)),
            self.server_owner,
            CLOCK,
            handshake_timeout=10,
            user_timeout=30,
            max_unsent=10 * 2**20,
        )
        self.server_links.append(link)
        return link

    def connect(self, owner: Owner, context: ssl.SSLContext = CLIENT) -> LinkProtocol:
        """Connect a link of ours."""
        link = LinkProtocol(Link(TlsChannel(context, server_side=False)), owner, CLOCK, handshake_timeout=10)
        factory = ClientFactory()
        factory.noisy = False
        factory.protocol = lambda: link
        TCP.connectTCP("127.0.0.1", self.number, factory)
        return link

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the reactor turn until something holds; the test's time-out bounds it."""
        while not condition():
            turn: Deferred[None] = Deferred()
            CLOCK.callLater(0.001, turn.callback, None)
            await turn


class Sockets(SocketTestCase):
    """Options, resets, refusals and readers that stop."""

    async def test_options(self) -> None:
        """TCP_NODELAY, keep-alive and TCP_USER_TIMEOUT are set on the accepted socket."""
        client_lost: Deferred[str] = Deferred()
        owner = Owner(on_lost=client_lost.callback)
        link = self.connect(owner)
        await self.until(lambda: self.server_owner.established == 1)
        accepted: socket.socket = self.server_links[0].transport.getHandle()  # type: ignore[attr-defined]
        self.assertEqual(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 30000)
        self.assertTrue(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertTrue(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        link.close()
        self.assertEqual(await client_lost, "closed")
        self.assertEqual(await self.server_lost, "closed by the peer")

    async def test_last_message_arrives(self) -> None:
        """A large message that is sent just before close arrives whole, also while the peer goes on sending."""
        client_lost: Deferred[str] = Deferred()
        owner = Owner(on_lost=client_lost.callback)
        last = b"refused" * 300_000

        def dismiss(link: LinkProtocol, _: bytes) -> None:
            link.send(last)
            link.close()

        self.server_owner.on_message = dismiss
        owner.on_established = lambda link: link.send(b"first")
        self.connect(owner)
        await client_lost
        await self.server_lost
        self.assertEqual(owner.messages, [last])

    async def test_reset(self) -> None:
        """A RST is told at once, as what it is."""
        stranger = socket.create_connection(("127.0.0.1", self.number))
        await self.until(lambda: len(self.server_links) == 1)
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stranger.close()
        self.assertEqual(await self.server_lost, "reset by the peer, or not acknowledged any more")

    async def test_half_closed(self) -> None:
        """A peer that shuts down its sending side is gone."""
        with socket.create_connection(("127.0.0.1", self.number)) as stranger:
            stranger.shutdown(socket.SHUT_WR)
            self.assertEqual(await self.server_lost, "closed by the peer")

    async def test_refused_certificate(self) -> None:
        """With TLS 1.3 the refusal comes after the client's first message; its reason still reaches the operator."""
        client_lost: Deferred[str] = Deferred()
        owner = Owner(on_lost=client_lost.callback)
        owner.on_established = lambda link: link.send(b"x" * 100_000)
        self.connect(owner, client_context(certificates().nobody))
        self.assertEqual(await self.server_lost, "TLS: peer did not return a certificate")
        self.assertIn("certificate required", await client_lost)

    async def test_stalled_reader(self) -> None:
        """A peer that sends requests and reads no answer is read no further and then cut; others are served."""
        self.server_owner.on_message = lambda link, message: link.send(message * 10)
        first_lost: Deferred[str] = Deferred()
        stalled = Owner(on_lost=first_lost.callback)
        greedy = self.connect(stalled)
        await self.until(lambda: stalled.established == 1)
        greedy.transport.pauseProducing()
        self.server_owner.on_lost = lambda _: None
        for _ in range(200):
            greedy.send(b"x" * 100_000)
        neighbour_lost: Deferred[str] = Deferred()
        neighbour = Owner(on_lost=neighbour_lost.callback)
        neighbour.on_established = lambda link: link.send(b"ping")
        other = self.connect(neighbour)
        await self.until(lambda: bool(neighbour.messages))
        self.assertEqual(neighbour.messages, [b"ping" * 10])
        await self.until(lambda: self.server_links[0]._stalled)
        heard = self.server_owner.messages.count(b"x" * 100_000)
        self.assertLess(heard, 200)
        # What the answers to the last read leave unsent is bounded, and nothing is added to it.
        unsent = self.server_links[0]._unsent_size
        await self.until(lambda: self.server_links[0].transport.producerPaused)  # type: ignore[attr-defined]
        self.assertEqual(self.server_links[0]._unsent_size, unsent)
        greedy.abort("done")
        other.close()
        await first_lost
        await neighbour_lost
        await self.until(lambda: len(self.server_owner.lost) == 2)
