"""Stories of servers and agents that fail, and of who notices what."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from cloudlb.agents.errors import AgentUnavailable
from cloudlb.domain.settings import LB_ALGORITHM
from cloudlb.domain.settings_in_force import Settings
from cloudlb.wire import CheckHealthAnswer, CheckHealthCommand
from tests.scenarios.case import WorldCase
from tests.support.agent_process import AgentProcess
from tests.support.server_process import PORT
from tests.support.world import World

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
PING = 6
"""Ping interval where time-outs are waited for."""
PING_TIMEOUT = 2.5
"""The default of the setting."""


def send(world: World, agent: AgentProcess, server: str) -> Deferred[Any]:
    """Have a server send a command to an agent that it holds."""
    attache = world.servers[server].attache(world.row(agent).id)
    assert attache is not None, f"{server} does not hold {agent.name}"
    return attache.send([CheckHealthCommand()], timeout=60)


class ServerTests(WorldCase):
    """Servers that go and come."""

    def test_killed(self) -> None:
        """The agents of a killed server are soon Up on the next of their lists; the others stay."""
        world = self.world()
        world.kill_server(world.servers[B])
        world.advance(2)
        self.assertEqual(world.spread(), {A: [1, 4], B: [], C: [2, 3, 5, 6]})
        self.assert_up_once(world)

    def test_failback(self) -> None:
        """When the server is back, the periodic check brings its agents back, Up all the while."""
        world = self.world(check_interval=5)
        world.kill_server(world.servers[B])
        world.advance(20)
        world.restart_server(world.servers[B])
        for _ in range(40):
            world.advance(0.5)
            self.assertEqual({world.row(agent).status.value for agent in world.agents.values()}, {"Up"})
        self.assertEqual(world.spread(), {A: [1, 4], B: [2, 5], C: [3, 6]})
        self.assert_on_preferred(world)

    def test_no_failback(self) -> None:
        """With interval 0 nobody returns by themselves."""
        world = self.world(check_interval=0)
        world.kill_server(world.servers[B])
        world.advance(20)
        world.restart_server(world.servers[B])
        world.advance(600)
        self.assertEqual(world.spread(), {A: [1, 4], B: [], C: [2, 3, 5, 6]})
        self.assert_up_once(world)

    def test_stopped(self) -> None:
        """A server that stops cleanly lets its agents go at once and leaves no timer behind."""
        world = self.world()
        world.stop_server(world.servers[B])
        self.assertEqual(world.spread(), {A: [1, 4], B: [], C: [2, 3, 5, 6]})
        self.assert_up_once(world)

    def test_all_killed(self) -> None:
        """Agents without any server keep trying, and come back with the servers."""
        world = self.world(check_interval=5)
        for server in world.servers.values():
            world.kill_server(server)
        world.advance(600)
        self.assertEqual([agent.sessions for agent in world.agents.values()], [0] * 6)
        for server in world.servers.values():
            world.restart_server(server)
        world.advance(150)
        self.assert_on_preferred(world)

    def test_vanished(self) -> None:
        """A server that hangs (SIGSTOP), or vanishes without a RST, is left within 2 ping intervals."""
        for fault in (World.freeze, World.cut_off, World.power_off):
            world = self.world(ping_interval=PING)
            # Pings begin within the first interval.
            world.advance(2 * PING)
            fault(world, world.servers[B])
            world.advance(2 * PING + 1)
            self.assertEqual(world.spread(), {A: [1, 4], B: [], C: [2, 3, 5, 6]}, fault.__name__)
            for agent in world.agents.values():
                self.assertEqual((world.row(agent).status.value, world.row_address(agent)), ("Up", agent.server))
            # It comes back, finds out that it has lost its agents, and writes nothing of theirs.
            if world.servers[B].alive:
                world.thaw(world.servers[B])
                world.network.heal()
            else:
                world.restart_server(world.servers[B])
            world.advance(60)
            self.assert_up_once(world)

    def test_deaf(self) -> None:
        """A server that is heard but does not hear is left as well."""
        world = self.world(ping_interval=PING)
        world.advance(2 * PING)
        for agent in world.agents.values():
            world.network.cut(agent.address, B, one_way=True)
        world.advance(2 * PING + 1)
        self.assertEqual(world.spread(), {A: [1, 4], B: [], C: [2, 3, 5, 6]})
        world.network.heal()
        world.advance(60)
        self.assert_up_once(world)

    def test_slow(self) -> None:
        """A server that is slow keeps its agents."""
        world = self.world(ping_interval=PING)
        world.network.delay(world.servers[B].machine, 0.5)
        world.advance(10 * PING)
        self.assertEqual(world.spread(), {A: [1, 4], B: [2, 5], C: [3, 6]})
        self.assert_up_once(world)


class AgentTests(WorldCase):
    """Agents that go and come."""

    def test_killed_and_restarted(self) -> None:
        """A killed agent's host is Disconnected once no server has claimed it; restarted, it is Up on its head."""
        world = self.world()
        world.kill_agent(world.agents[2])
        world.advance(2)
        self.assertEqual(
            (world.row(world.agents[2]).status.value, world.believers(world.agents[2])), ("Disconnected", [])
        )
        world.restart_agent(world.agents[2])
        world.settle()
        self.assert_on_preferred(world)

    def test_stopped(self) -> None:
        """A clean stop says good-bye; no timer is left."""
        world = self.world()
        world.stop_agent(world.agents[2])
        self.assertEqual(world.row(world.agents[2]).status.value, "Disconnected")
        self.assertEqual(world.believers(world.agents[2]), [])

    def test_silent(self) -> None:
        """The host of an agent that hangs or vanishes is Disconnected in time, and Up again when it is back."""
        for fault in (World.freeze, World.cut_off):
            world = self.world(ping_interval=PING)
            agent = world.agents[2]
            world.advance(2 * PING)
            fault(world, agent)
            # An investigator asks the agent itself, for as long as it may.
            world.advance(PING * PING_TIMEOUT + Settings().investigator_timeout + 2)
            self.assertEqual((world.row(agent).status.value, world.believers(agent)), ("Disconnected", []))
            world.thaw(agent)
            world.network.heal()
            world.advance(120)
            self.assert_up_once(world)

    def test_deleted(self) -> None:
        """A deleted host's link is closed, its agent is not let in again, and under rendezvous nobody else moves."""
        world = self.world(algorithm="rendezvous")
        before = world.spread()
        self.assertTrue(world.delete_host(world.agents[2]))
        self.assertFalse(world.delete_host(world.agents[2]))
        world.advance(300)
        row = world.row(world.agents[2])
        self.assertEqual((row.status.value, world.believers(world.agents[2])), ("Removed", []))
        self.assertIsNone(world.agents[2].server)
        self.assertEqual(world.spread(), {server: [n for n in numbers if n != 2] for server, numbers in before.items()})
        self.assert_up_once(world, *(agent for agent in world.agents.values() if agent.number != 2))

    def test_added(self) -> None:
        """A new agent gets its list and goes to its head."""
        world = self.world()
        agent = world.add_agent()
        world.settle()
        self.assertEqual((agent.host_property, agent.server), (f"{A},{B},{C}@roundrobin", A))
        self.assert_on_preferred(world)


