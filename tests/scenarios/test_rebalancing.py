"""Stories of evening out: who moves, how few, how fast, and what it leaves alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from cloudlb.agents.departures import Move
from cloudlb.agents.registration import NewHost
from cloudlb.cluster.planning import picture, plan_moves
from cloudlb.domain.ports import Transaction
from cloudlb.domain.rebalancing import Plan
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_CHECK_INTERVAL, LB_ENABLED, LB_WEIGHTS, MOVE_RATE
from cloudlb.resource.loading import SIMULATOR
from cloudlb.wire import Answer, CheckHealthCommand, Opaque
from tests.scenarios.case import WorldCase
from tests.support.server_process import ServerProcess
from tests.support.world import World

A, B, C, D, E = (f"10.0.0.{number}" for number in (1, 2, 3, 4, 5))
FEWEST = 6
"""Agents that a server needs of 60 on four servers so as not to be 10 off the average of 15."""
BAND = 60
"""Seconds for which a server has to be off, as the setting has it."""
EVERY = 4
"""Seconds between commands to a host."""
AFTERWARDS = 400
"""Seconds in which it shows that nothing more happens."""


@define
class Watch:
    """What happens to hosts while time passes."""

    world: World
    departures: dict[str, list[float]] = field(factory=lambda: defaultdict(list))
    """By server, when it sent a host away."""
    least_up: int = 10**9
    """The smallest number of hosts that were Up."""
    commands: list[Deferred[list[Answer | Opaque]]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        for server in self.world.servers.values():
            self.follow(server)

    def follow(self, server: ServerProcess) -> None:
        """Note when a server sends hosts away."""
        departures = server.service.moves._departures
        depart = departures.depart

        def noted(move: Move, *arguments: object, **options: bool) -> object:
            self.departures[server.address].append(self.world.clock.seconds())
            return depart(move, *arguments, **options)  # type: ignore[arg-type]

        departures.depart = noted  # type: ignore[assignment,method-assign]

    def advance(self, seconds: float) -> None:
        """Let time pass; every host gets a command every few seconds, from one server after the other."""
        for number in range(int(seconds)):
            hosts, servers = self.world.read(lambda txn: txn.hosts.all()), self.world.running_servers
            for host in hosts[number % EVERY :: EVERY]:
                sender = servers[(host.id + number) % len(servers)].service.sender
                self.commands.append(sender.send(host.id, [CheckHealthCommand()], timeout=20))
            for _ in range(4):
                statuses = self.world.read(lambda txn: txn.hosts.up_by_server())
                self.least_up = min(self.least_up, sum(statuses.values()))
                self.world.advance(0.25)

    def refused(self) -> list[object]:
        """Commands that were not answered well."""
        ends: list[object] = []
        for command in self.commands:
            command.addBoth(ends.append)
        assert len(ends) == len(self.commands)
        return [end for end in ends if not (isinstance(end, list) and isinstance(end[0], Answer) and end[0].result)]

    def fastest(self) -> int:
        """Most hosts that a server has sent away within a second."""
        return max(
            (sum(begin <= time < begin + 1 for time in times) for times in self.departures.values() for begin in times),
            default=0,
        )


class RebalancingCase(WorldCase):
    """Agents on servers, under some algorithm."""

    def placed(self, world: World) -> dict[str, str]:
        """By host, the server that its row names."""
        servers = {server.id: server.address for server in world.read(lambda txn: txn.servers.all())}
        hosts = world.read(lambda txn: txn.hosts.all())
        return {host.facts.name: servers[host.server_id] for host in hosts if host.server_id}

    def moves(self, world: World, before: dict[str, str]) -> Counter[tuple[str, str]]:
        """Who has gone from where to where since then."""
        after = self.placed(world)
        return Counter((server, after[name]) for name, server in before.items() if after[name] != server)

    def sessions(self, world: World) -> int:
        """How often hosts were admitted in all; each move is one more."""
        return sum(host.session for host in world.read(lambda txn: txn.hosts.all()))

    def events(self, world: World) -> list[str]:
        """What the events say of plans."""
        which = EventFilter(event_type="AGENTS.REBALANCE")
        found, _ = world.read(lambda txn: txn.events.list(which, 0, None))
        return [event.description for event in reversed(found)]

    def plan(self, world: World) -> Plan:
        """What would be planned now."""

        def work(txn: Transaction) -> Plan:
            return plan_moves(txn, picture(txn.servers.all(), txn.settings.load()))

        return world.read(work)

    def join(self, world: World, *addresses: str, watch: Watch | None = None) -> None:
        """Start servers and put them into ``host``."""
        for address in addresses:
            server = world.add_server(address)
            if watch is not None:
                watch.follow(server)
        world.advance(3)
        world.change_setting(HOST, ",".join(world.servers))

    def fail_over(self, world: World, address: str) -> None:
        """Kill a server, and start it again when its agents are elsewhere."""
        world.kill_server(world.servers[address])
        world.advance(30)
        world.restart_server(world.servers[address])
        world.advance(3)

    def coordinator(self, world: World) -> ServerProcess:
        """The server that plans."""
        return min(world.running_servers, key=lambda server: server.service.membership.own.id)


class Joins(RebalancingCase):
    """Servers that join, under rendezvous."""

    def test_one(self) -> None:
        """As few agents move as the band needs, no faster than allowed, and nobody notices."""
        world = self.world(algorithm="rendezvous", agents=60)
        world.change_setting(MOVE_RATE, "1")
        watch = Watch(world)
        before, sessions = self.placed(world), self.sessions(world)
        self.join(world, D, watch=watch)
        watch.advance(BAND + 30)
        moves = self.moves(world, before)
        self.assertEqual((moves.total(), {target for _, target in moves}), (FEWEST, {D}))
        self.assertEqual(self.sessions(world) - sessions, FEWEST)
        self.assertEqual(watch.fastest(), 1, watch.departures)
        self.assertEqual(sum(map(len, watch.departures.values())), FEWEST)
        self.assertEqual((watch.least_up, watch.refused()), (len(before), []))
        (told,) = self.events(world)
        self.assertIn(f"{FEWEST} hosts are to be moved", told)
        for (source, target), number in moves.items():
            self.assertIn(f"{source} to {target}: {number}", told)
        world.advance(AFTERWARDS)
        self.assertEqual((self.sessions(world) - sessions, len(self.events(world))), (FEWEST, 1))
        self.assert_up_once(world)

    def test_two(self) -> None:
        """Two at once, each gets what it needs."""
        world = self.world(algorithm="rendezvous", agents=60)
        before = self.placed(world)
        self.join(world, D, E)
        world.advance(BAND + 30)
        # 60 on five servers: 12 on average, at least 3.
        self.assertEqual(self.moves(world, before).total(), 6)
        self.assertEqual(Counter(self.placed(world).values()) & Counter({D: 3, E: 3}), Counter({D: 3, E: 3}))
        self.assertEqual(self.plan(world).moves, ())
        self.assert_up_once(world)

    def test_time(self) -> None:
        """Nobody moves before the spread has been off for as long as it has to be, without a break."""
        world = self.world(algorithm="rendezvous", agents=60)
        sessions = self.sessions(world)
        self.join(world, D)
        world.advance(BAND - 15)
        world.stop_server(world.servers[D])
        world.advance(10)
        world.restart_server(world.servers[D])
        world.advance(BAND - 5)
        self.assertEqual((self.sessions(world), self.events(world)), (sessions, []))
        world.advance(20)
        self.assertEqual(self.sessions(world) - sessions, FEWEST)

    def test_near_enough(self) -> None:
        """A server that lacks fewer than that is left alone."""
        world = self.world(algorithm="rendezvous", agents=36)
        sessions = self.sessions(world)
        self.join(world, D)
        world.advance(AFTERWARDS)
        self.assertEqual((self.sessions(world), self.placed(world)), (sessions, self.placed(world)))
        self.assertNotIn(D, self.placed(world).values())
        self.assertEqual(self.events(world), [])

    def test_disabled(self) -> None:
        """Where the cluster does not even out by itself, all go where their new lists lead."""
        world = self.world(algorithm="rendezvous", agents=60)
        world.change_setting(LB_ENABLED, "false")
        self.join(world, D)
        world.advance(30)
        self.assert_on_preferred(world)
        self.assertGreater(Counter(self.placed(world).values())[D], FEWEST)
        sessions = self.sessions(world)
        self.fail_over(world, D)
        world.advance(AFTERWARDS)
        self.assertNotIn(D, self.placed(world).values())
        self.assertEqual(self.events(world), [])
        self.assertGreater(self.sessions(world), sessions)

    def test_direct_hosts(self) -> None:
        """They have no lists, and move like the others; each answers."""
        world = self.world(algorithm="rendezvous", servers=2, agents=0)
        (cluster,) = world.read(lambda txn: txn.topology.clusters())
        for number in range(40):
            new = NewHost(name=f"direct-{number}", cluster=cluster, resource=SIMULATOR, direct={})
            registration = world.running_servers[0].service.registration
            world.wait_for(Deferred.fromCoroutine(registration.add(new, 1)))
        world.advance(100)
        before = self.placed(world)
        self.assertEqual(len(before), 40)
        watch = Watch(world)
        self.join(world, C, watch=watch)
        watch.advance(BAND + 40)
        # 40 on three servers: 13.3 on average, at least 4.
        self.assertEqual(Counter(self.placed(world).values())[C], 4)
        self.assertEqual(self.moves(world, before).total(), sum(map(len, watch.departures.values())))
        self.assertEqual((watch.least_up, watch.refused()), (len(before), []))
        self.assertEqual(self.plan(world).moves, ())


class Returns(RebalancingCase):
    """A server that was lost comes back, and under every algorithm those go back to it that belong there."""

    def test_rendezvous(self) -> None:
        """As few as are needed; the others stay where the loss has brought them."""
        world = self.world(algorithm="rendezvous", agents=60)
        self.fail_over(world, B)
        before = self.placed(world)
        world.advance(BAND + 30)
        moves = self.moves(world, before)
        # 60 on three servers: 20 on average, at least 11.
        self.assertEqual((moves.total(), {target for _, target in moves}), (11, {B}))
        self.assert_up_once(world)

    def test_cloudstacks_algorithms(self) -> None:
        """All that are off their preferred server, and no others; lists stay as they are."""
        for algorithm in ("static", "roundrobin", "shuffle"):
            world = self.world(algorithm=algorithm, agents=36)
            home, lists = self.placed(world), {agent.host_property for agent in world.agents.values()}
            self.fail_over(world, A)
            watch = Watch(world)
            away = self.placed(world)
            belong = {name for name, server in home.items() if server == A}
            self.assertTrue(belong and all(away[name] != A for name in belong))
            watch.advance(BAND + 30)
            self.assertEqual(self.placed(world), home, algorithm)
            self.assertEqual(sum(map(len, watch.departures.values())), len(belong), algorithm)
            self.assertEqual((watch.least_up, watch.refused()), (len(home), []), algorithm)
            self.assertEqual({agent.host_property for agent in world.agents.values()}, lists)
            sessions, events = self.sessions(world), len(self.events(world))
            world.advance(AFTERWARDS)
            # That all are on one server under static is how it is to be.
            self.assertEqual((self.sessions(world), len(self.events(world))), (sessions, events), algorithm)
            self.assert_up_once(world)

    def test_own_checks(self) -> None:
        """Agents that look for the head of their list by themselves do not undo what a plan did, nor does it them."""
        world = self.world(algorithm="rendezvous", agents=60, check_interval=300)
        self.fail_over(world, B)
        world.advance(1200)
        self.assert_on_preferred(world)
        sessions = self.sessions(world)
        world.advance(AFTERWARDS)
        self.assertEqual(self.sessions(world), sessions)

    def test_weights(self) -> None:
        """A change of weights is one of lists: all go where these lead, at once, and no plan finds more to do."""
        world = self.world(algorithm="rendezvous", agents=60)
        sessions = self.sessions(world)
        before = self.placed(world)
        world.change_setting(LB_WEIGHTS, f"{A}=4")
        world.advance(BAND - 10)
        self.assert_on_preferred(world)
        moves = self.moves(world, before)
        self.assertEqual({target for _, target in moves}, {A})
        world.advance(AFTERWARDS)
        self.assertEqual(self.sessions(world) - sessions, moves.total())
        self.assertEqual(self.events(world), [])


class Faults(RebalancingCase):
    """What goes wrong in the middle of a plan."""

    def under_way(self, **options: float) -> tuple[World, dict[str, str]]:
        """A plan of 6 moves to a fourth server, of which one or two have been made."""
        world = self.world(algorithm="rendezvous", agents=60, **options)
        world.change_setting(MOVE_RATE, "1")
        world.change_setting(LB_CHECK_INTERVAL, "0")
        before = self.placed(world)
        self.join(world, D)
        world.advance(BAND - 5)
        for _ in range(100):
            if self.moves(world, before):
                break
            world.advance(0.25)
        return world, before

    def test_coordinator_killed(self) -> None:
        """The other servers carry out their parts, and another server looks after the spread."""
        world, _ = self.under_way()
        coordinator = self.coordinator(world)
        coordinator.end()
        world.advance(BAND * 3)
        self.assertEqual(self.plan(world).moves, ())
        self.assert_up_once(world)
        world.restart_server(coordinator)
        world.advance(BAND * 3)
        self.assertEqual(self.plan(world).moves, ())
        self.assert_up_once(world)

    def test_target_killed(self) -> None:
        """Nobody goes to a server that has died; who was there comes back, and nobody else moves."""
        world, before = self.under_way()
        world.kill_server(world.servers[D])
        world.advance(BAND)
        self.assertNotIn(D, self.placed(world).values())
        self.assertLessEqual(self.moves(world, before).total(), FEWEST)
        world.advance(BAND * 2)
        self.assert_up_once(world)

    def test_database_away(self) -> None:
        """What was begun goes on when it is back; nobody plans before everybody had the time to show that he lives."""
        world, _ = self.under_way(database_lag=0.01)
        for server in world.servers.values():
            server.lose_database(away=True)
        world.advance(8)
        for server in world.servers.values():
            server.lose_database(away=False)
        world.advance(BAND)
        self.assertEqual(len(self.events(world)), 1)
        world.advance(BAND * 2)
        self.assertEqual(self.plan(world).moves, ())
        self.assert_up_once(world)

    def test_two_at_a_time(self) -> None:
        """A server whose picture of the others is old does not plan: who is the first is judged where it is written."""
        world = self.world(algorithm="rendezvous", agents=60)
        self.join(world, D)
        first = self.coordinator(world)
        for server in world.running_servers:
            if server is not first:
                self.patch(type(server.service.membership), "first", True)
        world.advance(BAND + 30)
        self.assertEqual(len(self.events(world)), 1)
        self.assertEqual(Counter(self.placed(world).values())[D], FEWEST)

    @given(st.data())
    @settings(max_examples=8, deadline=None)
    def test_histories(self, data: st.DataObject) -> None:
        """Whatever comes and goes: in the end everybody is Up once, and no plan could do better."""
        agents, seed = data.draw(st.integers(20, 60)), data.draw(st.integers(0, 1000))
        algorithm = data.draw(st.sampled_from(["rendezvous", "roundrobin", "static"]))
        world = self.world(algorithm=algorithm, agents=agents, seed=seed)
        steps = (
            partial(self.fail_over, world),
            lambda address: self.join(world, D) if D not in world.servers else None,
            lambda address: world.change_setting(LB_ALGORITHM, algorithm),
            lambda address: world.restart_server(world.servers[address]),
        )
        for _ in range(data.draw(st.integers(1, 4))):
            data.draw(st.sampled_from(steps))(data.draw(st.sampled_from([A, B, C])))
            world.advance(data.draw(st.integers(0, 100)))
        world.advance(BAND * 4)
        self.assertEqual(self.plan(world).moves, ())
        self.assert_up_once(world)
