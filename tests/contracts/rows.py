"""The contracts of the smaller ports: servers, settings, topology, accounts and the bus."""

from __future__ import annotations

import time
from functools import partial

from attrs import evolve

from cloudlb.domain.drains import Drain
from cloudlb.domain.models import (
    ClusterId,
    Message,
    PeerView,
    PodId,
    Server,
    ServerId,
    ZoneId,
)
from cloudlb.domain.ports import AlreadyExists, NotFound, Transaction
from cloudlb.domain.server_state import ServerEvent, ServerState
from cloudlb.domain.settings import HEARTBEAT_INTERVAL, HEARTBEAT_THRESHOLD, LB_CHECK_INTERVAL, PING_INTERVAL
from cloudlb.domain.settings_in_force import Settings
from cloudlb.domain.users import Account, ApiKey, Role
from tests.contracts.case import OTHER_SERVER, SERVER, StoreContract, admission


class ServerRowsContract(StoreContract):
    """ServerRows, on a time that the test tells."""

    def setUp(self) -> None:
        """Begin at ten seconds."""
        self.time = 10.0
        self.store = self.open_store(lambda: self.time)

    def register(self, name: str, candidate: ServerId, address: str = "127.0.0.1") -> Server:
        """Register a server."""
        return self.write(
            lambda txn: txn.servers.register(
                name=name, address=address, port=8250, version="0.1", candidate_id=candidate
            )
        )

    def server(self, name: str = "one") -> Server:
        """One server as it is read now."""
        (found,) = (server for server in self.look(lambda txn: txn.servers.all()) if server.name == name)
        return found

    def test_new_server(self) -> None:
        """A name that is new takes the candidate's id, all 48 bits of it."""
        server = self.register("one", SERVER)
        self.assertEqual(
            server,
            Server(
                id=SERVER,
                uuid=server.uuid,
                name="one",
                address="127.0.0.1",
                port=8250,
                version="0.1",
                run_id=10_000,
                started=10.0,
                heartbeat=10.0,
            ),
        )
        self.assertEqual(self.look(lambda txn: txn.servers.all()), [server])

    def test_known_server(self) -> None:
        """A server that starts again keeps its id and uuid, is Up at once and says where it is now."""
        first = self.register("one", SERVER)
        self.time = 20.0
        self.write(lambda txn: txn.servers.stop(SERVER))
        second = self.register("one", OTHER_SERVER, address="127.0.0.2")
        self.assertEqual((second.id, second.uuid, second.address), (SERVER, first.uuid, "127.0.0.2"))
        self.assertEqual((second.started, second.stopped, second.state), (20.0, None, ServerState.UP))
        self.assertEqual(self.look(lambda txn: txn.servers.all()), [second])

    def test_run_ids(self) -> None:
        """Each start has a greater one, also where the clock has been set back."""
        ids = []
        for self.time in (10.0, 20.0, 20.0, 5.0):
            ids.append(self.register("one", SERVER).run_id)
        self.assertEqual(ids, [10_000, 20_000, 20_001, 20_002])

    def test_taken_id(self) -> None:
        """Two servers never share an id, which would mix up their packets."""
        self.register("one", SERVER)
        with self.assertRaisesRegex(AlreadyExists, f"id {SERVER}"):
            self.register("two", SERVER)
        self.assertEqual(len(self.look(lambda txn: txn.servers.all())), 1)

    def test_heartbeat_and_stop(self) -> None:
        """Heartbeats and stops go to their own server; a row that is gone is reported."""
        self.register("two", SERVER)
        self.register("one", OTHER_SERVER)
        self.time = 11.5
        self.assertTrue(self.write(lambda txn: txn.servers.heartbeat(SERVER)))
        self.assertFalse(self.write(lambda txn: txn.servers.heartbeat(ServerId(99))))
        self.time = 12.0
        self.write(lambda txn: txn.servers.stop(OTHER_SERVER))
        rows = [(s.name, s.heartbeat, s.stopped, s.age) for s in self.look(lambda txn: txn.servers.all())]
        self.assertEqual(rows, [("one", 10.0, 12.0, 2.0), ("two", 11.5, None, 0.5)])
        self.assertEqual([self.server(name).state for name in ("one", "two")], [ServerState.DOWN, ServerState.UP])

    def test_down(self) -> None:
        """Past the threshold, whatever the row says, until the next heartbeat; never before three intervals."""
        self.register("one", SERVER)
        self.write(lambda txn: txn.servers.change_state(SERVER, ServerEvent.PREPARE_FOR_MAINTENANCE))
        for threshold, interval, alive, dead in (("7500", "1500", 7.5, 7.6), ("2000", "1500", 4.5, 4.6)):
            for name, value in ((HEARTBEAT_THRESHOLD, threshold), (HEARTBEAT_INTERVAL, interval)):
                self.write(partial(_set, name, value))
            self.time = 10.0
            self.write(lambda txn: txn.servers.heartbeat(SERVER))
            self.time = 10.0 + alive
            self.assertIs(self.server().state, ServerState.PREPARING_FOR_MAINTENANCE)
            self.time = 10.0 + dead
            self.assertIs(self.server().state, ServerState.DOWN)
        self.write(lambda txn: txn.servers.heartbeat(SERVER))
        self.assertIs(self.server().state, ServerState.PREPARING_FOR_MAINTENANCE)

    def test_a_shorter_threshold(self) -> None:
        """Counts from a server's next heartbeat on; a longer one at once."""
        self.write(partial(_set, HEARTBEAT_INTERVAL, "60000"))
        self.register("one", SERVER)
        self.write(partial(_set, HEARTBEAT_INTERVAL, "1500"))
        self.time = 10.0 + 180.0
        self.assertEqual((self.server().state, self.server().threshold), (ServerState.UP, 180.0))
        self.write(lambda txn: txn.servers.heartbeat(SERVER))
        self.time += 7.6
        self.assertEqual((self.server().state, self.server().threshold), (ServerState.DOWN, 7.5))
        self.write(partial(_set, HEARTBEAT_THRESHOLD, "8000"))
        self.assertEqual((self.server().state, self.server().threshold), (ServerState.UP, 8.0))

    def test_steps(self) -> None:
        """Those of the table are taken, others change nothing; a start ends all but maintenance."""
        self.register("one", SERVER)
        events, states = ServerEvent, ServerState
        for event, after in (
            (events.DRAINED, None),
            (events.PREPARE_FOR_SHUTDOWN, states.PREPARING_FOR_SHUTDOWN),
            (events.PREPARE_FOR_MAINTENANCE, None),
            (events.DRAINED, states.READY_TO_SHUTDOWN),
            (events.TRIGGER_SHUTDOWN, states.SHUTTING_DOWN),
            (events.CANCEL_SHUTDOWN, None),
        ):
            before = self.server().state
            step = self.write(partial(_take, event))
            self.assertEqual((step, self.server().state), (after, after or before))
        self.assertIs(self.register("one", SERVER).state, states.UP)
        self.write(lambda txn: txn.servers.change_state(SERVER, events.PREPARE_FOR_MAINTENANCE))
        self.assertIs(self.register("one", SERVER).state, states.MAINTENANCE)
        self.assertIsNone(self.write(lambda txn: txn.servers.change_state(ServerId(99), events.TRIGGER_SHUTDOWN)))

    def test_remove(self) -> None:
        """The row goes, and its drain; the name can come back, as another server. Hosts may still name it."""
        _, location = self.add_cluster()
        self.register("one", SERVER)
        self.register("two", OTHER_SERVER)
        host = self.admit(admission("a", location))
        for server in (SERVER, OTHER_SERVER):
            self.write(lambda txn, server=server: txn.drains.put(Drain(server_id=server, timeout=1.0)))  # type: ignore[misc]
        self.assertTrue(self.write(lambda txn: txn.servers.remove(SERVER)))
        self.assertFalse(self.write(lambda txn: txn.servers.remove(SERVER)))
        self.assertEqual([server.name for server in self.look(lambda txn: txn.servers.all())], ["two"])
        self.assertEqual(list(self.look(lambda txn: txn.drains.all())), [OTHER_SERVER])
        self.assertFalse(self.write(lambda txn: txn.servers.heartbeat(SERVER)))
        self.assertEqual(self.look(lambda txn: txn.hosts.get(host.id)), host)
        self.assertEqual(self.register("one", ServerId(99)).id, ServerId(99))

    def test_hold(self) -> None:
        """Holding a row changes nothing, of one that is gone neither."""
        before = self.register("one", SERVER)

        def work(txn: Transaction) -> None:
            for server in (SERVER, OTHER_SERVER):
                txn.servers.hold(server)

        self.write(work)
        self.assertEqual(self.server(), before)

    def test_reports(self) -> None:
        """What a server told last is kept through its next start, and does not get mixed up with others."""
        self.register("one", SERVER)
        self.register("two", OTHER_SERVER)
        for report in ({"a": 1}, {"b": [0.5, None, "é"]}):
            self.write(lambda txn, report=report: txn.servers.report(SERVER, report))  # type: ignore[misc]
        self.register("one", SERVER)
        self.assertEqual(
            {SERVER: {"b": [0.5, None, "é"]}, OTHER_SERVER: {}}, self.look(lambda txn: txn.servers.reports())
        )

    def test_peers(self) -> None:
        """A server's account of the others is its last one, of its present life."""
        self.register("one", SERVER)
        peers = {OTHER_SERVER: PeerView(state=ServerState.DOWN, run_id=2**40, since=9.5)}
        self.write(lambda txn: txn.servers.record_peers(SERVER, peers))
        self.assertEqual(self.server().peers, peers)
        self.assertEqual(self.register("one", SERVER).peers, {})


