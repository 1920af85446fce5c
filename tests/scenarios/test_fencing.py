"""Stories of servers that lose the database: one alone, or all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from cloudlb.cluster.fencing import WITNESSES
from cloudlb.domain.ports import StoreUnavailable
from tests.scenarios.case import WorldCase
from tests.support.server_process import ServerProcess
from tests.support.world import World

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
THRESHOLD = 7.5
PING = 6


def _lost(work: Callable[..., Any]) -> Deferred[Any]:
    return fail(StoreUnavailable("the database is gone"))


def lose_database(server: ServerProcess) -> Callable[[], None]:
    """Have a server's work in the database fail from now on; returns what ends that."""
    database = server.database
    kept = database.run, database.read
    database.run = database.read = _lost  # type: ignore[method-assign]

    def regain() -> None:
        database.run, database.read = kept  # type: ignore[method-assign]

    return regain


def mute_database(server: ServerProcess) -> Callable[[], None]:
    """Have a server's work wait from now on, neither done nor refused; returns what has it done."""
    database = server.database
    kept = database.run, database.read
    waiting: list[tuple[Callable[[], Deferred[Any]], Deferred[Any]]] = []

    def held(run: Callable[..., Any]) -> Callable[..., Any]:
        def hold(work: Callable[..., Any]) -> Deferred[Any]:
            waiting.append((lambda: run(work), Deferred()))
            return waiting[-1][1]

        return hold

    database.run, database.read = held(kept[0]), held(kept[1])  # type: ignore[method-assign]

    def regain() -> None:
        database.run, database.read = kept  # type: ignore[method-assign]
        for go, waiter in waiting:
            go().chainDeferred(waiter)

    return regain


class FencingTests(WorldCase):
    """Three servers, six agents; A has 1 and 4, B has 2 and 5, C has 3 and 6."""

    def tearDown(self) -> None:
        """What could not be written meanwhile is in the log."""
        self.flushLoggedErrors(StoreUnavailable)

    def statuses(self, world: World) -> set[str]:
        """Of all hosts in the database."""
        return {world.row(agent).status.value for agent in world.agents.values()}

    def changes(self, world: World) -> int:
        """How often a status was changed so far."""
        with world._own._read_engine.begin() as connection:
            return len(connection.exec_driver_sql("SELECT * FROM audit").all())

    def test_one_alone(self) -> None:
        """Past the threshold its agents are on the others, and have been Up all the while; later they return."""
        world = self.world(check_interval=5, ping_interval=PING)
        changes = self.changes(world)
        regain = lose_database(world.servers[B])
        world.advance(THRESHOLD - 0.5)
        self.assertEqual([world.agents[number].server for number in (2, 5)], [B, B])
        for _ in range(25):
            world.advance(0.5)
            self.assertEqual(self.statuses(world), {"Up"})
        self.assertEqual(world.spread()[B], [])
        world.advance(60)
        self.assertEqual(world.spread()[B], [])
        # Without its database it hears of that by the agents alone, which leave its links to it for a minute.
        self.assertEqual(world.believers(world.agents[2]), [world.agents[2].server])
        regain()
        world.advance(60)
        self.assertEqual(world.spread(), {A: [1, 4], B: [2, 5], C: [3, 6]})
        self.assertEqual(self.changes(world), changes)
        self.assert_up_once(world)

    def test_all_of_them(self) -> None:
        """No link ends, pings are answered, and afterwards everybody is where they were."""
        world = self.world(check_interval=5, ping_interval=PING)
        spread, changes = world.spread(), self.changes(world)
        sessions = [agent.service.agent.session for agent in world.agents.values()]
        regain = [lose_database(server) for server in world.servers.values()]
        world.advance(20 * THRESHOLD)
        self.assertEqual([agent.service.agent.session for agent in world.agents.values()], sessions)
        for one in regain:
            one()
            world.advance(2)
        world.advance(60)
        self.assertEqual([agent.service.agent.session for agent in world.agents.values()], sessions)
        self.assertEqual((world.spread(), self.changes(world)), (spread, changes))
        self.assert_up_once(world)

    def test_mute_for_all(self) -> None:
        """A database that says nothing for a while moves nobody but the agents that were asked, who come back."""
        world = self.world(agents=24, check_interval=60, ping_interval=PING)
        spread, changes = world.spread(), self.changes(world)
        sessions = {world.row(agent).id: world.row(agent).session for agent in world.agents.values()}
        regain = [mute_database(server) for server in world.servers.values()]
        world.advance(3 * THRESHOLD)
        for one in regain:
            one()
        world.advance(10)
        moved = [agent for agent in world.agents.values() if world.row(agent).session != sessions[world.row(agent).id]]
        self.assertLessEqual(len(moved), WITNESSES * len(world.servers))
        world.advance(120)
        self.assertEqual((world.spread(), self.changes(world)), (spread, changes))
        self.assert_up_once(world)

    def test_a_server_that_stood_still(self) -> None:
        """Has the database all the same, and keeps its agents."""
        world = self.world(database_lag=0.3)
        changes = self.changes(world)
        world.freeze(world.servers[B])
        world.advance(20)
        world.thaw(world.servers[B])
        world.advance(30)
        self.assertEqual(world.spread()[B], [2, 5])
        self.assertEqual(self.changes(world), changes)
        self.assert_up_once(world)

    def test_all_but_one_come_back(self) -> None:
        """The agents of the one whose database stays away go to the others."""
        world = self.world(ping_interval=PING)
        regain = [lose_database(server) for server in world.servers.values()]
        world.advance(60)
        regain[0]()
        regain[2]()
        world.advance(45)
        self.assertEqual(world.spread()[B], [])
        self.assertEqual(self.statuses(world), {"Up"})
        regain[1]()
        world.advance(60)
        self.assert_up_once(world)
