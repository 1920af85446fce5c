"""The certificate authority on the disk."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.addresses import InvalidAddress
from cloudlb.net.pki import CertificateAuthority, KeyPair, PkiError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def common_name(certificate: x509.Certificate) -> object:
    """The subject's only attribute."""
    (attribute,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return attribute.value


class Issue(SynchronousTestCase):
    """What stands in the certificates."""

    def setUp(self) -> None:
        """A CA at a fixed time."""
        self.now = NOW
        self.folder = Path(self.mktemp()) / "deployment" / "ca"
        self.ca = CertificateAuthority.create(self.folder, "Test CA", lambda: self.now)
        self.root = x509.load_pem_x509_certificate(self.ca.path.read_bytes())

    def read(self, pair: KeyPair) -> x509.Certificate:
        certificate, issuer = x509.load_pem_x509_certificates(pair.certificate)
        self.assertEqual(issuer, self.root)
        certificate.verify_directly_issued_by(self.root)
        return certificate

    def test_authority(self) -> None:
        """A self-signed P-256 root for ten years that can sign certificates of holders but no further CAs."""
        self.root.verify_directly_issued_by(self.root)
        key = self.root.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.assertEqual(key.curve.name, "secp256r1")
        constraints = self.root.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual((constraints.critical, constraints.value.ca, constraints.value.path_length), (True, True, 0))
        usage = self.root.extensions.get_extension_for_class(x509.KeyUsage)
        self.assertEqual(
            (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature),
            (True, True, True, False),
        )
        self.assertEqual(self.root.not_valid_before_utc, NOW - timedelta(hours=1))
        self.assertEqual(self.root.not_valid_after_utc, NOW + timedelta(days=3650))

    def test_server(self) -> None:
        """A server's certificate has all its addresses once, its name in a URI, and serves and connects."""
        certificate = self.read(self.ca.issue_server("mgmt 1", ["127.0.0.1", "[::1]", "Mgmt.Example", "127.0.0.1"]))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(ip) for ip in names.get_values_for_type(x509.IPAddress)], ["127.0.0.1", "::1"])
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["mgmt.example"])
        self.assertEqual(names.get_values_for_type(x509.UniformResourceIdentifier), ["urn:cloudlb:server:mgmt%201"])
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(set(usages), {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})

    def test_agent(self) -> None:
        """An agent's certificate has its GUID and connects only; it is no CA and lasts a year."""
        certificate = self.read(self.ca.issue_agent("agent/1"))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.UniformResourceIdentifier), ["urn:cloudlb:agent:agent%2F1"])
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usages), [ExtendedKeyUsageOID.CLIENT_AUTH])
        self.assertFalse(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
        self.assertEqual(certificate.not_valid_before_utc, NOW - timedelta(hours=1))
        self.assertEqual(certificate.not_valid_after_utc, NOW + timedelta(days=365))

    def test_serials_and_keys_differ(self) -> None:
        """No two certificates share a serial number or a key."""
        certificates = [self.read(self.ca.issue_agent("agent-1")) for _ in range(5)]
        self.assertEqual(len({certificate.serial_number for certificate in certificates}), 5)
        self.assertEqual(len({self.ca.issue_agent("agent-1").private_key for _ in range(5)}), 5)

    def test_long_names(self) -> None:
        """A common name has 64 characters at most; the names that count are whole."""
        certificate = self.read(self.ca.issue_agent("g" * 200))
        self.assertEqual(common_name(certificate), "g" * 64)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.UniformResourceIdentifier), ["urn:cloudlb:agent:" + "g" * 200])

    def test_refusals(self) -> None:
        """No name, no address, a malformed address, an expired CA."""
        self.assertRaises(PkiError, self.ca.issue_agent, "")
        self.assertRaises(PkiError, self.ca.issue_server, "", ["127.0.0.1"])
        self.assertRaises(PkiError, self.ca.issue_server, "mgmt", [])
        self.assertRaises(InvalidAddress, self.ca.issue_server, "mgmt", ["127.0.0.256"])
        self.now = NOW + timedelta(days=3650)
        self.assertIn(str(self.ca.path), str(self.assertRaises(PkiError, self.ca.issue_agent, "agent-1")))

    def test_nothing_outlives_the_authority(self) -> None:
        """A certificate that is made shortly before the CA's end ends with it."""
        self.now = NOW + timedelta(days=3600)
        self.assertEqual(self.read(self.ca.issue_agent("agent-1")).not_valid_after_utc, self.root.not_valid_after_utc)

    def test_files(self) -> None:
        """Keys are for their owner's eyes, the CA's folder too, and no temporary file is left."""
        pair = self.ca.issue_agent("agent-1")
        pair.write(self.folder / "agent.pem", self.folder / "agent.key")
        self.assertEqual(mode(self.folder), 0o700)
        self.assertEqual([mode(self.folder / name) for name in ("private_key.pem", "agent.key")], [0o600, 0o600])
        self.assertEqual(
            {path.name for path in self.folder.iterdir()},
            {"private_key.pem", "certificate.pem", "agent.key", "agent.pem"},
        )
        self.assertEqual((self.folder / "agent.key").read_bytes(), pair.private_key)

    def test_keys_are_not_in_a_repr(self) -> None:
        """What is logged by mistake holds no key."""
        pair = self.ca.issue_agent("agent-1")
        self.assertNotIn("PRIVATE KEY", repr(pair))
        self.assertNotIn("rivate", repr(self.ca))


