"""Stories of upgrades: a schema that changes under servers that run, and new servers that take over from old ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure

from cloudlb._version import __version__
from cloudlb.cluster import membership
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.settings import HOST, LB_ALGORITHM
from cloudlb.wire import CheckHealthCommand
from tests.scenarios.case import WorldCase
from tests.simulation.traffic import serves
from tests.storage.revisions import NEXT, bring_to
from tests.support.server_process import ServerProcess
from tests.support.world import World

OLD = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
NEW = ("10.0.0.4", "10.0.0.5", "10.0.0.6")
TRANSITION = "HOST.STATUS.TRANSITION"


class Traffic:
    """Commands for every host in turn, through every running server in turn."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent = 0
        self.answered = 0
        self.errors: list[str] = []
        self._agents = cycle(list(world.agents.values()))

    def send(self) -> None:
        """Send a command through each server that listens."""
        for server in filter(serves, self.world.running_servers):
            agent = next(self._agents)
            host_id = self.world.host_id(agent)
            assert host_id is not None
            self.sent += 1
            sending = server.service.sender.send(host_id, [CheckHealthCommand()], timeout=20)
            sending.addCallbacks(self._answered, self._failed)

    def _answered(self, answers: object) -> None:
        self.answered += 1

    def _failed(self, failure: Failure) -> None:
        self.errors.append(failure.getErrorMessage())


class SchemaTests(WorldCase):
    """The database is brought to the schema of the next version while servers of this one run."""

    def test_they_go_on(self) -> None:
        """Pings, commands, settings, new agents and failover go on; only who starts is refused, and says why."""
        world = self.world(ping_interval=5)
        bring_to(world.database_url, NEXT)
        traffic = Traffic(world)
        for _ in range(100):
            traffic.send()
            world.advance(0.1)
        world.change_setting(LB_ALGORITHM, "rendezvous")
        world.add_agent()
        world.settle()
        self.assert_on_preferred(world)
        victim = world.servers[OLD[0]]
        with capturedLogs() as events:
            world.restart_server(victim)
            world.advance(30)
        (line,) = [formatEvent(event) for event in events if event["log_level"] is LogLevel.critical]
        self.assertIn(f"The server cannot start: the database's schema has revision {NEXT}", line)
        self.assertFalse(victim.alive)
        self.assert_up_once(world)
        self.assertEqual((traffic.answered, traffic.errors), (traffic.sent, []))


class HostMigrationTests(WorldCase):
    """`host` goes from the addresses of old servers to those of new ones."""

    def server(self, world: World, address: str) -> ServerProcess:
        """A server of the next version."""
        self.patch(membership, "__version__", "next")
        return world.add_server(address)

    def transitions(self, world: World) -> int:
        """How often a host has changed its status."""
        return world.read(lambda txn: txn.events.list(EventFilter(event_type=TRANSITION), 0, None))[1]

    def pass_time(self, world: World, traffic: Traffic, seconds: float) -> None:
        """Let time pass; no host may be without its agent, at any moment."""
        hosts = {agent: world.host_id(agent) for agent in world.agents.values()}
        for step in range(int(seconds * 20)):
            if step % 4 == 0:
                traffic.send()
            world.advance(0.05)
            for agent, host_id in hosts.items():
                assert host_id is not None
                self.assertTrue(agent.server, f"{agent.name} is nowhere")
                self.assertTrue(any(each.attache(host_id) for each in world.running_servers), f"{agent.name} is lost")

    def test_old_to_new(self) -> None:
        """All agents are on the new servers, none was seen to move, no command has failed; the old ones are gone."""
        world = self.world(algorithm="roundrobin", agents=6)
        before = self.transitions(world)
        traffic = Traffic(world)
        for address in NEW:
            self.server(world, address)
        self.pass_time(world, traffic, 4)
        self.assertEqual(
            {server.address: server.version for server in world.read(lambda txn: txn.servers.all())},
            {**dict.fromkeys(OLD, __version__), **dict.fromkeys(NEW, "next")},
        )
        world.change_setting(HOST, ",".join(NEW))
        self.pass_time(world, traffic, 6)
        spread = world.spread()
        self.assertEqual({address: len(spread[address]) for address in NEW}, dict.fromkeys(NEW, 2))
        for address, orders in self.leaving(world):
            world.wait_for(orders)
            self.pass_time(world, traffic, 3)
            self.assertFalse(world.servers[address].alive, address)
        self.assertEqual({server.name for server in world.read(lambda txn: txn.servers.all())}, set(NEW))
        for agent in world.agents.values():
            self.assertEqual(set(agent.host_property.partition("@")[0].split(",")), set(NEW))
        self.assert_on_preferred(world)
        world.settle()
        self.assertEqual((traffic.answered, traffic.errors), (traffic.sent, []))
        self.assertEqual(self.transitions(world), before)

    def leaving(self, world: World) -> Iterator[tuple[str, Deferred[None]]]:
        """The orders to end, one old server after the other; then those that are gone are forgotten."""
        asked = world.servers[NEW[0]].service.server_orders
        ids = {server.address: server.id for server in world.read(lambda txn: txn.servers.all())}
        for address in OLD:
            yield address, Deferred.fromCoroutine(asked.trigger_shutdown(ids[address], 1))
        for address in OLD:
            world.wait_for(Deferred.fromCoroutine(asked.remove(ids[address], 1)))
