"""Hosts' BMCs in the API."""

from __future__ import annotations

from typing import Any

from cloudlb.api.out_of_band import Configure
from cloudlb.domain.models import HostId, OutOfBand
from cloudlb.domain.record_ports import EventFilter
from tests.api.world import ApiTestCase

SECRET = "s3cret+&=?"


class OutOfBandTests(ApiTestCase):
    """From nothing to a BMC and back."""

    def setUp(self) -> None:
        """One host."""
        super().setUp()
        self.add_site()
        self.host_id = self.add_host("h1")

    def parameters(self, **values: str) -> dict[str, str]:
        """Parameters that will do, but for those given."""
        good = {"driver": "redfish", "address": "10.9.0.1", "username": "operator", "password": SECRET}
        return {"hostid": str(self.host_id), **good, **values}

    def configure(self, **values: str) -> Any:
        """Configure the host's BMC; what is answered."""
        return self.call("configureOutOfBandManagement", **self.parameters(**values))["outofbandmanagement"]

    def bmc(self, host_id: HostId | None = None) -> OutOfBand | None:
        """What is written down."""
        found: OutOfBand | None = self.stored(lambda txn: txn.hosts.out_of_band(host_id or self.host_id))
        return found

    def event(self) -> Any:
        """The newest event."""
        return self.stored(lambda txn: txn.events.list(EventFilter(), 0, 1))[0][0]

    def test_configure(self) -> None:
        """It is written down, shown without the password, and on record."""
        answer = self.configure(port="8443")
        uuid = self.call("listHosts")["host"][0]["id"]
        self.assertEqual(
            answer,
            {
                "hostid": uuid,
                "powerstate": "Unknown",
                "enabled": True,
                "driver": "redfish",
                "address": "https://10.9.0.1:8443",
                "port": "8443",
                "username": "operator",
            },
        )
        expected = OutOfBand(address="https://10.9.0.1:8443", username="operator", password=SECRET)
        self.assertEqual(self.bmc(), expected)
        event = self.event()
        self.assertEqual((event.type, event.account_id), ("HOST.OOBM.CONFIGURE", self.account.id))
        self.assertNotIn(SECRET, repr(event))
        self.assertNotIn(SECRET, repr(Configure(**self.parameters())))  # type: ignore[arg-type]

    def test_changed(self) -> None:
        """A second configuration replaces the first."""
        self.configure()
        self.configure(hostid=self.configure()["hostid"], address="10.9.0.2", driver="REDFISH")
        bmc = self.bmc()
        assert bmc is not None
        self.assertEqual(bmc.address, "https://10.9.0.2")

    def test_addresses(self) -> None:
        """Addresses, names and URLs become one URL."""
        for address, port, url in (
            ("10.9.0.1", None, "https://10.9.0.1"),
            ("10.9.0.1", "443", "https://10.9.0.1"),
            ("10.9.0.1:8443", None, "https://10.9.0.1:8443"),
            ("BMC-1.example", None, "https://bmc-1.example"),
            ("fd00::0:9", "8443", "https://[fd00::9]:8443"),
            ("[fd00::9]", None, "https://[fd00::9]"),
            ("http://10.9.0.1", None, "http://10.9.0.1"),
            ("http://10.9.0.1", "8000", "http://10.9.0.1:8000"),
            ("http://10.9.0.1:8000/", "8000", "http://10.9.0.1:8000/"),
            ("https://10.9.0.1/redfish/v1/Systems/2", None, "https://10.9.0.1/redfish/v1/Systems/2"),
        ):
            values = {"address": address, **({"port": port} if port else {})}
            self.assertEqual(self.configure(**values)["address"], url)

    def refusal(self, **values: str) -> str:
        """The text of the error; the password is in none."""
        text = self.refused("configureOutOfBandManagement", **self.parameters(**values))
        self.assertNotIn(SECRET, text)
        return text

    def test_bad_parameters(self) -> None:
        """Each error names its parameter, and nothing is written."""
        for name, value in (
            ("hostid", "99"),
            ("hostid", "h1"),
            ("driver", "ipmitool"),
            ("address", ""),
            ("address", "two words"),
            ("address", "ftp://10.9.0.1"),
            ("address", "https://user:pw@10.9.0.1"),
            ("address", "https://10.9.0.1/?a=b"),
            ("address", "https://10.9.0.1/ü"),
            ("address", "https://10.9.0.1:99999"),
            ("address", "https://[fd00::9"),
            ("address", "https://"),
            ("port", "0"),
            ("port", "65536"),
            ("port", "x"),
            ("username", "a:b"),
        ):
            self.assertIn(f"parameter {name}", self.refusal(**{name: value}), (name, value))
        self.assertIn("parameter port", self.refusal(address="https://10.9.0.1:1", port="2"))
        self.assertIsNone(self.bmc())

    def test_missing_parameters(self) -> None:
        """All but the port must be there."""
        for name in self.parameters():
            given = {key: value for key, value in self.parameters().items() if key != name}
            self.assertIn(name, self.refused("configureOutOfBandManagement", **given))

    def test_disable(self) -> None:
        """The BMC is forgotten; the job has ended when it begins."""
        self.configure()
        job = self.call("disableOutOfBandManagementForHost", hostid=str(self.host_id))["jobid"]
        self.assertIsNone(self.bmc())
        result = self.call("queryAsyncJobResult", jobid=job)
        self.assertEqual((result["jobstatus"], result["jobinstanceid"]), (1, self.call("listHosts")["host"][0]["id"]))
        self.assertEqual(result["jobresult"]["outofbandmanagement"]["enabled"], False)
        self.assertEqual(self.event().type, "HOST.OOBM.DISABLE")
        self.call("disableOutOfBandManagementForHost", hostid=str(self.host_id))
        self.assertIn("hostid", self.refused("disableOutOfBandManagementForHost", hostid="99"))

    def test_other_hosts(self) -> None:
        """One host's BMC is no other's."""
        other = self.add_host("h2")
        self.configure()
        self.assertIsNone(self.bmc(other))
