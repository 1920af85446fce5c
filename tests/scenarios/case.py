"""What every scenario starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.host_list import HostList
from tests.support.agent_process import AgentProcess
from tests.support.world import World


class WorldCase(SynchronousTestCase):
    """A test in a world of its own."""

    def world(self, **options: Any) -> World:
        """A cluster that has come to rest; see World."""
        world = World(Path(self.mktemp()), **options)
        self.addCleanup(world.close)
        return world

    def assert_up_once(self, world: World, *agents: AgentProcess) -> None:
        """Every agent, or each of these, is Up exactly once, and nobody wrote what was not theirs to write."""
        chosen = agents or tuple(world.agents.values())
        self.assertEqual([problem for agent in chosen for problem in world.problems(agent)], [])
        self.assertEqual(world.stale_writes(), [])

    def assert_on_preferred(self, world: World) -> None:
        """Every agent is Up on the head of its list."""
        self.assert_up_once(world)
        for agent in world.agents.values():
            self.assertEqual(agent.server, HostList.parse(agent.host_property).preferred, agent.name)
