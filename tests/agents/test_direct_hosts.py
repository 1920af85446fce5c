"""Which server loads which direct host, how many at once, and what becomes of those that cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.direct_resources import TIMEOUT, CannotLoad, Loaded
from cloudlb.agents.registration import NewHost
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Cluster, DirectResource, Host, HostFacts, HostId, ServerId
from cloudlb.domain.ports import Location, Transaction
from cloudlb.domain.record_ports import AlertFilter, EventFilter
from cloudlb.domain.resource_state import ResourceEvent
from cloudlb.domain.settings import DIRECT_AGENT_LOAD_SIZE, DIRECT_AGENT_SCAN_INTERVAL
from cloudlb.domain.settings_in_force import Settings
from cloudlb.resource.interface import StartupCommand, StartupRoutingCommand
from tests.agents.direct_server import Side
from tests.agents.test_direct_resources import Quiet
from tests.storage.sqlite import new_database
from tests.support.inline_threads import InlineThreads

T = TypeVar("T")

SCAN = 90
"""Seconds between looks, by default."""


class Thermostat(Quiet):
    """A resource whose hosts can be told to fail."""

    reasons: ClassVar[dict[str, str]] = {}
    running: ClassVar[list[str]] = []
    """Names of hosts, once for every resource that runs for them."""

    def startup(self) -> Sequence[StartupCommand]:
        """Fail as the test wants it."""
        if reason := self.reasons.get(self.name):
            raise RuntimeError(reason)
        self.running.append(self.name)
        return [StartupRoutingCommand(cpus=3)]

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Take the name."""
        self.name = properties["name"]

    def close(self) -> None:
        """Run no more."""
        if self.name in self.running:
            self.running.remove(self.name)


class Aarch(Thermostat):
    """Stands in the wrong cluster."""

    def startup(self) -> Sequence[StartupCommand]:
        """Another architecture than the cluster's."""
        super().startup()
        return [StartupRoutingCommand(arch="aarch64")]


