"""The contract of HostRows.admit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import DirectResource, Host, Session
from cloudlb.domain.ports import Admission, Location, Refused
from cloudlb.domain.records import Level
from cloudlb.domain.resource_state import ResourceEvent, ResourceState
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
        (refused,) = self.write(lambda txn: txn.hosts.admit([asked], 2000.0))
        assert isinstance(refused, Refused), refused
        self.assertEqual(self.look(lambda txn: txn.hosts.all()), before)
        return refused.reason

    def admit_all(self, *asked: Admission) -> list[Host | Refused]:
        """Admit several in one transaction."""
        return self.write(lambda txn: txn.hosts.admit(asked, 2000.0))

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

    def test_with_and_without_new_facts_in_a_batch(self) -> None:
        """Each row is as its last admission has it, also of a host that comes more than once."""
        first, other = admission("a", self.location), admission("b", self.location)
        changed = admission("a", self.location, version="4.23", details={"new": "detail"})
        self.admit_all(first, other)
        for batch in ([first, other, changed], [changed, other, first, first], [changed, changed, other, changed]):
            results = self.admit_all(*batch)
            latest = {host.facts.guid: host for host in results if isinstance(host, Host)}
            self.assertEqual(self.look(lambda txn: txn.hosts.all()), [latest["a"], latest["b"]])
        self.assertEqual([host.session for host in latest.values()], [Session(9), Session(4)])

    def test_status(self) -> None:
        """An admission takes the table's step: a host that is Up changes hands and not its status."""
        for number, (events, after) in enumerate(
            (
                ([], HostStatus.CONNECTING),
                ([HostEvent.READY], HostStatus.UP),
                ([HostEvent.READY, HostEvent.AGENT_DISCONNECTED], HostStatus.CONNECTING),
                ([HostEvent.AGENT_DISCONNECTED], HostStatus.CONNECTING),
                ([HostEvent.HOST_DOWN], HostStatus.CONNECTING),
            )
        ):
            host = self.admit(admission(f"host {number}", self.location))
            for event in events:
                self.assertIsNotNone(self.step(host, event))
            again = self.admit(admission(f"host {number}", self.location))
            self.assertEqual(again.status, after, events)
        statuses = [host.status for host in self.look(lambda txn: txn.hosts.all())]
        self.assertEqual([status is HostStatus.UP for status in statuses], [False, True, False, False, False])

    def test_events(self) -> None:
        """A status that changes has one event row, which says who, from, to and why; one that stays has none."""
        host = self.admit(admission("a", self.location, server_id=OTHER_SERVER), 1000.0)
        self.admit(admission("a", self.location), 1001.0)
        (event,) = self.events()
        details = {"from": "Creating", "to": "Connecting", "event": "AgentConnected", "session": "1"}
        self.assertEqual((event.type, event.level, event.details), ("HOST.STATUS.TRANSITION", Level.INFO, details))
        self.assertEqual((event.host_id, event.server_id, event.account_id), (host.id, OTHER_SERVER, None))
        self.assertEqual(event.created, 1000.0)
        self.assertIn("host name of a went from Creating to Connecting (AgentConnected)", event.description)

    def test_resource_state(self) -> None:
        """What an operator wants of a host outlasts the comings and goings of its agent."""
        host = self.admit(admission("a", self.location))
        self.assertEqual(host.resource_state, ResourceState.ENABLED)
        self.write(
            lambda txn: txn.hosts.change_resource_state(
                host.id, ResourceEvent.DISABLE, server_id=SERVER, account_id=1, reason="", now=1.0
            )
        )
        self.assertEqual(self.admit(admission("a", self.location)).resource_state, ResourceState.DISABLED)

    def test_many_at_once(self) -> None:
        """Admissions of one batch do not touch each other, also where one of them is refused."""
        asked = [admission("a", self.location), admission("b", Location(zone="9")), admission("c", self.location)]
        results = self.write(lambda txn: txn.hosts.admit(asked, 1.0))
        self.assertEqual([isinstance(result, Host) for result in results], [True, False, True])
        self.assertEqual([host.facts.guid for host in self.look(lambda txn: txn.hosts.all())], ["a", "c"])
        self.assertEqual(self.write(lambda txn: txn.hosts.admit([], 1.0)), [])

    def test_one_twice_in_a_batch(self) -> None:
        """Each of two admissions of one host is a session of its own, whether the host was known or not."""
        asked = [admission("a", self.location, cpus=1), admission("a", self.location, cpus=2)]
        for known in (False, True):
            results = self.write(lambda txn: txn.hosts.admit(asked, 1.0))
            sessions = [result.session for result in results if isinstance(result, Host)]
            self.assertEqual(sessions, [3, 4] if known else [1, 2])
            self.assertEqual(self.look(lambda txn: txn.hosts.all()), results[1:])

    def test_other_hypervisor_or_architecture(self) -> None:
        """A cluster holds hosts of one kind; case does not matter, and what one side leaves open fits."""
        for changes, reason in (
            ({"hypervisor": "VMware"}, "host 'a' has hypervisor 'VMware', cluster 'cluster one' has 'KVM'"),
            ({"arch": "aarch64"}, "host 'a' has arch 'aarch64', cluster 'cluster one' has 'x86_64'"),
        ):
            self.assertEqual(self.refusal(admission("a", self.location, **changes)), reason)
        self.admit(admission("a", self.location, hypervisor="kvm", arch=""))
        anything = self.write(
            lambda txn: txn.topology.add_cluster("any", self.cluster.pod.id, hypervisor="", arch="").name
        )
        self.admit(admission("b", evolve(self.location, cluster=anything), hypervisor="VMware", arch="aarch64"))

    def test_preregistered(self) -> None:
        """A host that an operator has registered is found by its GUID, and keeps its row and its direct resource."""
        direct = DirectResource(resource="example.Resource", properties={"password": "s3cr3t"})
        facts = admission("a", self.location, name="chosen by the operator").facts
        made = self.write(lambda txn: txn.hosts.preregister(facts, self.location, direct, 900.0))
        host = self.admit(admission("a", self.location))
        self.assertEqual((host.id, host.uuid, host.created, host.direct), (made.id, made.uuid, 900.0, direct))
        self.assertEqual((host.status, host.resource_state), (HostStatus.CONNECTING, ResourceState.ENABLED))
        self.assertEqual((host.session, host.facts.name), (Session(1), "name of a"))
        self.assertEqual(self.look(lambda txn: txn.hosts.get(host.id)), host)

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
        self.write(lambda txn: txn.hosts.remove(host.id, SERVER, None, 5.0))
        self.assertEqual(self.refusal(admission("a", self.location)), "host 'a' was deleted")
        removed = self.look(lambda txn: txn.hosts.get(host.id))
        assert removed is not None
        self.assertEqual((removed.session, removed.removed), (Session(2), 5.0))

    def test_error(self) -> None:
        """A host whose resource is in error is not let in."""
        asked = admission("a", self.location)
        host = self.write(lambda txn: txn.hosts.preregister(asked.facts, self.location, None, 1.0))
        self.write(
            lambda txn: txn.hosts.change_resource_state(
                host.id, ResourceEvent.ERROR, server_id=SERVER, account_id=None, reason="it broke", now=2.0
            )
        )
        self.assertIn("'a' is in the resource state Error", self.refusal(asked))

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
