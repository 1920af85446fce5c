"""The client `cs`, as it is, with a running cluster: hosts are added and maintained, a server is drained."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from cs import CloudStack, CloudStackApiException

from tests.cli.client_cluster import ClientTestCase

ALGORITHM = "indirect.agent.lb.algorithm"


class CsTests(ClientTestCase):
    """Two servers with four agents."""

    servers = 2
    agents = 4

    def test_a_day(self) -> None:
        """Whatever is done through one server is in force on the other one."""
        one, two = self.clients
        self.wait_for(self._states, lambda states: list(states.values()) == ["Up"] * 4)
        self._add()
        self._set()
        self._maintain()
        self._drain()
        apis = two.listApis(listall=True)
        self.assertEqual(apis["count"], len(apis["api"]))
        tree = ET.fromstring(one.listHosts(json=False))  # noqa: S314 - our own server's
        self.assertEqual(("listhostsresponse", "5"), (tree.tag, tree.findtext("count")))
        self.assertEqual(set(self._states()), {host.findtext("name") for host in tree.iter("host")})

    def _add(self) -> None:
        one, two = self.clients
        zone = one.createZone(name="zone", dns1="192.0.2.1", internaldns1="192.0.2.1", networktype="Advanced")["zone"]
        pod = two.createPod(name="pod", zoneid=zone["id"], startip="10.0.0.1", netmask="255.0.0.0", gateway="10.0.0.1")
        place = {"zoneid": zone["id"], "podid": pod["pod"]["id"], "hypervisor": "Simulator"}
        cluster = one.addCluster(clustername="direct", clustertype="CloudManaged", **place)["cluster"][0]
        added = two.addHost(url="http://direct-1", clusterid=cluster["id"], hosttags=["ssd", "rack-7"], **place)
        self.assertEqual(("direct-1", "ssd,rack-7"), (added["host"][0]["name"], added["host"][0]["hosttags"]))
        self.wait_for(self._states, lambda states: states.get("direct-1") == "Up")
        with self.assertRaises(CloudStackApiException) as taken:
            one.deleteZone(id=zone["id"])
        self.assertEqual((536, 9999), (taken.exception.error["errorcode"], taken.exception.error["cserrorcode"]))

    def _set(self) -> None:
        one, two = self.clients
        changed = one.updateConfiguration(name=ALGORITHM, value="rendezvous")["configuration"]
        self.assertEqual([changed], two.listConfigurations(name=ALGORITHM, fetch_list=True))
        self.assertEqual(("rendezvous", "static"), (changed["value"], changed["defaultvalue"]))

    def _maintain(self) -> None:
        one, two = self.clients
        (host,) = one.listHosts(name="direct-1")["host"]
        result = two.prepareHostForMaintenance(id=host["id"], fetch_result=True)
        self.assertEqual("Maintenance", result["host"]["resourcestate"])
        self.assertEqual(result["host"]["id"], one.listHosts(resourcestate="Maintenance")["host"][0]["id"])
        result = one.cancelHostMaintenance(id=host["id"], fetch_result=True)
        self.assertEqual("Enabled", result["host"]["resourcestate"])

    def _drain(self) -> None:
        one, two = self.clients
        rows = {row["serviceip"]: row for row in two.listManagementServers(fetch_list=True)}
        drained, other = (rows[address] for address in self.addresses)
        two.prepareForMaintenance(managementserverid=drained["id"])
        look = lambda: two.listManagementServers(id=drained["id"])["managementserver"][0]  # noqa: E731
        self.wait_for(look, lambda row: row["state"] == "Maintenance" and row["drain"]["ended"] is not None)
        hosts = two.listHosts(fetch_list=True, state="Up")
        self.assertEqual([other["id"]] * 5, [host["managementserverid"] for host in hosts])
        self.wait_for(lambda: self._refusal(one), lambda code: code == 503)
        back = two.cancelMaintenance(managementserverid=drained["id"], rebalance=False)["cancelmaintenance"]
        self.assertEqual(("Up", False), (back["state"], back["maintenanceinitiated"]))

    def _refusal(self, client: CloudStack) -> int | None:
        """The code with which a change is refused that would change nothing."""
        try:
            client.updateConfiguration(name=ALGORITHM)
        except CloudStackApiException as error:
            return int(error.error["errorcode"])
        return None

    def _states(self) -> dict[str, Any]:
        return {host["name"]: host["state"] for host in self.clients[0].listHosts(fetch_list=True)}
