"""Tests of hosts and of the jobs about them."""

from __future__ import annotations

from cloudlb.domain.host_status import STATUS_TABLE, HostEvent, HostStatus
from cloudlb.domain.models import HostFacts, JobStatus, ServerId, StatusChange
from cloudlb.domain.ports import Admission, Location, Transaction
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
        self.assertIn("PingTimeout", host.pop("events"))
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
                "hahost": False,
            },
            host,
        )

    def test_next_events(self) -> None:
        """What the status table has for the host."""
        (host,) = self.call("listHosts", name="b")["host"]
        self.assertEqual(
            {event.value for status, event in STATUS_TABLE if status is HostStatus.UP}, set(host["events"].split("; "))
        )

    def test_details(self) -> None:
        """What the agent said besides, but for passwords."""
        facts = HostFacts(guid="g", name="d", type="ConsoleProxy", details={"Host.OS": "Debian", "vncPassword": "x"})
        admission = Admission(facts=facts, location=Location(zone="1"), server_id=self.membership.own.id)
        self.stored(lambda txn: txn.hosts.admit([admission], NOW))
        self.assertEqual({"Host.OS": "Debian"}, self.call("listHosts", name="d")["host"][0]["details"])

    def test_metrics(self) -> None:
        """A host's answer, and what it has as people read it."""
        (metrics,) = self.call("listHostsMetrics", name="b")["host"]
        (host,) = self.call("listHosts", name="b")["host"]
        self.assertEqual({**host, "cputotalghz": "8.00 Ghz", "memorytotalgb": "8.00 GB"}, metrics)

    def test_filters(self) -> None:
        """Each filter alone, and together."""
        (cluster,) = self.call("listClusters")["cluster"]
        self.call(
            "configureOutOfBandManagement", hostid="2", driver="redfish", address="10.9.0.7", username="u", password="p"
        )
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
            ("arch", "X86_64", everyone),
            ("arch", "aarch64", []),
            ("version", "1.2", everyone),
            ("version", "1", []),
            ("outofbandmanagementenabled", "true", ["b"]),
            ("outofbandmanagementenabled", "false", ["a", "c"]),
            ("outofbandmanagementpowerstate", "unknown", ["b"]),
            ("outofbandmanagementpowerstate", "Disabled", ["a", "c"]),
            ("hahost", "true", []),
            ("hahost", "false", everyone),
            ("storageaccessgroup", "x", []),
            ("details", "min,stats", everyone),
        ):
            self.assertEqual(names, self.names(**{key: value}), (key, value))
        self.assertEqual([], self.names(name="a", managementserverid="77"))
        self.assertEqual([], self.names(outofbandmanagementenabled="false", outofbandmanagementpowerstate="Unknown"))
        self.assertIn("powerstate:", self.refused("listHosts", outofbandmanagementpowerstate="On"))
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

    def test_servers_name_their_agents(self) -> None:
        """Those that are Up, and those that were there last; unless nobody wants to know."""
        ids = {host["name"]: host["id"] for host in self.call("listHosts")["host"]}
        lost = StatusChange(
            host_id=self.stored(lambda txn: txn.hosts.find("b")).id,
            session=self.stored(lambda txn: txn.hosts.find("b")).session,
            event=HostEvent.AGENT_DISCONNECTED,
            server_id=self.membership.own.id,
            reason="a test",
        )
        self.stored(lambda txn: txn.hosts.transition([lost], NOW))
        servers = {row["name"]: row for row in self.call("listManagementServers")["managementserver"]}
        self.assertEqual(([ids["a"]], [ids["b"]]), (servers["alpha"]["agents"], servers["alpha"]["lastagents"]))
        self.assertEqual(([ids["c"]], []), (servers["beta"]["agents"], servers["beta"]["lastagents"]))
        (without,) = self.call("listManagementServers", agents="false", name="alpha")["managementserver"]
        del servers["alpha"]["agents"], servers["alpha"]["lastagents"]
        self.assertEqual(servers["alpha"], without)


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

    def test_of_a_host(self) -> None:
        """The latest job about a host, by the host's id."""
        self.call("reconnectHost", id="1")
        latest = self.call("reconnectHost", id="1")["jobid"]
        (host,) = self.call("listHosts")["host"]
        for key in (host["id"], "1"):
            self.assertEqual(latest, self.call("queryAsyncJobResult", resourceid=key, resourcetype="Host")["jobid"])
        self.add_host("b")
        self.assertIn("no job", self.refused("queryAsyncJobResult", resourceid="2", resourcetype="Host"))

    def test_list(self) -> None:
        """The newest first, with how they failed, and without what they found."""
        uuids = [self.call("reconnectHost", id="1")["jobid"] for _ in range(3)]
        self.stored(lambda txn: txn.jobs.finish(uuids[0], JobStatus.SUCCEEDED, 0, {"host_id": 1}, NOW + 2))
        self.stored(lambda txn: txn.jobs.finish(uuids[1], JobStatus.FAILED, 534, {"errorcode": 534}, NOW + 3))
        listed = self.call("listAsyncJobs", listall="true")
        self.assertEqual(3, listed["count"])
        self.assertEqual(
            [(uuids[2], 0, None), (uuids[1], 2, {"errorcode": 534}), (uuids[0], 1, None)],
            [(job["jobid"], job["jobstatus"], job.get("jobresult")) for job in listed["asyncjobs"]],
        )
        full = self.call("queryAsyncJobResult", jobid=uuids[1])
        self.assertEqual(full, listed["asyncjobs"][1])
        self.assertEqual(("admin", self.account.uuid), (full["account"], full["accountid"]))

    def test_filters(self) -> None:
        """Each parameter counts; what is nobody's is an error that names it."""
        self.call("reconnectHost", id="1")
        (server,) = self.call("listManagementServers")["managementserver"]
        for parameters, count in (
            ({"account": "admin"}, 1),
            ({"managementserverid": server["id"]}, 1),
            ({"resourceid": "a", "resourcetype": "Host"}, 1),
            ({"startdate": "2026-09-21"}, 1),
            ({"startdate": "2026-09-22"}, 0),
            ({"keyword": "RECONNECT"}, 1),
            ({"keyword": "maintenance"}, 0),
            ({"page": "2", "pagesize": "1"}, 1),
        ):
            listed = self.call("listAsyncJobs", **parameters)
            self.assertEqual(count, listed.get("count", 0), parameters)
        for name, value in (("account", "x"), ("managementserverid", "x"), ("resourceid", "x"), ("startdate", "x")):
            self.assertIn(f"parameter {name}:", self.refused("listAsyncJobs", **{name: value}))
        self.assertIn("resourceid", self.refused("listAsyncJobs", resourcetype="Host"))

    def test_unknown(self) -> None:
        """Neither host nor job."""
        self.assertIn("jobid", self.refused("queryAsyncJobResult"))
        self.assertIn("either", self.refused("queryAsyncJobResult", jobid="7", resourceid="1"))
        self.assertIn("parameter id:", self.refused("reconnectHost", id="7"))
        self.assertIn("parameter jobid:", self.refused("queryAsyncJobResult", jobid="7"))
