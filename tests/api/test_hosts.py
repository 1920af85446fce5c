"""Tests of hosts and of the jobs about them."""

from __future__ import annotations

from cloudlb.domain.models import JobStatus, ServerId
from cloudlb.domain.ports import Transaction
from tests.api.world import NOW, ApiTestCase


class HostTests(ApiTestCase):
    """listHosts, deleteHost."""

    def setUp(self) -> None:
        """Two hosts here, one on another server."""
        super().setUp()
        self.add_site()
        self.other = self.stored(
            lambda txn: txn.servers.register(
                name="beta", address="127.0.0.2", port=8250, version="0.1.0", candidate_id=ServerId(77)
            )
        )
        self.add_host("a")
        self.add_host("b", heard=NOW + 5)
        self.add_host("c", self.other.id)

    def names(self, **parameters: str) -> list[str]:
        """Names of the hosts that are listed."""
        return [host["name"] for host in self.call("listHosts", **parameters).get("host", [])]

    def test_fields(self) -> None:
        """Everything CloudStack's clients read, under its names, with numbers as numbers."""
        (host,) = self.call("listHosts", name="b")["host"]
        (cluster,) = self.call("listClusters")["cluster"]
        (server,) = self.call("listManagementServers", name="alpha")["managementserver"]
        self.assertEqual(36, len(host.pop("id")))
        self.assertEqual(
            {
                "name": "b",
                "state": "Up",
                "type": "Routing",
                "resourcestate": "Enabled",
                "ipaddress": "10.0.0.7",
                "zoneid": cluster["zoneid"],
                "zonename": "zone",
                "podid": cluster["podid"],
                "podname": "pod",
                "clusterid": cluster["id"],
                "clustername": "cluster",
                "clustertype": "CloudManaged",
                "version": "1.2",
                "hypervisor": "KVM",
                "arch": "x86_64",
                "cpunumber": 4,
                "cpuspeed": 2000,
                "memorytotal": 2**33,
                "capabilities": "hvm",
                "managementserverid": server["id"],
                "managementservername": "alpha",
                "msid": self.membership.own.id,
                "lastpinged": "2026-09-21T14:13:25+0000",
                "created": "2026-09-21T14:13:20+0000",
            },
            host,
        )

    def test_filters(self) -> None:
        """Each filter alone, and together."""
        (cluster,) = self.call("listClusters")["cluster"]
        everyone = ["a", "b", "c"]
        for key, value, names in (
            ("id", "2", ["b"]),
            ("name", "b", ["b"]),
            ("name", "2", []),
            ("keyword", "B", ["b"]),
            ("zoneid", cluster["zoneid"], everyone),
            ("podid", "1", everyone),
            ("clusterid", cluster["id"], everyone),
            ("state", "up", everyone),
            ("state", "Down", []),
            ("type", "Routing", everyone),
            ("type", "Storage", []),
            ("resourcestate", "Enabled", everyone),
            ("hypervisor", "kvm", everyone),
            ("hypervisor", "VMware", []),
            ("managementserverid", self.other.uuid, ["c"]),
            ("managementserverid", "77", ["c"]),
        ):
            self.assertEqual(names, self.names(**{key: value}), (key, value))
        self.assertEqual([], self.names(name="a", managementserverid="77"))
        self.assertEqual(["b"], self.names(page="2", pagesize="1"))

    def test_another_cluster(self) -> None:
        """A filter for an empty place finds nobody."""
        self.call("createZone", name="empty")
        self.call("createPod", name="empty", zoneid="2")
        self.call(
            "addCluster", clustername="empty", clustertype="CloudManaged", hypervisor="KVM", podid="2", zoneid="2"
        )
        for key in ("zoneid", "podid", "clusterid"):
            self.assertEqual([], self.names(**{key: "2"}))

    def test_unknown_ids(self) -> None:
        """The error names the parameter; a name is no id."""
        for key in ("id", "zoneid", "podid", "clusterid", "managementserverid"):
            for value in ("99", "a", "zone", ""):
                self.assertIn(f"parameter {key}:", self.refused("listHosts", **{key: value}))

    def test_delete(self) -> None:
        """A deleted host is listed no more and cannot be deleted again."""
        (host,) = self.call("listHosts", name="a")["host"]
        self.assertEqual({"success": True}, self.call("deleteHost", id=host["id"], forced="false"))
        self.assertEqual(["b", "c"], self.names())
        self.assertIn("parameter id:", self.refused("deleteHost", id=host["id"]))
        self.assertIn("missing parameter id", self.refused("deleteHost"))

    def test_servers_count_their_agents(self) -> None:
        """Only hosts that are Up count."""
        self.stored(lambda txn: txn.hosts.remove(txn.hosts.find("a").id, self.membership.own.id, None, NOW))
        servers = self.call("listManagementServers")["managementserver"]
        self.assertEqual({"alpha": 1, "beta": 1}, {server["name"]: server["agentscount"] for server in servers})


class JobTests(ApiTestCase):
    """reconnectHost and queryAsyncJobResult."""

    def setUp(self) -> None:
        """One host."""
        super().setUp()
        self.add_site()
        self.host_id = self.add_host("a")

    def test_life_of_a_job(self) -> None:
        """Pending without a result, then the host as the result; right under the envelope, with a code always."""
        started = self.call("reconnectHost", id="1")
        self.assertEqual(["jobid"], list(started))
        pending = self.call("queryAsyncJobResult", **started)
        self.assertEqual((0, 0), (pending["jobstatus"], pending["jobresultcode"]))
        self.assertNotIn("jobresult", pending)
        self.assertEqual(("reconnectHost", started["jobid"]), (pending["cmd"], pending["jobid"]))
        self.assertEqual("alpha", pending["managementservername"])

        def finish(txn: Transaction) -> bool:
            return txn.jobs.finish(started["jobid"], JobStatus.SUCCEEDED, 0, {"host_id": self.host_id}, NOW + 2)

        self.assertTrue(self.stored(finish))
        done = self.call("queryAsyncJobResult", **started)
        self.assertEqual((1, 0), (done["jobstatus"], done["jobresultcode"]))
        self.assertEqual({"host": self.call("listHosts")["host"][0]}, done["jobresult"])
        self.assertEqual(("Host", done["jobresult"]["host"]["id"]), (done["jobinstancetype"], done["jobinstanceid"]))
        self.assertEqual("2026-09-21T14:13:22+0000", done["completed"])

    def test_no_agent_to_reconnect(self) -> None:
        """The job fails at once, with the code in both places and the reason."""
        self.stored(lambda txn: txn.servers.stop(self.membership.own.id))
        failed = self.call("queryAsyncJobResult", **self.call("reconnectHost", id="1"))
        self.assertEqual(2, failed["jobstatus"])
        self.assertEqual(failed["jobresultcode"], failed["jobresult"]["errorcode"])
        self.assertIn("a", failed["jobresult"]["errortext"])

    def test_unknown(self) -> None:
        """Neither host nor job."""
        self.assertIn("parameter id:", self.refused("reconnectHost", id="7"))
        self.assertIn("parameter jobid:", self.refused("queryAsyncJobResult", jobid="7"))
