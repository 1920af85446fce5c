"""Tests of adding hosts, and of having deleted ones back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.logger import globalLogPublisher

from agent.config import load_agent_config
from cloudlb.agents.hooks import Hook
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostFacts
from cloudlb.domain.ports import Admission, Location, Transaction
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.records import Event
from cloudlb.net.certificate_names import certificate_guid
from cloudlb.net.pki import CertificateAuthority
from cloudlb.net.tls import Identity, client_context
from tests.agent.log_lines import LogLines
from tests.api.world import API_KEY, NOW, ApiTestCase, sign

KVM = {"zoneid": "1", "podid": "1", "clusterid": "1", "hypervisor": "KVM"}


class Recorder(Hook):
    """Keeps which hosts were added."""

    def __init__(self) -> None:
        self.added: list[Host] = []

    def host_added(self, host: Host) -> None:
        """Keep the host."""
        self.added.append(host)


class AddHostTests(ApiTestCase):
    """A server with the key of its CA."""

    def setUp(self) -> None:
        """A site with a KVM cluster."""
        super().setUp()
        self.add_site()
        self.hook = Recorder()
        self.registration._hooks.add(self.hook)

    def ca_folder(self) -> Path:
        """A CA, as `cloudlb init` makes one."""
        folder = Path(self.mktemp()).absolute()
        CertificateAuthority.create(folder, "test")
        return folder

    def add(self, **parameters: str) -> Any:
        """Add a host to the KVM cluster; the one that is answered."""
        body = self.call("addHost", **{"url": "http://node-7.example", **KVM, **parameters})
        self.assertEqual(1, body["count"])
        (host,) = body["host"]
        return host

    def events(self, event_type: str) -> list[Event]:
        """Events of a type."""
        found, _ = self.stored(lambda txn: txn.events.list(EventFilter(event_type=event_type), 0, None))
        return list(found)

    def test_added(self) -> None:
        """A row in Creating with what is known, an event with who asked, and the hooks are told."""
        host = self.add(hosttags="ssd, rack 7")
        bundle = host.pop("agentbundle")
        self.assertEqual({"certificate", "privatekey", "cacertificates", "agentproperties"}, set(bundle))
        (listed,) = self.call("listHosts", name="node-7.example")["host"]
        self.assertEqual(listed, host)
        expected = {
            "name": "node-7.example",
            "ipaddress": "node-7.example",
            "state": "Creating",
            "resourcestate": "Creating",
            "hosttags": "ssd,rack 7",
            "hypervisor": "KVM",
            "clustername": "cluster",
            "type": "Routing",
        }
        self.assertEqual(expected, {key: host.get(key) for key in expected})
        (event,) = self.events("HOST.ADD")
        self.assertEqual(
            (self.account.id, 1, self.membership.own.id), (event.account_id, event.host_id, event.server_id)
        )
        self.assertEqual([(host["id"], ("ssd", "rack 7"))], [(added.uuid, added.tags) for added in self.hook.added])

    def write(self, bundle: dict[str, str]) -> Path:
        """Put a bundle into a folder, as its agent needs it."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, key in (("agent.crt", "certificate"), ("agent.key", "privatekey"), ("ca.crt", "cacertificates")):
            (folder / name).write_text(bundle[key], encoding="ascii")
        (folder / "agent.properties").write_text(bundle["agentproperties"], encoding="ascii")
        return folder / "agent.properties"

    def test_bundle(self) -> None:
        """An agent starts with it as it is, and comes to this very row."""
        self.call("updateConfiguration", name="host", value="10.0.0.1,10.0.0.2", forced="true")
        self.call("updateConfiguration", name="indirect.agent.lb.algorithm", value="roundrobin")
        self.add(url="http://first")
        bundle = self.add(url="https://10.0.0.7:443/", resource="thermometer.ThermometerResource")["agentbundle"]
        config, _ = load_agent_config(self.write(bundle))
        self.assertEqual("10.0.0.2,10.0.0.1@roundrobin", str(config.hosts))
        self.assertEqual(
            ("10.0.0.7", 8250, "1", "1", "1", "thermometer.ThermometerResource"),
            (config.name, config.port, config.zone, config.pod, config.cluster, config.resource),
        )
        assert config.ca is not None
        client_context(Identity(ca=config.ca, certificate=config.certificate, private_key=config.private_key))
        certificate = x509.load_pem_x509_certificate(bundle["certificate"].encode())
        self.assertEqual(config.guid, certificate_guid(certificate.public_bytes(Encoding.DER)))

        def admit(txn: Transaction) -> Any:
            guid = f"{config.guid}-ThermometerResource"
            admission = Admission(
                facts=HostFacts(guid=guid, name=config.name, type="Routing", hypervisor="KVM"),
                location=Location(zone=config.zone, pod=config.pod, cluster=config.cluster),
                server_id=self.membership.own.id,
            )
            return txn.hosts.admit([admission], NOW)[0]

        admitted = self.stored(admit)
        self.assertEqual((2, HostStatus.CONNECTING), (admitted.id, admitted.status))

    def test_key_is_kept_nowhere(self) -> None:
        """The private key is in the answer alone: no later one has it, nor the database."""
        log = LogLines()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        key = self.add()["agentbundle"]["privatekey"].splitlines()[1]
        files = [file for file in Path(self.mktemp()).parent.parent.rglob("*") if file.is_file()]
        self.assertTrue(any(file.stat().st_size > 10_000 for file in files), files)
        for file in files:
            self.assertNotIn(key.encode(), file.read_bytes(), file)
        self.assertNotIn(key, repr(log._events))
        self.assertNotIn("agentbundle", self.call("listHosts")["host"][0])

    def test_xml(self) -> None:
        """The files are there in XML, too."""
        response = self.get(sign({"command": "addHost", "url": "http://x", "apiKey": API_KEY, **KVM}))
        self.assertIn("BEGIN PRIVATE KEY", response.xml.findtext("host/agentbundle/privatekey") or "")

    def test_cluster_by_name(self) -> None:
        """One that is not there is added, as in CloudStack; one that is is taken."""
        parameters = {key: value for key, value in KVM.items() if key != "clusterid"}
        for name in ("a", "b"):
            self.call("addHost", url=f"http://{name}", clustername="new", **parameters)
        self.assertEqual(["cluster", "new"], [each["name"] for each in self.call("listClusters")["cluster"]])
        self.assertEqual({"new"}, {host["clustername"] for host in self.call("listHosts")["host"]})

    def test_refused(self) -> None:
        """What cannot be is refused by the parameter's name, and no host is added."""
        self.call("createPod", name="other", zoneid="1")
        self.call("createZone", name="other")
        for parameter, changes in (
            ("url", {"url": "node-7"}),
            ("url", {"url": "ftp://node-7"}),
            ("url", {"url": "http://"}),
            ("url", {"url": "http://300.1.1.1"}),
            ("url", {"url": "http://x/what"}),
            ("hypervisor", {"hypervisor": "HyperX"}),
            ("clusterid", {"hypervisor": "VMware"}),
            ("clusterid", {"clusterid": "9"}),
            ("clusterid", {"podid": "2"}),
            ("podid", {"podid": "9"}),
            ("podid", {"zoneid": "2"}),
            ("zoneid", {"zoneid": "9"}),
            ("allocationstate", {"allocationstate": "Disabled"}),
            ("clusterid or clustername", {"clustername": "cluster"}),
        ):
            text = self.refused("addHost", **{"url": "http://x", **KVM, **changes})
            self.assertIn(parameter, text)
        self.assertEqual({}, self.call("listHosts"))

    def test_name_is_taken(self) -> None:
        """A host of the same name is not added twice."""
        self.add()
        self.assertIn("node-7.example", self.refused("addHost", url="http://Node-7.example.", **KVM))

    def test_simulator(self) -> None:
        """Its resource runs inside a server: no bundle, and what the call gave is the resource's, not to be shown."""
        self.call(
            "addCluster", clustername="s", clustertype="CloudManaged", hypervisor="Simulator", podid="1", zoneid="1"
        )
        host = self.add(
            url="http://sim-1/simulator.delay=0.5&simulator.fault=*%3Afail",
            clusterid="2",
            hypervisor="simulator",
            username="u",
            password="hidden",
        )
        self.assertNotIn("agentbundle", host)
        row = self.stored(lambda txn: txn.hosts.find("sim-1"))
        self.assertNotIn("hidden", repr(row))
        properties = dict(row.direct.properties)
        self.assertEqual(f"{properties.pop('guid')}-SimulatorResource", row.facts.guid)
        self.assertEqual(
            {
                "name": "sim-1",
                "url": "http://sim-1/simulator.delay=0.5&simulator.fault=*%3Afail",
                "simulator.delay": "0.5",
                "simulator.fault": "*:fail",
                "username": "u",
                "password": "hidden",
                "hypervisor.type": "Simulator",
            },
            properties,
        )

    def test_restore(self) -> None:
        """A deleted host comes back by its id, once, with who asked; one that is there is none."""
        host = self.add()
        self.assertIn("parameter id:", self.refused("restoreHost", id=host["id"]))
        self.call("deleteHost", id=host["id"])
        restored = self.call("restoreHost", id=host["id"])["host"]
        self.assertEqual((host["id"], "Creating"), (restored["id"], restored["state"]))
        self.assertNotIn("removed", restored)
        self.assertIn("parameter id:", self.refused("restoreHost", id=host["id"]))
        for kind in ("HOST.DELETE", "HOST.RESTORE"):
            self.assertEqual([self.account.id], [event.account_id for event in self.events(kind)])


class NoAuthorityTests(ApiTestCase):
    """A server that cannot issue certificates."""

    def setUp(self) -> None:
        """A site."""
        super().setUp()
        self.add_site()

    def test_refused(self) -> None:
        """It says what is missing, with CloudStack's code; nothing is added. A direct host needs no certificate."""
        self.assertIn("ca.folder", self.failed(534, "addHost", url="http://x", **KVM))
        self.registration._ca_folder = Path("/nowhere")
        self.assertIn("/nowhere", self.failed(534, "addHost", url="http://x", **KVM))
        self.assertEqual({}, self.call("listHosts"))
        parameters = {**KVM, "hypervisor": "Simulator"}
        del parameters["clusterid"]
        self.call("addHost", url="http://x", clustername="s", **parameters)
