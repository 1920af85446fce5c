"""`cloudlb agents`: the pace of the starts, and which files are meant."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.agents import STARTS_PER_SECOND, Fleet, agent_files, agents


class Recorded(Service):
    """An agent that says whether it runs, and that takes its leave when told."""

    def __init__(self) -> None:
        self.left: Deferred[None] = Deferred()

    def stopService(self) -> Deferred[None]:
        """Begin to leave."""
        super().stopService()
        return self.left


def running(fleet: list[Recorded]) -> int:
    """How many of them run."""
    return sum(agent.running for agent in fleet)


def make_agent_folders(folder: Path, numbers: range) -> None:
    """Write an empty properties file for each number."""
    for number in numbers:
        path = folder / "agents" / str(number) / "agent.properties"
        path.parent.mkdir(parents=True)
        path.write_text("", encoding="utf-8")


class FleetTests(SynchronousTestCase):
    """Many agents in one process."""

    def setUp(self) -> None:
        """Make a fleet of two seconds' worth of agents."""
        self.clock = Clock()
        self.agents = [Recorded() for _ in range(2 * STARTS_PER_SECOND)]
        self.fleet = Fleet(self.clock, self.agents)

    def test_starts_one_after_the_other(self) -> None:
        """A server is not met by all handshakes in one instant."""
        self.fleet.startService()
        self.assertEqual(running(self.agents), 1)
        self.clock.pump([1 / STARTS_PER_SECOND] * (STARTS_PER_SECOND // 2))
        self.assertEqual(running(self.agents), STARTS_PER_SECOND // 2 + 1)
        self.clock.pump([1 / STARTS_PER_SECOND] * 2 * STARTS_PER_SECOND)
        self.assertEqual(running(self.agents), len(self.agents))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stop_waits_for_every_agent_that_was_started(self) -> None:
        """The process must not end before the last good-bye, and starts nobody any more."""
        self.fleet.startService()
        self.clock.pump([1 / STARTS_PER_SECOND] * 2)
        stopped = self.fleet.stopService()
        self.agents[0].left.callback(None)
        self.agents[1].left.callback(None)
        self.assertNoResult(stopped)
        self.agents[2].left.callback(None)
        self.successResultOf(stopped)
        self.clock.advance(10)
        self.assertEqual(running(self.agents), 0)


class CommandTests(SynchronousTestCase):
    """What the command takes and refuses."""

    def setUp(self) -> None:
        """Make a deployment of twelve agents, as far as their files go."""
        self.folder = Path(self.mktemp())
        make_agent_folders(self.folder, range(1, 13))

    def test_agents_are_ordered_by_number(self) -> None:
        """The first ten are 1 to 10, not 1, 10, 11, 12, 2 ..."""
        self.assertEqual([int(path.parent.name) for path in agent_files(self.folder)], list(range(1, 13)))

    def test_more_agents_than_there_are(self) -> None:
        """Asked for more than the deployment has, it says how many there are and starts none."""
        result = CliRunner().invoke(agents, [str(self.folder), "--count", "13"])
        self.assertEqual(result.exit_code, 1)
        self.assertIn("has 12 agents", result.output)

    def test_a_file_that_does_not_do_is_named(self) -> None:
        """One bad file of many is found before any agent starts."""
        result = CliRunner().invoke(agents, [str(self.folder), "--count", "3"])
        self.assertEqual(result.exit_code, 1)
        self.assertIn(f"{Path('agents', '1', 'agent.properties')}: guid is missing", result.output)
