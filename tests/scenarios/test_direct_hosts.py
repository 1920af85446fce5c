"""Hosts without an agent, and a resource of others: through whole servers."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from cloudlb.agents.registration import NewHost
from cloudlb.domain.models import Host
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.records import Event
from cloudlb.domain.settings import DIRECT_AGENT_SCAN_INTERVAL
from cloudlb.resource.loading import SIMULATOR
from cloudlb.wire import Answer, CheckHealthCommand, Command, Opaque
from tests.scenarios.case import WorldCase
from tests.support.server_process import ServerProcess
from tests.support.world import World

A, B = "10.0.0.1", "10.0.0.2"
THERMOMETER = Path(__file__).parents[2] / "docs" / "examples" / "thermometer"
READ = Opaque("com.example.thermometer.ReadTemperatureCommand", {"wait": 0})
SCAN = 10
"""Seconds between looks for direct hosts."""


class DirectCase(WorldCase):
    """Two servers."""

    def servers(self, **options: Any) -> World:
        """Start them."""
        world = self.world(servers=2, **{"agents": 0, **options})
        world.change_setting(DIRECT_AGENT_SCAN_INTERVAL, str(SCAN))
        return world

    def add(self, world: World, name: str, resource: str = SIMULATOR, **properties: str) -> None:
        """Add a direct host, on one of the servers that run."""
        (cluster,) = world.read(lambda txn: txn.topology.clusters())
        direct = {key.replace("_", "."): value for key, value in properties.items()}
        new = NewHost(name=name, cluster=cluster, resource=resource, direct=direct)
        world.wait_for(Deferred.fromCoroutine(world.running_servers[0].service.registration.add(new, 1)))

    def host(self, world: World, name: str) -> Host:
        """A host's row."""
        found = world.read(lambda txn: txn.hosts.find(name))
        assert found is not None
        return found

    def holders(self, world: World, name: str) -> list[ServerProcess]:
        """Servers that believe to have a host; none of them is stale."""
        host_id = self.host(world, name).id
        return [server for server in world.servers.values() if server.alive and server.attache(host_id) is not None]

    def send(self, world: World, name: str, *commands: Command | Opaque) -> Sequence[Answer | Opaque]:
        """Send commands through the one server that has a host."""
        (holder,) = self.holders(world, name)
        return world.wait_for(holder.service.sender.send(self.host(world, name).id, commands, timeout=5))

    def story(self, world: World, name: str) -> list[str]:
        """How a host's status came about."""
        which = EventFilter(event_type="HOST.STATUS.TRANSITION", host_id=self.host(world, name).id)
        found: Sequence[Event]
        found, _ = world.read(lambda txn: txn.events.list(which, 0, None))
        return [event.details["to"] for event in reversed(found)]