def _set(name: str, value: str, txn: Transaction) -> None:
    txn.settings.set(name, value, None)


def _take(event: ServerEvent, txn: Transaction) -> ServerState | None:
    return txn.servers.change_state(SERVER, event)


class DatabaseTimeContract(StoreContract):
    """ServerRows, on the time of the database."""

    def test_heartbeats(self) -> None:
        """Nobody has to tell it."""
        self.write(lambda txn: txn.servers.register(name="one", address="a", port=1, version="0", candidate_id=SERVER))
        # The database of the tests is on this machine.
        before = time.time() - 0.01
        self.write(lambda txn: txn.servers.heartbeat(SERVER))
        (server,) = self.look(lambda txn: txn.servers.all())
        self.assertTrue(before <= server.heartbeat <= time.time() + 0.01, (before, server.heartbeat))
        self.assertTrue(0 <= server.age < 5 and server.alive, server)


class SettingRowsContract(StoreContract):
    """SettingRows."""

    def set_interval(self, value: str, cluster_id: ClusterId | None) -> None:
        """Set the check interval."""
        self.write(lambda txn: txn.settings.set(LB_CHECK_INTERVAL, value, cluster_id))

    def test_nothing_set(self) -> None:
        """Without rows everything has its default."""
        self.assertEqual(self.look(lambda txn: txn.settings.load()), Settings())

    def test_set_and_reset(self) -> None:
        """The last value counts; a reset leaves no row."""
        self.write(lambda txn: txn.settings.set(PING_INTERVAL, "30", None))
        self.write(lambda txn: txn.settings.set(PING_INTERVAL, "20", None))
        self.assertEqual(self.look(lambda txn: txn.settings.load()).ping_interval, 20)
        for _ in range(2):
            self.write(lambda txn: txn.settings.reset(PING_INTERVAL, None))
        self.assertEqual(self.look(lambda txn: txn.settings.load()), Settings())

    def test_of_a_cluster(self) -> None:
        """A cluster's value stands beside the global one and those of other clusters."""
        one, _ = self.add_cluster("one")
        two, _ = self.add_cluster("two")
        for value, cluster_id in (("5", None), ("6", one.id), ("7", one.id), ("8", two.id)):
            self.set_interval(value, cluster_id)
        settings = self.look(lambda txn: txn.settings.load())
        self.assertEqual([settings.check_interval(c) for c in (None, one.id, two.id, ClusterId(99))], [5, 7, 8, 5])
        self.write(lambda txn: txn.settings.reset(LB_CHECK_INTERVAL, one.id))
        settings = self.look(lambda txn: txn.settings.load())
        self.assertEqual([settings.check_interval(c) for c in (None, one.id, two.id)], [5, 5, 8])

    def test_unknown_cluster(self) -> None:
        """A value for a cluster that does not exist is not kept."""
        with self.assertRaisesRegex(NotFound, "cluster 99"):
            self.write(lambda txn: txn.settings.set(LB_CHECK_INTERVAL, "5", ClusterId(99)))
        self.assertEqual(self.look(lambda txn: txn.settings.load()), Settings())


