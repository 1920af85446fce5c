"""That hosts keep their place can be found wrong."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents import disconnection
from cloudlb.agents.departures import Departures
from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.link_attache import LinkAttache
from tests.simulation.faults import Faults
from tests.simulation.fleet import Fleet
from tests.simulation.places import exited, left_running, misplaced_direct, misplaced_theirs
from tests.simulation.staying import Staying
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.results import result_of
from tests.support.server_process import ServerProcess
from tests.support.world import Hosted, World

A, B = "10.0.0.1", "10.0.0.2"
FELT = 60.0


class StayingCase(SynchronousTestCase):
    """A small cluster at rest, with a host of each kind or two."""

    def setUp(self) -> None:
        record = Path(self.mktemp())
        self.world = World(Path(self.mktemp()), servers=2, agents=2, ping_interval=6, algorithm="shuffle")
        self.addCleanup(self.world.close)
        self.fleet = Fleet(self.world, theirs=2, direct=2, delay=0, record=record)
        self.faults = Faults(self.world.clock, FELT)
        self.staying = Staying(self.world, self.fleet, self.faults)

    def owner(self, host: Hosted) -> str:
        """The server of a host."""
        (address,) = self.world.believers(host)
        return address

    def drain(self, address: str) -> None:
        """Have a server emptied."""
        server = self.world.servers[address]
        orders = server.service.server_orders
        self.world.wait_for(Deferred.fromCoroutine(orders.prepare_for_maintenance(server.service.membership.own.id, 1)))
        self.world.advance(20)
        self.assertEqual([], list(server.service.directory))

    def lose(self, host: CloudStackAgent) -> None:
        """Have an agent die and come back."""
        self.world.kill_agent(host)
        self.world.advance(3)
        self.world.restart_agent(host)
        self.world.advance(20)


class StayingTests(StayingCase):
    """Hosts that are lost."""

    def investigated(self, host: Hosted, by: ServerProcess) -> None:
        """Have an investigation end."""
        event = {"now": 1.0, "server_id": by.service.membership.own.id, "host_id": self.world.host_id(host)}
        result_of(self.world._own.run(lambda txn: txn.events.add("HOST.INVESTIGATION", "it is late", **event)))  # type: ignore[arg-type]  # what each is stands above

    def test_drained(self) -> None:
        """Hosts of every kind are moved, and none was lost."""
        for address in (A, B):
            self.drain(address)
            server = self.world.servers[address].service
            cancelled = server.server_orders.cancel_maintenance(server.membership.own.id, 1, rebalance=True)
            self.world.wait_for(Deferred.fromCoroutine(cancelled))
            self.world.advance(20)
        self.assertEqual([], list(self.staying.look()))

    def test_ours_breaks_before_it_makes(self) -> None:
        """A server that takes agents of ours for CloudStack's has them leave Up."""
        self.patch(Departures, "_ask", self.break_first)
        agent = self.fleet.ours[1]
        self.drain(self.owner(agent))
        problems = list(self.staying.look())
        self.assertIn(f"{agent.name} was lost without a fault: Up -> Disconnected", " ".join(problems))

    @staticmethod
    async def break_first(departures: Departures, attache: LinkAttache, *_: object, **__: object) -> bool:
        """Have an agent look for another server."""
        attache.close("a mutant")
        return True

    def test_a_loss_of_theirs_that_is_no_move(self) -> None:
        """A server that forgets that it has sent an agent away looks into the host, and raises the alarm."""

        def forgetful(this: Disconnection, attache: LinkAttache, reason: str) -> None:
            attache.leaving = False
            lost(this, attache, reason)

        lost = Disconnection.lost
        self.patch(Disconnection, "lost", forgetful)
        self.patch(disconnection, "GRACE", 0.0)
        agent = self.fleet.theirs[3]
        self.drain(self.owner(agent))
        problems = " ".join(self.staying.look())
        self.assertIn(f"{agent.name} was lost without a fault: Rebalancing -> Disconnected", problems)
        self.assertIn(f"{agent.name} was looked into without a fault", problems)

    def test_explained(self) -> None:
        """By a fault of the agent, or of its server, but of no other one."""
        agent = self.fleet.theirs[3]
        owner = self.owner(agent)
        other = B if owner == A else A
        for befallen, is_explained in ((agent.name, True), (owner, True), (other, False), ("agent-1", False)):
            self.faults.begin("death", befallen)
            self.lose(agent)
            self.faults.end("death", befallen)
            self.assertEqual(is_explained, not list(self.staying.look()), befallen)
            self.world.advance(FELT)
            self.assertEqual(owner, self.owner(agent))
        self.faults.begin("death", agent.name)
        self.faults.begin("cut", agent.name)
        self.faults.end("cut", agent.name)
        self.world.advance(FELT)
        self.lose(agent)
        self.assertEqual([], list(self.staying.look()), "the other fault is not over")
        self.faults.end_all()
        self.world.advance(FELT)
        self.lose(agent)
        self.assertNotEqual([], list(self.staying.look()))

    def test_an_investigation_that_ends_late(self) -> None:
        """The host may have left the server that began it, of whose fault it tells."""
        agent = self.fleet.theirs[3]
        by = next(server for address, server in self.world.servers.items() if address != self.owner(agent))
        for befallen in (None, by.address):
            if befallen is not None:
                self.faults.begin("cut", befallen)
            self.investigated(agent, by)
            self.assertEqual(befallen is None, bool(list(self.staying.look())))

    def test_a_host_that_stays_away(self) -> None:
        """It is looked into until it is back, and a little later, however well all is by then."""
        agent = self.fleet.theirs[3]
        self.faults.strike(agent.name)
        self.world.kill_agent(agent)
        for _ in range(5):
            self.world.advance(FELT / 2)
            self.assertEqual([], list(self.staying.look()))
        self.world.restart_agent(agent)
        self.world.advance(FELT / 2)
        self.investigated(agent, self.world.servers[A])
        self.assertEqual([], list(self.staying.look()))
        self.world.advance(FELT)
        self.investigated(agent, self.world.servers[A])
        self.assertIn(f"{agent.name} was looked into without a fault", " ".join(self.staying.look()))

    def test_a_server_that_ends(self) -> None:
        """Who is left on it is lost, unless it was emptied."""
        self.world.change_setting("management.server.stop.timeout", "0")
        self.staying.ends(A)
        self.world.stop_server(self.world.servers[A])
        self.assertEqual([], list(self.staying.look()))
        self.world.restart_server(self.world.servers[A])
        self.world.advance(FELT)
        list(self.staying.look())
        agent = self.fleet.theirs[3]
        self.staying.ends(self.owner(agent))
        self.drain(self.owner(agent))
        self.assertEqual([], list(self.staying.look()))
        self.lose(agent)
        self.assertNotEqual([], list(self.staying.look()))


