"""Tests of zones, pods and clusters."""

from __future__ import annotations

from tests.api.world import ApiTestCase

CLUSTER = {"clustername": "c", "clustertype": "CloudManaged", "hypervisor": "kvm", "podid": "1", "zoneid": "1"}


class ZoneTests(ApiTestCase):
    """From nothing to a cluster."""

    def test_growth(self) -> None:
        """What was created is listed, with what it belongs to."""
        self.assertEqual({}, self.call("listZones"))
        zone = self.call("createZone", name=" z ", networktype="Advanced", dns1="1.1.1.1")["zone"]
        self.assertEqual({"count": 1, "zone": [zone]}, self.call("listZones"))
        self.assertEqual(("z", "Enabled"), (zone["name"], zone["allocationstate"]))
        pod = self.call("createPod", name="p", zoneid=zone["id"], startip="10.0.0.1")["pod"]
        self.assertEqual({"count": 1, "pod": [pod]}, self.call("listPods", zoneid="1"))
        self.assertEqual((zone["id"], "z"), (pod["zoneid"], pod["zonename"]))
        added = self.call("addCluster", **{**CLUSTER, "podid": pod["id"], "zoneid": zone["id"]})
        self.assertEqual(added, self.call("listClusters"))
        (cluster,) = added["cluster"]
        self.assertEqual(
            ("c", "KVM", "x86_64", "CloudManaged", pod["id"], zone["id"]),
            tuple(cluster[key] for key in ("name", "hypervisortype", "arch", "clustertype", "podid", "zoneid")),
        )

    def test_names_are_unique_where_they_stand(self) -> None:
        """A taken name is refused, the same pod name in another zone is not."""
        self.add_site()
        self.assertIn("name", self.refused("createZone", name="zone"))
        self.assertIn("name", self.refused("createPod", name="pod", zoneid="1"))
        self.assertIn("clustername", self.refused("addCluster", **{**CLUSTER, "clustername": "cluster"}))
        self.call("createZone", name="zone2")
        self.call("createPod", name="pod", zoneid="2")
        self.assertEqual(2, self.call("listPods", name="pod")["count"])

    def test_bad_arguments(self) -> None:
        """Each error names its parameter, and nothing was made."""
        self.add_site()
        self.call("createZone", name="other")
        for name in ("", " ", "12"):
            self.assertIn("parameter name", self.refused("createZone", name=name))
        self.assertIn("zoneid", self.refused("createPod", name="p", zoneid="9"))
        self.assertIn("zoneid", self.refused("createPod", name="p"))
        for name, value in (
            ("clustername", "7"),
            ("clustertype", "ExternalManaged"),
            ("hypervisor", "VirtualPC"),
            ("arch", "vax"),
            ("podid", "9"),
            ("zoneid", "9"),
        ):
            self.assertIn(f"parameter {name}", self.refused("addCluster", **{**CLUSTER, name: value}))
        self.assertIn("podid", self.refused("addCluster", **{**CLUSTER, "zoneid": "2"}))
        counts = [self.call(command)["count"] for command in ("listZones", "listPods", "listClusters")]
        self.assertEqual([2, 1, 1], counts)

    def test_filters(self) -> None:
        """By id, uuid, name, keyword and parents; an id of nothing is an error, a name of nothing an empty list."""
        self.add_site()
        self.call("addCluster", **CLUSTER, arch="aarch64")
        by_name = self.call("listClusters", name="c")["cluster"]
        (cluster,) = by_name
        for key, value in (
            ("id", cluster["id"]),
            ("id", "2"),
            ("arch", "aarch64"),
        ):
            self.assertEqual(by_name, self.call("listClusters", **{key: value})["cluster"])
        for key, value in (("podid", "1"), ("zoneid", "1"), ("hypervisor", "KVM"), ("keyword", "C")):
            self.assertEqual(2, self.call("listClusters", **{key: value})["count"])
        self.assertEqual({}, self.call("listClusters", name="nothing"))
        self.assertEqual({}, self.call("listPods", keyword="nothing"))
        for command in ("listZones", "listPods", "listClusters"):
            self.assertIn("parameter id", self.refused(command, id="zone"))
            self.assertEqual(1, self.call(command, id="1")["count"])
        for command, name in (("listPods", "zoneid"), ("listClusters", "zoneid"), ("listClusters", "podid")):
            self.assertIn(f"parameter {name}", self.refused(command, **{name: "77"}))