class TopologyRowsContract(StoreContract):
    """TopologyRows."""

    def test_tree(self) -> None:
        """Zones, pods and clusters come back as they were made, in the order of their ids, which count from 1."""
        first, _ = self.add_cluster("b")
        second, _ = self.add_cluster("a")
        self.assertEqual(self.look(lambda txn: txn.topology.clusters()), [first, second])
        self.assertEqual(self.look(lambda txn: txn.topology.pods()), [first.pod, second.pod])
        self.assertEqual(self.look(lambda txn: txn.topology.zones()), [first.pod.zone, second.pod.zone])
        self.assertEqual((first.id, first.pod.id, first.pod.zone.id), (1, 1, 1))
        self.assertEqual((first.name, first.hypervisor, first.arch), ("cluster b", "KVM", "x86_64"))

    def test_taken_names(self) -> None:
        """A name is taken within its parent only; the transaction may go on after the refusal."""
        cluster, _ = self.add_cluster("one")
        pod = cluster.pod
        other, _ = self.add_cluster("two")
        with self.assertRaisesRegex(AlreadyExists, "zone 'zone one'"):
            self.write(lambda txn: txn.topology.add_zone("zone one"))
        with self.assertRaisesRegex(AlreadyExists, "pod 'pod one' in zone 'zone one'"):
            self.write(lambda txn: txn.topology.add_pod("pod one", pod.zone.id))
        with self.assertRaisesRegex(AlreadyExists, "cluster 'cluster one' in pod 'pod one'"):
            self.write(lambda txn: txn.topology.add_cluster("cluster one", pod.id, hypervisor="KVM", arch="x86_64"))
        self.write(lambda txn: txn.topology.add_pod("pod one", other.pod.zone.id))
        self.write(lambda txn: txn.topology.add_cluster("cluster one", other.pod.id, hypervisor="KVM", arch="aarch64"))

        def refused_and_on(txn: Transaction) -> None:
            with self.assertRaises(AlreadyExists):
                txn.topology.add_zone("zone one")
            txn.topology.add_zone("zone three")

        self.write(refused_and_on)
        self.assertEqual([z.name for z in self.look(lambda txn: txn.topology.zones())][-1], "zone three")

    def test_unknown_parents(self) -> None:
        """Nothing is made under what does not exist."""
        with self.assertRaisesRegex(NotFound, "zone 9"):
            self.write(lambda txn: txn.topology.add_pod("p", ZoneId(9)))
        with self.assertRaisesRegex(NotFound, "pod 9"):
            self.write(lambda txn: txn.topology.add_cluster("c", PodId(9), hypervisor="KVM", arch="x86_64"))


