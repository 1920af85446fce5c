# test-case-name: tests.agent.test_journalled
"""What an agent tells of the commands that it has begun and carried out."""

from __future__ import annotations

from pathlib import Path

import orjson
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from agent.resources.simulator import SimulatorResource
from cloudlb.resource.interface import COMMAND_ID, Answer, Command, Opaque
from cloudlb.resource.journal_file import Entry, SqliteFile
from cloudlb.wire import CancelCommand, PingAnswer
from tests.agent.log_lines import LogLines
from tests.agent.scripted_server import Connection, PlainChannel, World


class Slow(SimulatorResource):
    """Carries commands out when the test says so."""

    def __init__(self) -> None:
        self.running: list[Deferred[Answer]] = []

    def execute(self, command: Command | Opaque) -> Deferred[Answer]:
        """Begin."""
        self.running.append(Deferred())
        return self.running[-1]


def change(id_: str) -> Opaque:
    """A command that changes something."""
    return Opaque("com.example.Change", {"contextMap": {COMMAND_ID: id_}})


class JournalledTests(SynchronousTestCase):
    """One agent on two servers."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.world = World(folder, "10.0.1.1", "10.0.1.2")
        self.resource = Slow()

    @property
    def connection(self) -> Connection:
        """The link that the agent is up on."""
        assert self.world.on is not None
        return self.world.connection(self.world.on)

    def told(self, connection: Connection) -> list[list[tuple[str | None, str | None]]]:
        """Of each ping of a link the ids and states."""
        return [[(info.id, info.state) for info in ping.command_infos] for ping in connection.pings]

    def acknowledging(self, *ids: str) -> None:
        """Have both servers acknowledge ids from now on."""
        for server in self.world.servers.values():
            server.script.ping_answer = PingAnswer(reconcile_commands=ids)

    def test_told_on_another_server(self) -> None:
        """An end that found its link gone is told by the first ping to the next server, at once, until it is heard."""
        self.world.agent(resource=self.resource)
        self.connection.send(change("a"), change("b"))
        self.world.advance(0.1)
        self.resource.running[0].callback(Answer(details="done"))
        self.world.kill("10.0.1.1")
        self.world.advance(5)
        self.assertEqual(self.world.on, "10.0.1.2")
        self.assertEqual(self.told(self.connection), [[("a", "COMPLETED"), ("b", "STARTED")]])
        [ping] = self.connection.pings
        self.assertTrue(ping.out_of_band)
        self.assertEqual(orjson.loads(ping.command_infos[0].answer or "")["details"], "done")
        self.acknowledging("a", "b")
        self.resource.running[1].callback(Answer(result=False))
        self.world.advance(0.1)
        self.assertEqual(self.told(self.connection)[1], [("a", "COMPLETED"), ("b", "FAILED")])
        self.world.advance(200)
        self.assertEqual(self.told(self.connection)[2:], [[]] * 3)

    def test_one_ping_at_a_time(self) -> None:
        """Many ends beside their link make one ping after another, not one each."""
        self.world.agent(resource=self.resource)
        for number in range(5):
            self.connection.send(change(str(number)))
        self.world.advance(0.1)
        self.world.kill("10.0.1.1")
        self.world.advance(5)
        self.assertEqual(len(self.connection.pings), 1)
        for each in self.resource.running:
            each.callback(Answer())
        self.world.advance(0.1)
        self.assertEqual([len(infos) for infos in self.told(self.connection)], [5, 5, 5])

    def test_answered_on_its_link(self) -> None:
        """An answer that went out on its own link is told with the next ping, since it may not have arrived."""
        self.world.agent(resource=self.resource)
        self.connection.send(change("a"))
        self.world.advance(0.1)
        self.resource.running[0].callback(Answer())
        self.world.advance(0.1)
        self.assertEqual(self.connection.pings, [])
        self.acknowledging("a")
        self.world.advance(125)
        self.assertEqual(self.told(self.connection), [[("a", "COMPLETED")], []])

    def test_told_after_a_restart(self) -> None:
        """What an earlier process had begun or carried out is told by the first ping of the next one."""
        service = self.world.agent(resource=self.resource)
        self.connection.send(change("a"), change("b"))
        self.world.advance(0.1)
        self.resource.running[0].callback(Answer())
        self.world.advance(0.1)
        self.successResultOf(self._stopped(service.stopService()))
        self.world.agent(resource=Slow())
        self.assertEqual(self.told(self.connection), [[("a", "COMPLETED"), ("b", "INTERRUPTED")]])

    def _stopped(self, stopping: Deferred[None]) -> Deferred[None]:
        self.world.advance(10)
        return stopping

    def test_not_to_cloudstack(self) -> None:
        """A server of CloudStack's is told nothing, and what it says of commands of its own is no acknowledgement."""
        self.world.agent(resource=self.resource)
        session = self.world.service.agent.session
        assert session is not None
        channel = session.link.channel
        assert isinstance(channel, PlainChannel)
        channel.is_cloudlb = False
        self.acknowledging("a")
        self.connection.send(change("a"))
        self.world.advance(0.1)
        self.resource.running[0].callback(Answer())
        self.world.advance(65)
        self.assertEqual(self.told(self.connection), [[]])
        channel.is_cloudlb = True
        self.world.advance(60)
        self.assertEqual(self.told(self.connection)[1:], [[("a", "COMPLETED")]])

    def test_nothing_to_tell(self) -> None:
        """Without such commands the first ping comes at its random moment, and there is no file."""
        self.world.agent(resource=self.resource)
        self.world.advance(0.5)
        self.assertEqual(self.connection.pings, [])
        self.assertFalse((self.world.folder / "agent.journal").exists())

    def test_bad_file(self) -> None:
        """With a journal that is none the agent starts, says so, refuses what changes something and does the rest."""
        journal = self.world.folder / "agent.journal"
        journal.write_bytes(b"no journal" * 1000)
        log = LogLines()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        self.world.agent()
        self.assertIn(f"{journal} cannot be used", log.lines("error")[0])
        for command, result in ((change("a"), False), (Opaque("com.example.Query", {}), True)):
            sequence = self.connection.send(command)
            self.world.advance(0.1)
            [answer] = self.connection.answers[sequence]
            assert isinstance(answer, Answer)
            self.assertIs(answer.result, result)
            self.assertEqual(str(journal) in (answer.details or ""), not result)
        self.world.advance(200)
        pings = self.told(self.connection)
        self.assertEqual(pings, [[(None, "UNREAD")]] * len(pings))
        self.assertIn(len(pings), (3, 4))
        self.assertEqual(len(log.lines("error")), 1)

    def test_mended_file(self) -> None:
        """A file that another process had open is read with the next ping after that has let go of it."""
        other = SqliteFile(self.world.folder / "agent.journal")
        other.read()
        other.write([Entry("a", "com.example.Change", 1, 0, 0.0)], [])
        self.world.agent()
        other.close()
        self.world.advance(70)
        self.assertEqual(self.told(self.connection)[-1], [("a", "INTERRUPTED")])

    def test_cancelled(self) -> None:
        """CancelCommand names the sequence of a request of the same server, and stops it."""
        self.world.agent(resource=self.resource)
        sequence = self.connection.send(change("a"))
        self.world.advance(0.1)
        cancel = self.connection.send(CancelCommand(sequence=sequence, reason="timed out"))
        self.world.advance(0.1)
        self.assertEqual(self.connection.answers[cancel], [Answer()])
        self.assertEqual(
            self.connection.answers[sequence], [Answer(result=False, details="Change was cancelled: timed out")]
        )
