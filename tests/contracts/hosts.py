"""The contract of HostRows but for admissions, steps and lost hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import DirectResource, Host, HostId, OutOfBand, ServerId, Session, ZoneId
from cloudlb.domain.ports import AlreadyExists, AmbiguousName, HostFilter, Location, NotFound, Standing, Transaction
from cloudlb.domain.resource_state import ResourceEvent, ResourceState
from tests.contracts.case import OTHER_SERVER, SERVER, StoreContract, admission


def _set_out_of_band(txn: Transaction, host_id: HostId, out_of_band: OutOfBand | None) -> None:
    txn.hosts.set_out_of_band(host_id, out_of_band)


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

    def find(self, key: str) -> Host | None:
        """Find a host."""
        return self.look(lambda txn: txn.hosts.find(key))

    def test_several(self) -> None:
        """Those that are there, removed ones included; of none there are none."""
        first, second, _ = self.hosts
        self.write(lambda txn: txn.hosts.remove(second.id, SERVER, None, 5.0))
        found = self.look(lambda txn: txn.hosts.several([second.id, first.id, HostId(99)]))
        self.assertEqual(found, {first.id: first, second.id: self.current(1)})
        self.assertEqual(self.look(lambda txn: txn.hosts.several([])), {})

    def test_find(self) -> None:
        """A host is found by id, uuid or name, in this order; a removed one by none of them."""
        first = self.hosts[0]
        for key in (str(first.id), first.uuid, first.facts.name):
            self.assertEqual(self.find(key), first)
        named_like_an_id = self.admit(admission("d", self.location, name=str(first.id)))
        self.assertEqual(self.find(str(first.id)), first)
        self.write(lambda txn: txn.hosts.remove(first.id, SERVER, None, 5.0))
        self.assertEqual(self.find(str(first.id)), named_like_an_id)
        for key in (first.uuid, first.facts.name, "", "no such host"):
            self.assertIsNone(self.find(key))

    def test_find_a_name_of_several(self) -> None:
        """Nobody knows which is meant, so the error names them; what is no name is found."""
        named, like_an_id = self.hosts[1], str(self.hosts[0].id)
        other = self.admit(admission("d", self.location, name=named.facts.name))
        with self.assertRaisesRegex(AmbiguousName, f"'{named.facts.name}': {named.uuid}, {other.uuid}$"):
            self.find(named.facts.name)
        self.assertEqual(self.find(named.uuid), named)
        for guid in "ef":
            self.admit(admission(guid, self.location, name=like_an_id))
        self.assertEqual(self.find(like_an_id), self.hosts[0])
        self.write(lambda txn: txn.hosts.remove(other.id, SERVER, None, 5.0))
        self.assertEqual(self.find(named.facts.name), named)

    def test_lists(self) -> None:
        """Lists are ordered by id and leave out removed hosts; a zone's ids are those of its own hosts."""
        other_cluster, elsewhere = self.add_cluster("two")
        other = self.admit(admission("0", elsewhere))
        self.write(lambda txn: txn.hosts.remove(self.hosts[1].id, SERVER, None, 5.0))
        expected = [self.hosts[0], self.hosts[2], other]
        self.assertEqual(self.look(lambda txn: txn.hosts.all()), expected)
        zone = self.cluster.pod.zone.id

        def ids(txn: Transaction) -> Sequence[list[HostId]]:
            return [txn.hosts.ids_in_zone(z) for z in (zone, other_cluster.pod.zone.id, ZoneId(99))]

        self.assertEqual(self.look(ids), [[self.hosts[0].id, self.hosts[2].id], [other.id], []])

    def test_state_of_a_page(self) -> None:
        """The text changes with anything of its hosts, and with nothing else; stamps tell which of them it is."""
        by_name = HostFilter(keyword="name of")

        def state(limit: int = 2) -> tuple[str, int]:
            return self.look(lambda txn: txn.hosts.state_of_page(by_name, 0, limit))

        first, second, third = (host.id for host in self.hosts)
        self.assertEqual(state()[1], 3)
        changes: tuple[Callable[[Transaction], object], ...] = (
            lambda txn: txn.hosts.touch({first: 50.0}),
            lambda txn: txn.hosts.set_tags(second, ["one"]),
            lambda txn: txn.hosts.remove(first, SERVER, None, 60.0),
        )
        for change in changes:
            before = state()
            self.assertEqual(state(), before)
            self.assertNotEqual(state(3), before)
            self.write(change)
            self.assertNotEqual(state(), before)
        before = state(1)
        self.write(lambda txn: txn.hosts.touch({third: 70.0}))
        self.assertEqual(state(1), before)
        stamps = self.look(lambda txn: txn.hosts.stamps(by_name, 0, 500))
        self.assertEqual(([stamp.id for stamp in stamps], state()[1]), ([second, third], 2))
        self.assertEqual(self.look(lambda txn: txn.hosts.state_of_page(HostFilter(name="x"), 0, 9)), ("", 0))

    def test_page(self) -> None:
        """Each part of a filter counts, and all of them together; a page tells how many there are in all."""
        cluster, elsewhere = self.add_cluster("two")
        proxy = admission("proxy", Location(zone="2", pod=str(cluster.pod.id)), type="ConsoleProxy", hypervisor="")
        self.admit(proxy)
        self.admit(admission("d", elsewhere, server_id=OTHER_SERVER, name="NAME%"))
        self.step(self.hosts[1], HostEvent.READY)
        self.write(lambda txn: txn.hosts.remove(self.hosts[2].id, SERVER, None, 5.0))

        def guids(offset: int = 0, limit: int | None = None, **which: Any) -> tuple[list[str], int]:
            hosts, total = self.look(lambda txn: txn.hosts.page(HostFilter(**which), offset, limit))
            return [host.facts.guid for host in hosts], total

        cases: tuple[tuple[dict[str, Any], list[str]], ...] = (
            ({}, ["a", "b", "proxy", "d"]),
            ({"host_id": self.hosts[1].id}, ["b"]),
            ({"host_id": self.hosts[2].id}, []),
            ({"name": "name of a"}, ["a"]),
            ({"name": "Name of a"}, []),
            ({"keyword": "NAME of"}, ["a", "b", "proxy"]),
            ({"keyword": "%"}, ["d"]),
            ({"zone_id": cluster.pod.zone.id}, ["proxy", "d"]),
            ({"pod_id": cluster.pod.id}, ["proxy", "d"]),
            ({"cluster_id": cluster.id}, ["d"]),
            ({"server_id": OTHER_SERVER}, ["d"]),
            ({"status": "up"}, ["b"]),
            ({"status": "removed"}, []),
            ({"resource_state": "ENABLED", "type": "routing"}, ["a", "b", "d"]),
            ({"hypervisor": "kvm", "zone_id": cluster.pod.zone.id}, ["d"]),
        )
        for which, expected in cases:
            self.assertEqual(guids(**which), (expected, len(expected)), which)
        self.assertEqual(guids(1, 2), (["b", "proxy"], 4))
        self.assertEqual((guids(3), guids(4, 2)), ((["d"], 4), ([], 4)))
        (host,) = self.look(lambda txn: txn.hosts.page(HostFilter(status="Up"), 0, 1))[0]
        self.assertEqual(host, self.current(1))

    def test_names(self) -> None:
        """Uuid and name of those that are asked for, also of removed ones."""
        first, second, _ = self.hosts
        self.write(lambda txn: txn.hosts.remove(first.id, SERVER, None, 5.0))
        names = self.look(lambda txn: txn.hosts.names({first.id, second.id, HostId(99)}))
        self.assertEqual(names, {first.id: (first.uuid, "name of a"), second.id: (second.uuid, "name of b")})
        self.assertEqual(self.look(lambda txn: txn.hosts.names(())), {})

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
        self.write(lambda txn: txn.hosts.remove(second, SERVER, None, 5.0))
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
        results = [self.write(lambda txn: txn.hosts.remove(first.id, SERVER, 7, 5.0)) for _ in range(2)]
        self.assertEqual(results, [True, False])
        self.assertFalse(self.write(lambda txn: txn.hosts.remove(HostId(99), SERVER, None, 5.0)))
        host = self.current()
        self.assertEqual((host.status, host.removed, host.session), (HostStatus.REMOVED, 5.0, Session(2)))
        self.write(lambda txn: txn.hosts.touch({first.id: 10.0}))
        self.assertIsNone(self.current().last_heard)
        (event,) = self.events(event_type="HOST.DELETE")
        details = {"from": "Connecting", "to": "Removed", "event": "Remove", "session": "1"}
        self.assertEqual((event.details, event.host_id, event.server_id, event.account_id), (details, 1, SERVER, 7))

    def test_restore(self) -> None:
        """The tombstone of a deleted host can be lifted once; its agent is then admitted as before."""
        first = self.hosts[0]
        self.assertFalse(self.write(lambda txn: txn.hosts.restore(first.id, SERVER, 7, 5.0)))
        self.assertFalse(self.write(lambda txn: txn.hosts.restore(HostId(99), SERVER, 7, 5.0)))
        self.step(first, HostEvent.AGENT_DISCONNECTED)
        self.write(lambda txn: txn.hosts.remove(first.id, SERVER, None, 5.0))
        self.assertTrue(self.write(lambda txn: txn.hosts.restore(first.id, SERVER, 7, 6.0)))
        host = self.current()
        self.assertEqual((host.status, host.removed, host.disconnected), (HostStatus.CREATING, None, None))
        (event,) = self.events(event_type="HOST.RESTORE")
        self.assertEqual((event.details["from"], event.details["to"], event.account_id), ("Removed", "Creating", 7))
        self.assertGreater(self.admit(admission("a", self.location)).session, host.session)

    def test_find_removed(self) -> None:
        """A removed host is found by id or uuid, but not by its name, and not while it is there."""
        first = self.hosts[0]
        keys = (str(first.id), first.uuid, first.facts.name, "")
        self.assertEqual([self.removed(key) for key in keys], [None] * 4)
        self.write(lambda txn: txn.hosts.remove(first.id, SERVER, None, 5.0))
        self.assertEqual([self.removed(key) for key in keys], [first.id, first.id, None, None])

    def removed(self, key: str) -> HostId | None:
        """The number of a removed host."""
        found = self.look(lambda txn: txn.hosts.find_removed(key))
        return found.id if found is not None else None

    def test_tags(self) -> None:
        """An operator's words stay, whatever the agent says; new ones replace them."""
        first = self.hosts[0]
        self.assertEqual(first.tags, ())
        self.write(lambda txn: txn.hosts.set_tags(first.id, ["ssd", "rack 7"]))
        self.assertEqual(self.current().tags, ("ssd", "rack 7"))
        self.assertEqual(self.admit(admission("a", self.location)).tags, ("ssd", "rack 7"))
        self.write(lambda txn: txn.hosts.set_tags(first.id, []))
        self.assertEqual(self.current().tags, ())

    def test_uuids_by_server(self) -> None:
        """The hosts of a server that are Up, and the others; deleted ones are on none."""
        up, down, elsewhere = self.hosts
        self.step(up, HostEvent.READY)
        self.admit(admission("c", self.location, server_id=OTHER_SERVER))
        gone = self.admit(admission("d", self.location))
        self.write(lambda txn: txn.hosts.remove(gone.id, SERVER, None, 5.0))
        found = self.look(lambda txn: txn.hosts.uuids_by_server())
        self.assertEqual({SERVER: ([up.uuid], [down.uuid]), OTHER_SERVER: ([], [elsewhere.uuid])}, found)

    def test_annotation(self) -> None:
        """An operator's remark stays, whatever the agent says, until another one or none replaces it."""
        first = self.hosts[0]
        for remark in ("one", "two", None):
            self.write(lambda txn, remark=remark: txn.hosts.annotate(first.id, remark))  # type: ignore[misc]
            self.assertEqual(self.admit(admission("a", self.location)).annotation, remark)
        self.assertEqual([host.annotation for host in self.look(lambda txn: txn.hosts.all())][1:], [None, None])

    def test_preregister(self) -> None:
        """The row is there before the agent; a GUID is registered once, and removed hosts count."""
        facts = admission("new", self.location).facts
        direct = DirectResource(resource="example.Resource", properties={"password": "s3cr3t"})
        host = self.write(lambda txn: txn.hosts.preregister(facts, self.location, direct, 9.0))
        self.assertEqual(self.look(lambda txn: txn.hosts.find(facts.name)), host)
        self.assertEqual((host.status, host.resource_state), (HostStatus.CREATING, ResourceState.CREATING))
        self.assertEqual((host.session, host.server_id, host.direct, host.created), (Session(0), None, direct, 9.0))
        self.assertNotIn("s3cr3t", repr(host))
        self.write(lambda txn: txn.hosts.remove(host.id, SERVER, None, 5.0))
        for guid in ("new", "a"):
            with self.assertRaisesRegex(AlreadyExists, guid):
                self.preregister(guid)

    def test_preregister_nowhere(self) -> None:
        """A place that is not there, or a value that no column takes, is an error that names it."""
        facts = admission("new", self.location).facts
        with self.assertRaisesRegex(NotFound, "unknown zone '9'"):
            self.write(lambda txn: txn.hosts.preregister(facts, Location(zone="9"), None, 9.0))
        with self.assertRaisesRegex(ValueError, "the host has no GUID"):
            self.preregister("")
        self.assertIsNone(self.look(lambda txn: txn.hosts.by_guid("new")))

    def preregister(self, guid: str) -> Host:
        """Register a host without a resource of its own."""
        facts = admission(guid, self.location).facts
        return self.write(lambda txn: txn.hosts.preregister(facts, self.location, None, 9.0))

    def test_direct(self) -> None:
        """Hosts with a resource inside a server are listed in portions, without removed ones."""
        direct = DirectResource(resource="example.Resource", properties={})
        facts = [admission(guid, self.location).facts for guid in "uvwx"]
        made = self.write(lambda txn: [txn.hosts.preregister(f, self.location, direct, 9.0).id for f in facts])
        self.write(lambda txn: txn.hosts.remove(made[1], SERVER, None, 5.0))

        def after(host_id: HostId) -> list[HostId]:
            return [host.id for host in self.look(lambda txn: txn.hosts.direct(2, after=host_id))]

        self.assertEqual(after(HostId(0)), [made[0], made[2]])
        self.assertEqual(after(made[2]), [made[3]])
        self.assertEqual(after(made[3]), [])

    def test_on_server(self) -> None:
        """The hosts of a server's latest sessions, of the statuses that are asked for."""
        self.admit(admission("b", self.location, server_id=OTHER_SERVER))
        self.step(self.hosts[2], HostEvent.READY)

        def guids(server: ServerId, *statuses: HostStatus) -> list[str]:
            return [host.facts.guid for host in self.look(lambda txn: txn.hosts.on_server(server, statuses))]

        both = (HostStatus.UP, HostStatus.CONNECTING)
        self.assertEqual(guids(SERVER, *both), ["a", "c"])
        self.assertEqual((guids(SERVER, HostStatus.UP), guids(OTHER_SERVER, *both)), (["c"], ["b"]))
        self.assertEqual(guids(SERVER), [])
        self.write(lambda txn: txn.hosts.remove(self.hosts[2].id, SERVER, None, 5.0))
        self.assertEqual(guids(SERVER, *both, HostStatus.REMOVED), ["a"])

    def test_by_states(self) -> None:
        """Hosts are counted by what they are, but for those that are removed."""
        connecting = HostStatus.CONNECTING, ResourceState.ENABLED
        self.assertEqual(self.look(lambda txn: txn.hosts.by_states()), {connecting: 3})
        first, second, _ = self.hosts
        self.step(first, HostEvent.READY)
        self.write(
            lambda txn: txn.hosts.change_resource_state(
                first.id, ResourceEvent.DISABLE, server_id=SERVER, account_id=None, reason="test", now=5.0
            )
        )
        self.write(lambda txn: txn.hosts.remove(second.id, SERVER, None, 5.0))
        self.assertEqual(
            self.look(lambda txn: txn.hosts.by_states()),
            {connecting: 1, (HostStatus.UP, ResourceState.DISABLED): 1},
        )

    def test_up_by_server(self) -> None:
        """Hosts that are Up are counted for the server of their latest session."""
        self.assertEqual(self.look(lambda txn: txn.hosts.up_by_server()), {})
        other = self.admit(admission("d", self.location, server_id=OTHER_SERVER))
        for host in (*self.hosts[:2], other):
            self.step(host, HostEvent.READY)
        self.assertEqual(self.look(lambda txn: txn.hosts.up_by_server()), {SERVER: 2, OTHER_SERVER: 1})
        self.step(other, HostEvent.AGENT_DISCONNECTED)
        self.write(lambda txn: txn.hosts.remove(self.hosts[0].id, SERVER, None, 5.0))
        self.assertEqual(self.look(lambda txn: txn.hosts.up_by_server()), {SERVER: 1})

    def test_standings(self) -> None:
        """Every host that is not removed, in order, with what plans go by."""
        elsewhere, _ = self.add_cluster("two")
        facts, location = admission("d", self.location).facts, self.location
        direct = self.write(
            lambda txn: txn.hosts.preregister(facts, location, DirectResource(resource="r", properties={}), 1.0)
        )
        self.step(self.hosts[1], HostEvent.READY)
        self.write(lambda txn: txn.hosts.remove(self.hosts[0].id, SERVER, None, 5.0))
        zone = self.cluster.pod.zone.id
        self.assertNotEqual(elsewhere.pod.zone.id, zone)
        _, b, c = (host.id for host in self.hosts)
        self.assertEqual(
            self.look(lambda txn: txn.hosts.standings()),
            [
                Standing(b, "b", zone, SERVER, True, False),
                Standing(c, "c", zone, SERVER, False, False),
                Standing(direct.id, "d", zone, None, False, True),
            ],
        )

    def test_in_cluster(self) -> None:
        """Neighbours are those of the cluster that have the status."""
        _, elsewhere = self.add_cluster("two")
        for host in (self.hosts[0], self.hosts[2], self.admit(admission("0", elsewhere))):
            self.step(host, HostEvent.READY)
        found = self.look(lambda txn: txn.hosts.in_cluster(self.cluster.id, HostStatus.UP))
        self.assertEqual([host.facts.guid for host in found], ["a", "c"])

    def test_out_of_band(self) -> None:
        """A host's BMC is written, written anew, and forgotten; its password shows nowhere."""
        first, second = self.hosts[0].id, self.hosts[1].id
        for wanted in (
            OutOfBand(address="https://10.0.0.7", username="root", password="s3cr3t"),
            OutOfBand(address="https://10.0.0.8", username="admin", password="other"),
            None,
        ):
            self.write(partial(_set_out_of_band, host_id=first, out_of_band=wanted))
            self.assertEqual(self.look(lambda txn: txn.hosts.out_of_band(first)), wanted)
            self.assertNotIn("s3cr3t", repr(wanted))
        self.assertIsNone(self.look(lambda txn: txn.hosts.out_of_band(second)))

    def test_get_none(self) -> None:
        """A number that no host has gives None."""
        self.assertIsNone(self.look(lambda txn: txn.hosts.get(HostId(99))))

    def test_by_guid(self) -> None:
        """A host is found by its GUID, also when it is removed."""
        guid = self.hosts[0].facts.guid
        self.assertEqual(self.look(lambda txn: txn.hosts.by_guid(guid)), self.hosts[0])
        self.write(lambda txn: txn.hosts.remove(self.hosts[0].id, SERVER, None, 5.0))
        removed = self.look(lambda txn: txn.hosts.by_guid(guid))
        assert removed is not None
        self.assertEqual(removed.removed, 5.0)
        self.assertIsNone(self.look(lambda txn: txn.hosts.by_guid("no such GUID")))