class DirectHostsTests(SynchronousTestCase):
    """Servers, and hosts without agents."""

    def setUp(self) -> None:
        """Start one server."""
        Thermostat.reasons.clear()
        Thermostat.running.clear()
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.url = new_database(Path(self.mktemp()))
        self.sides: list[Side] = []
        side = self.side()
        self.cluster: Cluster = self.stored(_found)
        self.assertEqual(side.id, 1)

    def side(self) -> Side:
        """Start a server."""
        side = Side(self.clock, self.url, len(self.sides) + 1)
        self.sides.append(side)
        self.addCleanup(side.die)
        self.successResultOf(Deferred.fromCoroutine(side.start()))
        return side

    def stored(self, work: Callable[[Transaction], T]) -> T:
        """Run work in a transaction."""
        return self.successResultOf(self.sides[0].database.run(work))

    def advance(self, seconds: float) -> None:
        """Let time pass; servers that live show it."""
        for _ in range(int(seconds)):
            for side in self.sides:
                if side.alive:
                    side.beat()
            self.clock.advance(1)

    def add(self, name: str, resource: str = f"{__name__}.Thermostat") -> HostId:
        """Add a host on the first server that lives."""
        side = next(side for side in self.sides if side.alive)
        new = NewHost(name=name, cluster=self.cluster, resource=resource, direct={})
        host, bundle = self.successResultOf(Deferred.fromCoroutine(side.registration.add(new, 1)))
        self.assertIsNone(bundle)
        return host.id

    def host(self, name: str) -> Host:
        """A host's row."""
        host = self.stored(lambda txn: txn.hosts.find(name))
        assert host is not None
        return host

    def reasons(self) -> list[str]:
        """What is told of hosts that cannot be loaded, the newest first."""
        events, _ = self.stored(lambda txn: txn.events.list(EventFilter(event_type="HOST.LOAD"), 0, None))
        return [event.description for event in events]

    def test_added(self) -> None:
        """A new host is Up as soon as the bus has told of it, with the facts that its resource gives."""
        self.add("h")
        self.assertEqual(self.host("h").status, HostStatus.CREATING)
        self.advance(1)
        host = self.host("h")
        self.assertEqual((host.status, host.server_id), (HostStatus.UP, 1))
        self.assertEqual((host.facts.cpus, host.facts.name, host.facts.ip_address), (3, "h", "h"))
        self.assertEqual((["h"], ["h"]), (Thermostat.running, self.sides[0].connected))
        self.advance(2 * SCAN)
        self.assertEqual(["h"], Thermostat.running)

    def test_pings(self) -> None:
        """Each is a sign of life; one that says that the host does not reach its gateway raises an alert."""
        self.add("h")
        self.advance(1)
        side = self.sides[0]
        (attache,) = side.directory
        side.disconnection.stamped.clear()
        for gateway, alerts in ((True, []), (False, ["h"]), (False, ["h"])):
            side.hosts.pinged(attache, gateway=gateway)
            found, _ = self.stored(lambda txn: txn.alerts.list(AlertFilter(), 0, None))
            self.assertEqual([alert.subject.split()[1] for alert in found], alerts)
        self.assertEqual(side.disconnection.stamped, [attache] * 3)

    def test_no_more_at_once_than_wanted(self) -> None:
        """One scan begins with so many, the next goes on; both settings are live."""
        self.successResultOf(Deferred.fromCoroutine(self.sides[0].settings.change(DIRECT_AGENT_LOAD_SIZE, "2")))
        for number in range(5):
            self.stored(partial(_add_row, f"h{number}"))
        for up in (2, 4, 5):
            self.advance(SCAN)
            self.assertEqual(up, len(Thermostat.running))
        self.successResultOf(Deferred.fromCoroutine(self.sides[0].settings.change(DIRECT_AGENT_SCAN_INTERVAL, "10")))
        self.stored(partial(_add_row, "h5"))
        self.advance(10)
        self.assertEqual(6, len(Thermostat.running))

    def test_one_that_fails(self) -> None:
        """It becomes Error, its reason is told once, the others come Up; and so does it when it can."""
        Thermostat.reasons["bad"] = "no power"
        self.add("bad")
        self.add("missing", "nowhere.Nothing")
        self.add("good")
        self.advance(2)
        self.assertEqual(
            [HostStatus.ERROR, HostStatus.ERROR, HostStatus.UP],
            [self.host(name).status for name in ("bad", "missing", "good")],
        )
        self.advance(2 * SCAN)
        reasons = self.reasons()
        self.assertEqual(2, len(reasons), reasons)
        self.assertIn("no power", "".join(reasons))
        self.assertIn("nowhere.Nothing", "".join(reasons))
        Thermostat.reasons.clear()
        self.advance(SCAN)
        self.assertEqual(HostStatus.UP, self.host("bad").status)

    def test_one_that_failed_later(self) -> None:
        """A host that was Up stays what it is, and the reason is told."""
        self.add("h")
        self.advance(1)
        Thermostat.reasons["h"] = "no power"
        (attache,) = self.sides[0].directory
        attache.close("its resource gave up")
        self.assertEqual(HostStatus.DISCONNECTED, self.host("h").status)
        self.advance(SCAN)
        self.assertEqual(HostStatus.DISCONNECTED, self.host("h").status)
        self.assertIn("no power", self.reasons()[0])
        Thermostat.reasons.clear()
        self.advance(SCAN)
        self.assertEqual(HostStatus.UP, self.host("h").status)

    def test_refused(self) -> None:
        """What admission refuses an agent for, it refuses here, and the resource is let go of."""
        self.add("h", f"{__name__}.Aarch")
        self.advance(2)
        self.assertEqual(HostStatus.ERROR, self.host("h").status)
        self.assertIn("aarch64", self.reasons()[0])
        self.assertEqual([], Thermostat.running)

    def test_unmanaged_is_left_alone(self) -> None:
        """Until its operator says otherwise."""
        host_id = self.add("h")
        self.advance(1)
        for event in (ResourceEvent.UNMANAGE, ResourceEvent.MANAGE):
            change = partial(_change_state, host_id, event)
            self.stored(change)
            for attache in self.sides[0].directory:
                attache.close("unmanaged")
            self.advance(SCAN)
            self.assertEqual(["h"] if event is ResourceEvent.MANAGE else [], Thermostat.running)

    def test_shared_by_all(self) -> None:
        """Each of many hosts is loaded once, and every server has its part."""
        self.side()
        self.side()
        for number in range(30):
            self.add(f"h{number}")
        self.advance(5)
        self.assertEqual(sorted(f"h{number}" for number in range(30)), sorted(Thermostat.running))
        shares = [len(side.connected) for side in self.sides]
        self.assertEqual(30, sum(shares))
        self.assertGreater(min(shares), 3)

    def test_taken_over(self) -> None:
        """When a server dies the others load its hosts, in their next scans; when it stops cleanly, the same."""
        self.side()
        for number in range(6):
            self.add(f"h{number}")
        self.advance(5)
        first, second = self.sides
        self.assertEqual(6, len(first.connected) + len(second.connected))
        first.die()
        self.advance(SCAN + Settings().heartbeat_threshold + 2)
        names = {f"h{number}" for number in range(6)}
        self.assertEqual(names, set(second.connected))
        self.assertEqual({2}, {self.host(name).server_id for name in names})
        self.assertEqual({HostStatus.UP}, {self.host(name).status for name in names})

    def test_another_server_tries(self) -> None:
        """A host that one server cannot load is loaded by another one."""
        self.side()

        async def lacking(host: Host) -> Loaded:
            raise CannotLoad("no module named only_here")

        self.sides[0].hosts._loader.load = lacking  # type: ignore[method-assign]
        for number in range(4):
            self.add(f"h{number}")
        self.advance(10 * SCAN)
        self.assertEqual({f"h{number}" for number in range(4)}, set(self.sides[1].connected))

    def test_of_two_one(self) -> None:
        """Where two servers load the same host, the row decides, and the other lets go."""
        second = self.side()
        host_id = self.add("h")
        host = self.stored(lambda txn: txn.hosts.get(host_id))
        assert host is not None
        for side in self.sides:
            side.hosts._begin(host)
        self.assertEqual((["h"], ["h"], []), (Thermostat.running, self.sides[0].connected, second.connected))

    def test_deleted_meanwhile(self) -> None:
        """A host that was deleted while its resource started is not claimed."""
        host_id = self.add("h")
        host = self.stored(lambda txn: txn.hosts.get(host_id))
        assert host is not None
        self.stored(lambda txn: txn.hosts.remove(host_id, ServerId(1), 1, self.clock.seconds()))
        self.sides[0].hosts._begin(host)
        self.assertEqual([], Thermostat.running)

    def test_one_that_hangs(self) -> None:
        """It takes one place until its time is up; then others go on, and it is not tried before it has returned."""
        self.successResultOf(Deferred.fromCoroutine(self.sides[0].settings.change(DIRECT_AGENT_LOAD_SIZE, "1")))
        hung: list[Deferred[None]] = []

        class Hung(InlineThreads):
            def run(self, work: Callable[[], T]) -> Deferred[T]:
                hung.append(Deferred())
                return hung[-1].addCallback(lambda _: work())

        loader = self.sides[0].hosts._loader
        loader._threads = lambda name: Hung() if name.endswith("slow") else InlineThreads()
        self.add("slow")
        self.advance(2)
        self.add("quick")
        self.advance(2)
        self.assertEqual([], Thermostat.running)
        self.advance(TIMEOUT + SCAN)
        self.assertEqual((["quick"], HostStatus.ERROR), (Thermostat.running, self.host("slow").status))
        self.advance(3 * SCAN)
        self.assertEqual(1, len(hung))
        hung[0].callback(None)
        while len(hung) == 1:
            self.advance(1)
        hung[1].callback(None)
        self.assertEqual(HostStatus.UP, self.host("slow").status)

    def test_stopped(self) -> None:
        """Every resource is let go of, and nothing is left on the clock."""
        self.add("h")
        self.advance(1)
        side = self.sides[0]
        side.hosts.stop()
        self.assertEqual((HostStatus.DISCONNECTED, []), (self.host("h").status, Thermostat.running))


def _found(txn: Transaction) -> Cluster:
    zone = txn.topology.add_zone("zone-1")
    pod = txn.topology.add_pod("pod-1", zone.id)
    return txn.topology.add_cluster("cluster-1", pod.id, hypervisor="Simulator", arch="x86_64")


def _add_row(name: str, txn: Transaction) -> Host:
    return txn.hosts.preregister(
        HostFacts(guid=f"g-{name}", name=name, type="Routing"),
        Location(zone="1", pod="1", cluster="1"),
        DirectResource(resource=f"{__name__}.Thermostat", properties={"name": name}),
        1_000_000.0,
    )


def _change_state(host_id: HostId, event: ResourceEvent, txn: Transaction) -> None:
    changed = txn.hosts.change_resource_state(
        host_id, event, server_id=ServerId(1), account_id=1, reason="asked", now=1_000_000.0
    )
    assert changed is not None
