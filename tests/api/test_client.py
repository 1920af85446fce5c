"""Tests with the common client of CloudStack's API, as it is, on a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cs import CloudStack, CloudStackApiException
from twisted.internet.threads import deferToThread

from tests.api.listening import ListeningTestCase
from tests.api.world import API_KEY, SECRET

T = TypeVar("T")


class ClientTests(ListeningTestCase):
    """cs, in a thread of its own."""

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await deferToThread(work)

    async def test_every_command(self) -> None:
        """Each command, by GET and by POST, as a script would call them."""
        for method in ("get", "post"):
            client = CloudStack(self.endpoint, API_KEY, SECRET, method=method, poll_interval=0.01)
            if method == "get":
                await self._in_thread(lambda client=client: self._build(client))  # type: ignore[misc]
                await self.database.run(self.admit)
            await self._in_thread(lambda client=client: self._look(client))  # type: ignore[misc]
        await self._in_thread(lambda: self._change(client))

    def _build(self, client: CloudStack) -> None:
        self.assertEqual({}, client.listZones())
        zone = client.createZone(name="zone", dns1="192.0.2.1", internaldns1="192.0.2.1", networktype="Advanced")[
            "zone"
        ]
        pod = client.createPod(name="pod", zoneid=zone["id"], startip="10.0.0.1")["pod"]
        added = client.addCluster(
            clustername="cluster", clustertype="CloudManaged", hypervisor="KVM", podid=pod["id"], zoneid=zone["id"]
        )
        self.assertEqual(["cluster"], [cluster["name"] for cluster in added["cluster"]])

    def _look(self, client: CloudStack) -> None:
        for command, name in (
            ("listZones", "zone"),
            ("listPods", "pod"),
            ("listClusters", "cluster"),
            ("listHosts", "agent-1"),
            ("listManagementServers", "m"),
        ):
            self.assertEqual([name], [row["name"] for row in getattr(client, command)(fetch_list=True)])
        self.assertEqual([], client.listHosts(fetch_list=True, name="~nothing + *é"))
        self.assertIn("host", [row["name"] for row in client.listConfigurations(fetch_list=True)])
        self.assertEqual(["listApis"], [api["name"] for api in client.listApis(name="listApis")["api"]])

    def _change(self, client: CloudStack) -> None:
        name = "indirect.agent.lb.algorithm"
        self.assertEqual("shuffle", client.updateConfiguration(name=name, value="shuffle")["configuration"]["value"])
        self.assertEqual("static", client.resetConfiguration(name=name)["configuration"]["value"])
        (host,) = client.listHosts()["host"]
        with self.assertRaises(CloudStackApiException) as job:
            client.reconnectHost(id=host["id"], fetch_result=True)
        self.assertEqual(534, job.exception.error["errorcode"])
        self.assertEqual({"success": True}, client.deleteHost(id=host["id"]))
        with self.assertRaises(CloudStackApiException) as error:
            client.deleteHost(id=host["id"])
        self.assertEqual((431, 9999), (error.exception.error["errorcode"], error.exception.error["cserrorcode"]))
        stranger = CloudStack(self.endpoint, API_KEY, "other")
        with self.assertRaises(CloudStackApiException) as refused:
            stranger.listHosts()
        self.assertEqual(401, refused.exception.error["errorcode"])
