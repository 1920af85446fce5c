"""The contract of HostRows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostId, Session, ZoneId
from cloudlb.domain.ports import Admission, Location, Refused, Transaction
from cloudlb.domain.resource_state import ResourceState
from tests.contracts.case import OTHER_SERVER, SERVER, StoreContract, admission


class AdmissionContract(StoreContract):
    """HostRows.admit."""

    def setUp(self) -> None:
        """Make one cluster."""
        super().setUp()
        self.cluster, self.location = self.add_cluster()

    def refusal(self, asked: Admission) -> str:
        """The reason for which an admission is refused; it must change nothing."""
        before = self.look(lambda txn: txn.hosts.all())
        refused = self.write(lambda txn: txn.hosts.admit(asked, 2000.0))
        assert isinstance(refused, Refused), refused
        self.assertEqual(self.look(lambda txn: txn.hosts.all()), before)
        return refused.reason

    def set_status(self, host: Host, status: HostStatus) -> None:
        """Write a status as the host's owner."""
        self.assertTrue(self.write(lambda txn: txn.hosts.change_status(host.id, host.session, status, 1.0)))

    def test_new_host(self) -> None:
        """A GUID that comes for the first time gets a row: Connecting, Enabled, in its first session."""
        asked = admission("a", self.location)
        host = self.admit(asked, 1000.5)
        expected = Host(
            id=host.id,
            uuid=host.uuid,
            facts=asked.facts,
            zone=self.cluster.pod.zone,
            pod=self.cluster.pod,
            cluster=self.cluster,
            status=HostStatus.CONNECTING,
            resource_state=ResourceState.ENABLED,
            server_id=SERVER,
            session=Session(1),
            created=1000.5,
            last_heard=None,
            disconnected=None,
            removed=None,
        )
        self.assertEqual(host, expected)
        self.assertEqual(self.look(lambda txn: txn.hosts.get(host.id)), expected)
        self.assertEqual(len(host.uuid), 36)

    def test_known_host(self) -> None:
        """A GUID that comes back keeps its row; session, server and facts are new."""
        first = self.admit(admission("a", self.location), 1000.0)
        asked = admission("a", self.location, version="4.23", cpus=1, details={}, server_id=OTHER_SERVER)
        second = self.admit(asked, 2000.0)
        self.assertEqual((second.id, second.uuid, second.created), (first.id, first.uuid, 1000.0))
        self.assertEqual((second.session, second.server_id), (Session(2), OTHER_SERVER))
        self.assertEqual(second.facts, asked.facts)
        self.assertEqual(self.look(lambda txn: txn.hosts.all()), [second])

    def test_status(self) -> None:
        """An admission makes a host Connecting; only one that is transferred stays Up, if it was Up."""
        for before, transferred, after in (
            (HostStatus.UP, True, HostStatus.UP),
            (HostStatus.UP, False, HostStatus.CONNECTING),
            (HostStatus.DISCONNECTED, True, HostStatus.CONNECTING),
            (HostStatus.DOWN, False, HostStatus.CONNECTING),
        ):
            host = self.admit(admission("a", self.location))
            self.set_status(host, before)
            again = self.admit(admission("a", self.location, transferred=transferred))
            self.assertEqual(again.status, after, (before, transferred))

    def test_many_at_once(self) -> None:
        """Admissions in one transaction do not touch each other, also where one of them is refused."""
        asked = [admission("a", self.location), admission("b", Location(zone="9")), admission("c", self.location)]
        results = self.write(lambda txn: [txn.hosts.admit(one, 1.0) for one in asked])
        self.assertEqual([isinstance(result, Host) for result in results], [True, False, True])
        self.assertEqual([host.facts.guid for host in self.look(lambda txn: txn.hosts.all())], ["a", "c"])

    def test_keys_of_the_location(self) -> None:
        """Zone, pod and cluster are each named by id, uuid or name."""
        pod, zone = self.cluster.pod, self.cluster.pod.zone
        for location in (
            Location(zone=str(zone.id), pod=str(pod.id), cluster=str(self.cluster.id)),
            Location(zone=zone.uuid, pod=pod.uuid, cluster=self.cluster.uuid),
            Location(zone=zone.name, pod=str(pod.id), cluster=self.cluster.uuid),
        ):
            self.assertEqual(self.admit(admission("a", location)).cluster, self.cluster)

    def test_number_means_the_id_first(self) -> None:
        """A zone named like the id of another is found by its name only where no id fits."""
        zones = self.write(lambda txn: [txn.topology.add_zone("1"), txn.topology.add_zone("700")])
        found = [
            self.admit(admission(f"host {key}", Location(zone=key), type="ConsoleProxy")).zone.id
            for key in ("1", "700", zones[0].uuid)
        ]
        self.assertEqual(found, [self.cluster.pod.zone.id, zones[1].id, zones[0].id])

    def test_uuid_comes_before_the_name(self) -> None:
        """Nobody takes hosts over by naming a zone like the uuid of another."""
        zone = self.cluster.pod.zone
        self.write(lambda txn: txn.topology.add_zone(zone.uuid))
        self.assertEqual(self.admit(admission("a", Location(zone=zone.uuid), type="ConsoleProxy")).zone, zone)

    def test_unknown_places(self) -> None:
        """The reason names what is unknown, and where it was looked for."""
        _, elsewhere = self.add_cluster("two")
        for location, reason in (
            (Location(zone="9", pod="1", cluster="1"), "unknown zone '9'"),
            (Location(zone="٣"), "unknown zone '٣'"),
            (Location(zone="9" * 5000), f"unknown zone '{'9' * 5000}'"),
            (Location(zone=""), "unknown zone ''"),
            (Location(zone="zone one", pod="9", cluster="1"), "unknown pod '9' in zone 'zone one'"),
            (Location(zone="zone one", pod="-1"), "unknown pod '-1' in zone 'zone one'"),
            (Location(zone="1", pod="1", cluster="x"), "unknown cluster 'x' in zone 'zone one', pod 'pod one'"),
            # Known ones, of another zone and pod.
            (Location(zone="zone one", pod=elsewhere.pod, cluster="1"), "unknown pod 'pod two' in zone 'zone one'"),
            (
                Location(zone="1", pod="1", cluster=elsewhere.cluster),
                "unknown cluster 'cluster two' in zone 'zone one', pod 'pod one'",
            ),
        ):
            self.assertEqual(self.refusal(admission("a", location)), reason)

    def test_incomplete_places(self) -> None:
        """A hypervisor host needs a pod and a cluster, a system VM neither; a cluster is looked for in its pod."""
        zone = Location(zone="1")
        pod = Location(zone="1", pod="1")
        self.assertEqual(self.refusal(admission("a", zone)), "no pod is given, only zone 'zone one'")
        self.assertEqual(self.refusal(admission("a", pod)), "no cluster is given, only zone 'zone one', pod 'pod one'")
        orphan = admission("a", Location(zone="1", cluster="1"), type="ConsoleProxy")
        self.assertEqual(self.refusal(orphan), "unknown cluster '1' in zone 'zone one'")
        proxy = self.admit(admission("v-1", zone, type="ConsoleProxy"))
        self.assertEqual((proxy.pod, proxy.cluster), (None, None))
        storage = self.admit(admission("s-2", Location(zone="1", pod="1", cluster=""), type="SecondaryStorageVM"))
        self.assertEqual((storage.pod, storage.cluster), (self.cluster.pod, None))
        self.assertEqual(self.look(lambda txn: txn.hosts.all()), [proxy, storage])
        self.assertEqual(self.admit(admission("v-1", zone, type="ConsoleProxy")).session, Session(2))

    def test_other_place(self) -> None:
        """A host that comes back elsewhere is refused: hosts do not move between clusters by themselves."""
        self.admit(admission("a", self.location))
        _, elsewhere = self.add_cluster("two")
        self.assertEqual(
            self.refusal(admission("a", elsewhere)),
            "host 'a' stands in zone 'zone one', pod 'pod one', cluster 'cluster one' "
            "and cannot come back in zone 'zone two', pod 'pod two', cluster 'cluster two'",
        )

    def test_deleted(self) -> None:
        """A deleted host stays deleted, however often its agent asks."""
        host = self.admit(admission("a", self.location))
        self.write(lambda txn: txn.hosts.remove(host.id, 5.0))
        self.assertEqual(self.refusal(admission("a", self.location)), "host 'a' was deleted")
        removed = self.look(lambda txn: txn.hosts.get(host.id))
        assert removed is not None
        self.assertEqual((removed.session, removed.removed), (Session(2), 5.0))

    def test_facts_that_no_column_takes(self) -> None:
        """A value beyond its column is refused with its name, and fails nobody else's admission."""
        facts = admission("a", self.location).facts
        cases: Sequence[tuple[dict[str, Any], str]] = (
            ({"guid": ""}, "the host has no GUID"),
            ({"memory": 2**63}, "memory 9223372036854775808 is not between 0 and"),
            ({"memory": -1}, "memory -1 is not between 0 and"),
            ({"cpus": 2**31}, "cpus 2147483648 is not between 0 and 2147483647"),
            ({"name": "x" * 256}, f"name '{'x' * 60}'... is longer than 255 characters"),
            ({"name": "half \ud800"}, "name 'half \\ud800' is no text"),
            ({"version": "a\0b"}, "version 'a\\x00b' is no text"),
        )
        for changes, start in cases:
            reason = self.refusal(evolve(admission("a", self.location), facts=evolve(facts, **changes)))
            self.assertTrue(reason.startswith(start), reason)
        for location in (Location(zone="\udc00"), Location(zone="1", pod="a\0")):
            self.assertEqual(self.refusal(admission("a", location)), "the location of host 'a' is no text")

    def test_text_is_kept_as_it_is(self) -> None:
        """Quotes, other scripts and emoji come back as they went in, in facts and details alike."""
        text = '\'; DROP TABLE host; -- "Škoda" 雲 ☁️ %s ?'
        host = self.admit(admission(text, self.location, name=text, details={text: text}))
        self.assertEqual(self.look(lambda txn: txn.hosts.get(host.id)), host)
        self.assertEqual(self.look(lambda txn: txn.hosts.find(text)), host)


