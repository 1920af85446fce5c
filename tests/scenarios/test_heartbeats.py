"""Hosts that share storage: neighbours tell a machine that is gone from an agent that is gone."""

from __future__ import annotations

from pathlib import Path

from cloudlb.domain.records import Investigation, Verdict
from tests.scenarios.case import WorldCase
from tests.support.agent_process import AgentProcess
from tests.support.world import World

PING = 6


class HeartbeatTests(WorldCase):
    """One server, four agents, a sign of life each second; no machine of this world answers ICMP."""

    def shared_world(self, servers: int = 1) -> World:
        """A world whose hosts have seen each other's signs of life."""
        folder = Path(self.mktemp()).absolute()
        properties = f"simulator.heartbeat.dir={folder}\nsimulator.heartbeat.interval=1\n"
        world = self.world(servers=servers, agents=4, ping_interval=PING, properties=properties)
        world.advance(2 * PING)
        return world

    def investigation(self, world: World, agent: AgentProcess) -> Investigation:
        """The one that is on record."""
        host_id = world.row(agent).id
        found, _ = world.read(lambda txn: txn.investigations.list(host_id, 0, None))
        (investigation,) = found
        return investigation

    def test_power_lost(self) -> None:
        """A host that leaves no sign of life any more is Down, by its neighbours' word."""
        world = self.shared_world()
        agent = world.agents[2]
        world.power_off(agent)
        world.advance(2.5 * PING + 30)
        found = self.investigation(world, agent)
        assert found.decided_by is not None
        self.assertEqual((found.verdict, found.decided_by.investigator), (Verdict.DOWN, "KVMInvestigator"))
        for neighbour in ("agent-1", "agent-3", "agent-4"):
            self.assertIn(neighbour, found.decided_by.reason)
        self.assertEqual(world.row(agent).status.value, "Down")

    def test_neighbours_on_other_servers(self) -> None:
        """They are asked through their servers, where the host's own has none beside it."""
        world = self.shared_world(servers=4)
        agent = world.agents[2]
        self.assertEqual(len({one.server for one in world.agents.values()}), 4)
        world.power_off(agent)
        world.advance(2.5 * PING + 30)
        found = self.investigation(world, agent)
        assert found.decided_by is not None
        self.assertEqual((found.verdict, found.decided_by.investigator), (Verdict.DOWN, "KVMInvestigator"))
        self.assertIn("agent-1", found.decided_by.reason)
        self.assertEqual(world.row(agent).status.value, "Down")

    def test_a_fresh_heartbeat(self) -> None:
        """A machine whose link is lost while its sign of life is fresh is found Down when that has grown old."""
        world = self.shared_world()
        agent = world.agents[2]
        world.kill_agent(agent)
        world.advance(10)
        self.assertIs(self.investigation(world, agent).verdict, Verdict.UP)
        self.assertEqual(world.row(agent).status.value, "Disconnected")
        world.advance(90)
        self.assertEqual(world.row(agent).status.value, "Down")

    def test_agent_killed(self) -> None:
        """A host whose link is lost while its sign of life is fresh is Disconnected, and Up again with its agent."""
        world = self.shared_world()
        agent = world.agents[2]
        world.kill_agent(agent)
        world.advance(10)
        found = self.investigation(world, agent)
        assert found.decided_by is not None
        self.assertEqual((found.verdict, found.decided_by.investigator), (Verdict.UP, "KVMInvestigator"))
        self.assertEqual(world.row(agent).status.value, "Disconnected")
        agent.start()
        world.advance(60)
        self.assert_up_once(world)

    def test_neighbours_cannot_say(self) -> None:
        """Where the storage is away for all of them nobody is found Down."""
        world = self.shared_world()
        # The neighbours themselves leave none any more.
        for number in (1, 3, 4):
            heartbeat = world.agents[number].service._resource._heartbeat  # type: ignore[attr-defined]
            heartbeat.stop()
        agent = world.agents[2]
        world.power_off(agent)
        world.advance(2.5 * PING + 30)
        self.assertIs(self.investigation(world, agent).verdict, Verdict.UNKNOWN)
        self.assertEqual(world.row(agent).status.value, "Disconnected")
