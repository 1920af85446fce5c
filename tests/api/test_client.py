"""Tests with the common client of CloudStack's API, as it is, on a socket."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cs import CloudStack, CloudStackApiException
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.protocols.policies import WrappingFactory
from twisted.trial.unittest import TestCase

from cloudlb.agents.directory import Directory
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.operations import Operations
from cloudlb.api.context import ApiContext
from cloudlb.api.site import api_site
from cloudlb.bus.database_bus import DatabaseBus
from cloudlb.cluster.membership import Membership
from cloudlb.domain.models import Host, HostFacts
from cloudlb.domain.ports import Admission, Location, Transaction
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.api.world import API_KEY, SECRET
from tests.storage.sqlite import new_database

T = TypeVar("T")


class ClientTests(TestCase):
    """cs, in a thread of its own."""

    async def _start(self) -> None:
        clock: Any = reactor
        database = self.database = Database(
            new_database(Path(self.mktemp())), writer=InlineExecutor(), reader=InlineExecutor()
        )
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        bus = DatabaseBus(database, clock)
        membership = Membership(database, clock, random.Random(2), name="m", address="127.0.0.1", port=8250)
        await membership.join()
        self.addCleanup(lambda: Deferred.fromCoroutine(membership.leave()))
        operations = Operations(database, bus, Directory(database, bus, clock), clock)
        operations.server_id = membership.own.id
        context = ApiContext(
            store=database,
            settings=LiveSettings(database, bus, clock),
            operations=operations,
            membership=membership,
            clock=clock,
        )
        await database.run(lambda txn: txn.accounts.add(username="admin", api_key=API_KEY, secret_key=SECRET))
        factory = WrappingFactory(api_site(context))
        port = clock.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        # The client keeps its connections open.
        self.addCleanup(lambda: [connection.abortConnection() for connection in list(factory.protocols)])
        self.endpoint = f"http://127.0.0.1:{port.getHost().port}/client/api"
        self.server_id = membership.own.id

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """A server whose API listens on a port."""
        return Deferred.fromCoroutine(self._start())

    def admit(self, txn: Transaction) -> None:
        """Make a host that is not connected."""
        facts = HostFacts(guid="g", name="agent-1", type="Routing", ip_address="10.0.0.1", hypervisor="KVM")
        location = Location(zone="zone", pod="pod", cluster="cluster")
        admission = Admission(facts=facts, location=location, server_id=self.server_id, transferred=False)
        assert isinstance(txn.hosts.admit(admission, 1.0), Host)

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
