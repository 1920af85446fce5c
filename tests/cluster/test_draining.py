"""Emptying servers: in a whole cluster, with agents of ours."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cloudlb.cluster.draining import NOWHERE
from cloudlb.cluster.emptying import Emptying
from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.drains import DrainEnd
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.settings import MAINTENANCE_TIMEOUT
from cloudlb.wire import MigrateAgentConnectionCommand
from tests.cluster.draining import DrainCase


class MaintenanceTests(DrainCase):
    """prepareForMaintenance and cancelMaintenance."""

    def test_a_server_is_emptied(self) -> None:
        """Its agents go, without a change of their statuses; then it is in maintenance."""
        world = self.build(agents=9)
        self.assertEqual([len(on) for on in world.spread().values()], [3, 3, 3])
        self.order("prepare_for_maintenance", self.first)
        self.assertIs(self.state(self.first), ServerState.PREPARING_FOR_MAINTENANCE)
        drain = self.advance_until_ended(self.first, limit=5)
        self.assertIs(drain.end, DrainEnd.DONE)
        self.assertEqual((drain.total, drain.moved, drain.left, drain.jobs, drain.failed), (3, 3, 0, 0, {}))
        self.assertIs(self.state(self.first), ServerState.MAINTENANCE)
        self.assertEqual(world.spread()[self.first.address], [])
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_commands_flow(self) -> None:
        """From all servers to all hosts, all the time: each is answered, none is carried out twice."""
        world = self.build_with_commands(agents=6)
        self.send()
        self.order("prepare_for_maintenance", self.first)
        for _ in range(10):
            self.send()
            world.advance(0.3)
        self.assertIs(self.advance_until_ended(self.first).end, DrainEnd.DONE)
        self.assert_answered()
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_lists_by_another_algorithm(self) -> None:
        """The agents choose by it, whatever the one in force would say."""
        world = self.build(agents=12, algorithm="static")
        self.assertEqual([len(on) for on in world.spread().values()], [12, 0, 0])
        self.order("prepare_for_maintenance", self.first, algorithm=Algorithm.ROUNDROBIN)
        self.assertIs(self.advance_until_ended(self.first).end, DrainEnd.DONE)
        asked = [each for agent in world.agents.values() for each in agent.take(MigrateAgentConnectionCommand)]
        self.assertEqual({each.lb_algorithm for each in asked}, {"roundrobin"})
        self.assertEqual(Counter(each.ms_list[0] for each in asked), dict.fromkeys(world.servers, 4))
        world.settle()
        self.assertEqual([len(on) for on in world.spread().values()], [0, 8, 4])
        # From the other servers they have lists by the one in force, whose head is the empty server.
        self.assertEqual(
            {agent.host_property for agent in world.agents.values()}, {",".join(world.servers) + "@static"}
        )
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_progress(self) -> None:
        """Written down about once a second, with an estimate."""
        world = self.build(agents=90, algorithm="static")
        world.change_setting("indirect.agent.lb.move.rate", "10")
        self.order("prepare_for_maintenance", self.first)
        world.advance(4.5)
        drain = self.drain(self.first)
        self.assertEqual((drain.total, drain.end, drain.failed), (90, None, {}))
        self.assertTrue(20 <= drain.moved <= 45 and drain.moved + drain.left <= 90, drain)
        assert drain.eta is not None
        self.assertTrue(3 <= drain.eta <= 15, drain.eta)
        drain = self.advance_until_ended(self.first)
        self.assertEqual((drain.end, drain.moved, drain.left, drain.eta), (DrainEnd.DONE, 90, 0, None))
        self.assertEqual(self.transitions(), [])

    def test_agents_that_come_are_sent_on(self) -> None:
        """A new agent, whose list begins with the server, is Up on another one at once."""
        world = self.build(agents=3)
        self.order("prepare_for_maintenance", self.first)
        self.advance_until_ended(self.first)
        new = world.add_agent()
        world.advance(1)
        self.assertIn(new.server, (self.second.address, world.servers["10.0.0.3"].address))
        self.assertEqual(world.spread()[self.first.address], [])
        self.assertEqual(self.drain(self.first).total, 1)
        self.assert_well()

    def test_cancelled(self) -> None:
        """In the middle: nobody else goes, and the server takes agents again."""
        world = self.build(agents=30, algorithm="static", check_interval=5)
        world.change_setting("indirect.agent.lb.move.rate", "2")
        self.order("prepare_for_maintenance", self.first)
        world.advance(5)
        self.order("cancel_maintenance", self.first)
        drain = self.advance_until_ended(self.first, limit=2)
        self.assertIs(drain.end, DrainEnd.CANCELLED)
        self.assertTrue(0 < drain.moved < 20, drain)
        self.assertIs(self.state(self.first), ServerState.UP)
        world.advance(0.5)
        left = len(world.spread()[self.first.address])
        self.assertTrue(left >= 30 - drain.moved - 2, (left, drain))
        world.advance(20)
        # They look for the head of their lists by themselves.
        self.assertEqual(len(world.spread()[self.first.address]), 30)
        self.assertEqual(self.transitions(), [])

    def test_cancelled_in_maintenance(self) -> None:
        """The server takes agents again."""
        world = self.build(agents=6, check_interval=5)
        self.order("prepare_for_maintenance", self.first)
        self.advance_until_ended(self.first)
        world.advance(30)
        self.assertEqual(world.spread()[self.first.address], [])
        self.order("cancel_maintenance", self.first)
        self.assertIs(self.state(self.first), ServerState.UP)
        self.assertIs(self.drain(self.first).end, DrainEnd.DONE)
        world.advance(150)
        self.assertEqual([len(on) for on in world.spread().values()], [2, 2, 2])
        self.assertEqual(self.transitions(), [])

    def test_two_in_turn(self) -> None:
        """The second one's agents do not go to the first one, which is in maintenance."""
        world = self.build(agents=9)
        for server in (self.first, self.second):
            self.order("prepare_for_maintenance", server)
            self.assertIs(self.advance_until_ended(server, limit=10).end, DrainEnd.DONE)
        self.assertEqual([len(on) for on in world.spread().values()], [0, 0, 9])
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_two_at_the_same_time(self) -> None:
        """All end on the third."""
        world = self.build(agents=9)
        for server in (self.first, self.second):
            self.order("prepare_for_maintenance", server)
        for server in (self.first, self.second):
            self.assertIs(self.advance_until_ended(server, limit=20).end, DrainEnd.DONE)
        self.assertEqual([len(on) for on in world.spread().values()], [0, 0, 9])
        self.assert_well()
        self.assertEqual(self.transitions(), [])


