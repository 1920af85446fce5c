"""What the contexts of the links accept, refuse and say about it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.pki import CertificateAuthority
from cloudlb.net.tls import Identity, TlsConfigurationError, certificate_guid, client_context, server_context
from cloudlb.wire.tls_channel import ALPN
from tests.net.certificates import certificates, handshake, identity


class Handshakes(SynchronousTestCase):
    """Two ends in memory."""

    def setUp(self) -> None:
        """One CA for all."""
        self.files = certificates()
        self.strict = server_context(self.files.server, strict=True)

    def test_two_of_ours(self) -> None:
        """Our ends agree on TLS 1.3 and the ALPN name, and know each other's certificates."""
        server, client = handshake(self.strict, client_context(self.files.agent))
        for end in (server, client):
            self.assertEqual((end.version(), end.selected_alpn_protocol()), ("TLSv1.3", ALPN))
        shown = server.getpeercert(binary_form=True)
        assert shown is not None
        self.assertEqual(certificate_guid(shown), "agent-1")

    def test_tls12_for_cloudstack(self) -> None:
        """A client that keeps to TLS 1.2 offers no ALPN name and is accepted."""
        server, client = handshake(self.strict, client_context(self.files.agent, tls12=True))
        for end in (server, client):
            self.assertEqual((end.version(), end.selected_alpn_protocol()), ("TLSv1.2", None))

    def test_client_with_another_alpn_name(self) -> None:
        """Foreign ALPN names are no reason to refuse a peer."""
        context = client_context(self.files.agent)
        context.set_alpn_protocols(["h2"])
        server, _ = handshake(self.strict, context)
        self.assertIsNone(server.selected_alpn_protocol())

    def test_ciphers_of_cloudstack(self) -> None:
        """CloudStack's choices for RSA and ECDSA are there; nothing without forward secrecy and AEAD is."""
        names = {cipher["name"] for cipher in self.strict.get_ciphers() if cipher["protocol"] == "TLSv1.2"}
        self.assertLessEqual({"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"}, names)
        self.assertTrue(all(name.startswith("ECDHE-") and ("GCM" in name or "CHACHA" in name) for name in names))

    def test_tls11_is_refused(self) -> None:
        """Old versions are off at both ends, and so are tickets, compression and renegotiation."""
        for context in (self.strict, client_context(self.files.agent)):
            self.assertEqual(context.minimum_version, ssl.TLSVersion.TLSv1_2)
            for option in (ssl.OP_NO_TICKET, ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION):
                self.assertTrue(context.options & option)

    def test_nothing_follows_the_handshake(self) -> None:
        """The server sends no ticket in either version: after its Finished nothing comes unframed."""
        for tls12 in (False, True):
            to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = client_context(self.files.agent, tls12=tls12).wrap_bio(to_client, to_server)
            server = self.strict.wrap_bio(to_server, to_client, server_side=True)
            for _ in range(3):
                for end in (client, server):
                    try:
                        end.do_handshake()
                    except ssl.SSLWantReadError:
                        continue
            self.assertEqual((to_client.pending, to_server.pending), (0, 0))
            self.assertIsNone((client.session and client.session.ticket_lifetime_hint) or None)

    def test_strictness(self) -> None:
        """An agent without a certificate is refused when strict, and admitted when not."""
        for tls12 in (False, True):
            client = client_context(self.files.nobody, tls12=tls12)
            self.assertRaises(ssl.SSLError, handshake, self.strict, client)
            server, _ = handshake(server_context(self.files.server, strict=False), client)
            self.assertIsNone(server.getpeercert(binary_form=True))

    def test_foreign_ca(self) -> None:
        """A certificate of another CA is refused at either end, also where none is asked for."""
        folder = Path(self.mktemp())
        foreign = CertificateAuthority.create(folder, "Foreign CA")
        foreign.issue_agent("agent-1").write(folder / "agent.pem", folder / "agent.key")
        own_trust = Identity(ca=self.files.ca.path, certificate=folder / "agent.pem", private_key=folder / "agent.key")
        for strict in (True, False):
            server = server_context(self.files.server, strict=strict)
            self.assertRaises(ssl.SSLError, handshake, server, client_context(own_trust))
        self.assertRaises(
            ssl.SSLCertVerificationError, handshake, self.strict, client_context(identity(foreign, folder, "agent"))
        )

    def test_agent_cannot_pose_as_server(self) -> None:
        """An agent's certificate is for clients only: another agent does not take it for a server's."""
        pretended = server_context(self.files.agent, strict=True)
        self.assertRaises(ssl.SSLCertVerificationError, handshake, pretended, client_context(self.files.agent))

    def test_openssl_strict(self) -> None:
        """Our certificates pass OpenSSL's strict checks, which newer Pythons switch on."""
        client = client_context(self.files.agent)
        for context in (self.strict, client):
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        server, _ = handshake(self.strict, client)
        self.assertEqual(server.version(), "TLSv1.3")

    def test_two_cas_while_one_replaces_the_other(self) -> None:
        """With both CAs in the file, certificates of both are taken, also when the old one has expired."""
        folder = Path(self.mktemp())
        old = CertificateAuthority.create(folder / "old", "Old", lambda: datetime.now(UTC) - timedelta(days=4000))
        both = folder / "both.pem"
        both.write_bytes(old.path.read_bytes() + self.files.ca.path.read_bytes())
        agent = self.files.agent
        server, _ = handshake(
            server_context(self.files.server, strict=True),
            client_context(Identity(ca=both, certificate=agent.certificate, private_key=agent.private_key)),
        )
        self.assertEqual(server.version(), "TLSv1.3")


