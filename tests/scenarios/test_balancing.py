"""Stories of lists: who holds which, how it gets there, and who moves for it."""

from __future__ import annotations

from twisted.internet.task import deferLater

from cloudlb.agents.claims import Claim
from cloudlb.agents.introduction import Introduction
from cloudlb.domain.ports import Refused
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_CHECK_INTERVAL, InvalidSetting
from cloudlb.wire import ReadyCommand, SetupMSListCommand
from tests.scenarios.case import WorldCase
from tests.support.agent_process import AgentProcess
from tests.support.world import World

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def lists_sent(agent: AgentProcess) -> int:
    """How many lists servers sent to an agent since the last time."""
    readies = [c.ms_host_list for c in agent.received if isinstance(c, ReadyCommand) and c.ms_host_list]
    return len(readies) + len(agent.take(SetupMSListCommand))


class SpreadTests(WorldCase):
    """Where a new fleet lands."""

    def test_static(self) -> None:
        """Everyone is on the first server and holds the list as it was given."""
        world = self.world(algorithm="static")
        self.assertEqual(world.spread(), {A: [1, 2, 3, 4, 5, 6], B: [], C: []})
        self.assertEqual({agent.host_property for agent in world.agents.values()}, {f"{A},{B},{C}@static"})
        self.assert_on_preferred(world)

    def test_roundrobin(self) -> None:
        """The list is rotated by the host's place; everyone has gone to the head of their own."""
        world = self.world(algorithm="roundrobin")
        self.assertEqual(world.spread(), {A: [1, 4], B: [2, 5], C: [3, 6]})
        self.assertEqual(
            [world.agents[n].host_property for n in (1, 2, 3)],
            [f"{A},{B},{C}@roundrobin", f"{B},{C},{A}@roundrobin", f"{C},{A},{B}@roundrobin"],
        )
        self.assert_on_preferred(world)

    def test_shuffle(self) -> None:
        """Orders differ, and everyone is on the head of their own."""
        world = self.world(algorithm="shuffle", agents=12)
        orders = {agent.host_property for agent in world.agents.values()}
        self.assertTrue(len(orders) > 2, orders)
        self.assertEqual({frozenset(order.partition("@")[0].split(",")) for order in orders}, {frozenset((A, B, C))})
        self.assert_on_preferred(world)

    def test_rendezvous(self) -> None:
        """Orders depend on the host alone: another run with another seed gives the same."""
        worlds = [self.world(algorithm="rendezvous", agents=12, seed=seed) for seed in (1, 2)]
        orders = [[agent.host_property for agent in world.agents.values()] for world in worlds]
        self.assertEqual(*orders)
        self.assertTrue(len(set(orders[0])) > 2, orders)
        for world in worlds:
            self.assert_on_preferred(world)


class ListTests(WorldCase):
    """A list is sent where it differs, and only there."""

    def reconnect(self, world: World, agent: AgentProcess) -> None:
        world.restart_agent(agent)
        world.settle()

    def test_not_sent_again(self) -> None:
        """Who comes back with the list that it should hold gets none, whatever the algorithm."""
        for algorithm in ("static", "roundrobin", "shuffle", "rendezvous"):
            world = self.world(algorithm=algorithm, agents=3)
            for agent in world.agents.values():
                agent.take(ReadyCommand)
                before = agent.host_property
                self.reconnect(world, agent)
                self.assertEqual((lists_sent(agent), agent.host_property), (0, before), algorithm)

    def test_order_counts(self) -> None:
        """Another order is corrected, but not under shuffle, where only the servers count."""
        for algorithm, sent in (("static", 1), ("roundrobin", 1), ("rendezvous", 1), ("shuffle", 0)):
            world = self.world(algorithm=algorithm, agents=1)
            agent = world.agents[1]
            addresses, _, name = agent.host_property.partition("@")
            first, *rest = addresses.split(",")
            other = ",".join([*rest, first]) + "@" + name
            agent.path.write_text(agent.path.read_text().replace(agent.host_property, other))
            agent.take(ReadyCommand)
            self.reconnect(world, agent)
            self.assertEqual(min(1, lists_sent(agent)), sent, algorithm)
            self.assertEqual(agent.host_property == other, not sent, algorithm)

    def test_name_counts(self) -> None:
        """The same servers in the same order under another algorithm's name are another list."""
        world = self.world(algorithm="static", agents=1)
        agent = world.agents[1]
        agent.take(ReadyCommand)
        world.change_setting(LB_ALGORITHM, "roundrobin")
        world.settle()
        self.assertEqual((lists_sent(agent), agent.host_property), (1, f"{A},{B},{C}@roundrobin"))

    def test_interval_always_sent(self) -> None:
        """ReadyCommand has the interval also where it has no list."""
        world = self.world(agents=1, check_interval=7)
        agent = world.agents[1]
        agent.take(ReadyCommand)
        self.reconnect(world, agent)
        (ready,) = agent.take(ReadyCommand)
        self.assertEqual((ready.ms_host_list, ready.lb_check_interval), (None, 7))

    def test_file_keeps_the_rest(self) -> None:
        """Comments and other keys stay in the agent's file."""
        world = self.world(agents=1, properties="# mine\nsite.rack = 17")
        text = world.agents[1].path.read_text()
        self.assertIn("# mine\nsite.rack = 17", text)
        self.assertIn(f"host={A},{B},{C}@roundrobin\n", text)