class TimeTests(DrainCase):
    """The end of a drain's time."""

    def drain_with_one_that_stays(self, *, forced: bool = False) -> None:
        """Six agents, two of them on the server, one of which cannot reach the others."""
        world = self.build(agents=6)
        world.change_setting(MAINTENANCE_TIMEOUT, "1")
        self.stuck = world.agents[world.spread()[self.first.address][0]]
        for server in world.servers.values():
            if server is not self.first:
                world.network.cut(self.stuck.address, server.address)
        self.order("prepare_for_maintenance", self.first, forced=forced)

    def test_time_is_over(self) -> None:
        """Who is left stays and works, the server takes nobody; ordered again, the drain goes on."""
        self.drain_with_one_that_stays()
        world = self.world
        world.advance(40)
        drain = self.drain(self.first)
        self.assertEqual((drain.end, drain.moved, drain.left), (None, 1, 1))
        self.assertEqual(drain.failed, {world.row(self.stuck).uuid: "it was asked to go, and stays"})
        drain = self.advance_until_ended(self.first, limit=25)
        self.assertEqual((drain.end, drain.moved, drain.left), (DrainEnd.TIMED_OUT, 1, 1))
        assert drain.started is not None
        assert drain.ended is not None
        self.assertTrue(60 <= drain.ended - drain.started <= 62)
        self.assertIs(self.state(self.first), ServerState.PREPARING_FOR_MAINTENANCE)
        world.advance(60)
        self.assertEqual(world.spread()[self.first.address], [self.stuck.number])
        self.world.network.heal()
        world.advance(60)
        self.assertEqual(world.spread()[self.first.address], [self.stuck.number])
        self.order("prepare_for_maintenance", self.first)
        drain = self.advance_until_ended(self.first, limit=10)
        self.assertEqual((drain.end, drain.number, drain.total), (DrainEnd.DONE, 2, 1))
        self.assertIs(self.state(self.first), ServerState.MAINTENANCE)
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_tried_again(self) -> None:
        """Who has stayed goes when it can."""
        self.drain_with_one_that_stays()
        self.world.advance(12)
        self.assertEqual(self.drain(self.first).left, 1)
        self.world.network.heal()
        drain = self.advance_until_ended(self.first, limit=40)
        self.assertEqual((drain.end, drain.failed), (DrainEnd.DONE, {}))

    def test_forced(self) -> None:
        """Who is left is disconnected, so that it looks for another server."""
        self.drain_with_one_that_stays(forced=True)
        drain = self.advance_until_ended(self.first, limit=75)
        self.assertEqual((drain.end, drain.left), (DrainEnd.FORCED, 0))
        self.assertIs(self.state(self.first), ServerState.MAINTENANCE)
        self.world.network.heal()
        self.world.advance(30)
        self.assertNotEqual(self.stuck.server, self.first.address)
        self.assert_well()

    def test_forced_when_the_others_go(self) -> None:
        """Who was disconnected comes back: the server does not count as empty."""
        self.drain_with_one_that_stays(forced=True)
        self.world.advance(55)
        close = self.first.service.disconnection.close

        def close_and_have_nowhere(*arguments: Any) -> None:
            close(*arguments)
            self.patch(Emptying, "possible", False)

        self.patch(self.first.service.disconnection, "close", close_and_have_nowhere)
        drain = self.advance_until_ended(self.first, limit=40)
        self.assertEqual((drain.end, drain.note), (DrainEnd.TIMED_OUT, NOWHERE))
        self.assertIs(self.state(self.first), ServerState.PREPARING_FOR_MAINTENANCE)


