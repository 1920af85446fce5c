"""One agent among several servers that moves between them."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from agent.resources.simulator import SimulatorResource
from agent.session import CLOSES_WITHIN
from cloudlb.resource.interface import Answer, Command, Opaque
from cloudlb.wire import (
    CheckHealthAnswer,
    CheckHealthCommand,
    Flag,
    MigrateAgentConnectionAnswer,
    MigrateAgentConnectionCommand,
    ReadyAnswer,
    ReadyCommand,
    SetupMSListCommand,
    ShutdownCommand,
    StartupAnswer,
)
from tests.agent.scripted_server import SERVER_REQUEST
from tests.agent.three_servers import A, B, C, ThreeServers


class WaitingResource(SimulatorResource):
    """Its commands end when the test says so."""

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Prepare."""
        super().configure(properties, clock)
        self.running: list[Deferred[Answer]] = []

    def execute(self, command: Command | Opaque) -> Deferred[Answer]:
        """Wait."""
        self.running.append(Deferred())
        return self.running[-1]


class MoveTests(ThreeServers):
    """Make before break."""

    def on_b(self, text: str = "", resource: SimulatorResource | None = None) -> None:
        """An agent that found A dead and is on B; A is back."""
        self.world.kill(A)
        self.world.agent(text, resource=resource)
        self.assertEqual(self.world.on, B)
        self.world.restart(A)

    def test_periodic_check(self) -> None:
        """Within the interval that the server sent the agent returns to the head of its list, up all the while."""
        self.ready(lb_check_interval=5)
        self.on_b()
        self.world.advance(5)
        self.assertEqual(self.world.on, A)
        startup = self.world.connection(A).startups[0]
        self.assertEqual((startup.connection_transferred, startup.host_id), (True, 7))
        self.assertEqual(self.sent(B, ShutdownCommand), [])
        self.assertIn("host-1 (g1) moves from 10.0.1.2 to 10.0.1.1", self.log.lines())
        self.assertIsNone(self.world.connection(B).lost)
        self.world.advance(CLOSES_WITHIN)
        self.assertIsNotNone(self.world.connection(B).lost)
        self.world.advance(100)
        self.assertEqual(len(self.world.servers[A].connections), 1)

    def test_own_interval(self) -> None:
        """The interval of agent.properties comes before the server's."""
        self.ready(lb_check_interval=0)
        self.on_b("host.lb.check.interval=20")
        self.world.advance(20)
        self.assertEqual(self.world.on, A)

    def test_off(self) -> None:
        """0 stops the check, from either side; another value starts it, live."""
        self.ready(lb_check_interval=5)
        self.on_b("host.lb.check.interval=0")
        self.world.advance(300)
        self.assertEqual(self.world.on, B)

    def test_reconfigured(self) -> None:
        """The interval changes live, without a new list."""
        self.ready(lb_check_interval=100)
        self.on_b()
        self.world.connection(B).send(SetupMSListCommand(ms_list=(A, B, C), lb_check_interval=0))
        self.world.advance(150)
        self.assertEqual(self.world.on, B)
        self.world.connection(B).send(SetupMSListCommand(ms_list=(A, B, C), lb_check_interval=2))
        self.world.advance(2.1)
        self.assertEqual(self.world.on, A)

    def test_shuffle(self) -> None:
        """A shuffled list is checked once."""
        self.ready(lb_check_interval=5)
        self.on_b(f"host={A},{B},{C}@shuffle")
        self.world.kill(A)
        self.world.advance(6)
        self.world.restart(A)
        self.world.advance(100)
        self.assertEqual(self.world.on, B)

    def test_trigger(self) -> None:
        """A list with another head and triggerHostLb moves the agent at once, without any check interval."""
        self.world.agent()
        self.world.connection(A).send(
            SetupMSListCommand(ms_list=(C, A, B), lb_algorithm="roundrobin", trigger_host_lb=True)
        )
        self.world.advance(0.1)
        self.assertEqual(self.world.on, C)

    def test_second_best(self) -> None:
        """While the head of the list is down, the next best server is returned to."""
        self.ready(lb_check_interval=5)
        self.world.kill(A)
        self.world.kill(B)
        self.world.agent()
        self.assertEqual(self.world.on, C)
        self.world.restart(B).script.ready = ReadyCommand(host_id=7, lb_check_interval=5)
        self.world.advance(5)
        self.assertEqual(self.world.on, B)

    def test_failed_attempts(self) -> None:
        """Whatever the preferred server does wrong, the agent stays up where it is, and comes when it is right."""
        self.ready(lb_check_interval=5)
        self.on_b()
        server = self.world.servers[A]
        good = server.script.ready
        for fault in ("cut", "frozen", "silent", "refuses", "closes"):
            with self.subTest(fault=fault):
                server.script.ready = None
                if fault == "cut":
                    self.world.network.cut("10.0.0.1", A)
                elif fault == "frozen":
                    self.world.network.freeze(server.machine)
                elif fault == "refuses":
                    server.script.ready = ReadyCommand(details="not here")
                for _ in range(100):
                    self.world.advance(1)
                    if fault == "closes" and server.open:
                        server.open[0].link.abort("fault")
                    self.assertEqual(self.world.on, B)
                self.world.network.heal()
                self.world.network.thaw(server.machine)
        server.script.ready = good
        self.world.advance(80)
        self.assertEqual(self.world.on, A)
        self.assertEqual(len(self.world.servers[B].connections), 1)
        self.assertEqual(len(server.open), 1)

    def test_untouched_by_a_failed_move(self) -> None:
        """Whatever the preferred server says before it admits the host, nothing changes where the host is up."""
        self.ready(lb_check_interval=5)
        self.on_b()
        script = self.world.servers[A].script
        script.startup_answer = StartupAnswer(host_id=99, ping_interval=1)
        script.ready = ReadyCommand(host_id=99, ms_host_list=())
        self.world.advance(10)
        self.world.connection(A).link.abort("the move fails")
        script.ready = None
        old = self.world.connection(B)
        before = len(old.pings)
        for _ in range(20):
            sequence = old.send(CheckHealthCommand())
            self.world.advance(6)
            self.assertEqual(old.answers[sequence], [CheckHealthAnswer()])
        self.assertEqual({ping.host_id for ping in old.pings}, {7})
        self.assertEqual(len(old.pings) - before, 2)
        self.assertEqual(self.world.on, B)

    def test_commands_under_way(self) -> None:
        """What is under way on the old link is answered there, and only then is it closed."""
        resource = WaitingResource()
        self.ready(lb_check_interval=5)
        self.on_b(resource=resource)
        old = self.world.connection(B)
        sequence = old.send(CheckHealthCommand())
        self.world.advance(10)
        self.assertEqual(self.world.on, A)
        self.assertIsNone(old.lost)
        resource.running[0].callback(CheckHealthAnswer())
        self.world.advance(0.1)
        self.assertEqual(old.answers[sequence], [CheckHealthAnswer()])
        self.world.advance(CLOSES_WITHIN)
        self.assertIsNotNone(old.lost)
        self.assertEqual(self.sent(B, ShutdownCommand), [])

    def test_left_server_closes(self) -> None:
        """A server that has heard of the move closes the old link, which means nothing to the agent."""
        self.ready(lb_check_interval=5)
        self.on_b()
        self.world.advance(5)
        self.world.connection(B).link.close()
        self.world.advance(CLOSES_WITHIN)
        self.assertEqual(self.world.on, A)
        self.assertEqual(len(self.world.servers[A].connections), 1)

    def test_stopped_after_a_move(self) -> None:
        """An agent that stops waits for no server to close the link that it has left."""
        self.ready(lb_check_interval=5)
        self.on_b()
        self.world.advance(5)
        stopped = self.world.service.stopService()
        self.world.advance(0.1)
        self.successResultOf(stopped)
        self.assertIsNotNone(self.world.connection(B).lost)

    def test_ready_too_late(self) -> None:
        """A server that has been left, and admits the host only then, does not get it back."""
        self.ready(lb_check_interval=5)
        self.on_b(resource=WaitingResource())
        old = self.world.connection(B)
        old.send(CheckHealthCommand())
        self.world.advance(10)
        sequence = old.send(ReadyCommand(host_id=7))
        self.world.advance(0.1)
        self.assertEqual(old.answers[sequence], [ReadyAnswer(result=False, details="The host is on another server")])
        self.assertEqual(self.world.on, A)

    def test_in_order_over_the_move(self) -> None:
        """An in-sequence command of the new server waits for one of the old."""
        resource = WaitingResource()
        self.ready(lb_check_interval=5)
        self.on_b(resource=resource)
        flags = SERVER_REQUEST | Flag.IN_SEQUENCE
        self.world.connection(B).send(CheckHealthCommand(), flags=flags)
        self.world.advance(10)
        self.world.connection(A).send(CheckHealthCommand(), flags=flags)
        self.world.advance(0.1)
        self.assertEqual(len(resource.running), 1)
        resource.running[0].callback(CheckHealthAnswer())
        self.assertEqual(len(resource.running), 2)

    def test_old_link_dies_while_connecting(self) -> None:
        """When the old server dies before the new one has heard of us, the walk goes on without delay."""
        self.ready(lb_check_interval=5)
        self.on_b()
        self.world.network.cut("10.0.0.1", A)
        self.world.advance(6)
        self.world.kill(B)
        self.world.advance(0.1)
        self.assertEqual(self.world.on, C)

    def test_old_link_dies_while_starting(self) -> None:
        """When it dies later the new server becomes the one in charge."""
        self.ready(lb_check_interval=5)
        self.on_b()
        self.world.servers[A].script.ready = None
        self.world.advance(6)
        self.world.kill(B)
        self.world.advance(0.1)
        self.assertIsNone(self.world.on)
        self.world.connection(A).send(ReadyCommand(host_id=7))
        self.world.advance(0.1)
        self.assertEqual(self.world.on, A)
        self.assertEqual(len(self.world.servers[C].connections), 0)
        self.world.kill(A)
        self.world.advance(0.1)
        self.assertEqual(self.world.on, C)

    def test_old_link_dies_and_new_server_hangs(self) -> None:
        """A server that has taken over and hangs is left for the next after a ping interval, 5 to 15 s of them."""
        for interval, seconds in ((2, 5), (10, 10), (60, 15)):
            with self.subTest(interval=interval):
                self.setUp()
                self.ready(lb_check_interval=5)
                for server in self.world.servers.values():
                    server.script.startup_answer = StartupAnswer(ping_interval=interval)
                self.on_b()
                self.world.servers[A].script.ready = None
                while not self.world.servers[A].open:
                    self.world.advance(0.1)
                self.world.kill(B)
                self.world.advance(seconds - 1)
                self.assertIsNone(self.world.on)
                self.world.advance(1.2)
                self.assertEqual(self.world.on, C)

    def test_old_link_and_new_link_die(self) -> None:
        """When both die the walk goes on."""
        self.ready(lb_check_interval=5)
        self.on_b()
        self.world.servers[A].script.ready = None
        self.world.advance(6)
        self.world.kill(B)
        self.world.kill(A)
        self.world.advance(0.1)
        self.assertEqual(self.world.on, C)

    def test_migrate(self) -> None:
        """MigrateAgentConnectionCommand is answered first; then the agent goes to the first server not avoided."""
        self.world.agent()
        self.world.kill(B)
        old = self.world.connection(A)
        sequence = old.send(MigrateAgentConnectionCommand(ms_list=(A, B, C), avoid_ms_list=(A,), lb_algorithm="static"))
        self.world.advance(0.1)
        self.assertEqual(old.answers[sequence], [MigrateAgentConnectionAnswer()])
        self.assertEqual(self.world.on, C)
        self.world.advance(CLOSES_WITHIN)
        self.assertIsNotNone(old.lost)
        self.assertTrue(self.world.connection(C).startups[0].connection_transferred)

    def test_migrate_nowhere(self) -> None:
        """With no other server to go to, the agent stays."""
        self.world.agent()
        self.world.kill(B)
        self.world.kill(C)
        self.world.connection(A).send(
            MigrateAgentConnectionCommand(ms_list=(A, B, C), avoid_ms_list=(A,), lb_algorithm="static")
        )
        self.world.advance(20)
        self.assertEqual(self.world.on, A)

    def test_migrate_during_a_check(self) -> None:
        """Told to leave while a preferred server is tried in vain, the agent then goes where it was told to."""
        self.ready(lb_check_interval=5)
        self.on_b()
        self.world.network.cut("10.0.0.1", A)
        self.world.advance(6)
        self.world.connection(B).send(
            MigrateAgentConnectionCommand(ms_list=(A, B, C), avoid_ms_list=(A, B), lb_algorithm="static")
        )
        self.world.advance(6)
        self.assertEqual(self.world.on, C)

    def test_stop_while_moving(self) -> None:
        """A stop in the middle of a move leaves nothing behind, and says good-bye where the host is up."""
        self.ready(lb_check_interval=5)
        self.on_b()
        self.world.servers[A].script.ready = None
        self.world.advance(6)
        stopped = self.world.service.stopService()
        self.world.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.sent(B, ShutdownCommand), [ShutdownCommand(reason="sig.kill")])
        self.assertEqual((self.world.machine.getDelayedCalls(), self.world.machine.open_sockets), ([], 0))
