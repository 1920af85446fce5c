"""What a server asks of an agent: to take another list, and to carry out commands."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import globalLogPublisher

from agent.session import MAX_TEXT
from cloudlb.resource.interface import Answer, Opaque
from cloudlb.wire import (
    CheckHealthAnswer,
    CheckHealthCommand,
    Flag,
    MigrateAgentConnectionCommand,
    ReadyAnswer,
    ReadyCommand,
    SetupMSListAnswer,
    SetupMSListCommand,
    StartupAnswer,
    UnsupportedAnswer,
    write_contents,
)
from tests.agent.log_lines import LogLines
from tests.agent.scripted_server import SERVER_REQUEST
from tests.agent.session_case import PickyResource, SessionCase


class RequestTests(SessionCase):
    """Requests on the link of one server, whether or not they make sense."""

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
