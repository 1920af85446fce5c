"""Stories of hosts that are moved: which statuses they have, and what becomes of their commands."""

from __future__ import annotations

from cloudlb.agents.departures import IDLE_WITHIN, LEAVES_WITHIN, RETURNS_WITHIN
from cloudlb.agents.link_attache import LINGER
from cloudlb.agents.moves import PAUSE, MoveEnd
from cloudlb.domain.settings import MOVE_RATE
from cloudlb.wire import (
    Answer,
    CheckHealthAnswer,
    CheckHealthCommand,
    MigrateAgentConnectionCommand,
    SetupMSListCommand,
)
from tests.scenarios.moving import ALGORITHM, PING, A, B, C, MoveCase
from tests.support.agent_process import AgentProcess
from tests.support.results import result_of
from tests.support.world import World


class OursTests(MoveCase):
    """Agents of ours, the first of which is on the first of three servers."""

    def start(self, **options: object) -> tuple[World, AgentProcess]:
        """A world, and the agent that is moved in it."""
        properties = "simulator.delay=2\n"
        world = self.world(agents=3, algorithm=ALGORITHM, ping_interval=PING, properties=properties, **options)
        agent = world.agents[1]
        if agent.server != A:
            self.move(world, agent.name, A)
            world.settle()
        agent.received.clear()
        return world, agent

    def assert_stayed_up(self, world: World) -> None:
        """No host was anything but Up, and each is Up once."""
        self.assert_up_once(world)
        for agent in world.agents.values():
            self.assertEqual(self.steps(world, agent.name), [], agent.name)
            self.assert_unnoticed(world, agent.name)

    def test_commands_under_way_are_answered(self) -> None:
        """Over the old link, while the new one is there already."""
        world, agent = self.start()
        sent = self.send(world, agent.name, "first")
        world.advance(0.1)
        moved = self.move(world, agent.name, B)
        world.advance(1)
        self.assertEqual(self.end(moved), MoveEnd.MOVED)
        self.assertEqual((agent.server, agent.sessions), (B, 2))
        self.assertFalse(sent.called)
        world.advance(2)
        self.assertEqual([type(answer) for answer in result_of(sent)], [CheckHealthAnswer])
        # The server that it has left closes the link.
        world.advance(LINGER)
        self.assertEqual(agent.sessions, 1)
        self.assert_stayed_up(world)

    def test_to_whom_it_is_told(self) -> None:
        """An agent that only is to be further up in its list is not told to leave."""
        world, agent = self.start()
        self.move(world, agent.name, C, leave=False)
        world.advance(5)
        self.assertEqual(agent.server, C)
        (command,) = [c for c in agent.received if isinstance(c, (SetupMSListCommand, MigrateAgentConnectionCommand))]
        assert isinstance(command, SetupMSListCommand)
        self.assertTrue(command.trigger_host_lb)
        self.assert_stayed_up(world)

    def test_the_target_is_dead(self) -> None:
        """The next server of the list gets the agent that is to leave; one that need not stays, and is left alone."""
        world, agent = self.start()
        world.kill_server(world.servers[B])
        moved = self.move(world, agent.name, B, C)
        world.advance(5)
        self.assertEqual((self.end(moved), agent.server), (MoveEnd.MOVED, C))
        stayed = self.move(world, agent.name, B, leave=False)
        again = self.move(world, agent.name, B, leave=False)
        # It says nothing of a server that it cannot reach.
        world.advance(LEAVES_WITHIN + 1)
        self.assertEqual((self.end(stayed), self.end(again), agent.server), (MoveEnd.STAYED, MoveEnd.STAYED, C))
        self.assert_up_once(world, agent)
        self.assertEqual(self.steps(world, agent.name), [])

    def test_who_has_stayed_is_not_asked_without_pause(self) -> None:
        """And then once more."""
        world, agent = self.start()
        world.network.cut(agent.address, B)
        world.network.cut(agent.address, C)
        agent.received.clear()
        world.advance(1)
        moves = []
        for _ in range(60):
            moves.append(self.move(world, agent.name, B))
            world.advance(1)
        asked = agent.take(MigrateAgentConnectionCommand)
        self.assertLessEqual(len(asked), 1 + 60 / (LEAVES_WITHIN + PAUSE))
        self.assertGreaterEqual(len(asked), 2)
        self.assertEqual({self.end(move) for move in moves if move.called}, {MoveEnd.STAYED})
        self.assertEqual((agent.server, self.steps(world, agent.name)), (A, []))

    def test_the_pause_is_for_one_server(self) -> None:
        """Who waits for it is sent to another one at once, if that is wanted meanwhile."""
        world, agent = self.start()
        world.network.cut(agent.address, B)
        self.move(world, agent.name, B, leave=False)
        world.advance(LEAVES_WITHIN + 1)
        again = self.move(world, agent.name, B, leave=False)
        world.advance(1)
        elsewhere = self.move(world, agent.name, C)
        world.advance(1)
        self.assertEqual((self.end(again), self.end(elsewhere), agent.server), (MoveEnd.MOVED, MoveEnd.MOVED, C))
        world.advance(2 * PAUSE)
        self.assertEqual((agent.server, self.steps(world, agent.name)), (C, []))

    def test_the_agent_dies_in_the_middle(self) -> None:
        """Its host is lost as any other."""
        world, agent = self.start()
        world.network.cut(agent.address, B)
        moved = self.move(world, agent.name, B)
        world.advance(0.5)
        world.kill_agent(agent)
        world.advance(10)
        self.assertEqual(self.end(moved), MoveEnd.LOST)
        self.assertEqual(self.steps(world, agent.name), ["Disconnected"])

    def test_the_old_server_dies_in_the_middle(self) -> None:
        """The host is Up on the new one all the same."""
        world, agent = self.start(database_lag=0.05)
        self.move(world, agent.name, B)
        world.advance(0.1)
        world.kill_server(world.servers[A])
        world.advance(30)
        self.assert_up_once(world, agent)
        self.assertEqual(self.steps(world, agent.name), [])

    def test_the_target_dies_in_the_middle(self) -> None:
        """Whenever that is, the host ends Up on a server that lives."""
        for delay in (0.05, 0.1, 0.15, 0.2, 0.3):
            world, agent = self.start(database_lag=0.05)
            self.move(world, agent.name, B, C)
            world.advance(delay)
            world.kill_server(world.servers[B])
            world.advance(60)
            self.assert_up_once(world, agent)
            self.assertEqual([step for step in self.steps(world, agent.name) if step == "Alert"], [])

    def test_two_at_once(self) -> None:
        """The newer destination counts while the host waits for its turn, and both are told the same."""
        world, agent = self.start()
        first, second = self.move(world, agent.name, B), self.move(world, agent.name, C)
        world.advance(5)
        self.assertEqual((self.end(first), self.end(second)), (MoveEnd.MOVED, MoveEnd.MOVED))
        self.assertEqual(agent.server, C)
        self.assert_stayed_up(world)

    def test_another_destination_on_the_way(self) -> None:
        """Who was asked in vain is asked to go elsewhere at once."""
        world, agent = self.start()
        world.network.cut(agent.address, B)
        first = self.move(world, agent.name, B, leave=False)
        world.advance(1)
        second = self.move(world, agent.name, C)
        world.advance(8)
        self.assertEqual((self.end(first), self.end(second)), (MoveEnd.STAYED, MoveEnd.MOVED))
        self.assertEqual(agent.server, C)
        self.assertEqual(self.steps(world, agent.name), [])

    def test_one_that_nobody_waits_for_is_not_begun(self) -> None:
        """Cancelled before its turn, a move is none."""
        world, agent = self.start()
        moved = self.move(world, agent.name, B)
        moved.cancel()
        world.advance(5)
        self.assertEqual((self.end(moved), agent.server), (MoveEnd.STAYED, A))
        self.assertEqual(agent.take(MigrateAgentConnectionCommand), [])

    def test_they_leave_at_the_pace(self) -> None:
        """No more of them in any second than the setting says."""
        world = self.world(agents=30, algorithm=ALGORITHM)
        world.change_setting(MOVE_RATE, "5")
        world.advance(2)
        before = world.spread()[A]
        for number in before:
            self.move(world, world.agents[number].name, B)
        left = [0]
        for _ in range(50):
            world.advance(0.1)
            left.append(len(before) - len(world.spread()[A]))
        self.assertLessEqual(max(later - sooner for sooner, later in zip(left, left[10:], strict=False)), 6)
        self.assertEqual(left[-1], len(before))