class AccountRowsContract(StoreContract):
    """AccountRows."""

    def test_find(self) -> None:
        """A user is found by number and name; what is kept of its password shows nowhere."""
        account = self.add("admin", password="hidden")
        self.assertEqual(account.password, "hidden")
        self.assertNotIn("hidden", repr(account))
        self.assertEqual((account.role, account.disabled, account.created), (Role.ADMINISTRATOR, False, 5.0))
        self.assertEqual(self.look(lambda txn: txn.accounts.get(account.id)), account)
        self.assertEqual(self.look(lambda txn: txn.accounts.by_username("admin")), account)
        self.assertIsNone(self.look(lambda txn: txn.accounts.get(account.id + 1)))
        self.assertIsNone(self.look(lambda txn: txn.accounts.by_username("Admin")))

    def test_all(self) -> None:
        """Every user, by name."""
        self.add("b")
        self.add("Škoda")
        self.add("a")
        accounts = self.look(lambda txn: txn.accounts.all())
        self.assertEqual({account.username for account in accounts}, {"a", "b", "Škoda"})
        names = {account.id: account.username for account in accounts}
        self.assertEqual(self.look(lambda txn: txn.accounts.usernames()), names)

    def test_update(self) -> None:
        """What is written of one changes nothing of another."""
        other, account = self.add("other"), self.add("reader")
        changed = evolve(account, role=Role.READ_ONLY, password="x", disabled=True)
        self.write(lambda txn: txn.accounts.update(changed))
        self.assertEqual(self.look(lambda txn: txn.accounts.by_username("reader")), changed)
        self.assertEqual(self.look(lambda txn: txn.accounts.by_username("other")), other)

    def test_remove(self) -> None:
        """A deleted user is found no more, nor its keys; its name stays, and may be given again."""
        account = self.add("guest", password="x")
        self.add_key(account, "key")
        self.write(lambda txn: txn.accounts.remove(account.id, 6.0))
        self.assertIsNone(self.look(lambda txn: txn.accounts.get(account.id)))
        self.assertIsNone(self.look(lambda txn: txn.accounts.by_username("guest")))
        self.assertEqual(self.look(lambda txn: txn.accounts.all()), [])
        self.assertIsNone(self.look(lambda txn: txn.accounts.key("key")))
        self.assertEqual(self.look(lambda txn: txn.accounts.usernames()), {account.id: "guest"})
        again = self.add("guest")
        self.assertNotEqual(again.uuid, account.uuid)
        self.assertIsNone(again.password)
        self.assertEqual(self.look(lambda txn: txn.accounts.all()), [again])
        self.assertEqual(self.look(lambda txn: txn.accounts.all_keys()), [])

    def test_keys(self) -> None:
        """A user may have several pairs; each is found by its public one, and the secret shows nowhere."""
        account = self.add("admin")
        one, two = self.add_key(account, "one", expires=9.0), self.add_key(account, "two")
        self.assertEqual((one.account, one.secret_key, one.created, one.expires), (account, "s3cr3t", 5.0, 9.0))
        self.assertNotIn("s3cr3t", repr(one))
        self.assertEqual(self.look(lambda txn: txn.accounts.key("one")), one)
        self.assertIsNone(self.look(lambda txn: txn.accounts.key("three")))
        self.assertEqual(self.look(lambda txn: txn.accounts.all_keys()), [one, two])
        self.assertTrue(self.write(lambda txn: txn.accounts.remove_key(one.uuid)))
        self.assertFalse(self.write(lambda txn: txn.accounts.remove_key(one.uuid)))
        self.assertEqual(self.look(lambda txn: txn.accounts.all_keys()), [two])

    def test_taken(self) -> None:
        """Names and keys are unique; the refusal does not tell the secret."""
        account = self.add("admin")
        self.add_key(account, "key")
        with self.assertRaisesRegex(AlreadyExists, "'admin'"):
            self.add("admin")
        with self.assertRaises(AlreadyExists) as caught:
            self.add_key(account, "key")
        self.assertNotIn("s3cr3t", f"{caught.exception} {caught.exception.__cause__}")

    def add(self, username: str, password: str | None = None) -> Account:
        """Add an administrator."""
        return self.write(
            lambda txn: txn.accounts.add(username=username, role=Role.ADMINISTRATOR, password=password, now=5.0)
        )

    def add_key(self, account: Account, api_key: str, expires: float | None = None) -> ApiKey:
        """Add a pair of keys."""
        return self.write(
            lambda txn: txn.accounts.add_key(
                account.id, name="n", api_key=api_key, secret_key="s3cr3t", expires=expires, now=5.0
            )
        )