class DetailTests(ApiTestCase):
    """What is said of places, new names, and their end."""

    def setUp(self) -> None:
        """One of each."""
        super().setUp()
        self.add_site()

    def test_zone(self) -> None:
        """Kept as it was given, shown with CloudStack's names and types, changed one by one, taken back."""
        zone = self.call(
            "createZone",
            name="z",
            networktype="basic",
            dns1="1.1.1.1",
            internaldns1="2.2.2.2",
            securitygroupenabled="true",
            localstorageenabled="false",
            allocationstate="disabled",
        )["zone"]
        given = {
            "name": "z",
            "allocationstate": "Disabled",
            "networktype": "Basic",
            "dns1": "1.1.1.1",
            "internaldns1": "2.2.2.2",
            "securitygroupsenabled": True,
            "localstorageenabled": False,
        }
        self.assertEqual({"id": zone["id"], **given}, zone)
        self.assertEqual([zone], self.call("listZones", name="z")["zone"])
        changed = self.call("updateZone", id="2", dns1="3.3.3.3", internaldns1="", allocationstate="Enabled")["zone"]
        del given["internaldns1"]
        self.assertEqual({"id": zone["id"], **given, "dns1": "3.3.3.3", "allocationstate": "Enabled"}, changed)
        self.assertEqual([changed], self.call("listZones", networktype="Basic")["zone"])
        self.assertEqual([changed], self.call("listZones", ids=zone["id"])["zone"])
        self.assertEqual({}, self.call("listZones", networktype="Advanced"))

    def test_pod(self) -> None:
        """The same for a pod, whose addresses are lists."""
        network = {"gateway": "10.0.0.1", "netmask": "255.255.255.0"}
        pod = self.call("createPod", name="p", zoneid="1", startip="10.0.0.2", **network)["pod"]
        self.assertEqual({**pod, **network, "startip": ["10.0.0.2"], "ipranges": [{"startip": "10.0.0.2"}]}, pod)
        changed = self.call("updatePod", id="2", endip="10.0.0.9", name="q", allocationstate="Disabled")["pod"]
        ends = {"startip": "10.0.0.2", "endip": "10.0.0.9"}
        self.assertEqual(
            {**pod, "name": "q", "allocationstate": "Disabled", "endip": ["10.0.0.9"], "ipranges": [ends]}, changed
        )
        self.assertEqual([changed], self.call("listPods", allocationstate="disabled")["pod"])

    def test_cluster(self) -> None:
        """Allocation state and name can be changed, the rest is as it was made."""
        changed = self.call(
            "updateCluster",
            id="1",
            clustername="new",
            allocationstate="Disabled",
            hypervisor="kvm",
            managedstate="managed",
        )["cluster"]
        self.assertEqual(("new", "Disabled"), (changed["name"], changed["allocationstate"]))
        self.assertEqual(
            [changed], self.call("listClusters", allocationstate="Disabled", managedstate="Managed")["cluster"]
        )
        self.assertEqual({}, self.call("listClusters", clustertype="ExternalManaged"))
        for name, value in (("hypervisor", "VMware"), ("managedstate", "Unmanaged"), ("arch", "aarch64")):
            self.assertIn(f"parameter {name}:", self.refused("updateCluster", id="1", **{name: value}))

    def test_new_names(self) -> None:
        """One that is taken or none is refused, and one that agents say."""
        self.call("createZone", name="other")
        self.assertIn("parameter name:", self.refused("updateZone", id="1", name="other"))
        self.assertIn("parameter name:", self.refused("updateZone", id="1", name="7"))
        self.add_host("a")
        for command, parameter in (("updateZone", "name"), ("updatePod", "name"), ("updateCluster", "clustername")):
            self.assertIn("1 host (a)", self.failed(536, command, id="1", **{parameter: "new"}))
        self.assertEqual("zone", self.call("updateZone", id="1", name="zone", dns1="1.1.1.1")["zone"]["name"])

    def test_bad_details(self) -> None:
        """Each error names its parameter, and nothing was changed."""
        for command in ("createZone", "updateZone", "createPod", "updatePod", "updateCluster", "listPods"):
            refused = self.refused(command, id="1", name="n", zoneid="1", allocationstate="Broken")
            self.assertIn("parameter allocationstate:", refused)
        self.assertIn("parameter networktype:", self.refused("createZone", name="n", networktype="Token Ring"))
        self.assertIn("parameter localstorageenabled:", self.refused("createZone", name="n", localstorageenabled="yes"))
        self.assertIn("parameter ids:", self.refused("listZones", ids="1,9"))
        self.assertIn("parameter ids:", self.refused("listZones", ids="1", id="1"))
        self.assertEqual(1, self.call("listZones")["count"])

    def test_delete(self) -> None:
        """Only what is empty, with words for what is not; a deleted host does not come back there."""
        host_id = self.add_host("a")
        for command, left in (
            ("deleteZone", "zone 'zone' has 1 pod (pod) and 1 host (a)"),
            ("deletePod", "pod 'pod' has 1 cluster (cluster) and 1 host (a)"),
            ("deleteCluster", "cluster 'cluster' has 1 host (a)"),
        ):
            self.assertEqual(left, self.failed(536, command, id="1"))
        self.call("deleteHost", id=str(host_id))
        for command, listing in (
            ("deleteCluster", "listClusters"),
            ("deletePod", "listPods"),
            ("deleteZone", "listZones"),
        ):
            self.assertEqual({"success": True}, self.call(command, id="1"))
            self.assertEqual({}, self.call(listing))
            self.assertIn("parameter id:", self.refused(command, id="1"))
        self.assertIn("was deleted", self.refused("restoreHost", id=str(host_id)))


