"""The demo's story: it is told only where it is true."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from attrs import evolve
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.demo import summary, unfit
from cloudlb.cli.local_cluster import Api, Inventory, LocalCluster
from cloudlb.cli.story import StepFailed, change_algorithm, fail_back, fail_over, play
from cloudlb.domain.host_list import HostList
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_CHECK_INTERVAL
from tests.cli.cluster_model import ClusterModel
from tests.cli.test_run import write_deployment


class StoryTests(SynchronousTestCase):
    """A cluster that does as it should, and others that do not."""

    def setUp(self) -> None:
        """Make a cluster that obeys."""
        self.cluster = ClusterModel()

    def assert_breaks_off(self, *words: str) -> None:
        """The story ends with an error that says these words, and in bounded time."""
        with self.assertRaises(StepFailed) as raised:
            play(self.cluster, lambda _: None)
        for word in words:
            self.assertIn(word, str(raised.exception))
        self.assertLess(self.cluster.time, 120)

    def test_a_good_cluster(self) -> None:
        """Every step holds, and the summary has its figures."""
        told: list[str] = []
        story = play(self.cluster, told.append)
        self.assertEqual(story.balance.agents, {"10.0.0.1": 2, "10.0.0.2": 2, "10.0.0.3": 2})
        self.assertEqual(
            [(move.agent, move.source, move.target) for move in story.failover.moves],
            [("agent-2", "10.0.0.2", "10.0.0.3"), ("agent-5", "10.0.0.2", "10.0.0.3")],
        )
        for move in (*story.failover.moves, *story.failback.moves):
            self.assertApproximates(move.seconds, self.cluster.delay, 0.2)
        self.assertApproximates(story.failover.down_after, 2 * self.cluster.delay, 0.2)
        self.assertEqual({hosts.algorithm for hosts in story.change.lists.values()}, {"rendezvous"})
        self.assertEqual(len(told), 4)
        console = Console(width=200)
        with console.capture() as shown:
            for section in summary(story):
                console.print(section)
        self.assertIn("10.0.0.2 was killed with kill -9", shown.get())
        self.assertIn(str(story.change.lists["agent-6"]), shown.get())

    def test_a_crowd(self) -> None:
        """Agents that stay together on one server are no spread."""
        self.cluster.stays = {"agent-2": "10.0.0.1"}
        self.assert_breaks_off("spread the agents by roundrobin", "agent-2 is Up on 10.0.0.1")

    def test_an_agent_that_stays_on_the_dead_server(self) -> None:
        """The API may go on calling it Up there; that is no failover."""
        self.cluster.stays = {"agent-5": "10.0.0.2"}
        self.assert_breaks_off("move 2 agents to 10.0.0.3", "agent-5 is Up on 10.0.0.2")

    def test_a_death_that_nobody_notices(self) -> None:
        """The other servers have to see that one is gone."""
        states = self.cluster.server_states

        def all_up() -> Mapping[str, str]:
            return dict.fromkeys(states(), "Up")

        self.patch(self.cluster, "server_states", all_up)
        self.assert_breaks_off("notice that 10.0.0.2 is down", "10.0.0.2 is Up")

    def test_an_agent_that_does_not_return(self) -> None:
        """Failback is part of the story."""
        failover = fail_over(self.cluster, "10.0.0.2")
        self.cluster.stays = {"agent-2": "10.0.0.3"}
        with self.assertRaises(StepFailed) as raised:
            fail_back(self.cluster, failover)
        self.assertIn("agent-2 is Up on 10.0.0.3", str(raised.exception))

    def test_a_gap_on_the_way_back(self) -> None:
        """A host that is not Up for a moment of its return has not moved make-before-break."""
        failover = fail_over(self.cluster, "10.0.0.2")
        self.cluster.state_on_the_way = "Disconnected"
        with self.assertRaises(StepFailed) as raised:
            fail_back(self.cluster, failover)
        self.assertIn("agent-2 was Disconnected", str(raised.exception))

    def test_a_list_that_is_not_written(self) -> None:
        """What an agent holds is what its file says."""
        self.cluster.writes_files = False
        self.assert_breaks_off("bring every agent its list by rendezvous", "agent-1 holds 10.0.0.1,10.0.0.2,10.0.0.3")

    def test_a_list_in_another_order(self) -> None:
        """The name of the algorithm alone is not enough: the order has to be the algorithm's."""
        lists = self.cluster.lists

        def turned() -> Mapping[str, HostList]:
            return {name: evolve(held, addresses=held.addresses[::-1]) for name, held in lists().items()}

        self.patch(self.cluster, "lists", turned)
        with self.assertRaises(StepFailed) as raised:
            change_algorithm(self.cluster)
        self.assertIn("bring every agent its list by rendezvous", str(raised.exception))

    def test_a_server_without_agents(self) -> None:
        """A step that would show nothing is no success."""
        self.cluster.agents = self.cluster.agents[:1]
        with self.assertRaises(StepFailed) as raised:
            fail_over(self.cluster, "10.0.0.3")
        self.assertIn("no agent is on the server", str(raised.exception))


class ScriptedSettings(Api):
    """An API with the settings of a test."""

    def __init__(self, inventory: Inventory, settings: Mapping[str, str]) -> None:
        super().__init__(inventory)
        self.settings = settings

    def setting(self, name: str) -> str:
        """The value."""
        return self.settings[name]


class FitTests(SynchronousTestCase):
    """What a deployment needs for the story to be told with it."""

    fit: ClassVar[Mapping[str, str]] = {HOST: "127.0.0.1,127.0.0.2", LB_ALGORITHM: "roundrobin", LB_CHECK_INTERVAL: "5"}

    def setUp(self) -> None:
        """Two servers and two agents."""
        folder = Path(self.mktemp())
        write_deployment(folder)
        self.cluster = LocalCluster(Inventory.read(folder))

    def lacks(self, settings: Mapping[str, str]) -> str:
        """What it lacks with these settings."""
        self.cluster.api = ScriptedSettings(self.cluster.inventory, {**self.fit, **settings})
        return unfit(self.cluster)

    def test_settings(self) -> None:
        """roundrobin, a check that comes soon, and two servers that we can kill and start."""
        self.assertEqual("", self.lacks({}))
        self.assertIn("roundrobin, and it is static", self.lacks({LB_ALGORITHM: "static"}))
        for interval in ("0", "60"):
            self.assertIn(f"and it is {interval}", self.lacks({LB_CHECK_INTERVAL: interval}))
        for hosts in ("127.0.0.1", "127.0.0.1,10.0.0.9"):
            self.assertIn("at least 2 servers", self.lacks({HOST: hosts}))

    def test_agents(self) -> None:
        """Every server has one: else a step would show nothing."""
        del self.cluster.agents["agent-2"]
        self.assertIn("there are 1 for 2", self.lacks({}))
