"""The conversation of an agent with one server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.logger import globalLogPublisher

from agent.host_agent import PATIENCE
from agent.resources.simulator import SimulatorResource
from cloudlb.resource.interface import Answer, StartupCommand
from cloudlb.wire import (
    CheckHealthAnswer,
    CheckHealthCommand,
    Flag,
    PingAnswer,
    PingRoutingCommand,
    ReadyAnswer,
    ReadyCommand,
    ShutdownCommand,
    StartupAnswer,
)
from tests.agent.log_lines import LogLines
from tests.agent.scripted_server import World
from tests.agent.session_case import PickyResource, SessionCase


class SessionTests(SessionCase):
    """How it begins, goes on, and ends."""

    def test_start(self) -> None:
        """The host is introduced by its GUID, place and list; the answer to ReadyCommand makes it up."""
        self.world.agent()
        header, _ = self.connection.requests[0]
        self.assertEqual((header.sequence, header.flags, header.agent_id, header.via), (0, Flag.REQUEST, -1, -1))
        startup = self.connection.startups[0]
        self.assertEqual(
            (startup.guid, startup.resource_name, startup.name), ("g1-SimulatorResource", "SimulatorResource", "host-1")
        )
        self.assertEqual((startup.data_center, startup.pod, startup.cluster), ("1", "1", "1"))
        self.assertEqual((startup.ms_host_list, startup.connection_transferred), ("10.0.1.1@static", False))
        self.assertEqual(startup.private_ip_address, "10.0.0.1")
        self.assertEqual(self.connection.answers[100], [ReadyAnswer()])
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_pings(self) -> None:
        """Pings carry the host's id and follow at the interval that the server named."""
        self.script.startup_answer = StartupAnswer(ping_interval=30)
        self.world.agent()
        self.world.advance(300)
        self.assertEqual(len(self.connection.pings), 10)
        self.assertIsInstance(self.connection.pings[0], PingRoutingCommand)
        self.assertEqual(self.connection.pings[0].host_id, 7)
        header = self.connection.requests[-1][0]
        self.assertEqual((header.flags, header.agent_id), (Flag.REQUEST | Flag.STOP_ON_ERROR, 7))

    def test_ping_interval_out_of_range(self) -> None:
        """Whatever interval a server names, the agent stays up and pings: at most a day apart, or as by default."""
        for named, expected in ((3_000_000, 86400), (2**62, 86400), (0, 60), (-5, 60), (1, 1), (86400, 86400)):
            with self.subTest(named=named):
                self.setUp()
                self.script.startup_answer = StartupAnswer(ping_interval=named)
                self.world.agent()
                self.world.advance(3 * expected)
                self.assertEqual(len(self.connection.pings), 3)
                self.assertEqual(len(self.world.servers["10.0.1.1"].connections), 1)

    def test_plain_answer_to_a_ping(self) -> None:
        """Any answer to a ping counts."""
        self.script.ping_answer = Answer()
        self.world.agent()
        self.world.advance(600)
        self.assertEqual(len(self.world.servers["10.0.1.1"].connections), 1)

    def test_other_traffic_is_no_answer(self) -> None:
        """A server that sends requests and answers no ping is lost all the same."""
        self.script.ping_answer = None
        self.world.agent()
        first = self.connection
        for _ in range(120):
            first.send(CheckHealthCommand())
            self.world.advance(1)
        self.assertIsNotNone(first.lost)

    def test_resource_not_well(self) -> None:
        """A resource that cannot ping does not cost the host its server."""
        resource = PickyResource()
        self.world.agent(resource=resource)
        resource.well = False
        self.world.advance(300)
        self.assertEqual(len(self.world.servers["10.0.1.1"].connections), 1)
        self.assertGreaterEqual(len(self.connection.pings), 4)
        self.flushLoggedErrors(RuntimeError)

    def test_start_over(self) -> None:
        """Asked to, the agent introduces itself again on the same link, with the id it knows by now."""
        self.script.ping_answer = PingAnswer(send_startup=True)
        self.world.agent()
        self.world.advance(60)
        self.script.ping_answer = PingAnswer()
        self.world.advance(60)
        self.assertEqual(len(self.connection.startups), 2)
        self.assertEqual(self.connection.startups[1].host_id, 7)
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_new_interval(self) -> None:
        """Starting over, the agent takes a new ping interval, longer or shorter, and keeps one rhythm."""
        self.world.agent()
        for interval in (10, 100):
            self.script.startup_answer = StartupAnswer(ping_interval=interval)
            self.script.ping_answer = PingAnswer(send_startup=True)
            self.world.advance(60)
            self.script.ping_answer = PingAnswer()
            self.world.advance(100)
            before = len(self.connection.pings)
            self.world.advance(1000)
            self.assertEqual(len(self.connection.pings) - before, 1000 // interval)
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_unreadable_packet(self) -> None:
        """A message that is no packet ends the link; the agent comes back."""
        self.world.agent()
        first = self.connection
        first.link.send(b"\x01" * 50)
        self.world.advance(10)
        self.assertIsNotNone(first.lost)
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_stray_answers(self) -> None:
        """Answers that nobody waits for change nothing."""
        self.world.agent()
        for sequence in (-1, 0, 5, 2**62):
            self.connection.send_body(b'[{"com.cloud.agent.api.Answer":{"result":false}}]', Flag.FROM_SERVER, sequence)
        self.world.advance(1)
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_never_ready(self) -> None:
        """A server that does not admit the host in time is left."""
        self.script.ready = None
        self.world.agent()
        self.world.advance(PATIENCE - 1)
        self.assertIsNone(self.connection.lost)
        self.world.advance(2)
        self.assertIsNotNone(self.world.servers["10.0.1.1"].connections[0].lost)

    def test_ready_late(self) -> None:
        """A server that has commands for the host before it admits it gets the time for that."""
        self.script.ready = None
        self.world.agent()
        for _ in range(4):
            self.world.advance(PATIENCE - 1)
            self.assertEqual(self.ask(CheckHealthCommand()), [CheckHealthAnswer()])
        self.connection.send(ReadyCommand(host_id=7))
        self.world.advance(0.1)
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_refused(self) -> None:
        """A refused host closes the link, waits long, and asks again."""
        for refusal in (
            {"startup_answer": StartupAnswer(result=False, details="unknown zone"), "ready": None},
            {"ready": ReadyCommand(details="unknown zone")},
        ):
            with self.subTest(refusal=refusal):
                self.setUp()
                for name, value in refusal.items():
                    setattr(self.script, name, value)
                self.world.agent()
                self.assertIsNotNone(self.connection.lost)
                self.world.advance(29)
                self.assertEqual(len(self.world.servers["10.0.1.1"].connections), 1)
                self.script.startup_answer = StartupAnswer(ping_interval=60)
                self.script.ready = ReadyCommand(host_id=7)
                self.world.advance(32)
                self.assertEqual(self.world.on, "10.0.1.1")

    def test_busy(self) -> None:
        """A server without room is no refusal: the agent comes again when it was told to."""
        self.script.startup_answer = StartupAnswer(result=False, retry_after=5)
        self.script.ready = None
        log = LogLines()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        self.world.agent()
        self.assertIsNotNone(self.connection.lost)
        self.assertEqual(log.lines("error"), [])
        self.world.advance(4.8)
        self.assertEqual(len(self.world.servers["10.0.1.1"].connections), 1)
        self.script.startup_answer = StartupAnswer(ping_interval=60)
        self.script.ready = ReadyCommand(host_id=7)
        self.world.advance(5.2)
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_sent_on(self) -> None:
        """A server that takes no agents says which others take none either: the agent is Up on the next one at once."""
        taken_down = StartupAnswer(result=False, retry_after=5, avoid_ms_list=("10.0.1.1", "10.0.1.2"))
        world = World(Path(self.mktemp()).parent, "10.0.1.1", "10.0.1.2", "10.0.1.3")
        world.servers["10.0.1.1"].script.startup_answer = taken_down
        world.servers["10.0.1.1"].script.ready = None
        world.agent()
        world.advance(0.1)
        self.assertEqual(world.on, "10.0.1.3")
        self.assertEqual(world.servers["10.0.1.2"].connections, [])

    def test_old_list(self) -> None:
        """An agent whose own servers take nobody comes to one that they name; what is no address does not matter."""
        servers = ("?", "10.0.1.1", "10.0.1.2")
        sent_on = StartupAnswer(result=False, retry_after=1, avoid_ms_list=("10.0.1.1",), ms_list=servers)
        world = World(Path(self.mktemp()).parent, "10.0.1.1", "10.0.1.2")
        world.servers["10.0.1.1"].script.startup_answer = sent_on
        world.servers["10.0.1.1"].script.ready = None
        world.agent("host=10.0.1.1@static")
        self.assertIsNone(world.on)
        world.advance(2.1)
        self.assertEqual(world.on, "10.0.1.2")

    def test_sent_away(self) -> None:
        """A ShutdownCommand is answered and obeyed: the agent stays away."""
        self.world.agent()
        first = self.connection
        self.assertEqual(self.ask(ShutdownCommand(reason="deleteHost")), [Answer()])
        self.world.advance(1000)
        self.assertEqual(self.world.servers["10.0.1.1"].connections, [first])
        self.assertIsNotNone(first.lost)
        self.successResultOf(self.world.service.stopService())

    def test_stop(self) -> None:
        """A clean stop says good-bye and leaves nothing behind."""
        self.world.agent()
        stopped = self.world.service.stopService()
        self.world.advance(0.1)
        self.successResultOf(stopped)
        header, (farewell,) = self.connection.requests[-1]
        self.assertEqual(farewell, ShutdownCommand(reason="sig.kill"))
        self.assertEqual((header.sequence, int(header.flags), header.agent_id), (-1, 7, 7))
        self.assertIsNotNone(self.connection.lost)
        self.assertEqual((self.world.machine.getDelayedCalls(), self.world.machine.open_sockets), ([], 0))

    def test_stop_with_commands_under_way(self) -> None:
        """Commands under way are answered before the good-bye."""
        resource = PickyResource()
        self.world.agent(resource=resource)
        sequence = self.connection.send(CheckHealthCommand())
        self.world.advance(0.1)
        stopped = self.world.service.stopService()
        self.world.advance(1)
        self.assertNoResult(stopped)
        resource.running[0].callback(CheckHealthAnswer())
        self.world.advance(0.1)
        self.successResultOf(stopped)
        self.assertEqual(self.connection.answers[sequence], [CheckHealthAnswer()])
        self.assertIsInstance(self.connection.requests[-1][1][0], ShutdownCommand)

    def test_stop_with_a_hung_command(self) -> None:
        """A command that does not end holds a stop up for a bounded time."""
        self.world.agent(resource=PickyResource())
        self.connection.send(CheckHealthCommand())
        self.world.advance(0.1)
        stopped = self.world.service.stopService()
        self.world.advance(6)
        self.successResultOf(stopped)
        self.assertIsInstance(self.connection.requests[-1][1][0], ShutdownCommand)

    def test_stop_at_any_time(self) -> None:
        """A stop while connecting, shaking hands, starting or waiting leaves nothing behind."""
        for moment in (0.0, 0.00025, 0.0005, 0.00075, 0.001, 0.002, 5.0):
            for up in (True, False):
                with self.subTest(moment=moment, up=up):
                    self.setUp()
                    self.script.ready = None
                    if not up:
                        self.world.kill("10.0.1.1")
                    self.world.advance(0)
                    self.world.agent(start_for=moment)
                    stopped = self.world.service.stopService()
                    self.world.advance(20)
                    self.successResultOf(stopped)
                    self.assertEqual((self.world.machine.getDelayedCalls(), self.world.machine.open_sockets), ([], 0))

    def test_resource_cannot_start(self) -> None:
        """A resource that cannot say what the host is is asked again."""

        class Slow(SimulatorResource):
            tries = 0

            def startup(self) -> Sequence[StartupCommand]:
                self.tries += 1
                if self.tries < 3:
                    raise RuntimeError("libvirt is not there yet")
                return super().startup()

        self.world.agent(resource=Slow())
        self.world.advance(60)
        self.assertEqual(self.world.on, "10.0.1.1")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
