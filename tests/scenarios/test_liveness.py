"""Stories of agents that are late, gone or left alone, told by what is on record of them."""

from __future__ import annotations

from collections.abc import Sequence

from cloudlb.agents.investigation import Case, Investigator
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.records import Event, Investigation, Verdict
from cloudlb.domain.settings import ALERT_WAIT, INVESTIGATORS_ORDER, PING_INTERVAL, PING_TIMEOUT, STOP_TIMEOUT
from tests.agents.test_disconnection import Witness
from tests.scenarios.case import WorldCase
from tests.support.agent_process import AgentProcess
from tests.support.world import World

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
PING = 6
TIMEOUT = 2.5 * PING


class Oracle(Investigator):
    """Knows it."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        """Say it."""
        return self.verdict, "it was told so"


class LivenessTests(WorldCase):
    """Three servers, six agents, a ping interval of 6 s."""

    def liveness_world(self, verdict: Verdict | None = None) -> World:
        """A world that has pinged for a while; with a verdict, an oracle is asked and nobody else."""
        world = self.world(ping_interval=PING)
        world.change_setting(INVESTIGATORS_ORDER, "SimpleInvestigator" if verdict is None else "Oracle")
        if verdict is not None:
            for server in world.servers.values():
                server.service.investigators._investigators["Oracle"] = Oracle(verdict)
        world.advance(2 * PING)
        return world

    def transitions(self, world: World, agent: AgentProcess) -> list[Event]:
        """Of a host's status, the oldest first."""
        which = EventFilter(event_type="HOST.STATUS.TRANSITION", host_id=world.row(agent).id)
        events, _ = world.read(lambda txn: txn.events.list(which, 0, None))
        return list(reversed(events))

    def story(self, world: World, agent: AgentProcess) -> list[tuple[str, str]]:
        """Event and new status, after the host became Up for the first time."""
        steps = [(event.details["event"], event.details["to"]) for event in self.transitions(world, agent)]
        return steps[steps.index(("Ready", "Up")) + 1 :]

    def investigations(self, world: World, agent: AgentProcess) -> Sequence[Investigation]:
        """The oldest first."""
        host_id = world.row(agent).id
        found, _ = world.read(lambda txn: txn.investigations.list(host_id, 0, None))
        return list(reversed(found))

    def assert_on_record(self, world: World) -> None:
        """Every change of a status in the database has its event, and no event tells of a change that was not."""
        with world._own._read_engine.begin() as connection:
            changes = connection.exec_driver_sql("SELECT host, CAST(session AS TEXT), status FROM audit ORDER BY rowid")
            audited = [tuple(row) for row in changes]
        which = EventFilter(event_type="HOST.STATUS.TRANSITION")
        events, _ = world.read(lambda txn: txn.events.list(which, 0, None))
        told = [
            (event.host_id, event.details["session"], event.details["to"])
            for event in reversed(events)
            # Those begin a session, which the audit leaves out.
            if event.details["event"] != "AgentConnected"
        ]
        self.assertEqual(told, audited)
        self.assertEqual(world.stale_writes(), [])

    def test_a_silent_agent(self) -> None:
        """Is investigated within its time-out and a second, and Disconnected as soon as nobody knows better."""
        for fault in (World.freeze, World.cut_off):
            world = self.liveness_world()
            agent = world.agents[2]
            world.advance(0.7)
            fault(world, agent)
            world.advance(TIMEOUT + 1)
            heard = world.row(agent).last_heard
            assert heard is not None
            self.assertEqual(world.row(agent).status.value, "Up")
            world.advance(11)
            (found,) = self.investigations(world, agent)
            self.assertTrue(TIMEOUT < found.started - heard <= TIMEOUT + 1, (found.started, heard))
            self.assertEqual((found.cause, found.verdict), (HostEvent.PING_TIMEOUT, Verdict.UNKNOWN))
            self.assertEqual(self.story(world, agent), [("PingTimeout", "Disconnected")])
            self.assert_on_record(world)

    def test_a_late_agent_that_lives(self) -> None:
        """Stays Up however often it is late, is asked once in a time-out, and loses its link when it falls silent."""
        world = self.liveness_world()
        agent = world.agents[2]
        session = agent.service.agent.session
        assert session is not None
        session._stop_timer()
        world.advance(10 * (TIMEOUT + 0.75))
        found = self.investigations(world, agent)
        self.assertEqual({(one.verdict, one.cause) for one in found}, {(Verdict.UP, HostEvent.PING_TIMEOUT)})
        self.assertIn(len(found), (9, 10, 11))
        self.assertEqual((self.story(world, agent), world.believers(agent)), ([], [B]))
        world.freeze(agent)
        world.advance(TIMEOUT + 12)
        self.assertEqual(self.story(world, agent), [("PingTimeout", "Disconnected")])
        self.assert_on_record(world)

    def test_a_lost_link(self) -> None:
        """Its host is Disconnected at once, looked into, and in alert when it stays away."""
        world = self.liveness_world()
        agent = world.agents[2]
        world.change_setting(ALERT_WAIT, "100")
        world.kill_agent(agent)
        world.advance(2)
        self.assertEqual(self.story(world, agent), [("AgentDisconnected", "Disconnected")])
        world.advance(120)
        # At once, after investigate.retry.interval, and at alert.wait.
        found = self.investigations(world, agent)
        self.assertEqual({(one.cause, one.verdict) for one in found}, {(HostEvent.AGENT_DISCONNECTED, Verdict.UNKNOWN)})
        self.assertEqual(len(found), 3)
        self.assertEqual(self.story(world, agent), [("AgentDisconnected", "Disconnected"), ("WaitedTooLong", "Alert")])
        self.assert_on_record(world)
        world.restart_agent(agent)
        world.settle()
        self.assert_up_once(world)
        self.assertIsNone(world.row(agent).disconnected)

    def test_a_host_that_is_down(self) -> None:
        """Whether its agent was late or its link lost; a verdict comes too late for one that is back."""
        for fault, story in (
            (World.freeze, [("HostDown", "Down")]),
            (World.kill_agent, [("AgentDisconnected", "Disconnected"), ("HostDown", "Down")]),
        ):
            world = self.liveness_world(Verdict.DOWN)
            world.change_setting(ALERT_WAIT, "60")
            agent = world.agents[2]
            fault(world, agent)
            world.advance(TIMEOUT + 3)
            self.assertEqual(self.story(world, agent), story)
            world.advance(150)
            self.assertEqual(self.story(world, agent), story)
            self.assert_on_record(world)

    def test_an_agent_that_comes_right_back(self) -> None:
        """Is Up, whatever is found of the session that it has lost."""
        world = self.liveness_world(Verdict.DOWN)
        agent = world.agents[2]
        for _ in range(5):
            world.restart_agent(agent)
            world.settle()
        self.assertEqual(world.row(agent).status.value, "Up")
        self.assert_up_once(world)
        self.assert_on_record(world)

    def test_an_agent_that_stops(self) -> None:
        """Says so, and nobody is asked."""
        world = self.liveness_world()
        agent = world.agents[2]
        world.stop_agent(agent)
        self.assertEqual(self.story(world, agent), [("ShutdownRequested", "Disconnected")])
        self.assertEqual(self.investigations(world, agent), [])
        self.assert_on_record(world)

    def test_hosts_of_a_dead_server(self) -> None:
        """Up while their agents may still come; then Disconnected by another server, and in alert in the end."""
        for restart in (False, True):
            world = self.liveness_world()
            world.change_setting(ALERT_WAIT, "100")
            gone, back = world.agents[2], world.agents[5]
            self.assertEqual((gone.server, back.server), (B, B))
            world.kill_server(world.servers[B])
            world.kill_agent(gone)
            if restart:
                world.advance(1)
                world.restart_server(world.servers[B])
            world.advance(TIMEOUT - 2)
            self.assertEqual(world.row(gone).status.value, "Up")
            world.advance(30)
            self.assertEqual(self.story(world, gone), [("ManagementServerDown", "Disconnected")])
            world.advance(120)
            self.assertEqual(
                self.story(world, gone), [("ManagementServerDown", "Disconnected"), ("WaitedTooLong", "Alert")]
            )
            self.assertEqual(world.row(back).status.value, "Up")
            self.assert_up_once(world, back)
            self.assert_on_record(world)

    def test_a_host_whose_server_dies_with_it(self) -> None:
        """Is Disconnected and then Down, by one of the other servers, also where its own has been stopped cleanly."""
        for end in (World.kill_server, World.stop_server):
            world = self.liveness_world(Verdict.DOWN)
            # Otherwise it sees the end of the link, while its other agent moves.
            world.change_setting(STOP_TIMEOUT, "0")
            world.settle()
            gone, back = world.agents[2], world.agents[5]
            witness = Witness()
            for server in world.servers.values():
                server.service.hooks.add(witness)
            world.kill_agent(gone)
            end(world, world.servers[B])
            world.advance(TIMEOUT + 30)
            self.assertEqual(self.story(world, gone), [("ManagementServerDown", "Disconnected")])
            world.advance(60)
            self.assertEqual(self.story(world, gone), [("ManagementServerDown", "Disconnected"), ("HostDown", "Down")])
            (found,) = self.investigations(world, gone)
            live = [world.servers[address].service.membership.own.id for address in (A, C)]
            self.assertEqual(found.server_id, min(live))
            told = [status.value for _, name, status in witness.seen if name == gone.name]
            self.assertEqual(told, ["Disconnected", "Down"])
            world.advance(300)
            self.assertEqual(len(self.investigations(world, gone)), 1)
            self.assertEqual((world.row(back).status.value, self.investigations(world, back)), ("Up", []))
            self.assert_on_record(world)

    def test_a_server_that_only_seems_dead(self) -> None:
        """Learns what was written of its hosts, and puts it right."""
        world = self.liveness_world()
        agent = world.agents[2]
        heartbeats = world.servers[B].service.membership._heartbeats
        heartbeats.stop()
        # Or else it would give its agents up.
        world.servers[B].service.fencing.stop()
        world.advance(TIMEOUT + 15)
        heartbeats.start(1.5)
        world.advance(30)
        story = self.story(world, agent)
        self.assertEqual(set(story[::2]), {("ManagementServerDown", "Disconnected")})
        self.assertEqual(set(story[1::2]), {("Ping", "Up")})
        self.assert_up_once(world)

    def test_a_stale_session(self) -> None:
        """A server that sleeps while its agents go elsewhere changes nothing when it wakes up."""
        world = self.liveness_world(Verdict.DOWN)
        world.freeze(world.servers[B])
        world.advance(40)
        before = [world.row(agent).session for agent in world.agents.values()]
        world.thaw(world.servers[B])
        world.advance(60)
        self.assertEqual([world.row(agent).session for agent in world.agents.values()], before)
        for agent in world.agents.values():
            self.assertNotIn("Down", [status for _, status in self.story(world, agent)])
        self.assert_up_once(world)
        self.assert_on_record(world)

    def test_new_intervals(self) -> None:
        """A time-out counts at once, an interval from each agent's next ping on, and no host leaves Up for it."""
        world = self.world()
        world.change_setting(INVESTIGATORS_ORDER, "")
        sessions = [world.row(agent).session for agent in world.agents.values()]
        world.change_setting(PING_INTERVAL, str(PING))
        world.change_setting(PING_TIMEOUT, "1.5")
        world.advance(65)
        self.assertEqual([story for agent in world.agents.values() for story in self.story(world, agent)], [])
        self.assertEqual([world.row(agent).session - 1 for agent in world.agents.values()], sessions)
        world.advance(100)
        agent = world.agents[2]
        world.freeze(agent)
        world.advance(PING + 1.5 * PING + 1)
        self.assertEqual(self.story(world, agent), [("PingTimeout", "Disconnected")])
        self.assert_on_record(world)