class NowhereTests(DrainCase):
    """No other server that takes agents."""

    def test_the_others_die(self) -> None:
        """The drain waits and says why; agents that come are admitted. It goes on when a server is there."""
        world = self.build(servers=2, agents=4)
        world.change_setting("indirect.agent.lb.move.rate", "1")
        self.order("prepare_for_maintenance", self.first)
        world.kill_server(self.second)
        world.advance(20)
        drain = self.drain(self.first)
        self.assertEqual((drain.end, drain.note), (None, NOWHERE))
        self.assertEqual(len(world.spread()[self.first.address]), 4)
        self.assertTrue(all(agent.server == self.first.address for agent in world.agents.values()))
        world.restart_server(self.second)
        drain = self.advance_until_ended(self.first, limit=30)
        self.assertEqual((drain.end, drain.note), (DrainEnd.DONE, None))
        self.assertEqual(len(world.spread()[self.second.address]), 4)
        self.assert_well()

    def test_forced(self) -> None:
        """Nobody is disconnected, and the server does not count as empty."""
        world = self.build(servers=2, agents=4)
        world.change_setting(MAINTENANCE_TIMEOUT, "1")
        world.change_setting("indirect.agent.lb.move.rate", "1")
        self.order("prepare_for_maintenance", self.first, forced=True)
        world.kill_server(self.second)
        world.advance(40)
        self.mark = self.last_event()
        drain = self.advance_until_ended(self.first, limit=65)
        self.assertEqual((drain.end, drain.left, drain.note), (DrainEnd.TIMED_OUT, 4, NOWHERE))
        world.advance(20)
        self.assertIs(self.state(self.first), ServerState.PREPARING_FOR_MAINTENANCE)
        self.assertEqual(self.transitions(), [])

    def test_the_other_hiccups(self) -> None:
        """A shutdown that was ordered throws nobody off: it waits, and goes on when the other server is back."""
        world = self.build(servers=2, agents=4)
        world.change_setting("indirect.agent.lb.move.rate", "1")
        self.order("trigger_shutdown", self.first)
        world.freeze(self.second)
        world.advance(15)
        drain = self.drain(self.first)
        self.assertEqual((drain.end, drain.note), (None, NOWHERE))
        self.assertTrue(self.first.alive)
        world.thaw(self.second)
        self.assertIs(self.advance_until_ended(self.first, limit=30).end, DrainEnd.DONE)
        world.advance(3)
        self.assertFalse(self.first.alive)
        self.assertEqual(len(world.spread()[self.second.address]), 4)
        self.assertEqual(self.transitions(), [])

    def test_shutdown_times_out(self) -> None:
        """The server keeps its agents until another one is there for them; then it is emptied, and ends."""
        world = self.build(servers=2, agents=4)
        world.change_setting(MAINTENANCE_TIMEOUT, "1")
        world.change_setting("indirect.agent.lb.move.rate", "1")
        self.order("trigger_shutdown", self.first)
        world.kill_server(self.second)
        drain = self.advance_until_ended(self.first, limit=65)
        self.assertEqual((drain.end, drain.note), (DrainEnd.TIMED_OUT, NOWHERE))
        world.advance(30)
        self.assertTrue(self.first.alive)
        self.assertIs(self.state(self.first), ServerState.SHUTTING_DOWN)
        self.assertEqual(len(world.spread()[self.first.address]), 4)
        self.mark = self.last_event()
        world.restart_server(self.second)
        world.advance(30)
        drain = self.drain(self.first)
        self.assertEqual((drain.end, drain.number, drain.moved, drain.note), (DrainEnd.DONE, 2, 4, None))
        self.assertFalse(self.first.alive)
        self.assertEqual(len(world.spread()[self.second.address]), 4)
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_all_but_one(self) -> None:
        """The last one cannot be drained; the others can."""
        world = self.build(agents=6)
        for server in (self.first, self.second):
            self.order("prepare_for_maintenance", server)
            self.advance_until_ended(server)
        world.kill_server(world.servers["10.0.0.3"])
        world.advance(30)
        # Better in maintenance than nowhere.
        self.assertTrue(all(agent.server is not None for agent in world.agents.values()))
        world.restart_server(world.servers["10.0.0.3"])
        world.advance(120)
        self.assertEqual([len(on) for on in world.spread().values()], [0, 0, 6])
        self.assert_well()
