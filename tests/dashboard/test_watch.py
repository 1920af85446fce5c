"""The watch: what it finds out, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, fail

from cloudlb.dashboard import watch as watch_module
from cloudlb.dashboard.watch import INTERVAL, OVERLAP, Watch
from cloudlb.domain.change_ports import Glance
from cloudlb.domain.drains import Drain
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId
from cloudlb.domain.ports import StoreUnavailable, Transaction
from cloudlb.domain.records import AlertType
from cloudlb.domain.server_state import ServerEvent
from cloudlb.domain.settings import LB_ALGORITHM, WAIT
from cloudlb.storage.changes import ChangeTable
from cloudlb.storage.database import Database
from tests.dashboard.viewing import ALPHA, BETA, NOW, FleetTestCase, Told, read_events

T = TypeVar("T")


class _Counted:
    """A database that counts what is read, and may be away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads = 0
        self.away = False

    def run(self, work: Callable[[Transaction], T]) -> Deferred[T]:
        """Write."""
        return self._database.run(work)

    def read(self, work: Callable[[Transaction], T]) -> Deferred[T]:
        """Read."""
        self.reads += 1
        return fail(StoreUnavailable("it is away")) if self.away else self._database.read(work)


class WatchTests(FleetTestCase):
    """A watch that looks, and one viewer of it."""

    def setUp(self) -> None:
        """Begin to look."""
        super().setUp()
        self.store = _Counted(self.database)
        runs = iter("RSTUV")
        self.watch = Watch(self.store, self.clock, lambda: next(runs), lambda: None)
        self.watch.start()
        self.addCleanup(self.watch.stop)
        self.position: str | None = None
        (self.snapshot,) = self.look()

    def look(self) -> list[Told]:
        """What the viewer has heard after another second."""
        if self.position is not None:
            self.clock.advance(INTERVAL)
        return self.follow()

    def follow(self) -> list[Told]:
        """What the viewer has yet to hear."""
        news = self.watch.after(self.position)
        assert news is not None
        self.position, frames = news
        return read_events(b"".join(frame.plain for frame in frames))

    def delta(self) -> Any:
        """What one change has made the viewer hear."""
        (told,) = self.look()
        self.assertEqual(told.name, "delta")
        return told.data

    def test_snapshot(self) -> None:
        """A snapshot has everything, hosts by their fields and what is often the same but once."""
        self.assertEqual((self.snapshot.name, self.snapshot.position), ("snapshot", "R.1"))
        data = self.snapshot.data
        self.assertEqual(data["hosts"]["name"], ["a", "b"])
        self.assertEqual(data["hosts"]["id"], [self.a, self.b])
        self.assertEqual(data["hosts"]["status"], [["Up"], [0, 0]])
        self.assertEqual(data["hosts"]["server"], [[ALPHA, BETA], [0, 1]])
        self.assertEqual(data["hosts"]["preferred"], [["10.0.0.1", "10.0.0.2"], [0, 1]])
        self.assertEqual([server["name"] for server in data["servers"]], ["alpha", "beta"])
        self.assertEqual((data["algorithm"], data["listed"]), ("roundrobin", ["10.0.0.1", "10.0.0.2"]))
        self.assertEqual(len(data["events"]), 4)
        self.assertEqual((data["at"], data["alerts"]), (NOW, 0))

    def test_nothing(self) -> None:
        """Where nothing is changed nothing is told; that hosts are heard and servers live is no change."""
        self.write(lambda txn: txn.hosts.touch({self.a: NOW + 50}))
        self.write(lambda txn: txn.servers.heartbeat(ALPHA))
        self.assertEqual(self.look(), [])

    def test_lost(self) -> None:
        """A step is told once, and its event with it."""
        self.step(self.a, HostEvent.AGENT_DISCONNECTED)
        delta = self.delta()
        self.assertEqual([host[:5] for host in delta["hosts"]], [[self.a, "a", "Disconnected", "Enabled", ALPHA]])
        ((_, kind, level, text, created, user, host, server),) = delta["events"]
        self.assertEqual((kind, level, host, server), ("HOST.STATUS.TRANSITION", "WARN", self.a, ALPHA))
        self.assertIn("went from Up to Disconnected", text)
        self.assertEqual((created, user), (NOW, None))
        for _ in range(30):
            self.write(lambda txn: [txn.servers.heartbeat(server) for server in (ALPHA, BETA)])
            self.assertEqual(self.look(), [])

    def test_moved(self) -> None:
        """A host that changes hands while it is Up has no event, and is told all the same."""
        self.come("a", BETA)
        delta = self.delta()
        self.assertEqual([host[:6] for host in delta["hosts"]], [[self.a, "a", "Up", "Enabled", BETA, "10.0.0.1"]])
        self.assertNotIn("events", delta)

    def test_new(self) -> None:
        """A host that joins has its place in its zone, and so its preferred server."""
        new = self.come("c", BETA)
        (row,) = self.delta()["hosts"]
        self.assertEqual(row[:6], [new, "c", "Up", "Enabled", BETA, "10.0.0.1"])

    def test_gone(self) -> None:
        """A deleted host is gone, and back when it is restored."""
        self.write(lambda txn: txn.hosts.remove(self.b, ALPHA, None, NOW))
        delta = self.delta()
        self.assertEqual((delta["gone"], delta.get("hosts")), ([self.b], None))
        self.write(lambda txn: txn.hosts.restore(self.b, ALPHA, None, NOW))
        self.assertEqual([host[:3] for host in self.delta()["hosts"]], [[self.b, "b", "Creating"]])

    def test_places(self) -> None:
        """Under roundrobin those after a host that is deleted, or restored, prefer other servers."""
        others = [self.come(name, ALPHA) for name in "cdefg"]
        self.look()
        self.write(lambda txn: txn.hosts.remove(others[2], ALPHA, None, NOW))
        self.assertEqual([host[1] for host in self.delta()["hosts"]], ["f", "g"])
        self.write(lambda txn: txn.hosts.restore(others[2], ALPHA, None, NOW))
        self.assertEqual([host[1] for host in self.delta()["hosts"]], ["e", "f", "g"])

    def test_quiet(self) -> None:
        """What was read is not read again for as long as nothing happens."""
        asked: list[float] = []

        def hosts_since(table: ChangeTable, changed: float, also: object = ()) -> list[Glance]:
            asked.append(changed)
            return []

        self.patch(ChangeTable, "hosts_since", hosts_since)
        self.patch(ChangeTable, "now", lambda table: NOW + len(asked))
        self.clock.pump([INTERVAL] * 3)
        self.assertEqual(asked[1:], [NOW - OVERLAP, NOW + 1 - OVERLAP])

    def test_late_commit(self) -> None:
        """A change is found that was made before one that is known already, and committed after it."""
        self.step(self.b, HostEvent.AGENT_DISCONNECTED)
        self.look()
        self.execute(
            "UPDATE host SET status = 'Alert', changed = (SELECT max(changed) FROM host) - ? WHERE id = ?",
            [OVERLAP - 1, self.a],
        )
        self.assertEqual([host[:3] for host in self.delta()["hosts"]], [[self.a, "a", "Alert"]])

    def test_older_server(self) -> None:
        """A server that knows nothing of the time of changes is seen by its events."""
        self.execute("UPDATE host SET changed = 0")
        self.watch.stop()
        self.watch.start()
        self.position = None
        self.follow()
        self.execute("UPDATE host SET status = 'Alert' WHERE id = ?", [self.a])
        self.write(lambda txn: txn.events.add("HOST.STATUS.TRANSITION", "it was lost", now=NOW, host_id=self.a))
        self.assertEqual([host[:3] for host in self.delta()["hosts"]], [[self.a, "a", "Alert"]])

    def test_servers(self) -> None:
        """States of servers and drains are told as they change."""
        self.write(lambda txn: txn.servers.change_state(BETA, ServerEvent.PREPARE_FOR_MAINTENANCE))
        self.assertEqual(
            [(s["name"], s["state"]) for s in self.delta()["servers"]], [("beta", "PreparingForMaintenance")]
        )
        drain = self.write(
            lambda txn: txn.drains.put(Drain(server_id=BETA, timeout=60.0, started=NOW, total=5, left=5))
        )
        self.delta()
        self.write(lambda txn: txn.drains.progress(evolve(drain, moved=3, left=2, eta=1.5)))
        (server,) = self.delta()["servers"]
        shown = {name: server["drain"][name] for name in ("total", "moved", "left", "eta", "ended")}
        self.assertEqual(shown, {"total": 5, "moved": 3, "left": 2, "eta": 1.5, "ended": None})
        self.write(lambda txn: txn.servers.remove(BETA))
        self.assertEqual(self.delta()["left"], [BETA])

    def test_lists(self) -> None:
        """Another algorithm changes what hosts prefer; another setting changes only itself."""
        self.write(lambda txn: txn.settings.set(WAIT, "99", None))
        delta = self.delta()
        self.assertEqual((delta["settings"], delta.get("hosts")), (True, None))
        self.write(lambda txn: txn.settings.set(LB_ALGORITHM, "static", None))
        delta = self.delta()
        self.assertEqual([(host[1], host[5]) for host in delta["hosts"]], [("b", "10.0.0.1")])
        self.assertEqual((delta["algorithm"], delta["settings"]), ("static", True))
        self.write(lambda txn: txn.settings.set(LB_ALGORITHM, "shuffle", None))
        (told,) = self.look()
        # All hosts are others: that is a new snapshot.
        self.assertEqual(told.name, "snapshot")
        self.assertEqual(told.data["hosts"]["preferred"], [[None], [0, 0]])

    def test_alerts(self) -> None:
        """The number of alerts that stand is told."""
        self.write(lambda txn: txn.alerts.send(AlertType.HOST, "down", host_id=None, now=NOW))
        self.assertEqual(self.delta()["alerts"], 1)

    def test_database_away(self) -> None:
        """Viewers hear once that what they see is old, and when it is not any more."""
        self.store.away = True
        (told,) = self.look()
        self.assertEqual(told.name, "stale")
        self.assertEqual(self.look(), [])
        self.store.away = False
        self.assertEqual(self.delta()["fresh"], True)

    def test_come_back(self) -> None:
        """Who comes back gets what it has missed, and who knows another run everything."""
        before = self.position
        self.step(self.a, HostEvent.AGENT_DISCONNECTED)
        self.clock.advance(INTERVAL)
        self.step(self.a, HostEvent.HOST_DOWN)
        self.clock.advance(INTERVAL)
        self.assertEqual([told.name for told in self.follow()], ["delta", "delta"])
        for position in (None, "X.1", "R.99", "R.x", "R.\u0661"):
            self.position = position
            self.assertEqual([told.name for told in self.follow()], ["snapshot", "delta", "delta"], position)
        self.position = before
        self.assertEqual([told.name for told in self.follow()], ["delta", "delta"])

    def test_far_behind(self) -> None:
        """Changes are not kept for ever: who is far behind gets a new snapshot, which is read for it."""
        self.patch(watch_module, "MOST_BEHIND", 700)
        before = self.position
        for event in (HostEvent.AGENT_DISCONNECTED, HostEvent.HOST_DOWN) * 6:
            self.come("a", ALPHA)
            self.step(self.a, event)
            self.look()
        self.assertEqual(self.watch.after(before), None)
        self.clock.advance(INTERVAL)
        self.position = before
        (told,) = self.follow()
        self.assertEqual(told.name, "snapshot")
        self.assertEqual(told.data["hosts"]["status"], [["Down", "Up"], [0, 1]])

    def test_cost(self) -> None:
        """One reading a second, and none when nobody looks."""
        before = self.store.reads
        self.clock.pump([INTERVAL] * 10)
        self.assertEqual(self.store.reads - before, 10)
        self.watch.stop()
        self.clock.pump([INTERVAL] * 10)
        self.assertEqual(self.store.reads - before, 10)
        self.assertFalse(self.watch.running)

    def test_many_events(self) -> None:
        """Of a storm of events the newest are told, and what happened to their hosts is told of all."""

        def work(txn: Transaction) -> None:
            for number in range(500):
                txn.events.add("HOST.LOAD", f"event {number}", now=NOW, host_id=HostId(1))

        self.write(work)
        events = self.delta()["events"]
        self.assertEqual(len(events), 200)
        self.assertEqual(events[0][3], "event 499")
        self.assertEqual(self.look(), [])