class PlaceTests(StayingCase):
    """Hosts that are not where they should be."""

    def found(self) -> list[str]:
        """What is wrong with theirs, and with those without an agent."""
        picture = self.world.picture()
        places = {number: place for place, number in enumerate(sorted(picture.hosts))}
        found = [
            problem
            for agent in self.fleet.theirs.values()
            for problem in misplaced_theirs(self.world, agent, picture, places)
        ]
        found += [each for host in self.fleet.direct.values() for each in misplaced_direct(self.world, host, picture)]
        return [*found, *left_running(self.world, self.fleet), *exited(self.world, self.fleet)]

    def test_well(self) -> None:
        """At rest all are."""
        self.assertEqual([], self.found())

    def test_theirs(self) -> None:
        """One that is lost, one that was sent away for good, one with a wrong list."""
        lost, refused = self.fleet.theirs.values()
        self.world.kill_agent(lost)
        self.world.advance(5)
        refused._exit("no such host")
        problems = " ".join(self.found())
        self.assertIn(f"{lost.name} is on [], its row says Disconnected", problems)
        self.assertIn(f"{refused.name} was told to exit: no such host", problems)
        self.world.change_setting("indirect.agent.lb.algorithm", "static")
        self.assertIn("should", " ".join(self.found()))

    def test_direct(self) -> None:
        """One that is held twice, one that nobody holds, one whose resource was not closed."""
        twice, nowhere = self.fleet.direct.values()
        for host in (twice, nowhere):
            assert host.host_id is not None
            server = self.world.servers[self.owner(host)].service
            attache = server.directory._attaches[host.host_id]
            if host is twice:
                other = self.world.servers[A if self.owner(host) == B else B]
                other.service.directory._attaches[host.host_id] = attache
            else:
                del server.directory._attaches[host.host_id]
        problems = " ".join(self.found())
        self.assertIn(f"{twice.name} is held by ['{A}', '{B}']", problems)
        self.assertIn(f"{nowhere.name} is held by []", problems)
        self.assertIn("runs the resources of", problems)
