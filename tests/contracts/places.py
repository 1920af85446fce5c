"""The contract of TopologyRows about places that are there: what is said of them, new names, their end."""

from __future__ import annotations

from cloudlb.domain.models import Cluster, Pod, Zone
from cloudlb.domain.places import DISABLED, PlaceDetails, StillInUse
from cloudlb.domain.ports import AlreadyExists, Refused
from cloudlb.domain.settings import LB_CHECK_INTERVAL
from cloudlb.domain.settings_in_force import Settings
from tests.contracts.case import OTHER_SERVER, SERVER, StoreContract, admission


class PlacesContract(StoreContract):
    """TopologyRows, over time."""

    def setUp(self) -> None:
        """Two clusters, each in a zone of its own."""
        super().setUp()
        self.cluster, self.location = self.add_cluster("one")
        self.other, _ = self.add_cluster("two")

    def test_details(self) -> None:
        """What was said last of a place is kept of it alone; nothing is said of a new one."""
        pod, zone = self.cluster.pod, self.cluster.pod.zone
        said = PlaceDetails(allocation_state=DISABLED, network={"dns1": "1.1.1.1", "localstorageenabled": True})
        for place in (zone, pod, zone):
            self.write(lambda txn, place=place: txn.topology.describe(place, said))  # type: ignore[misc]
        state = PlaceDetails(allocation_state=DISABLED)
        self.write(lambda txn: txn.topology.describe(self.cluster, state))
        kinds: tuple[type[Zone | Pod | Cluster], ...] = (Zone, Pod, Cluster)
        details = [self.look(lambda txn, kind=kind: txn.topology.details(kind)) for kind in kinds]  # type: ignore[misc]
        other = self.other.pod
        self.assertEqual({zone.uuid: said, other.zone.uuid: PlaceDetails()}, details[0])
        self.assertEqual({pod.uuid: said, other.uuid: PlaceDetails()}, details[1])
        self.assertEqual({self.cluster.uuid: state, self.other.uuid: PlaceDetails()}, details[2])

    def test_rename(self) -> None:
        """A place takes a name that is free among its likes, and agents say the new one."""
        zone = self.cluster.pod.zone
        self.write(lambda txn: txn.topology.rename(zone, "new"))
        self.assertEqual(["new", "zone two"], [each.name for each in self.look(lambda txn: txn.topology.zones())])
        with self.assertRaisesRegex(AlreadyExists, "zone 'zone two'"):
            self.write(lambda txn: txn.topology.rename(zone, "zone two"))
        (refused,) = self.write(lambda txn: txn.hosts.admit([admission("a", self.location)], 1.0))
        self.assertIsInstance(refused, Refused)

    def test_rename_under_hosts(self) -> None:
        """Agents that are there would not find their place again."""
        host = self.admit(admission("a", self.location))
        for place in (self.cluster, self.cluster.pod, self.cluster.pod.zone):
            with self.assertRaisesRegex(StillInUse, f"'{place.name}' has 1 host \\(name of a\\)"):
                self.write(lambda txn, place=place: txn.topology.rename(place, "new"))  # type: ignore[misc]
        self.write(lambda txn: txn.hosts.remove(host.id, SERVER, None, 2.0))
        self.write(lambda txn: txn.topology.rename(self.cluster, "new"))

    def test_remove(self) -> None:
        """From within; then nothing of it is listed, and nothing finds a place there."""
        pod, zone = self.cluster.pod, self.cluster.pod.zone
        self.write(lambda txn: txn.settings.set(LB_CHECK_INTERVAL, "7", self.cluster.id))
        for place, left in ((zone, r"zone 'zone one' has 1 pod \(pod one\)"), (pod, r"1 cluster \(cluster one\)")):
            with self.assertRaisesRegex(StillInUse, left):
                self.write(lambda txn, place=place: txn.topology.remove(place, 5.0))  # type: ignore[misc]
        for gone in (self.cluster, pod, zone):
            self.write(lambda txn, gone=gone: txn.topology.remove(gone, 5.0))  # type: ignore[misc]
        self.assertEqual([self.other], self.look(lambda txn: txn.topology.clusters()))
        self.assertEqual([self.other.pod], self.look(lambda txn: txn.topology.pods()))
        self.assertEqual([self.other.pod.zone], self.look(lambda txn: txn.topology.zones()))
        self.assertEqual({self.other.uuid}, set(self.look(lambda txn: txn.topology.details(Cluster))))
        self.assertEqual(Settings(), self.look(lambda txn: txn.settings.load()))
        (refused,) = self.write(lambda txn: txn.hosts.admit([admission("a", self.location)], 6.0))
        self.assertIsInstance(refused, Refused)

    def test_what_agents_call_it(self) -> None:
        """Of a place that is gone neither id nor uuid nor name admits an agent."""
        self.write(lambda txn: txn.topology.remove(self.cluster, 5.0))
        for key in (str(self.cluster.id), self.cluster.uuid, self.cluster.name):
            location = self.location.__class__(zone="zone one", pod="pod one", cluster=key)
            (refused,) = self.write(
                lambda txn, location=location: txn.hosts.admit([admission("a", location)], 6.0)  # type: ignore[misc]
            )
            assert isinstance(refused, Refused)
            self.assertIn("unknown cluster", refused.reason)

    def test_names_are_free_again(self) -> None:
        """Another place may have the name, and be removed as well."""
        pod = self.cluster.pod
        for _ in range(2):
            (cluster,) = (each for each in self.look(lambda txn: txn.topology.clusters()) if each.pod == pod)
            self.write(lambda txn, cluster=cluster: txn.topology.remove(cluster, 5.0))  # type: ignore[misc]
            added = self.write(
                lambda txn: txn.topology.add_cluster("cluster one", pod.id, hypervisor="KVM", arch="x86_64")
            )
            self.assertNotEqual(cluster.uuid, added.uuid)

    def test_hosts(self) -> None:
        """Hosts are in the way, those that were deleted are not; they still stand there."""
        hosts = [self.admit(admission(guid, self.location, server_id=OTHER_SERVER)) for guid in "abcdefg"]
        with self.assertRaisesRegex(StillInUse, r"7 hosts \(name of a, name of b, .*, name of e, \.\.\.\)"):
            self.write(lambda txn: txn.topology.remove(self.cluster, 5.0))
        for host in hosts:
            self.write(lambda txn, host=host: txn.hosts.remove(host.id, SERVER, None, 6.0))  # type: ignore[misc]
        self.write(lambda txn: txn.topology.remove(self.cluster, 7.0))
        deleted = self.look(lambda txn: txn.hosts.get(hosts[0].id))
        assert deleted is not None
        assert deleted.cluster is not None
        self.assertEqual(self.cluster.uuid, deleted.cluster.uuid)
