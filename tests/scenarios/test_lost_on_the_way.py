"""Hosts whose agents break their link before they make the next one, and are lost: never left Rebalancing."""

from __future__ import annotations

from cloudlb.agents.departures import RETURNS_WITHIN
from cloudlb.agents.moves import MoveEnd
from cloudlb.domain.host_status import HostStatus
from tests.scenarios.moving import ALGORITHM, PING, A, B, MoveCase
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.world import World

SLOW = 4.0
"""Seconds that a slow database takes at most to begin a write, and once more to tell what came of it."""


class LostOnTheWayTests(MoveCase):
    """Agents of CloudStack's that are lost before, while and after they are asked to move."""

    LOST = ("Rebalancing", "Disconnected")

    def start(self, **options: object) -> tuple[World, CloudStackAgent]:
        """A world, and its one agent."""
        world = self.world(agents=0, **{"algorithm": ALGORITHM, "ping_interval": PING, "servers": 2, **options})
        return world, self.cloudstack_agent(world, A, B)

    def test_it_does_not_come_back(self) -> None:
        """After a while it is lost as any other host, with an investigation."""
        world, agent = self.start()
        moved = self.move(world, agent.name, B)
        world.advance(2)
        agent.kill()
        world.advance(RETURNS_WITHIN - 3)
        self.assertEqual(self.steps(world, agent.name), ["Rebalancing"])
        world.advance(8)
        self.assertEqual(self.end(moved), MoveEnd.LOST)
        self.assertEqual(self.steps(world, agent.name), [*self.LOST])
        self.assertIsNotNone(self.host(world, agent.name).looked_into)
        agent.start()
        world.advance(5)
        self.assertEqual(self.steps(world, agent.name)[2:], ["Connecting", "Up"])

    def test_it_dies_before_it_was_asked(self) -> None:
        """It is lost at once: nobody has told it to go."""
        world, agent = self.start()
        agent.delay = 30
        self.send(world, agent.name, "first").addErrback(lambda _: None)
        moved = self.move(world, agent.name, B)
        world.advance(2)
        agent.kill()
        world.advance(3)
        self.assertEqual(self.end(moved), MoveEnd.LOST)
        self.assertEqual(self.steps(world, agent.name), [*self.LOST])

    def test_it_dies_before_rebalancing_is_known(self) -> None:
        """Whether or not it is written yet: it is lost as any other host when it is."""
        for written in (False, True):
            world, agent = self.start(database_lag=0.05)
            world.servers[A].slow_database(SLOW)
            moved = self.move(world, agent.name, B)
            world.advance(0.5)
            self.assertEqual(self.steps(world, agent.name), [])
            while written and not self.steps(world, agent.name):
                world.advance(0.01)
            self.assert_unknown(world, agent)
            agent.kill()
            world.advance(12 * SLOW)
            self.assertEqual(self.end(moved), MoveEnd.LOST)
            self.assertEqual(self.steps(world, agent.name), [*self.LOST])
            self.assertIsNotNone(self.host(world, agent.name).looked_into)

    def test_it_dies_while_rebalancing_is_in_doubt(self) -> None:
        """It was written, but nobody has heard of it: it is lost when the database is back."""
        world, agent = self.start(database_lag=0.05)
        world.servers[A].slow_database(SLOW)
        moved = self.move(world, agent.name, B)
        while not self.steps(world, agent.name):
            world.advance(0.01)
        world.servers[A].lose_database(away=True)
        world.advance(SLOW)
        self.assert_unknown(world, agent)
        agent.kill()
        world.advance(2)
        world.servers[A].slow_database(0.05)
        world.servers[A].lose_database(away=False)
        world.advance(20)
        self.assertEqual(self.end(moved), MoveEnd.LOST)
        self.assertEqual(self.steps(world, agent.name), [*self.LOST])
        self.assertIsNotNone(self.host(world, agent.name).looked_into)

    def assert_unknown(self, world: World, agent: CloudStackAgent) -> None:
        """Its server does not know the host as Rebalancing."""
        attache = world.servers[A].attache(self.host(world, agent.name).id)
        assert attache is not None
        self.assertIs(attache.host.status, HostStatus.UP)

    def test_it_dies_before_it_answers(self) -> None:
        """It is lost at once: who goes answers first."""
        world, agent = self.start()
        agent.mute = True
        moved = self.move(world, agent.name, B)
        world.advance(2)
        agent.kill()
        world.advance(3)
        self.assertEqual(self.end(moved), MoveEnd.LOST)
        self.assertEqual(self.steps(world, agent.name), [*self.LOST])

    def test_silent_before_it_was_asked(self) -> None:
        """It is found late, and lost."""
        world, agent = self.start(ping_interval=2)
        agent.delay = 1000
        self.send(world, agent.name, "first", timeout=1000).addErrback(lambda _: None)
        self.move(world, agent.name, B)
        world.advance(1)
        world.network.cut(agent.address, A)
        world.advance(45)
        self.assertEqual(self.steps(world, agent.name), [*self.LOST])

    def test_its_server_dies_too(self) -> None:
        """The other servers write the host off."""
        world, agent = self.start()
        self.move(world, agent.name, B)
        world.advance(2)
        agent.kill()
        world.kill_server(world.servers[A])
        world.advance(60)
        self.assertEqual(self.steps(world, agent.name), [*self.LOST])