class BusRowsContract(StoreContract):
    """BusRows."""

    def publish(self, topic: str, at: float = 10.0) -> None:
        """Publish a message."""
        self.write(lambda txn: txn.bus.publish(topic, {"about": topic}, at))

    def after(self, sequence: int, limit: int = 100) -> list[Message]:
        """Read on."""
        return list(self.look(lambda txn: txn.bus.after(sequence, limit)))

    def test_order(self) -> None:
        """Messages come in order, from after a number, as many as asked for."""
        self.assertEqual(self.look(lambda txn: txn.bus.last_sequence()), 0)
        for topic in "abc":
            self.publish(topic)
        messages = self.after(0)
        self.assertEqual([m.topic for m in messages], ["a", "b", "c"])
        self.assertEqual(messages[0].payload, {"about": "a"})
        self.assertEqual(self.after(messages[0].sequence), messages[1:])
        self.assertEqual(self.after(0, 2), messages[:2])
        self.assertEqual(self.look(lambda txn: txn.bus.last_sequence()), messages[-1].sequence)

    def test_prune(self) -> None:
        """What is old goes; numbers of messages that are gone are not given again."""
        self.publish("old", 10.0)
        self.publish("young", 20.0)
        newest = self.look(lambda txn: txn.bus.last_sequence())
        self.write(lambda txn: txn.bus.prune(20.0))
        self.assertEqual([m.topic for m in self.after(0)], ["young"])
        self.write(lambda txn: txn.bus.prune(21.0))
        self.assertEqual(self.after(0), [])
        self.publish("new", 30.0)
        self.assertEqual([m.topic for m in self.after(newest)], ["new"])

    def test_only_what_is_committed(self) -> None:
        """A message of a transaction that fails is never seen."""

        def work(txn: Transaction) -> None:
            txn.bus.publish("lost", {}, 10.0)
            raise LookupError

        with self.assertRaises(LookupError):
            self.write(work)
        self.publish("kept")
        self.assertEqual([m.topic for m in self.after(0)], ["kept"])
