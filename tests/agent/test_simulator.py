"""The simulated host."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from agent.resources.simulator import SimulatorResource
from cloudlb.resource.dispatch import Dispatch
from cloudlb.resource.interface import (
    COMMAND_ID,
    Answer,
    CheckHealthAnswer,
    CheckHealthCommand,
    CheckOnHostAnswer,
    CheckOnHostCommand,
    Command,
    GetHostStatsAnswer,
    GetHostStatsCommand,
    HostAddresses,
    InvalidProperty,
    MaintainAnswer,
    MaintainCommand,
    Opaque,
    PingTestCommand,
    StartupRoutingCommand,
)


class SimulatorTests(SynchronousTestCase):
    """Answers, delays and faults."""

    def setUp(self) -> None:
        """A clock for the delays."""
        self.clock = Clock()

    def ask(self, properties: dict[str, str], *commands: Command | Opaque) -> Deferred[list[Answer]]:
        """Ask a simulator with these properties."""
        resource = SimulatorResource()
        resource.configure(properties, self.clock)
        return Dispatch(resource, self.clock, workers=5).execute(
            commands, sequence=1, in_sequence=False, stop_on_error=False
        )

    def results(self, properties: dict[str, str], count: int = 200) -> list[bool]:
        """The results of many commands."""
        return [a.result for a in self.successResultOf(self.ask(properties, *[CheckHealthCommand()] * count))]

    def test_answers(self) -> None:
        """Known commands get answers of their kind, others a plain one."""
        answers = self.successResultOf(
            self.ask(
                {}, CheckHealthCommand(), MaintainCommand(), GetHostStatsCommand(), Opaque("com.x.StartCommand", {})
            )
        )
        self.assertEqual([type(a) for a in answers], [CheckHealthAnswer, MaintainAnswer, GetHostStatsAnswer, Answer])
        self.assertTrue(all(a.result for a in answers))

    def test_host(self) -> None:
        """It is a KVM host, unless it is told to be another."""
        for properties, hypervisor in (({}, "KVM"), ({"hypervisor.type": "Simulator"}, "Simulator")):
            resource = SimulatorResource()
            resource.configure(properties, self.clock)
            (startup,) = resource.startup()
            assert isinstance(startup, StartupRoutingCommand)
            self.assertEqual((startup.hypervisor_type, startup.arch), (hypervisor, "x86_64"))
            self.assertEqual((startup.host_type, resource.ping(7).host_id), ("Routing", 7))

    def test_delay(self) -> None:
        """Every command takes as long as it is told to."""
        answers = self.ask({"simulator.delay": "2.5"}, MaintainCommand())
        self.clock.advance(2.4)
        self.assertNoResult(answers)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(answers), [MaintainAnswer()])

    def test_faults(self) -> None:
        """Faults strike the commands that they are for."""
        faults = "CheckHealthCommand:fail, MaintainCommand:raise, StartCommand:hang"
        answers = self.ask(
            {"simulator.fault": faults},
            CheckHealthCommand(),
            MaintainCommand(),
            Opaque("com.x.StartCommand", {"wait": 9}),
            GetHostStatsCommand(),
        )
        self.assertNoResult(answers)
        self.clock.advance(9)
        self.assertEqual([a.result for a in self.successResultOf(answers)], [False, False, False, True])
        self.flushLoggedErrors()

    def test_every_command(self) -> None:
        """A star stands for every command."""
        self.assertEqual(self.results({"simulator.fault": "*:fail"}, 3), [False] * 3)

    def test_chance(self) -> None:
        """A probability strikes about as often, and equal seeds strike equally."""
        results = self.results({"simulator.fault": "0.25", "guid": "g"})
        self.assertTrue(25 < results.count(False) < 75)
        self.assertEqual(results, self.results({"simulator.fault": "0.25", "guid": "g"}))
        self.assertNotEqual(results, self.results({"simulator.fault": "0.25", "simulator.seed": "2"}))

    def test_bad_properties(self) -> None:
        """What it cannot use is refused by name."""
        for key, value in (
            ("simulator.delay", "soon"),
            ("simulator.delay", "-1"),
            ("simulator.delay", "nan"),
            ("simulator.fault", "1.5"),
            ("simulator.fault", "often"),
            ("simulator.fault", "StartCommand:explode"),
            ("simulator.heartbeat.interval", "0"),
            ("simulator.record", "/dev/null/record"),
        ):
            error = self.assertRaises(InvalidProperty, SimulatorResource().configure, {key: value}, self.clock)
            self.assertIn(f"{key}={value}", str(error))

    def test_record(self) -> None:
        """Each command that is carried out leaves a line, one that fails too."""
        file = Path(self.mktemp())
        identified = MaintainCommand(context_map={COMMAND_ID: "one"})
        opaque = Opaque("com.x.StartCommand", {"contextMap": {COMMAND_ID: "two"}})
        properties = {"simulator.record": str(file), "simulator.fault": "MaintainCommand:fail"}
        query = CheckHealthCommand(context_map={"logid": "three"})
        self.successResultOf(
            self.ask(properties, identified, opaque, query, CheckHealthCommand(), Opaque("com.x.Odd", {}))
        )
        self.assertEqual(
            ["MaintainCommand one", "StartCommand two", "CheckHealthCommand three", "CheckHealthCommand -", "Odd -"],
            file.read_text().splitlines(),
        )

    def test_ping_without_sockets(self) -> None:
        """A machine that has no sockets to ping with says so."""
        (answer,) = self.successResultOf(self.ask({}, PingTestCommand(computing_host_ip="127.0.0.1")))
        self.assertFalse(answer.result)
        self.assertIn("no sockets", answer.details or "")


class HeartbeatTests(SynchronousTestCase):
    """The sign of life on shared storage, and what a neighbour says of it."""

    def setUp(self) -> None:
        """Two hosts that share a folder."""
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.folder = Path(self.mktemp())
        self.one, self.two = self.host("one"), self.host("two")

    def host(self, guid: str) -> SimulatorResource:
        """A host that beats every 10 s."""
        resource = SimulatorResource()
        resource.configure({"guid": guid, "simulator.heartbeat.dir": str(self.folder)}, self.clock)
        self.addCleanup(resource.close)
        return resource

    def look(self, guid: str | None = "one-SimulatorResource", by: SimulatorResource | None = None) -> tuple[bool, ...]:
        """Result, determined and alive of the answer about a host."""
        answer = (by or self.two).execute(CheckOnHostCommand(host=HostAddresses(guid=guid)))
        assert isinstance(answer, CheckOnHostAnswer)
        return answer.result, answer.determined, answer.alive

    def test_fresh(self) -> None:
        """While a host beats, its neighbour sees it alive, however long."""
        self.clock.pump([5] * 20)
        self.assertEqual(self.look(), (True, True, True))

    def test_stale(self) -> None:
        """Three intervals after the last beat it is not alive any more, and alive again with the next."""
        self.one.close()
        self.clock.pump([5] * 6)
        self.assertEqual(self.look(), (True, True, True))
        self.clock.pump([5])
        self.assertEqual(self.look(), (True, True, False))
        self.host("one")
        self.assertEqual(self.look(), (True, True, True))

    def test_missing(self) -> None:
        """A host that never left a sign is not alive, as for CloudStack's agent."""
        self.assertEqual(self.look("three-SimulatorResource"), (True, True, False))

    def test_odd_guid(self) -> None:
        """A GUID names a file of the folder, whatever it is."""
        self.host("../odd/guid")
        self.assertEqual(self.look("../odd/guid-SimulatorResource"), (True, True, True))
        self.assertEqual({file.parent for file in self.folder.parent.rglob("hb-*")}, {self.folder})

    def test_cannot_say(self) -> None:
        """Without the storage, a readable sign or a name there is nothing to say."""
        (self.folder / "hb-broken").write_text("soon")
        alone = SimulatorResource()
        alone.configure({"guid": "alone"}, self.clock)
        for looked in (self.look("broken"), self.look(by=alone), self.look(None)):
            self.assertEqual(looked, (False, False, False))

    def test_lost_storage(self) -> None:
        """A host whose own beats do not get there says nothing of the others, until they do."""
        hidden = self.folder.with_name("hidden")
        self.folder.rename(hidden)
        self.folder.touch()
        self.clock.pump([5] * 8)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 8)
        self.assertEqual(self.look(), (False, False, False))
        self.folder.unlink()
        hidden.rename(self.folder)
        self.clock.pump([5] * 2)
        self.assertEqual(self.look(), (True, True, True))
