"""What an agent takes from agent.properties."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from agent.config import AgentConfig, InvalidConfiguration, agent_config, load_agent_config
from agent.resources.simulator import SimulatorResource
from cloudlb.domain.host_list import HostList
from cloudlb.resource.loading import UnknownResource, load_resource

PATH = Path("/etc/cloudlb/agent.properties")


class AgentConfigTests(SynchronousTestCase):
    """Values and their defaults."""

    def config(self, **properties: str) -> AgentConfig:
        """Read properties, with underscores for dots."""
        return agent_config({"guid": "g"} | {k.replace("_", "."): v for k, v in properties.items()}, PATH)

    def test_defaults(self) -> None:
        """The defaults are CloudStack's."""
        config = self.config(name="n")
        self.assertEqual(
            (config.hosts, config.port, config.zone, config.pod, config.cluster, config.workers),
            (HostList(("localhost",)), 8250, "default", "default", "default", 5),
        )
        self.assertEqual((config.check_interval, config.ping_retries, config.backoff), (None, 5, 5))
        self.assertEqual(config.handshake_timeout, 30)

    def test_values(self) -> None:
        """What is given counts; a key without a value does not."""
        config = self.config(host=" A,B@roundrobin ", host_lb_check_interval="0", ping_retries="3", port="")
        self.assertEqual(config.hosts, HostList(("a", "b"), "roundrobin"))
        self.assertEqual((config.check_interval, config.ping_retries, config.port), (0, 3, 8250))

    def test_paths(self) -> None:
        """Files stand beside agent.properties unless they say otherwise."""
        config = self.config(tls_ca="ca.pem", tls_certificate="/x/a.pem", tls_key="../k.pem")
        self.assertEqual(config.ca, PATH.parent / "ca.pem")
        self.assertEqual(config.certificate, Path("/x/a.pem"))
        self.assertEqual(config.private_key, PATH.parent / "../k.pem")
        self.assertEqual(config.journal, PATH.parent / "agent.journal")
        self.assertEqual(self.config(journal_file="/var/lib/x").journal, Path("/var/lib/x"))
        # Agents that share a folder share nothing else.
        self.assertEqual(agent_config({"guid": "g"}, PATH.parent / "b.properties").journal, PATH.parent / "b.journal")

    def test_bad_values(self) -> None:
        """Each bad value is refused with the file and the key."""
        for key, value in {
            "port": "0",
            "workers": "many",
            "ping_retries": "0",
            "host_lb_check_interval": "-1",
            "backoff_seconds": "1.5",
            "ssl_handshake_timeout": "999999",
            "host": "a,,b",
            "host_seen": "a b",
        }.items():
            error = self.assertRaises(InvalidConfiguration, self.config, **{key: value})
            self.assertIn(f"{PATH}: {key.replace('_', '.')}={value}: ", str(error))

    def test_missing(self) -> None:
        """Without a GUID, or with half a TLS identity, there is no agent."""
        for properties, missing in (
            ({}, "guid is missing"),
            ({"guid": " "}, "guid is missing"),
            ({"guid": "g", "tls.certificate": "c"}, "go together"),
            ({"guid": "g", "tls.certificate": "c", "tls.key": "k"}, "tls.ca is missing"),
        ):
            error = self.assertRaises(InvalidConfiguration, agent_config, properties, PATH)
            self.assertIn(missing, str(error))

    def test_unreadable(self) -> None:
        """A file that is not there, or has a malformed escape, is named."""
        path = Path(self.mktemp())
        self.assertIn(str(path), str(self.assertRaises(InvalidConfiguration, load_agent_config, path)))
        path.write_bytes(b"guid=\\uXYZ1\n")
        self.assertIn(str(path), str(self.assertRaises(InvalidConfiguration, load_agent_config, path)))


class ResourceTests(SynchronousTestCase):
    """The class that ``resource`` names."""

    def test_known(self) -> None:
        """The default is the simulator."""
        name = AgentConfig(guid="g").resource
        self.assertIsInstance(load_resource(name), SimulatorResource)

    def test_unknown(self) -> None:
        """A class that is not there, or CloudStack's, is refused with what there is."""
        for name in (
            "com.cloud.hypervisor.kvm.resource.LibvirtComputingResource",
            "agent.resources.simulator.Nothing",
            "nothing",
            "pathlib.Path",
        ):
            error = self.assertRaises(UnknownResource, load_resource, name)
            self.assertIn(name, str(error))
            self.assertIn("agent.resources.simulator.SimulatorResource", str(error))
