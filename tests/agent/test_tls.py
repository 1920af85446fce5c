"""The agent on real TLS, over the in-memory network."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.pki import CertificateAuthority
from cloudlb.net.tls import Identity, server_context
from cloudlb.wire.tls_channel import TlsChannel
from tests.agent.log_lines import LogLines
from tests.agent.scripted_server import World

A, B = "10.0.1.1", "10.0.1.2"


class TlsTests(SynchronousTestCase):
    """Who may be a server, and which TLS it gets."""

    def setUp(self) -> None:
        """A CA, and two servers with certificates."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.authority = CertificateAuthority.create(folder / "ca", "test")
        self.folder = folder
        self.world = World(folder, A, B)
        self.log = LogLines()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)
        self.serve(A, self.identity("a", A))
        self.serve(B, self.identity("b", B))
        self.authority.issue_agent("g1").write(folder / "agent.pem", folder / "agent.key")
        self.text = f"tls.ca={self.authority.path.absolute()}\ntls.certificate=agent.pem\ntls.key=agent.key"

    def identity(self, name: str, address: str) -> Identity:
        """A server's files, new ones, of the CA in charge."""
        certificate, private_key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self.authority.issue_server(name, [address]).write(certificate, private_key)
        return Identity(ca=self.authority.path, certificate=certificate, private_key=private_key)

    def serve(self, address: str, identity: Identity, context: ssl.SSLContext | None = None) -> None:
        """Have a server use a certificate."""
        context = context or server_context(identity, strict=True)
        self.world.servers[address].channel = partial(TlsChannel, context, server_side=True)

    def test_connects(self) -> None:
        """Two of our own ends meet on TLS 1.3, and the agent shows its certificate."""
        self.world.agent(self.text, tls=True)
        self.assertEqual(self.world.on, A)
        channel = self.world.connection(A).link.channel
        assert isinstance(channel, TlsChannel)
        self.assertEqual((channel.version, channel.is_cloudlb), ("TLSv1.3", True))
        self.assertIsNotNone(channel.peer_certificate)

    def test_name_of_another(self) -> None:
        """A server whose certificate is for another address gets no word from us."""
        self.serve(A, self.identity("x", "10.0.9.9"))
        self.world.agent(self.text, tls=True)
        self.assertEqual(self.world.on, B)
        self.assertEqual(self.world.connection(A).requests, [])
        self.assertTrue(any("10.0.9.9" in line for line in self.log.lines()), self.log.lines())

    def test_stranger(self) -> None:
        """Nor does one of another CA."""
        ours, self.authority = self.authority, CertificateAuthority.create(self.folder / "other", "other")
        self.serve(A, self.identity("x", A))
        self.authority = ours
        self.world.agent(self.text, tls=True)
        self.assertEqual(self.world.on, B)
        self.assertTrue(any("certificate verify failed" in line for line in self.log.lines()), self.log.lines())

    def test_tls_of_cloudstack(self) -> None:
        """A server that takes TLS 1.3 without our name is asked again at once with TLS 1.2, and later too."""
        identity = self.identity("a", A)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate or "", identity.private_key)
        self.serve(A, identity, context)
        self.world.agent(self.text, tls=True)
        self.assertEqual(self.world.on, A)
        versions = [c.link.channel.version for c in self.world.servers[A].connections]  # type: ignore[attr-defined]  # a TlsChannel
        # The first handshake was broken off before the server could believe itself done.
        self.assertEqual(versions, ["", "TLSv1.2"])
        self.world.connection(A).link.abort("cut")
        self.world.advance(1)
        self.world.kill(B)
        self.world.advance(10)
        self.assertEqual(self.world.on, A)
        self.assertEqual(len(self.world.servers[A].connections), 3)