class DirectHostTests(DirectCase):
    """Simulators inside the servers."""

    def test_life(self) -> None:
        """A host is added, loaded once, and answers; it is heard of, and stays Up."""
        world = self.servers()
        self.add(world, "sim")
        world.advance(1)
        host = self.host(world, "sim")
        self.assertEqual((host.status.value, host.facts.cpus), ("Up", 16))
        self.assertEqual(1, len(self.holders(world, "sim")))
        (answer,) = self.send(world, "sim", CheckHealthCommand())
        self.assertTrue(isinstance(answer, Answer) and answer.result)
        world.advance(400)
        after = self.host(world, "sim")
        self.assertEqual((after.status.value, after.session), ("Up", host.session))
        self.assertGreater(after.last_heard or 0, world.clock.seconds() - 100)
        self.assertEqual(["Connecting", "Up"], self.story(world, "sim"))

    def test_server_killed(self) -> None:
        """The other server loads the hosts of a dead one, each once, and commands work there."""
        world = self.servers()
        names = [f"sim-{number}" for number in range(6)]
        for name in names:
            self.add(world, name)
        world.advance(2)
        spread = Counter(holder.address for name in names for holder in self.holders(world, name))
        self.assertEqual(6, sum(spread.values()))
        world.kill_server(world.servers[A])
        world.advance(30)
        for name in names:
            self.assertEqual([B], [holder.address for holder in self.holders(world, name)])
            self.assertEqual("Up", self.host(world, name).status.value)
            (answer,) = self.send(world, name, CheckHealthCommand())
            self.assertTrue(isinstance(answer, Answer) and answer.result)
        world.restart_server(world.servers[A])
        world.advance(30)
        for name in names:
            self.assertEqual([B], [holder.address for holder in self.holders(world, name)])
        self.assertEqual([], world.stale_writes())

    def test_server_stopped(self) -> None:
        """Its hosts are Disconnected, and soon Up on the other one."""
        world = self.servers()
        for number in range(4):
            self.add(world, f"sim-{number}")
        world.advance(2)
        world.stop_server(world.servers[A])
        world.advance(30)
        for number in range(4):
            self.assertEqual([B], [holder.address for holder in self.holders(world, f"sim-{number}")])
            self.assertEqual("Up", self.host(world, f"sim-{number}").status.value)

    def test_server_restarted(self) -> None:
        """A server that comes back before anyone missed it loads its hosts again."""
        world = self.servers()
        for number in range(4):
            self.add(world, f"sim-{number}")
        world.advance(2)
        world.restart_server(world.servers[A])
        world.advance(15)
        for number in range(4):
            self.assertEqual(1, len(self.holders(world, f"sim-{number}")))
            (answer,) = self.send(world, f"sim-{number}", CheckHealthCommand())
            self.assertTrue(isinstance(answer, Answer) and answer.result)

    def test_server_that_was_frozen(self) -> None:
        """A server that was away while another took its hosts gives way when it is back."""
        world = self.servers()
        for number in range(4):
            self.add(world, f"sim-{number}")
        world.advance(2)
        world.freeze(world.servers[A])
        world.advance(40)
        world.thaw(world.servers[A])
        world.advance(15)
        for number in range(4):
            self.assertEqual([B], [holder.address for holder in self.holders(world, f"sim-{number}")])
        self.assertEqual(0, len(list(world.servers[A].service.direct_hosts._attaches)))
        self.assertEqual([], world.stale_writes())

    def test_slow_one(self) -> None:
        """A host that hangs holds up its own commands alone, each until its time is up."""
        world = self.servers()
        self.add(world, "slow", simulator_fault="*:hang")
        self.add(world, "quick")
        world.advance(2)
        (holder,) = self.holders(world, "slow")
        hanging = holder.service.sender.send(self.host(world, "slow").id, [CheckHealthCommand()], timeout=3)
        (answer,) = self.send(world, "quick", CheckHealthCommand())
        self.assertTrue(isinstance(answer, Answer) and answer.result)
        self.assertNoResult(hanging)
        world.advance(4)
        (answer,) = self.successResultOf(hanging)
        assert isinstance(answer, Answer)
        self.assertEqual((False, "CheckHealthCommand timed out after 3 s"), (answer.result, answer.details))

    def test_reconnected_and_deleted(self) -> None:
        """A new connection is a new session; a deleted host's resource is let go, and comes back when restored."""
        world = self.servers()
        self.add(world, "sim")
        world.advance(2)
        host = self.host(world, "sim")
        operations = world.running_servers[0].service.operations
        world.wait_for(Deferred.fromCoroutine(operations.reconnect_host(host.id, 1)))
        world.advance(3)
        again = self.host(world, "sim")
        self.assertEqual(("Up", host.session + 1), (again.status.value, again.session))
        world.wait_for(Deferred.fromCoroutine(operations.delete_host(host.id, 1)))
        world.advance(2 * SCAN)
        self.assertEqual([], [attache for server in world.servers.values() for attache in server.service.directory])
        world.wait_for(Deferred.fromCoroutine(operations.restore_host(host.id, 1)))
        world.advance(3)
        self.assertEqual("Up", self.host(world, "sim").status.value)


class ThermometerTests(DirectCase):
    """The example of docs/writing-a-resource.md, found by its name alone."""

    def setUp(self) -> None:
        """Install it, and a thermometer."""
        self.patch(sys, "path", [str(THERMOMETER), *sys.path])
        self.addCleanup(sys.modules.pop, "thermometer", None)
        self.file = Path(self.mktemp()).absolute()
        self.file.write_text("21500\n", encoding="ascii")

    def check(self, world: World, name: str) -> None:
        """It reads the temperature, knows when it is too hot, and says what it does not know."""
        answers = self.send(world, name, READ, CheckHealthCommand())
        self.assertEqual(["21.5", "21.5 degrees"], [answer.details for answer in answers if isinstance(answer, Answer)])
        self.file.write_text("40100\n", encoding="ascii")
        answers = self.send(world, name, CheckHealthCommand(), Opaque("com.example.Unknown", {}))
        self.assertEqual([False, False], [answer.result for answer in answers if isinstance(answer, Answer)])
        self.file.unlink()
        (answer,) = self.send(world, name, READ)
        assert isinstance(answer, Answer)
        self.assertIn("FileNotFoundError", answer.details or "")
        self.assertEqual("thermometer", self.host(world, name).facts.capabilities)

    def test_in_an_agent(self) -> None:
        """As the property ``resource`` of agent.properties."""
        properties = f"resource=thermometer.ThermometerResource\nthermometer.file={self.file}\n"
        self.check(self.servers(agents=1, properties=properties), "agent-1")

    def test_in_a_server(self) -> None:
        """As a direct host."""
        world = self.servers()
        self.add(world, "room", "thermometer.ThermometerResource", thermometer_file=str(self.file))
        world.advance(2)
        self.check(world, "room")

    def test_bad_property(self) -> None:
        """The reason is there for an operator to read."""
        world = self.servers()
        self.add(world, "room", "thermometer.ThermometerResource", thermometer_limit="hot")
        world.advance(2)
        self.assertEqual("Error", self.host(world, "room").status.value)
        found, _ = world.read(lambda txn: txn.events.list(EventFilter(event_type="HOST.LOAD"), 0, None))
        self.assertIn("thermometer.limit=hot: not a number", found[0].description)