class CloudStackTests(MoveCase):
    """Agents of CloudStack's, which break their link before they make the next one."""

    MOVED = ("Rebalancing", "Connecting", "Up")
    STAYED = ("Rebalancing", "Connecting", "Up")

    def start(self, **options: object) -> World:
        """A world without agents of ours."""
        return self.world(agents=0, **{"algorithm": ALGORITHM, "ping_interval": PING, **options})

    def test_a_move(self) -> None:
        """Rebalancing and then Up; its place is kept, and nobody notices."""
        world = self.start()
        agent = self.cloudstack_agent(world)
        moved = self.move(world, agent.name, B)
        world.advance(2)
        self.assertEqual((agent.server, self.host(world, agent.name).status.value), (A, "Rebalancing"))
        world.advance(5)
        self.assertEqual((self.end(moved), agent.server, agent.transferred), (MoveEnd.MOVED, B, [False, True]))
        self.assertEqual(self.owner(world, agent.name).address, B)
        self.assertEqual(self.steps(world, agent.name), [*self.MOVED])
        world.advance(2 * RETURNS_WITHIN)
        self.assertEqual(self.steps(world, agent.name), [*self.MOVED])
        self.assert_unnoticed(world, agent.name)

    def test_commands_under_way_end_first(self) -> None:
        """The link is not broken under them, and no new ones are begun on it."""
        world = self.start()
        agent = self.cloudstack_agent(world)
        agent.delay = IDLE_WITHIN - 1
        sent = self.send(world, agent.name, "first")
        moved = self.move(world, agent.name, B)
        world.advance(IDLE_WITHIN - 2)
        self.assertEqual((agent.server, self.host(world, agent.name).status.value), (A, "Rebalancing"))
        world.advance(8)
        self.assertEqual([type(answer) for answer in result_of(sent)], [Answer])
        self.assertEqual((self.end(moved), agent.server, agent.unanswered), (MoveEnd.MOVED, B, 0))
        self.assertEqual(self.steps(world, agent.name), [*self.MOVED])
        self.assert_unnoticed(world, agent.name)

    def test_a_command_that_does_not_end(self) -> None:
        """The host is Up again where it was, and takes commands."""
        world = self.start()
        agent = self.cloudstack_agent(world)
        agent.delay = 3 * IDLE_WITHIN
        sent = self.send(world, agent.name, "long", timeout=4 * IDLE_WITHIN)
        moved = self.move(world, agent.name, B)
        world.advance(IDLE_WITHIN + 1)
        self.assertEqual((self.end(moved), agent.server), (MoveEnd.STAYED, A))
        self.assertEqual(self.steps(world, agent.name), [*self.STAYED])
        agent.delay = 0
        self.assertTrue(world.wait_for(self.send(world, agent.name, "short")))
        world.advance(3 * IDLE_WITHIN)
        self.assertEqual(len(result_of(sent)), 1)
        self.assert_unnoticed(world, agent.name)

    def test_one_that_refuses(self) -> None:
        """It is Up again at once; one that does not answer, later."""
        for how, patience in (("refuses", 1.0), ("mute", 31.0)):
            world = self.start()
            agent = self.cloudstack_agent(world)
            setattr(agent, how, True)
            moved = self.move(world, agent.name, B)
            world.advance(patience)
            self.assertEqual((self.end(moved), agent.server), (MoveEnd.STAYED, A), how)
            self.assertEqual(self.steps(world, agent.name), [*self.STAYED])
            self.assertTrue(world.wait_for(self.send(world, agent.name, "short")))
            self.assert_unnoticed(world, agent.name)

    def test_the_target_is_dead(self) -> None:
        """It goes on to the next server of its list, in its own time."""
        world = self.start()
        agent = self.cloudstack_agent(world)
        world.kill_server(world.servers[B])
        moved = self.move(world, agent.name, B, C)
        world.advance(15)
        self.assertEqual((self.end(moved), agent.server), (MoveEnd.MOVED, C))
        self.assertEqual(self.steps(world, agent.name), [*self.MOVED])
        self.assert_unnoticed(world, agent.name)

    def test_it_comes_back(self) -> None:
        """To the server that it was on: it has stayed."""
        world = self.start()
        agent = self.cloudstack_agent(world, A, B, C)
        for server in (B, C):
            world.network.cut(agent.address, server)
        moved = self.move(world, agent.name, B, C)
        world.advance(40)
        self.assertEqual((self.end(moved), agent.server), (MoveEnd.STAYED, A))
        self.assertEqual(self.steps(world, agent.name), [*self.MOVED])
        self.assert_unnoticed(world, agent.name)

    def test_the_old_server_dies_in_the_middle(self) -> None:
        """At every moment: the agent finds a server, and is Up there."""
        for delay in (0.1, 1.0, 3.2, 3.4):
            world = self.start()
            agent = self.cloudstack_agent(world)
            self.move(world, agent.name, B)
            world.advance(delay)
            world.kill_server(world.servers[A])
            world.advance(30)
            self.assertIn(agent.server, (B, C))
            self.assertEqual(self.owner(world, agent.name).address, agent.server)
            self.assertEqual(self.steps(world, agent.name), [*self.MOVED], delay)
            self.assert_unnoticed(world, agent.name)

    def test_the_target_dies_in_the_middle(self) -> None:
        """The host ends Up on a server that lives."""
        for delay in (3.1, 3.2, 3.25, 3.3):
            world = self.start(database_lag=0.05)
            agent = self.cloudstack_agent(world)
            self.move(world, agent.name, B, C)
            world.advance(delay)
            world.kill_server(world.servers[B])
            world.advance(60)
            self.assertIn(agent.server, (A, C))
            self.assertEqual(self.owner(world, agent.name).address, agent.server)
            self.assertEqual(self.host(world, agent.name).status.value, "Up")

    def test_the_database_fails_in_the_middle(self) -> None:
        """One that has refused is Up when the database is back."""
        world = self.start(database_lag=0.05)
        agent = self.cloudstack_agent(world)
        agent.refuses = True
        agent.delay = 1
        sent = self.send(world, agent.name, "first")
        moved = self.move(world, agent.name, B)
        world.advance(0.5)
        self.assertEqual(self.steps(world, agent.name), ["Rebalancing"])
        world.servers[A].lose_database(away=True)
        world.advance(4)
        self.assertEqual((len(result_of(sent)), moved.called), (1, False))
        world.servers[A].lose_database(away=False)
        world.advance(3)
        self.assertEqual((self.end(moved), agent.server), (MoveEnd.STAYED, A))
        self.assertEqual(self.steps(world, agent.name), [*self.STAYED])
        self.assert_unnoticed(world, agent.name)

    def test_a_list_whose_head_is_elsewhere(self) -> None:
        """An agent that comes to the wrong server is moved to the right one, Rebalancing meanwhile."""
        world = self.start(algorithm="static")
        agent = self.cloudstack_agent(world, B, A, C)
        world.advance(15)
        self.assertEqual(agent.server, A)
        self.assertEqual(self.steps(world, agent.name), [*self.MOVED])
        self.assert_unnoticed(world, agent.name)