class MoveTests(WorldCase):
    """What is under way while an agent moves."""

    def test_command_in_flight(self) -> None:
        """A command that is under way is answered on the old link; the old server takes no new ones."""
        world = self.world(properties="simulator.delay=4\n")
        agent = world.agents[2]
        old = world.servers[B].attache(world.row(agent).id)
        assert old is not None
        answers: list[Any] = []
        send(world, agent, B).addBoth(answers.append)
        world.change_setting(LB_ALGORITHM, "static")
        world.advance(2)
        self.assertEqual((agent.server, world.believers(agent), answers), (A, [A], []))
        self.assertTrue(old.connected)
        self.failureResultOf(old.send([CheckHealthCommand()], timeout=60), AgentUnavailable)
        world.advance(3)
        self.assertIsInstance(answers[0][0], CheckHealthAnswer)
        # The old server closes the link, a little later.
        world.advance(2)
        self.assertFalse(old.connected)
        self.assert_on_preferred(world)

    def test_failed_move(self) -> None:
        """An agent whose preferred server does not take it stays where it is, Up."""
        for fault in (World.freeze, World.cut_off, World.kill_server):
            world = self.world(algorithm="static", check_interval=5, ping_interval=PING)
            fault(world, world.servers[A])
            world.advance(3 * PING)
            self.assertEqual(world.spread()[B], [1, 2, 3, 4, 5, 6], fault.__name__)
            for _ in range(60):
                world.advance(1)
                self.assertEqual({agent.server for agent in world.agents.values()}, {B}, fault.__name__)

    def test_new_server_lost_during_move(self) -> None:
        """The server to which an agent has just moved dies: it goes on to another."""
        world = self.world(algorithm="static")
        world.change_setting(LB_ALGORITHM, "roundrobin")
        while world.agents[2].server != B:
            world.advance(0.01)
        world.kill_server(world.servers[B])
        world.advance(20)
        self.assert_up_once(world)

    def test_old_server_lost_during_move(self) -> None:
        """The server that an agent is leaving dies in the middle."""
        for steps in range(12):
            world = self.world(algorithm="static", agents=2, seed=steps)
            world.change_setting(LB_ALGORITHM, "roundrobin")
            world.advance(0.1 + steps * 0.0005)
            world.kill_server(world.servers[A])
            world.advance(30)
            self.assert_up_once(world)