class Misconfiguration(SynchronousTestCase):
    """Files that cannot be used are told by name when the daemon starts, not by a failed handshake."""

    def setUp(self) -> None:
        """A folder of its own."""
        self.files = certificates()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def refused(self, *words: str, ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> None:
        given = Identity(
            ca=ca or self.files.ca.path,
            certificate=cert or self.files.agent.certificate,
            private_key=key or self.files.agent.private_key,
        )
        message = str(self.assertRaises(TlsConfigurationError, client_context, given))
        for word in words:
            self.assertIn(word, message)
        self.assertNotIn("PRIVATE KEY", message)

    def test_missing_and_unreadable(self) -> None:
        """Each file, when it is not there or is a folder."""
        missing = self.folder / "missing.pem"
        self.refused(str(missing), "No such file", ca=missing)
        self.refused(str(missing), "No such file", cert=missing)
        self.refused(str(missing), "No such file", key=missing)
        self.refused(str(self.folder), "Is a directory", cert=self.folder)

    def test_not_pem(self) -> None:
        """Garbage, an empty file and the wrong kind of PEM."""
        for content in (b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
            path = self.write("bad.pem", content)
            self.refused(str(path), "no certificate", ca=path)
            self.refused(str(path), "no certificate", cert=path)
            self.refused(str(path), "no private key", key=path)

    def test_key_of_another_certificate(self) -> None:
        """Both files are named."""
        assert self.files.server.private_key is not None
        self.refused(
            str(self.files.server.private_key), str(self.files.agent.certificate), key=self.files.server.private_key
        )

    def test_encrypted_key(self) -> None:
        """A daemon has nobody to ask for a pass phrase, and must not wait for one."""
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        self.refused("encrypted", "secret.key", key=self.write("secret.key", pem))

    def test_expired(self) -> None:
        """An expired CA and an expired own certificate, with the date."""
        old = CertificateAuthority.create(self.folder / "ca", "Old", lambda: datetime(2001, 2, 3, 4, 5, tzinfo=UTC))
        self.refused(str(old.path), "expired at 2011-02-01 04:05 UTC", ca=old.path)
        old.issue_agent("a").write(self.folder / "a.pem", self.folder / "a.key")
        self.refused("a.pem", "expired at 2002-02-03 04:05 UTC", cert=self.folder / "a.pem", key=self.folder / "a.key")

    def test_half_an_identity(self) -> None:
        """A certificate without its key, a key without its certificate, and a server without either."""
        ca, agent = self.files.ca.path, self.files.agent
        for half in (Identity(ca=ca, certificate=agent.certificate), Identity(ca=ca, private_key=agent.private_key)):
            self.assertIn("go together", str(self.assertRaises(TlsConfigurationError, client_context, half)))
        error = self.assertRaises(TlsConfigurationError, server_context, Identity(ca=ca), strict=True)
        self.assertIn("a server needs a certificate", str(error))