class Load(SynchronousTestCase):
    """A CA that is read again."""

    def setUp(self) -> None:
        """A CA in a folder."""
        self.folder = Path(self.mktemp())
        self.ca = CertificateAuthority.create(self.folder, "Test CA", lambda: NOW)

    def refused(self, *words: str) -> None:
        message = str(self.assertRaises(PkiError, CertificateAuthority.load, self.folder))
        for word in words:
            self.assertIn(word, message)

    def test_goes_on_where_it_was(self) -> None:
        """The CA that was loaded signs for the CA that was made."""
        pair = CertificateAuthority.load(self.folder, lambda: NOW).issue_agent("agent-1")
        root = x509.load_pem_x509_certificate(self.ca.path.read_bytes())
        x509.load_pem_x509_certificate(pair.certificate).verify_directly_issued_by(root)

    def test_is_never_made_twice(self) -> None:
        """Making a CA where one is would cut off every agent: refused, and the files stay."""
        before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        error = self.assertRaises(PkiError, CertificateAuthority.create, self.folder, "Another")
        self.assertIn("certificate.pem: there is a CA already", str(error))
        self.assertEqual({path.name: path.read_bytes() for path in self.folder.iterdir()}, before)

    def test_creation_cut_off_by_a_crash(self) -> None:
        """A key without a certificate is what a crash leaves behind: no CA yet, and made anew."""
        (self.folder / "certificate.pem").unlink()
        self.refused("certificate.pem", "No such file")
        CertificateAuthority.create(self.folder, "Test CA")
        CertificateAuthority.load(self.folder)

    def test_damaged_files(self) -> None:
        """The error names the file that is missing, damaged, of another kind or not the other's match."""
        key, certificate = self.folder / "private_key.pem", self.folder / "certificate.pem"
        pair = self.ca.issue_agent("agent-1")
        original = key.read_bytes()
        key.write_bytes(pair.private_key)
        self.refused(str(key), "is not the key of", str(certificate))
        key.write_bytes(b"garbage")
        self.refused(str(key), "no unencrypted private key")
        key.unlink()
        self.refused(str(key), "No such file")
        key.write_bytes(original)
        certificate.write_bytes(pair.certificate)
        self.refused(str(certificate), "is no CA's certificate")
        certificate.write_bytes(b"garbage")
        self.refused(str(certificate), "is no CA's certificate")

    def test_folder_that_cannot_be_made(self) -> None:
        """A file in the place of the folder."""
        path = self.folder / "certificate.pem" / "ca"
        self.assertIn(str(path), str(self.assertRaises(PkiError, CertificateAuthority.create, path, "Test CA")))
