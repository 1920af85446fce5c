"""Stories of two processes with one server's mgmt.properties."""

from __future__ import annotations

from typing import cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from cloudlb.cluster.namesake import PATIENCE
from cloudlb.domain.models import Server
from tests.scenarios.case import WorldCase
from tests.support.world import World

A, NEW = "10.0.0.1", "10.0.0.9"


class NamesakeTests(WorldCase):
    """A second server of a name that is taken."""

    def setUp(self) -> None:
        """Keep what is logged as critical."""
        self.critical: list[str] = []
        observer = cast("ILogObserver", self.observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def observe(self, event: LogEvent) -> None:
        """Keep it."""
        if event.get("log_level") is LogLevel.critical:
            self.critical.append(formatEvent(event))

    def row(self, world: World, name: str) -> Server:
        """The row of a name."""
        return next(server for server in world.read(lambda txn: txn.servers.all()) if server.name == name)

    def test_refused(self) -> None:
        """While the first one listens, the second one does not start, says why, and disturbs nobody."""
        world = self.world()
        before, spread = self.row(world, A), world.spread()
        world.add_server(NEW, name=A)
        world.settle()
        self.assertFalse(world.servers[NEW].alive)
        (line,) = self.critical
        self.assertRegex(line, f"a server named {A} runs at {A} port 8250, its last heartbeat is .* s old: stop it")
        after = self.row(world, A)
        self.assertEqual((after.run_id, after.address), (before.run_id, before.address))
        self.assertTrue(world.servers[A].alive)
        del world.servers[NEW]
        self.assertEqual(world.spread(), spread)
        self.assert_up_once(world)

    def test_refused_by_one_that_is_suspended(self) -> None:
        """Its kernel listens, and it may go on at any moment."""
        world = self.world()
        world.freeze(world.servers[A])
        world.advance(2)
        world.add_server(NEW, name=A)
        world.advance(PATIENCE)
        self.assertFalse(world.servers[NEW].alive)
        (line,) = self.critical
        self.assertIn(f"a server named {A} runs at", line)

    def test_gives_way(self) -> None:
        """Where the second cannot see the first, it starts, and the first stops with its next heartbeat."""
        world = self.world()
        world.network.cut(A, NEW)
        world.add_server(NEW, name=A)
        world.advance(PATIENCE + 2)
        self.assertFalse(world.servers[A].alive)
        (line,) = self.critical
        self.assertRegex(line, rf"another process has started as server {A}, at {NEW} port 8250 .*: this one stops")
        world.advance(30)
        row = self.row(world, A)
        self.assertEqual((row.address, row.alive, row.recorded.value), (NEW, True, "Up"))
        del world.servers[A]
        # Not that what it wrote before now seems another's.
        self.assertEqual([problem for agent in world.agents.values() for problem in world.problems(agent)], [])

    def test_gives_way_later(self) -> None:
        """One that was suspended, and taken for dead, stops when it goes on, and its row stays the other's."""
        world = self.world(ping_interval=5)
        world.freeze(world.servers[A])
        world.advance(30)
        world.add_server(NEW, name=A)
        world.settle()
        self.assertTrue(world.servers[NEW].alive)
        world.thaw(world.servers[A])
        world.advance(5)
        self.assertFalse(world.servers[A].alive)
        world.advance(30)
        row = self.row(world, A)
        self.assertEqual((row.address, row.alive, row.recorded.value), (NEW, True, "Up"))
        del world.servers[A]
        # Not that what it wrote before now seems another's.
        self.assertEqual([problem for agent in world.agents.values() for problem in world.problems(agent)], [])

    def test_after_a_crash(self) -> None:
        """A server that was killed starts again at once, though its heartbeat is young."""
        world = self.world()
        world.restart_server(world.servers[A])
        world.advance(1)
        self.assertTrue(world.servers[A].alive)
        self.assertIsNotNone(world.servers[A].service.membership.own)
        self.assertEqual(self.critical, [])