class PagingTests(ApiTestCase):
    """Pages of any listing."""

    def setUp(self) -> None:
        """Seven zones."""
        super().setUp()
        for number in range(7):
            self.call("createZone", name=f"zone-{number}")

    def names(self, **parameters: str) -> list[str]:
        """Names of the zones that are listed."""
        return [zone["name"] for zone in self.call("listZones", **parameters).get("zone", [])]

    def test_pages(self) -> None:
        """Pages cut the whole list, count is of all, and past the end there is no list."""
        pages = [self.names(page=str(page), pagesize="3") for page in (1, 2, 3)]
        self.assertEqual(self.names(), pages[0] + pages[1] + pages[2])
        self.assertEqual([3, 3, 1], list(map(len, pages)))
        self.assertEqual(7, self.call("listZones", page="1", pagesize="3")["count"])
        self.assertEqual({"count": 7}, self.call("listZones", page="4", pagesize="3"))
        self.assertEqual(7, len(self.names(pagesize="-1")))

    def test_one_without_the_other(self) -> None:
        """As in CloudStack."""
        self.assertIn('"page"', self.refused("listZones", pagesize="3"))
        self.assertIn('"pagesize"', self.refused("listZones", page="1"))

    def test_bounds(self) -> None:
        """Pages are of 1 to 500, and begin with 1."""
        for page, size, name in (
            ("0", "1", "page"),
            ("1", "0", "pagesize"),
            ("1", "501", "pagesize"),
            ("1", "-2", "pagesize"),
        ):
            self.assertIn(f"parameter {name}:", self.refused("listZones", page=page, pagesize=size))
        self.assertIn("parameter page:", self.refused("listZones", page="x", pagesize="1"))