class TrafficTests(MoveCase):
    """Commands flow from all servers while hosts go round."""

    def flow(self, world: World, name: str, *route: str, seconds: float) -> list[str]:
        """Move a host along the route, sending meanwhile; the commands that were sent, all of which were answered."""
        host_id = self.host(world, name).id
        sent = {}
        for target in route:
            moved = self.move(world, name, target)
            for step in range(int(seconds * 5)):
                for server in world.servers.values():
                    context = f"{target} {step} {server.address}"
                    command = CheckHealthCommand(context_map={"logid": context})
                    sent[context] = server.service.sender.send(host_id, [command], timeout=60)
                world.advance(0.2)
            self.assertEqual((self.end(moved), self.owner(world, name).address), (MoveEnd.MOVED, target))
        world.advance(30)
        for context, answers in sent.items():
            self.assertEqual(len(result_of(answers)), 1, context)
        return list(sent)

    def test_ours(self) -> None:
        """Every command is answered, was carried out once, and the host was Up all the while."""
        world = self.world(agents=1, algorithm=ALGORITHM, ping_interval=PING, properties="simulator.delay=0.5\n")
        agent = world.agents[1]
        if agent.server == B:
            self.move(world, agent.name, A)
            world.settle()
        agent.received.clear()
        sent = self.flow(world, agent.name, B, C, A, seconds=3)
        done = [str(command.context_map["logid"]) for command in agent.take(CheckHealthCommand)]
        self.assertEqual(sorted(done), sorted(sent))
        self.assertEqual(self.steps(world, agent.name), [])
        self.assert_unnoticed(world, agent.name)

    def test_cloudstack(self) -> None:
        """The same, but for the statuses of an agent that breaks its link."""
        world = self.world(agents=0, algorithm=ALGORITHM, ping_interval=PING)
        agent = self.cloudstack_agent(world)
        agent.delay = 0.5
        sent = self.flow(world, agent.name, B, C, A, seconds=8)
        self.assertEqual(sorted(agent.carried_out), sorted(sent))
        self.assertEqual(self.steps(world, agent.name), ["Rebalancing", "Connecting", "Up"] * 3)
        self.assert_unnoticed(world, agent.name)
