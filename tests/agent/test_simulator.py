"""The simulated host."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from agent.resources.simulator import SimulatorResource
from cloudlb.resource.dispatch import Dispatch
from cloudlb.resource.interface import (
    Answer,
    CheckHealthAnswer,
    CheckHealthCommand,
    Command,
    GetHostStatsAnswer,
    GetHostStatsCommand,
    InvalidProperty,
    MaintainAnswer,
    MaintainCommand,
    Opaque,
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
        return Dispatch(resource, self.clock, workers=5).execute(commands, in_sequence=False, stop_on_error=False)

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
        """It is a KVM host."""
        resource = SimulatorResource()
        resource.configure({}, self.clock)
        (startup,) = resource.startup()
        assert isinstance(startup, StartupRoutingCommand)
        self.assertEqual((startup.hypervisor_type, startup.arch, startup.host_type), ("KVM", "x86_64", "Routing"))
        self.assertEqual(resource.ping(7).host_id, 7)

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
        ):
            error = self.assertRaises(InvalidProperty, SimulatorResource().configure, {key: value}, self.clock)
            self.assertIn(f"{key}={value}", str(error))