class HostRowsContract(StoreContract):
    """The rest of HostRows."""

    def setUp(self) -> None:
        """Make one cluster and three hosts in it."""
        super().setUp()
        self.cluster, self.location = self.add_cluster()
        self.hosts = [self.admit(admission(guid, self.location)) for guid in "abc"]

    def current(self, number: int = 0) -> Host:
        """A host as the store has it now."""
        host = self.look(lambda txn: txn.hosts.get(self.hosts[number].id))
        assert host is not None
        return host

    def set_status(self, status: HostStatus, at: float, session: int = 1) -> bool:
        """Change the status of the first host."""
        return self.write(lambda txn: txn.hosts.change_status(self.hosts[0].id, Session(session), status, at))

    def find(self, key: str) -> Host | None:
        """Find a host."""
        return self.look(lambda txn: txn.hosts.find(key))

    def test_status_of_the_owner(self) -> None:
        """The latest session writes the status."""
        self.assertTrue(self.set_status(HostStatus.UP, 7.0))
        self.assertEqual(self.current().status, HostStatus.UP)
        self.assertEqual(self.current(1), self.hosts[1])

    def test_status_of_another(self) -> None:
        """Sessions that are over, or never were, write nothing; neither does anybody after the removal."""
        self.admit(admission("a", self.location))
        before = self.current()
        for session in (0, 1, 3):
            self.assertFalse(self.set_status(HostStatus.DOWN, 7.0, session))
        self.assertEqual(self.current(), before)
        self.write(lambda txn: txn.hosts.remove(before.id, 8.0))
        for session in (2, 3):
            self.assertFalse(self.set_status(HostStatus.UP, 9.0, session))
        self.assertEqual(self.current().status, HostStatus.REMOVED)
        self.assertFalse(self.write(lambda txn: txn.hosts.change_status(HostId(99), Session(1), HostStatus.UP, 1.0)))

    def test_time_of_disconnection(self) -> None:
        """It is the moment at which the agent was lost, until the host is Up again."""
        seen = []
        for at, status in enumerate(
            (
                HostStatus.UP,
                HostStatus.DISCONNECTED,
                HostStatus.ALERT,
                HostStatus.DOWN,
                HostStatus.CONNECTING,
                HostStatus.UP,
                HostStatus.DOWN,
            )
        ):
            self.set_status(status, float(at))
            seen.append(self.current().disconnected)
        self.assertEqual(seen, [None, 1.0, 1.0, 1.0, 1.0, None, 6.0])

    def test_find(self) -> None:
        """A host is found by id, uuid or name, in this order; a removed one by none of them."""
        first = self.hosts[0]
        for key in (str(first.id), first.uuid, first.facts.name):
            self.assertEqual(self.find(key), first)
        named_like_an_id = self.admit(admission("d", self.location, name=str(first.id)))
        self.assertEqual(self.find(str(first.id)), first)
        self.write(lambda txn: txn.hosts.remove(first.id, 5.0))
        self.assertEqual(self.find(str(first.id)), named_like_an_id)
        for key in (first.uuid, first.facts.name, "", "no such host"):
            self.assertIsNone(self.find(key))

    def test_find_a_name_of_several(self) -> None:
        """Of hosts with one name the oldest is meant."""
        self.admit(admission("d", self.location, name=self.hosts[1].facts.name))
        self.assertEqual(self.find(self.hosts[1].facts.name), self.hosts[1])

    def test_lists(self) -> None:
        """Lists are ordered by id and leave out removed hosts; a zone's ids are those of its own hosts."""
        other_cluster, elsewhere = self.add_cluster("two")
        other = self.admit(admission("0", elsewhere))
        self.write(lambda txn: txn.hosts.remove(self.hosts[1].id, 5.0))
        expected = [self.hosts[0], self.hosts[2], other]
        self.assertEqual(self.look(lambda txn: txn.hosts.all()), expected)
        zone = self.cluster.pod.zone.id

        def ids(txn: Transaction) -> Sequence[list[HostId]]:
            return [txn.hosts.ids_in_zone(z) for z in (zone, other_cluster.pod.zone.id, ZoneId(99))]

        self.assertEqual(self.look(ids), [[self.hosts[0].id, self.hosts[2].id], [other.id], []])

    def test_places(self) -> None:
        """Some hosts' places are those among all of their zone that are there, whatever order they are asked in."""
        _, elsewhere = self.add_cluster("two")
        self.admit(admission("0", elsewhere))
        last = self.admit(admission("z", self.location))
        zone = self.cluster.pod.zone.id
        first, second, third = (host.id for host in self.hosts)

        def places(*ids: HostId) -> Mapping[HostId, int]:
            return self.look(lambda txn: txn.hosts.places(zone, ids))

        self.assertEqual(places(last.id, first, third), {first: 0, third: 2, last.id: 3})
        self.assertEqual(places(third), {third: 2})
        self.assertEqual(places(), {})
        self.write(lambda txn: txn.hosts.remove(second, 5.0))
        self.assertEqual(places(last.id, first, third), {first: 0, third: 1, last.id: 2})

    def test_touch(self) -> None:
        """Times of hearing are written in a batch, go forward only, and change nothing else."""
        first, second, third = (host.id for host in self.hosts)
        self.write(lambda txn: txn.hosts.touch({first: 10.0, second: 20.0, HostId(99): 1.0}))
        self.write(lambda txn: txn.hosts.touch({first: 9.0, second: 21.5}))
        self.write(lambda txn: txn.hosts.touch({}))
        heard = {host.id: host.last_heard for host in self.look(lambda txn: txn.hosts.all())}
        self.assertEqual(heard, {first: 10.0, second: 21.5, third: None})
        self.assertEqual(self.current().session, Session(1))

    def test_remove(self) -> None:
        """A host is removed once, and then belongs to no session."""
        first = self.hosts[0]
        results = self.write(lambda txn: [txn.hosts.remove(first.id, 5.0), txn.hosts.remove(first.id, 6.0)])
        self.assertEqual(results, [True, False])
        self.assertFalse(self.write(lambda txn: txn.hosts.remove(HostId(99), 5.0)))
        host = self.current()
        self.assertEqual((host.status, host.removed, host.session), (HostStatus.REMOVED, 5.0, Session(2)))
        self.write(lambda txn: txn.hosts.touch({first.id: 10.0}))
        self.assertIsNone(self.current().last_heard)

    def test_get_none(self) -> None:
        """A number that no host has gives None."""
        self.assertIsNone(self.look(lambda txn: txn.hosts.get(HostId(99))))

    def test_by_guid(self) -> None:
        """A host is found by its GUID, also when it is removed."""
        guid = self.hosts[0].facts.guid
        self.assertEqual(self.look(lambda txn: txn.hosts.by_guid(guid)), self.hosts[0])
        self.write(lambda txn: txn.hosts.remove(self.hosts[0].id, 5.0))
        removed = self.look(lambda txn: txn.hosts.by_guid(guid))
        assert removed is not None
        self.assertEqual(removed.removed, 5.0)
        self.assertIsNone(self.look(lambda txn: txn.hosts.by_guid("no such GUID")))
