"""Who a certificate is for: names of servers, GUIDs of agents, and who may speak for which host."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.certificate_names import (
    AGENT_URI,
    CertificateMismatch,
    agent_uri,
    certificate_guid,
    check_server_name,
    fits,
)
from tests.net.certificates import certificates

KEY = ec.generate_private_key(ec.SECP256R1())
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
IDENTIFIERS = st.from_regex(r"[A-Za-z_$][A-Za-z0-9_$]{0,12}", fullmatch=True)


def der(path: Path | None) -> bytes:
    """A PEM file's first certificate."""
    assert path is not None
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def with_names(*names: x509.GeneralName) -> bytes:
    """A self-signed certificate with these alternative names, or without the extension."""
    subject = x509.Name([])
    ca = certificates().ca.path
    validity = x509.load_pem_x509_certificate(ca.read_bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(validity.not_valid_before_utc)
        .not_valid_after(validity.not_valid_after_utc)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


class ServerNames(SynchronousTestCase):
    """check_server_name on certificates as the CA makes them, and on odd ones."""

    def setUp(self) -> None:
        """The server's certificate."""
        self.server = der(certificates().server.certificate)

    def test_every_address_of_the_certificate(self) -> None:
        """IPv4, IPv6 in any spelling, and names in any case."""
        for address in ("127.0.0.1", "::1", "0:0:0:0:0:0:0:1", "mgmt.example", "MGMT.example"):
            check_server_name(self.server, address)

    def test_mismatch_names_both_sides(self) -> None:
        """The error tells what was connected to and what the certificate is for."""
        for address in ("127.0.0.2", "::2", "other.example", "a.mgmt.example", "example"):
            message = str(self.assertRaises(CertificateMismatch, check_server_name, self.server, address))
            self.assertIn(f"connected to {address}", message)
            self.assertIn("127.0.0.1, ::1, mgmt.example", message)

    def test_address_as_a_name(self) -> None:
        """An IP address in a DNS name does not count [RFC 6125]."""
        certificate = with_names(x509.DNSName("127.0.0.1"))
        self.assertRaises(CertificateMismatch, check_server_name, certificate, "127.0.0.1")

    def test_no_names(self) -> None:
        """Without addresses nobody is meant: an agent's certificate, none at all, garbage."""
        for certificate in (der(certificates().agent.certificate), with_names(), b"garbage"):
            error = self.assertRaises(CertificateMismatch, check_server_name, certificate, "127.0.0.1")
            self.assertIn("is for no address", str(error))

    def test_odd_address(self) -> None:
        """What no certificate can be for is a mismatch, not a crash."""
        for address in ("", "a b", "1234"):
            self.assertRaises(CertificateMismatch, check_server_name, self.server, address)


class AgentGuids(SynchronousTestCase):
    """certificate_guid."""

    def test_of_the_ca(self) -> None:
        """An agent's certificate has its GUID, a server's none."""
        self.assertEqual(certificate_guid(der(certificates().agent.certificate)), "agent-1")
        self.assertIsNone(certificate_guid(der(certificates().server.certificate)))

    def test_none_or_several(self) -> None:
        """Nobody in particular: no name, no GUID, two GUIDs, broken encoding, garbage."""
        uris = [x509.UniformResourceIdentifier(AGENT_URI + text) for text in ("", "a", "b", "%ff")]
        for certificate in (with_names(), with_names(uris[0]), with_names(*uris[1:3]), with_names(uris[3]), b"garbage"):
            self.assertIsNone(certificate_guid(certificate))

    @settings(max_examples=40, deadline=None)
    @given(TEXT)
    def test_any_guid(self, guid: str) -> None:
        """Whatever the GUID, it comes back as it was."""
        self.assertEqual(certificate_guid(with_names(x509.UniformResourceIdentifier(agent_uri(guid)))), guid)


class Fits(SynchronousTestCase):
    """Who may speak for which host. Each case is somebody's attempt at another's host."""

    def test_own_host(self) -> None:
        """The GUID itself, and with the resource's name."""
        self.assertTrue(fits("agent-1", "agent-1", "SimulatorResource"))
        self.assertTrue(fits("agent-1", "agent-1-SimulatorResource", "SimulatorResource"))
        self.assertTrue(fits("agent-1", "agent-1-Libvirt$Resource_2", "Libvirt$Resource_2"))

    def test_impersonation(self) -> None:
        """Prefixes, suffixes, other cases, and resource names that smuggle a part of another GUID."""
        for guid, wire_guid, resource_name in (
            ("agent", "agent-1-SimulatorResource", "1-SimulatorResource"),
            ("agent", "agent-1-SimulatorResource", "SimulatorResource"),
            ("agent-1", "agent-10", "SimulatorResource"),
            ("agent-1", "agent-10-SimulatorResource", "SimulatorResource"),
            ("agent-1", "Agent-1-SimulatorResource", "SimulatorResource"),
            ("agent-1", "agent-1-simulatorresource", "SimulatorResource"),
            ("agent-1", "agent-1-", ""),
            ("agent-1", "agent-1-1", "1"),
            ("agent-1", "agent-1-A\n", "A\n"),
            ("agent-1", "agent-1-A B", "A B"),
            ("agent-1", "", "SimulatorResource"),
            ("agent-1", "agent-1 ", "SimulatorResource"),
            ("agent-1", "agent-1SimulatorResource", "SimulatorResource"),
        ):
            self.assertFalse(fits(guid, wire_guid, resource_name), (guid, wire_guid, resource_name))

    @settings(max_examples=200, deadline=None)
    @given(TEXT, TEXT, IDENTIFIERS, TEXT | st.text("abc-_1", max_size=8))
    def test_no_certificate_fits_a_host_of_another(self, own: str, other: str, resource: str, claimed: str) -> None:
        """Hosts are named <GUID>-<ResourceName>: whatever resource is claimed, only the GUID's own certificate fits."""
        assume(own != other)
        wire_guid = f"{other}-{resource}"
        assume(own != wire_guid)
        for claim in (claimed, resource, wire_guid.removeprefix(f"{own}-")):
            self.assertFalse(fits(own, wire_guid, claim))
        self.assertTrue(fits(other, wire_guid, resource))

    @settings(max_examples=100, deadline=None)
    @given(st.text("ab-1", min_size=1, max_size=6), st.text("ab-1", max_size=6), IDENTIFIERS)
    def test_longer_guids_of_one_family(self, own: str, suffix: str, resource: str) -> None:
        """A GUID that continues one's own with a hyphen is still another's, also for who chooses the resource name."""
        wire_guid = f"{own}-{suffix}-{resource}"
        self.assertFalse(fits(own, wire_guid, f"{suffix}-{resource}"))
