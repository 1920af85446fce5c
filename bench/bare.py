"""The baseline: a server that echoes messages on bare links. TLS and framing, no packet, no JSON, no database."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.interfaces import IAddress  # noqa: E402
from twisted.internet.protocol import ServerFactory  # noqa: E402

from cloudlb.config import load_server_config  # noqa: E402
from cloudlb.net.link_protocol import LinkProtocol  # noqa: E402
from cloudlb.net.tls import Identity, server_context  # noqa: E402
from cloudlb.wire import Link, TlsChannel  # noqa: E402


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

    def __init__(self, config: Path) -> None:
        server = load_server_config(config)
        identity = Identity(ca=server.ca_certificate, certificate=server.certificate, private_key=server.private_key)
        self._context = server_context(identity, strict=True)

    def buildProtocol(self, addr: IAddress) -> LinkProtocol:
        link = Link(TlsChannel(self._context, server_side=True))
        return LinkProtocol(link, Echo(), reactor, handshake_timeout=10)  # type: ignore[arg-type]


if __name__ == "__main__":
    properties, address, port = sys.argv[1:]
    reactor.listenTCP(int(port), _Listener(Path(properties)), backlog=4096, interface=address)  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]