class Attacker(ClientFactory[Protocol]):
    """Says something that no agent says, and stays."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self.lost: list[Failure] = []

    def buildProtocol(self, addr: object) -> Protocol:
        said = self._said

        class Stranger(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(said)

        return Stranger()

    def clientConnectionLost(self, connector: object, reason: Failure) -> None:
        self.lost.append(reason)


class AttackTests(WorldCase):
    """Connections that are no agents."""

    def test_half_open(self) -> None:
        """Strangers that send nothing, garbage or absurd lengths delay no agent, and nothing of them stays."""
        world = self.world(agents=2)
        server = world.servers[A]
        sockets = server.machine.open_sockets
        stranger = world.network.machine("10.0.66.66")
        greeting = b"\x16\x03\x03\x00\x06client"
        attackers = [
            Attacker(said)
            for said in (
                b"",
                b"\x16",
                b"GET / HTTP/1.1\r\n\r\n",
                greeting,
                greeting + b"\xff\xff\xff\xff",
                greeting[:7],
            )
            for _ in range(50)
        ]
        for attacker in attackers:
            stranger.connectTCP(A, PORT, attacker)
        world.advance(0.1)
        newcomer = world.add_agent()
        world.advance(1)
        self.assertIsNotNone(newcomer.server)
        self.assertTrue(server.machine.open_sockets > sockets + 100)
        world.advance(25)
        self.assertEqual([len(attacker.lost) for attacker in attackers], [1] * len(attackers))
        self.assertEqual(server.machine.open_sockets, sockets)
        self.assertEqual(stranger.open_sockets, 0)
        self.assertEqual(len(server.service.listener.half_open), 0)
        self.assert_up_once(world)

    def test_probe(self) -> None:
        """A bare connect and close is shrugged off."""
        world = self.world(agents=1)
        probe = world.network.machine("10.0.66.66")
        for _ in range(3):
            connector = probe.connectTCP(A, PORT, Attacker(b""))
            world.advance(0.1)
            connector.disconnect()
        world.settle()
        self.assert_up_once(world)
