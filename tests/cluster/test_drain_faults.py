"""What befalls servers and their database while one of them is emptied."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlb.agents.resource_states import NotPossible
from cloudlb.domain.drains import DrainEnd
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.settings import MAINTENANCE_TIMEOUT, MOVE_RATE
from tests.cluster.draining import DrainCase
from tests.support.server_process import ServerProcess

_STEPS = ("drain", "force", "cancel", "kill", "start", "stop", "wait")


class FaultTests(DrainCase):
    """One at a time."""

    def test_the_server_is_killed(self) -> None:
        """Its agents find others, and nobody else goes on with the drain."""
        world = self.build(agents=30, algorithm="static", ping_interval=6)
        world.change_setting(MOVE_RATE, "5")
        self.order("prepare_for_maintenance", self.first)
        world.advance(3)
        world.kill_server(self.first)
        world.advance(60)
        self.assertIs(self.state(self.first), ServerState.DOWN)
        self.assertIsNone(self.drain(self.first).ended)
        self.assert_well()

    def test_the_target_is_killed(self) -> None:
        """Who was on the way to it goes on to the third, and who had arrived finds it by itself."""
        world = self.build(agents=30, algorithm="static", ping_interval=6)
        world.change_setting(MOVE_RATE, "5")
        self.order("prepare_for_maintenance", self.first)
        world.advance(3)
        world.kill_server(self.second)
        self.assertIs(self.advance_until_ended(self.first, limit=60).end, DrainEnd.DONE)
        world.advance(30)
        self.assertEqual([len(on) for on in world.spread().values()], [0, 0, 30])
        self.assert_well()

    def test_the_target_hangs(self) -> None:
        """Agents give it up, and go to the third."""
        world = self.build(agents=12, algorithm="static", ping_interval=6)
        world.freeze(self.second)
        self.order("prepare_for_maintenance", self.first)
        self.assertIs(self.advance_until_ended(self.first, limit=120).end, DrainEnd.DONE)
        self.assertEqual([len(on) for on in world.spread().values()], [0, 0, 12])
        self.assertEqual(self.transitions(), [])

    def test_the_database_is_away(self) -> None:
        """For all of them, for ten seconds: agents stay where they are, and the drain goes on after that."""
        world = self.build(agents=30, algorithm="static", database_lag=0.01, ping_interval=6)
        world.change_setting(MOVE_RATE, "5")
        self.order("prepare_for_maintenance", self.first)
        world.advance(2)
        for server in world.servers.values():
            server.lose_database(away=True)
        world.advance(10)
        self.assertTrue(all(agent.server is not None for agent in world.agents.values()))
        for server in world.servers.values():
            server.lose_database(away=False)
        drain = self.advance_until_ended(self.first, limit=90)
        self.assertEqual((drain.end, drain.failed), (DrainEnd.DONE, {}))
        self.assertEqual(world.spread()[self.first.address], [])
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_the_database_is_slow(self) -> None:
        """Where others take long to claim the hosts, no agent counts as lost that has gone to them."""
        world = self.build(agents=9, database_lag=0.01)
        for server in world.servers.values():
            if server is not self.first:
                server.slow_database(2)
        self.order("prepare_for_maintenance", self.first)
        self.assertIs(self.advance_until_ended(self.first).end, DrainEnd.DONE)
        # Who is evened out meanwhile needs several of the transactions that take so long.
        world.advance(30)
        self.assert_well()
        self.assertEqual(self.transitions(), [])

    def test_an_agent_dies(self) -> None:
        """It is not waited for longer than others need to arrive."""
        world = self.build(agents=6)
        agent = world.agents[world.spread()[self.first.address][0]]
        world.change_setting(MOVE_RATE, "1")
        self.order("prepare_for_maintenance", self.first)
        world.kill_agent(agent)
        drain = self.advance_until_ended(self.first, limit=45)
        self.assertEqual((drain.end, drain.total, drain.moved, drain.left), (DrainEnd.DONE, 2, 1, 0))
        self.assertEqual(drain.failed, {world.row(agent).uuid: "it has gone, and is Disconnected"})


class HistoryTests(DrainCase):
    """Several, in any order."""

    @settings(max_examples=6, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(_STEPS), st.integers(0, 2)),
            min_size=3,
            max_size=8,
        ),
        st.integers(0, 2**16),
    )
    def test_every_drain_ends(self, steps: list[tuple[str, int]], seed: int) -> None:
        """Whatever happens to which server. At the end all agents are Up once, and were so all along, but for a kill, a
        force, or the stop of a server when no other one took agents."""
        world = self.build(agents=9, seed=seed, ping_interval=6)
        world.change_setting(MAINTENANCE_TIMEOUT, "1")
        world.change_setting(MOVE_RATE, "3")
        servers = list(world.servers.values())
        gentle = True
        for step, number in steps:
            gentle &= self.take(step, servers[number])
            world.advance(2)
        for server in servers:
            if not server.alive:
                world.restart_server(server)
        world.advance(130)
        for drain in world.read(lambda txn: txn.drains.all()).values():
            self.assertIsNotNone(drain.end, drain)
        self.assert_well()
        if gentle:
            self.assertEqual(self.transitions(), [])

    def take(self, step: str, server: ServerProcess) -> bool:
        """Do something to a server, if that is possible; whether agents need not notice."""
        world = self.world
        others = [each for each in world.running_servers if each is not server]
        if step == "wait":
            world.advance(7)
        elif not server.alive:
            if step == "start":
                world.restart_server(server)
        elif step == "kill":
            world.kill_server(server)
            return False
        elif step == "stop":
            up = [each for each in others if self.state(each) is ServerState.UP]
            self.stop(server, limit=60)
            return bool(up)
        elif step in ("drain", "force", "cancel") and others:
            call = "cancel_maintenance" if step == "cancel" else "prepare_for_maintenance"
            options = {} if step == "cancel" else {"forced": step == "force"}
            with contextlib.suppress(NotPossible):
                self.order(call, server, asked=others[0], **options)
            return step != "force"
        return True
