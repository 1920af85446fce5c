"""Servers that end: told to by a signal, or by triggerShutdown."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from cloudlb.domain.drains import DrainEnd
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.settings import MOVE_RATE, STOP_TIMEOUT
from tests.cluster.draining import DrainCase


class SignalTests(DrainCase):
    """SIGTERM."""

    def test_agents_move_first(self) -> None:
        """In about a second, with commands flowing, and no status changes; the server is up when it starts again."""
        world = self.build_with_commands(agents=9)
        others = [server for server in world.servers.values() if server is not self.first]
        self.send(*others)
        self.assertTrue(0.5 <= self.stop(self.first) < 5)
        self.assertIs(self.state(self.first), ServerState.DOWN)
        self.assertIs(self.drain(self.first).end, DrainEnd.DONE)
        self.assertEqual(self.transitions(), [])
        self.send(*others)
        self.assert_answered()
        self.assert_well()
        world.restart_server(self.first)
        world.settle()
        self.assertIs(self.state(self.first), ServerState.UP)
        self.assertEqual(self.transitions(), [])

    def test_all_together(self) -> None:
        """Nobody waits for anybody."""
        world = self.build(agents=30)
        self.assertLess(self.stop(*world.servers.values()), 4.0)

    def test_the_last_one(self) -> None:
        """Stops at once."""
        world = self.build(servers=2, agents=4)
        world.kill_server(self.second)
        world.advance(60)
        self.assertLess(self.stop(self.first), 1.0)

    def test_without_agents(self) -> None:
        """At once, and without a drain."""
        self.build(agents=0)
        self.assertLess(self.stop(self.first), 0.5)
        self.assertIsNone(self.world.read(lambda txn: txn.drains.get(self.first.service.membership.own.id)))

    def test_without_a_time(self) -> None:
        """Zero means at once: the agents find others by themselves."""
        world = self.build(agents=6)
        world.change_setting(STOP_TIMEOUT, "0")
        self.assertLess(self.stop(self.first), 1.0)
        world.advance(30)
        self.assert_well()

    def test_the_time_is_over(self) -> None:
        """Who has not gone is dropped."""
        world = self.build(agents=30, algorithm="static")
        world.change_setting(MOVE_RATE, "1")
        world.change_setting(STOP_TIMEOUT, "10")
        took = self.stop(self.first)
        self.assertTrue(10 <= took <= 13, took)
        drain = self.drain(self.first)
        self.assertIs(drain.end, DrainEnd.TIMED_OUT)
        self.assertTrue(drain.moved >= 7 and drain.left >= 15, drain)
        world.advance(60)
        self.assert_well()

    def test_in_a_hurry(self) -> None:
        """A second signal ends the wait."""
        world = self.build(agents=30, algorithm="static")
        world.change_setting(MOVE_RATE, "1")
        world.clock.callLater(2, self.first.service.hurry)
        self.assertTrue(2 <= self.stop(self.first) < 3.5)
        self.assertIs(self.drain(self.first).end, DrainEnd.STOPPED)

    def test_in_a_hurry_from_the_start(self) -> None:
        """A second signal that comes before the drain was written is not lost."""
        world = self.build(agents=6, database_lag=0.01)
        for agent in world.agents.values():
            world.freeze(agent)
        self.first.slow_database(2)
        world.clock.callLater(0.2, self.first.service.hurry)
        self.assertLess(self.stop(self.first), 12)

    def test_in_a_hurry_while_the_database_hangs(self) -> None:
        """The order to stop is not waited for either."""
        self.build(agents=0, database_lag=0.01)
        self.first.slow_database(1000)
        draining = self.first.service.draining
        stop = Deferred.fromCoroutine(draining.before_stop())
        self.world.advance(1)
        self.assertNoResult(stop)
        draining.hurry()
        self.successResultOf(stop)

    def test_the_database_hangs(self) -> None:
        """It is not waited for any longer, and the log says what it was."""
        self.build(agents=0, database_lag=0.01)
        self.first.slow_database(1000)
        with capturedLogs() as logged:
            stop = Deferred.fromCoroutine(self.first.service.draining.before_stop())
            self.world.advance(5)
            self.successResultOf(stop)
        lines = [formatEvent(event) for event in logged if event["log_namespace"].endswith("Draining")]
        self.assertEqual(lines, ["stopping at once: the database is away (no answer within 5 s)"])

    def test_while_the_database_is_away(self) -> None:
        """At once: nobody could be admitted elsewhere."""
        world = self.build(agents=6, database_lag=0.01)
        self.first.lose_database(away=True)
        world.advance(1)
        # Not at once are the last attempts to write.
        self.assertLess(self.stop(self.first), 15)

    def test_in_maintenance(self) -> None:
        """It is in maintenance when it starts again, and takes no agents before that is cancelled."""
        world = self.build(agents=6)
        self.order("prepare_for_maintenance", self.first)
        self.advance_until_ended(self.first)
        self.assertLess(self.stop(self.first), 1.0)
        world.restart_server(self.first)
        world.advance(5)
        self.assertIs(self.state(self.first), ServerState.MAINTENANCE)
        new = world.add_agent()
        world.advance(2)
        self.assertNotIn(new.server, (self.first.address, None))
        self.order("cancel_maintenance", self.first)
        self.assertIs(self.state(self.first), ServerState.UP)

    def test_in_the_middle_of_a_drain(self) -> None:
        """The drain for maintenance becomes one for the stop; started again, the server is in maintenance."""
        world = self.build(agents=30, algorithm="static")
        world.change_setting(MOVE_RATE, "5")
        self.order("prepare_for_maintenance", self.first)
        world.advance(2)
        self.assertTrue(2 <= self.stop(self.first) <= 8)
        self.assertEqual((self.drain(self.first).end, self.drain(self.first).number), (DrainEnd.DONE, 2))
        world.restart_server(self.first)
        world.advance(5)
        self.assertIs(self.state(self.first), ServerState.MAINTENANCE)
        self.assertEqual(self.transitions(), [])


class ShutdownTests(DrainCase):
    """prepareForShutdown, triggerShutdown and cancelShutdown."""

    def test_prepared_and_triggered(self) -> None:
        """Empty first, then ready, then gone; started again, it is Up."""
        world = self.build(agents=6)
        self.order("prepare_for_shutdown", self.first)
        self.assertIs(self.advance_until_ended(self.first, limit=5).end, DrainEnd.DONE)
        self.assertIs(self.state(self.first), ServerState.READY_TO_SHUTDOWN)
        self.order("trigger_shutdown", self.first)
        world.advance(3)
        self.assertFalse(self.first.alive)
        self.assertIs(self.state(self.first), ServerState.DOWN)
        self.assert_well()
        self.assertEqual(self.transitions(), [])
        world.restart_server(self.first)
        world.advance(3)
        self.assertIs(self.state(self.first), ServerState.UP)

    def test_triggered_at_once(self) -> None:
        """Empties the server first."""
        world = self.build_with_commands(agents=6)
        self.send(self.second)
        self.order("trigger_shutdown", self.first)
        self.assertIs(self.state(self.first), ServerState.SHUTTING_DOWN)
        world.advance(5)
        self.assertFalse(self.first.alive)
        self.assertIs(self.drain(self.first).end, DrainEnd.DONE)
        self.assert_answered()
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_cancelled(self) -> None:
        """The server is Up again, and keeps who has not gone."""
        world = self.build(agents=30, algorithm="static")
        world.change_setting(MOVE_RATE, "2")
        self.order("prepare_for_shutdown", self.first)
        world.advance(3)
        self.order("cancel_shutdown", self.first)
        self.assertIs(self.advance_until_ended(self.first).end, DrainEnd.CANCELLED)
        world.advance(10)
        self.assertIs(self.state(self.first), ServerState.UP)
        self.assertTrue(len(world.spread()[self.first.address]) > 15, world.spread())
        self.assertEqual(self.transitions(), [])


class RestartTests(DrainCase):
    """Ends in the middle of a drain, without a word."""

    def restart_in_the_middle(self, call: str) -> None:
        """Order a drain that takes its time, and kill the server."""
        world = self.build(agents=30, algorithm="static")
        world.change_setting(MOVE_RATE, "2")
        self.order(call, self.first)
        world.advance(5)
        world.kill_server(self.first)
        world.advance(1)
        world.restart_server(self.first)
        world.advance(60)
        drain = self.drain(self.first)
        self.assertEqual((drain.end, drain.left), (DrainEnd.STOPPED, 0))
        self.assert_well()

    def test_maintenance(self) -> None:
        """It is in maintenance then, and has no agents."""
        self.restart_in_the_middle("prepare_for_maintenance")
        self.assertIs(self.state(self.first), ServerState.MAINTENANCE)
        self.assertEqual(self.world.spread()[self.first.address], [])

    def test_shutdown(self) -> None:
        """It is Up: it has been shut down."""
        self.restart_in_the_middle("prepare_for_shutdown")
        self.assertIs(self.state(self.first), ServerState.UP)
