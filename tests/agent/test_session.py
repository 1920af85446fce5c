"""The conversation of an agent with one server."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from agent.host_agent import PATIENCE
from agent.resources.simulator import SimulatorResource
from agent.session import MAX_TEXT
from cloudlb.resource.interface import Answer, Command, Opaque, PingCommand, StartupCommand
from cloudlb.wire import (
    CheckHealthAnswer,
    CheckHealthCommand,
    Flag,
    MigrateAgentConnectionCommand,
    PingAnswer,
    PingRoutingCommand,
    ReadyAnswer,
    ReadyCommand,
    SetupMSListAnswer,
    SetupMSListCommand,
    ShutdownCommand,
    StartupAnswer,
    UnsupportedAnswer,
    write_contents,
)
from tests.agent.log_lines import LogLines
from tests.agent.scripted_server import SERVER_REQUEST, Connection, World


class PickyResource(SimulatorResource):
    """Knows one command, which ends when the test says so, and is not always well."""

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Prepare."""
        super().configure(properties, clock)
        self.running: list[Deferred[Answer]] = []
        self.well = True

    def ping(self, host_id: int) -> PingCommand:
        """Fail when not well."""
        if not self.well:
            raise RuntimeError("not well")
        return super().ping(host_id)

    def execute(self, command: Command | Opaque) -> Answer | Awaitable[Answer] | None:  # type: ignore[override]  # the simulator knows all
        """Run until told otherwise."""
        if not isinstance(command, CheckHealthCommand):
            return None
        self.running.append(Deferred())
        return self.running[-1]


