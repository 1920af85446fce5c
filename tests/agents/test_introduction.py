"""What an agent may say of itself before the database is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.introduction import MAX_TEXT, Introduction, Refusal, introduce
from cloudlb.domain.host_list import HostList
from cloudlb.wire import StartupProxyCommand, StartupRoutingCommand, StartupStorageCommand
from tests.net.certificates import certificates

GUID = "agent-1"
"""The one in the certificate of the tests."""


def der(certificate: Path | None) -> bytes:
    """What the TLS session would hand out."""
    assert certificate is not None
    return load_pem_x509_certificates(certificate.read_bytes())[0].public_bytes(Encoding.DER)


def routing(**values: Any) -> StartupRoutingCommand:
    """A hypervisor's startup."""
    return StartupRoutingCommand(
        **{
            "guid": f"{GUID}-SimulatorResource",
            "name": "kvm-1",
            "data_center": "1",
            "pod": "1",
            "cluster": "1",
            "resource_name": "SimulatorResource",
            "ms_host_list": "127.0.0.1,127.0.0.2@roundrobin",
            **values,
        }
    )


class IntroduceTests(SynchronousTestCase):
    """introduce()."""

    def refusal(self, *arguments: object) -> str:
        """Introduce and expect a refusal."""
        result = introduce(*arguments)  # type: ignore[arg-type]
        assert isinstance(result, Refusal), result
        return result.reason

    def test_takes_what_a_hypervisor_says(self) -> None:
        """Facts, location, list and the transfer mark come from the routing command, wherever it stands."""
        result = introduce([StartupStorageCommand(guid="x"), routing(connection_transferred=True, cpus=8)], None)
        assert isinstance(result, Introduction)
        self.assertEqual(result.facts.guid, f"{GUID}-SimulatorResource")
        self.assertEqual((result.facts.cpus, result.facts.type), (8, "Routing"))
        self.assertEqual((result.location.zone, result.location.pod, result.location.cluster), ("1", "1", "1"))
        self.assertEqual(result.held, HostList(("127.0.0.1", "127.0.0.2"), "roundrobin"))
        self.assertTrue(result.transferred)

    def test_an_unreadable_list_counts_as_none(self) -> None:
        """An agent with a broken list must get a new one, not be refused."""
        for text in ("", None, "a,,b", "not an address!"):
            result = introduce([routing(ms_host_list=text)], None)
            assert isinstance(result, Introduction)
            self.assertIsNone(result.held)

    def test_refuses_a_startup_without_a_guid(self) -> None:
        """Without it there is no host to speak of."""
        self.assertIn("no guid", self.refusal([StartupProxyCommand()], None))

    def test_refuses_text_that_no_row_can_hold(self) -> None:
        """Too long, or with control characters: one bad agent must not fail a batch of admissions."""
        self.assertIn("name", self.refusal([routing(name="x" * (MAX_TEXT + 1))], None))
        self.assertIn("zone", self.refusal([routing(data_center="1\x00")], None))

    def test_the_certificate_of_the_agent_fits(self) -> None:
        """The GUID in the certificate is the wire's without the resource's name."""
        self.assertIsInstance(introduce([routing()], der(certificates().agent.certificate)), Introduction)

    def test_refuses_the_certificate_of_another_agent(self) -> None:
        """And says both names, so that an operator can tell what was mixed up."""
        other = routing(guid="agent-2-SimulatorResource")
        reason = self.refusal([other], der(certificates().agent.certificate))
        self.assertIn("agent-1", reason)
        self.assertIn("agent-2", reason)

    def test_refuses_a_certificate_without_a_guid(self) -> None:
        """A server's certificate is of our CA too, and must not do for an agent."""
        self.assertIn("no GUID", self.refusal([routing()], der(certificates().server.certificate)))