class ChangeTests(WorldCase):
    """Settings that change while agents are connected."""

    def test_algorithm(self) -> None:
        """A new algorithm reaches every agent of every server, is persisted, and moves who must move."""
        world = self.world(algorithm="roundrobin")
        world.change_setting(LB_ALGORITHM, "static")
        world.settle()
        self.assertEqual({agent.host_property for agent in world.agents.values()}, {f"{A},{B},{C}@static"})
        self.assertEqual(world.spread(), {A: [1, 2, 3, 4, 5, 6], B: [], C: []})
        world.change_setting(LB_ALGORITHM, "rendezvous")
        world.settle()
        self.assert_on_preferred(world)

    def test_move_breaks_nothing(self) -> None:
        """While agents move, each is on a server at every moment, and its status stays Up."""
        world = self.world(algorithm="roundrobin")
        world.change_setting(LB_ALGORITHM, "static")
        for _ in range(500):
            world.advance(0.01)
            for agent in world.agents.values():
                self.assertTrue(agent.server, agent.name)
                self.assertEqual(world.row(agent).status.value, "Up", agent.name)
                self.assertTrue(world.believers(agent), agent.name)
        self.assert_on_preferred(world)

    def test_slow_claim(self) -> None:
        """A server whose claims wait for a slow database takes agents that return by themselves, and nobody sees it."""
        world = self.world(algorithm="roundrobin", database_lag=0.01, check_interval=5)
        slow = world.servers[B]
        world.kill_server(slow)
        world.advance(20)
        slow.start()
        slow.slow_database(4.0)
        world.advance(60)
        slow.slow_database(0.01)
        world.advance(30)
        self.assert_on_preferred(world)
        found, _ = world.read(lambda txn: txn.events.list(EventFilter(keyword="to Disconnected"), 0, None))
        self.assertEqual([event.description for event in found], [])

    def test_very_slow_claim(self) -> None:
        """Nobody sees that agents which have moved wait long to be claimed: none is late, or lost, or looked into."""
        world = self.world(agents=2, servers=2, algorithm="static", check_interval=5, ping_interval=4)
        first = world.servers[A]
        world.kill_server(first)
        world.advance(30)
        self.assertEqual(world.spread(), {A: [], B: [1, 2]})
        before = len(self._losses(world))
        first.start()
        claims = first.service.admission._claims
        take = claims.take

        async def take_slowly(introduction: Introduction) -> Claim | Refused:
            await deferLater(first.machine, 25, lambda: None)
            return await take(introduction)

        self.patch(claims, "take", take_slowly)
        world.advance(20)
        self.assertEqual([agent.server for agent in world.agents.values()], [A, A])
        self.assertEqual([world.row_address(agent) for agent in world.agents.values()], [B, B])
        world.advance(30)
        self.assert_on_preferred(world)
        self.assertEqual(self._losses(world)[before:], [])

    def _losses(self, world: World) -> list[str]:
        """What events tell of hosts that were lost, or looked into."""
        events, _ = world.read(lambda txn: txn.events.list(EventFilter(), 0, None))
        told = [event.description for event in reversed(events)]
        return [each for each in told if "to Disconnected" in each or each.startswith("Investigated")]

    def test_interval(self) -> None:
        """A new interval reaches agents whose list stays, also one for their cluster only."""
        world = self.world()
        for agent in world.agents.values():
            agent.take(ReadyCommand)
        world.change_setting(LB_CHECK_INTERVAL, "30")
        world.settle()
        for agent in world.agents.values():
            self.assertEqual([c.lb_check_interval for c in agent.take(SetupMSListCommand)], [30], agent.name)
        world.change_setting(LB_CHECK_INTERVAL, "20", cluster_id=1)
        world.settle()
        for agent in world.agents.values():
            self.assertEqual([c.lb_check_interval for c in agent.take(SetupMSListCommand)], [20], agent.name)
        # The cluster's own value hides a change of the global one.
        world.change_setting(LB_CHECK_INTERVAL, "40")
        world.settle()
        self.assertEqual(sum(len(agent.received) for agent in world.agents.values()), 0)

    def test_host(self) -> None:
        """A server less: those that had it move, and everyone's file has the new list."""
        world = self.world(algorithm="rendezvous", servers=5, agents=20)
        before = {number: server for server, numbers in world.spread().items() for number in numbers}
        remaining = [f"10.0.0.{n}" for n in (1, 2, 3, 4)]
        world.change_setting(HOST, ",".join(remaining))
        world.settle()
        after = {number: server for server, numbers in world.spread().items() for number in numbers}
        moved = {number for number in before if before[number] != after[number]}
        self.assertEqual(moved, {number for number, server in before.items() if server == "10.0.0.5"})
        self.assertTrue(moved)
        for agent in world.agents.values():
            self.assertEqual(set(agent.host_property.partition("@")[0].split(",")), set(remaining))
        self.assert_on_preferred(world)

    def test_refused(self) -> None:
        """A value that would strand the fleet is refused with the reason; nothing changes and nothing is sent."""
        world = self.world()
        for agent in world.agents.values():
            agent.take(ReadyCommand)
        files = [agent.path.read_bytes() for agent in world.agents.values()]
        before = world.read(lambda txn: txn.settings.load())
        for name, value, reason in (
            (HOST, "", "empty"),
            (HOST, f"{A},,{B}", "empty"),
            (HOST, f"{A},{A}", "twice"),
            (HOST, "10.0.0", "neither"),
            (HOST, "10.0.0.99", "no live management server"),
            (LB_ALGORITHM, "leastconn", "unknown algorithm"),
            (LB_CHECK_INTERVAL, "-1", "not between"),
            (LB_CHECK_INTERVAL, "soon", "whole number"),
            ("indirect.agent.lb", "1", "no setting"),
        ):
            with self.assertRaises(InvalidSetting) as caught:
                world.change_setting(name, value)
            self.assertIn(reason, str(caught.exception))
        world.settle()
        self.assertEqual(world.read(lambda txn: txn.settings.load()), before)
        self.assertEqual([agent.path.read_bytes() for agent in world.agents.values()], files)
        self.assertEqual([len(agent.received) for agent in world.agents.values()], [0] * 6)

    def test_server_started_later(self) -> None:
        """Agents whose new list has a head that was never up are sent there when it comes, without a periodic check."""
        world = self.world(algorithm="static", agents=3, check_interval=0)
        world.change_setting(HOST, f"10.0.0.9,{A}")
        world.settle()
        self.assertEqual({agent.server for agent in world.agents.values()}, {A})
        world.add_server("10.0.0.9")
        world.settle()
        self.assertEqual({agent.server for agent in world.agents.values()}, {"10.0.0.9"})
        self.assert_on_preferred(world)

    def test_forced(self) -> None:
        """A list of which no server lives is taken when forced; the agents stay where they are until one comes."""
        world = self.world(algorithm="static", agents=3, check_interval=5)
        world.change_setting(HOST, "10.0.0.9", forced=True)
        world.advance(30)
        self.assertEqual({agent.server for agent in world.agents.values()}, {A})
        world.add_server("10.0.0.9")
        world.advance(30)
        self.assertEqual({agent.server for agent in world.agents.values()}, {"10.0.0.9"})
        self.assert_on_preferred(world)

    def test_full_disk(self) -> None:
        """An agent that cannot write its file keeps the old one whole, follows the new list, and writes it later."""
        world = self.world(algorithm="roundrobin")
        agent = world.agents[2]
        before = agent.path.read_bytes()
        agent.disk_full = True
        world.change_setting(LB_ALGORITHM, "static")
        world.settle()
        self.assertEqual(agent.path.read_bytes(), before)
        self.assertEqual(agent.server, A)
        self.assert_up_once(world)
        agent.disk_full = False
        world.advance(60)
        self.assertEqual(agent.host_property, f"{A},{B},{C}@static")
        self.assertEqual([path.name for path in world.folder.iterdir() if path.name.startswith(".")], [])

    def test_changes_in_a_row(self) -> None:
        """Of changes that overtake each other the last one holds, on every server."""
        world = self.world(algorithm="static")
        for algorithm in ("roundrobin", "rendezvous", "shuffle", "static", "roundrobin"):
            world.change_setting(LB_ALGORITHM, algorithm)
            world.advance(0.05)
        world.advance(30)
        self.assertEqual(world.spread(), {A: [1, 4], B: [2, 5], C: [3, 6]})
        self.assert_on_preferred(world)
