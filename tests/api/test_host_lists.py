"""Tests of what the API tells of agents' lists, and of the counts of hosts."""

from __future__ import annotations

import random
from typing import Any

from cloudlb.api.schema import date
from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.models import DirectResource, HostFacts, ServerId
from cloudlb.domain.ports import Location
from cloudlb.domain.settings import HOST, LB_ALGORITHM
from tests.api.world import NOW, ApiTestCase

SERVERS = ("127.0.0.1", "127.0.0.2")


class HostListTests(ApiTestCase):
    """listHosts and listManagementServers with placement=true, listHostCounts."""

    def setUp(self) -> None:
        """Hosts a and c here, b on another server."""
        super().setUp()
        self.add_site()
        beta = self.stored(
            lambda txn: txn.servers.register(
                name="beta", address="127.0.0.2", port=8250, version="0.1.0", candidate_id=ServerId(77)
            )
        )
        self.stored(lambda txn: txn.settings.set(HOST, ",".join(SERVERS), None))
        for name, server in (("a", None), ("b", beta.id), ("c", None)):
            self.add_host(name, server)

    def algorithm(self, algorithm: Algorithm) -> None:
        """Set it."""
        self.stored(lambda txn: txn.settings.set(LB_ALGORITHM, algorithm.value, None))

    def lists(self, **parameters: str) -> dict[str, tuple[str | None, bool | None]]:
        """List, and whether its head has the host, by name."""
        rows: list[dict[str, Any]] = self.call("listHosts", placement="true", **parameters)["host"]
        return {row["name"]: (row.get("serverlist"), row.get("onpreferred")) for row in rows}

    def preferring(self) -> dict[str, int | None]:
        """How many prefer the server that they are on."""
        rows = self.call("listManagementServers", placement="true")["managementserver"]
        return {row["name"]: row.get("preferredcount") for row in rows}

    def test_roundrobin(self) -> None:
        """Lists follow the place in the zone, also where a page does not begin with the first host."""
        self.algorithm(Algorithm.ROUNDROBIN)
        one, two = "127.0.0.1,127.0.0.2", "127.0.0.2,127.0.0.1"
        self.assertEqual({"a": (one, True), "b": (two, True), "c": (one, True)}, self.lists())
        self.assertEqual({"b": (two, True)}, self.lists(page="2", pagesize="1"))
        self.assertEqual({"alpha": 2, "beta": 1}, self.preferring())

    def test_off_preferred(self) -> None:
        """Who is elsewhere than the list begins is told."""
        self.algorithm(Algorithm.STATIC)
        self.assertEqual([True, False, True], [on for _, on in self.lists().values()])
        self.assertEqual({"alpha": 2, "beta": 0}, self.preferring())

    def test_rendezvous(self) -> None:
        """The same lists as agents get, by weight."""
        self.algorithm(Algorithm.RENDEZVOUS)
        self.stored(lambda txn: txn.settings.set("indirect.agent.lb.weights", "127.0.0.2=9", None))
        for name, (listed, _) in self.lists().items():
            place = Place(f"guid-{name}", 0)
            wanted = host_list_for(Algorithm.RENDEZVOUS, SERVERS, place, random.Random(0), {"127.0.0.2": 9})
            self.assertEqual(",".join(wanted.addresses), listed)

    def test_nobody_knows(self) -> None:
        """Under shuffle only agents know, and hosts without an agent have no list."""
        self.algorithm(Algorithm.SHUFFLE)
        self.assertEqual({(None, None)}, set(self.lists().values()))
        self.assertEqual({"alpha": None, "beta": None}, self.preferring())
        self.algorithm(Algorithm.STATIC)
        facts = HostFacts(guid="d", name="d", type="Routing", version="1", ip_address="10.0.0.8", hypervisor="KVM")
        direct = DirectResource(resource="a.B", properties={})
        self.stored(lambda txn: txn.hosts.preregister(facts, Location(zone="1", pod="1", cluster="1"), direct, NOW))
        self.assertEqual((None, None), self.lists()["d"])

    def test_only_when_asked(self) -> None:
        """Nobody pays for what is not asked for."""
        self.assertFalse({"serverlist", "changed"} & self.call("listHosts")["host"][0].keys())
        self.assertNotIn("preferredcount", self.call("listManagementServers")["managementserver"][0])

    def test_changed(self) -> None:
        """Since when a host has been as it is."""
        (host,) = self.call("listHosts", name="a", placement="true")["host"]
        glance = self.stored(lambda txn: txn.changes.hosts()[0])
        self.assertEqual(date(glance.changed), host["changed"])

    def test_counts(self) -> None:
        """Hosts that are alike are counted together."""
        rows = self.call("listHostCounts")
        self.assertEqual({"count": 1, "hostcount": [{"state": "Up", "resourcestate": "Enabled", "count": 3}]}, rows)
