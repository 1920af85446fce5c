"""Both ends of a link, on transports in memory."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.handshakes import Handshakes
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.tls import client_context, server_context
from cloudlb.wire.link import Link
from cloudlb.wire.tls_channel import TlsChannel
from tests.net.certificates import certificates
from tests.net.owner import Owner

REQUIRED = server_context(certificates().server, strict=True)
CLIENT = client_context(certificates().agent)


class Transport(StringTransport):
    """A TCP connection in memory, which keeps what was written until the test takes it, and counts the writes."""

    writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)

    def writeSequence(self, data: list[bytes]) -> None:  # noqa: N802 - Twisted's name
        if data:
            self.write(b"".join(data))

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.keep_alive = enabled

    def take(self) -> bytes:
        """What was written since the last time."""
        data: bytes = self.value()
        self.clear()
        return data


class End:
    """One link with its owner, transport and clock."""

    def __init__(
        self,
        clock: Clock,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        handshakes: Handshakes | None = None,
        max_unsent: int = 2**20,
    ) -> None:
        self.owner = Owner()
        channel = TlsChannel(context, server_side=server_side)
        self.link = LinkProtocol(
            Link(channel),
            self.owner,
            clock,
            handshake_timeout=10,
            handshakes=handshakes,
            user_timeout=30,
            max_unsent=max_unsent,
        )
        self.transport = Transport()
        self.link.makeConnection(self.transport)

    def lose(self, error: Exception | None = None) -> None:
        """Let the connection be gone."""
        self.link.connectionLost(Failure(error or ConnectionDone()))


def sending(*messages: bytes) -> Callable[[LinkProtocol], None]:
    """What an owner does that sends these."""

    def send(link: LinkProtocol) -> None:
        for message in messages:
            link.send(message)

    return send


class LinkTestCase(SynchronousTestCase):
    """Two ends on one clock."""

    def setUp(self) -> None:
        """A server's end and an agent's."""
        self.clock = Clock()
        self.server = End(self.clock, REQUIRED, server_side=True)
        self.client = End(self.clock, CLIENT, server_side=False)

    def pump(self, step: int = 2**20) -> None:
        """Carry bytes both ways until there are no more."""
        for _ in range(50):
            moved = False
            for source, target in ((self.client, self.server), (self.server, self.client)):
                data = source.transport.take()
                for start in range(0, len(data), step):
                    moved = True
                    target.link.dataReceived(data[start : start + step])
            if not moved:
                return

    def tearDown(self) -> None:
        """After a loss nothing is left on the clock, and no owner has heard of it twice."""
        for end in (self.server, self.client):
            if not end.owner.lost:
                end.lose()
            self.assertEqual(len(end.owner.lost), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