class SessionTests(SynchronousTestCase):
    """One agent on one server."""

    def setUp(self) -> None:
        """A server; the agent starts in the test."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.world = World(folder, "10.0.1.1")
        self.script = self.world.servers["10.0.1.1"].script

    @property
    def connection(self) -> Connection:
        """The latest link."""
        return self.world.connection("10.0.1.1")

    def ask(self, *commands: Command | Opaque, flags: Flag = SERVER_REQUEST) -> Sequence[object]:
        """Send a request and wait for its answers."""
        sequence = self.connection.send(*commands, flags=flags)
        self.world.advance(0.1)
        return self.connection.answers[sequence]

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

    def test_list_in_ready(self) -> None:
        """A list in ReadyCommand is written to the file."""
        self.script.ready = ReadyCommand(
            host_id=7, ms_host_list=("10.0.1.1", "10.0.1.9"), lb_algorithm="roundrobin", lb_check_interval=0
        )
        self.world.agent("# ours\nour.own=1")
        text = self.world.path.read_text()
        self.assertIn("host=10.0.1.1,10.0.1.9@roundrobin\n", text)
        self.assertTrue(text.endswith("# ours\nour.own=1\nhost.seen=10.0.1.1,10.0.1.9\n"))

    def test_new_list(self) -> None:
        """SetupMSListCommand is persisted and answered, and moves nobody by itself."""
        self.world.agent()
        answers = self.ask(SetupMSListCommand(ms_list=("10.0.1.8", "10.0.1.1"), lb_algorithm="static"))
        self.assertEqual(answers, [SetupMSListAnswer()])
        self.assertIn("host=10.0.1.8,10.0.1.1@static\n", self.world.path.read_text())
        self.world.advance(100)
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_bad_list(self) -> None:
        """A list that makes no sense is refused with the reason and changes nothing."""
        self.world.agent()
        before = self.world.path.read_text()
        for servers in (("10.0.1.1", "10.0.1.1"), ("a b",), ("a b" * 100_000,), ("10.0.1.1", "")):
            (answer,) = self.ask(SetupMSListCommand(ms_list=servers, lb_algorithm="static"))
            assert isinstance(answer, SetupMSListAnswer)
            self.assertFalse(answer.result)
            assert answer.details
            self.assertLessEqual(len(answer.details), MAX_TEXT)
        self.assertEqual(self.world.path.read_text(), before)

    def test_empty_list(self) -> None:
        """An empty list is refused like any other that makes no sense, and its interval with it."""
        self.world.agent()
        before = self.world.path.read_text()
        for command in (SetupMSListCommand(lb_check_interval=3), MigrateAgentConnectionCommand()):
            (answer,) = self.ask(command)
            assert isinstance(answer, Answer)
            self.assertEqual((answer.result, answer.details), (False, "the list of servers is empty"))
        self.assertEqual(self.world.path.read_text(), before)

    def test_empty_list_in_ready(self) -> None:
        """A server that admits the host with an empty list is told so, and is not where the host is up."""
        self.script.ready = ReadyCommand(host_id=7, ms_host_list=())
        self.world.agent()
        self.assertEqual(
            self.connection.answers[100], [ReadyAnswer(result=False, details="the list of servers is empty")]
        )
        self.assertIsNone(self.world.on)

    def test_bad_list_in_ready(self) -> None:
        """A list with a mistake in ReadyCommand costs no host its server: it is up with the list that it has."""
        self.script.ready = ReadyCommand(host_id=7, ms_host_list=("10.0.1.1", "10.0.1.1"), lb_algorithm="static")
        self.world.agent()
        (answer,) = self.connection.answers[100]
        assert isinstance(answer, ReadyAnswer)
        self.assertTrue(answer.result)
        self.assertIn("twice", answer.details or "")
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_full_disk(self) -> None:
        """Where the list cannot be written it counts all the same, and is introduced with."""
        full = True

        def write(path: Path, content: bytes, mode: int) -> None:
            if full:
                raise OSError(28, "No space left on device")
            path.write_bytes(content)

        self.world.agent(write=write)
        before = self.world.path.read_text()
        self.assertEqual(
            self.ask(SetupMSListCommand(ms_list=("10.0.1.1", "10.0.1.2"), lb_algorithm="static")), [SetupMSListAnswer()]
        )
        self.assertEqual(self.world.path.read_text(), before)
        self.connection.link.abort("cut")
        self.world.advance(20)
        self.assertEqual(self.connection.startups[0].ms_host_list, "10.0.1.1,10.0.1.2@static")
        full = False
        self.world.advance(30)
        self.assertIn("host=10.0.1.1,10.0.1.2@static\n", self.world.path.read_text())

    def test_commands(self) -> None:
        """A resource's command is answered by its answer, with the request's header."""
        self.world.agent()
        flags = Flag.REQUEST | Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE | Flag.FROM_SERVER
        self.assertEqual(self.ask(CheckHealthCommand(), flags=flags), [CheckHealthAnswer()])

    def test_commands_before_ready(self) -> None:
        """A server may send commands before it has admitted the host; they are answered."""
        self.script.ready = None
        self.world.agent()
        self.assertEqual(self.ask(CheckHealthCommand()), [CheckHealthAnswer()])
        self.assertIsNone(self.world.on)

    def test_unknown_command(self) -> None:
        """A class that nobody knows is answered as unsupported."""
        self.world.agent(resource=PickyResource())
        (answer,) = self.ask(Opaque("com.example.UnheardOfCommand", {"x": 1}))
        assert isinstance(answer, UnsupportedAnswer)
        self.assertIn("com.example.UnheardOfCommand", answer.details or "")

    def test_unreadable_body(self) -> None:
        """A body that does not parse is answered, and the link stays."""
        self.world.agent()
        for number, body in enumerate((b"", b"{", b"[1]", b'[{"a":1,"b":2}]', b"\xff", b'[{"com.x.Y":[]}]')):
            self.connection.send_body(body, SERVER_REQUEST, 500 + number)
            self.world.advance(0.1)
            (answer,) = self.connection.answers[500 + number]
            assert isinstance(answer, Answer)
            self.assertFalse(answer.result)
        self.assertEqual(self.world.on, "10.0.1.1")

    def test_log_flood(self) -> None:
        """Whatever a server repeats, and however long, the log gets a line of it in 10 s."""
        log = LogLines()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        self.world.agent()
        before = len(log.lines())
        repeated = (
            lambda: self.connection.send_body(b"nope", Flag.FROM_SERVER, 9),
            lambda: self.connection.send_body(b"nope", SERVER_REQUEST, 9),
            lambda: self.connection.send_body(b'[{"' + b"x" * 100_000 + b'":{}}]', SERVER_REQUEST, 9),
            lambda: self.connection.send(SetupMSListCommand(ms_list=("a b" * 100_000,))),
            lambda: self.connection.send_body(
                write_contents([StartupAnswer(ping_interval=2**40)]), Flag.FROM_SERVER, 0
            ),
            lambda: self.connection.send(SetupMSListCommand(ms_list=("10.0.1.8", "10.0.1.1"), trigger_host_lb=True)),
            lambda: self.connection.send(SetupMSListCommand(ms_list=("10.0.1.9", "10.0.1.1"), trigger_host_lb=True)),
            lambda: self.connection.send(MigrateAgentConnectionCommand(ms_list=("10.0.1.1",))),
        )
        for repeat in repeated:
            for _ in range(50):
                repeat()
            self.world.advance(0.1)
        lines = [line for level in ("info", "warn", "error", "critical") for line in log.lines(level)][before:]
        self.assertLess(len(lines), 6)
        self.assertLess(max(map(len, lines)), 1000)
        self.assertEqual(self.world.on, "10.0.1.1")
        self.world.advance(10)
        self.connection.send_body(b"nope", Flag.FROM_SERVER, 9)
        self.world.advance(0.1)
        self.assertIn("more since the last such line", log.lines()[-1])

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
