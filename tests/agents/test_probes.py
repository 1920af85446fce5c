"""Questions to hosts of another server, between two servers on one database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents import probes
from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable
from cloudlb.agents.investigation import Case
from cloudlb.agents.investigators.kvm import KVMInvestigator
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.records import Verdict
from cloudlb.wire import (
    Answer,
    CheckOnHostAnswer,
    CheckOnHostCommand,
    Command,
    Flag,
    MaintainCommand,
    PingTestCommand,
    ReadyAnswer,
    write_contents,
)
from tests.agents.server import FakeLink, ServerFixture

QUESTION = PingTestCommand(computing_host_ip="192.0.2.1", bypass_host_maintenance=True)
UNREACHED = Answer(result=False, details="no answer")


class ProbeTests(SynchronousTestCase):
    """The first server asks; host 2 is on the second."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).parent
        self.asks = ServerFixture(folder, "127.0.0.1", host="127.0.0.1,127.0.0.2")
        self.holds = ServerFixture(folder, "127.0.0.2")
        self.addCleanup(self.asks.stop)
        self.addCleanup(self.holds.stop)
        self.link = self.up(self.holds, 2)

    def up(self, server: ServerFixture, number: int) -> FakeLink:
        """A host that is Up, and has been sent nothing yet."""
        link = server.startup(number, hypervisor_type="KVM", ms_host_list="127.0.0.1,127.0.0.2@static")
        header, _ = link.take()[-1]
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=Flag(0))
        link.take()
        return link

    def advance(self, seconds: float) -> None:
        """Let time pass for both."""
        for _ in range(max(1, int(seconds * 4))):
            for server in (self.asks, self.holds):
                server.advance(min(seconds, 0.25))

    def ask(self, *commands: Command, number: int = 2, seconds: float = 5.0) -> Deferred[Any]:
        """Ask a host."""
        host = self.asks.host(number)
        return self.asks.server.probes.send(host, commands or [QUESTION], timeout=seconds)

    def answer(self, *answers: Answer, link: FakeLink | None = None) -> list[Any]:
        """Have an agent answer what it was asked; the commands."""
        link = link or self.link
        sent = link.take()
        link.receive(answers, sequence=sent[0][0].sequence, flags=Flag(0))
        return [command for _, command in sent]

    def assert_failed(self, asked: Deferred[Any], error: type[Exception], words: str) -> None:
        """A question has ended so, and nothing is left of it."""
        self.assertIn(words, str(self.failureResultOf(asked, error).value))
        self.assertEqual(self.asks.server.probes._waiting, {})

    def test_here(self) -> None:
        """A host of this server is asked at once, and the bus has nothing of it."""
        link = self.up(self.asks, 3)
        asked = self.ask(number=3)
        self.answer(UNREACHED, link=link)
        self.assertEqual(self.successResultOf(asked), [UNREACHED])

    def test_elsewhere(self) -> None:
        """Another server's host gets the question as it is, and all answers come back."""
        asked = self.ask(QUESTION, QUESTION)
        self.assertNoResult(asked)
        self.advance(0.5)
        sent = self.answer(UNREACHED, Answer())
        self.assertEqual(
            {(command.computing_host_ip, command.bypass_host_maintenance) for command in sent}, {("192.0.2.1", True)}
        )
        self.assertEqual(len(sent), 2)
        self.advance(0.5)
        self.assertEqual(self.successResultOf(asked), [UNREACHED, Answer()])
        self.assertEqual(self.holds.server.probes._under_way, set())

    def test_not_there(self) -> None:
        """A server that has not got the host says so, and why."""
        host = self.holds.host(2)
        self.link.lose()
        asked = self.asks.server.probes.send(host, [QUESTION], timeout=5.0)
        self.advance(0.75)
        self.assert_failed(asked, AgentUnavailable, "no agent connected")

    def test_mute(self) -> None:
        """Who asks waits no longer than it meant to, and what comes later is nobody's."""
        asked = self.ask(seconds=3.0)
        self.advance(2.5)
        self.assertNoResult(asked)
        self.advance(0.75)
        self.assert_failed(asked, AgentTimedOut, "3 s")
        self.advance(1)
        self.assertEqual(self.holds.server.probes._under_way, set())

    def test_a_server_that_is_gone(self) -> None:
        """Is as good as a host that is mute."""
        asked = self.ask(seconds=3.0)
        for _ in range(14):
            self.asks.advance(0.25)
        self.assert_failed(asked, AgentTimedOut, "3 s")
        # It was only asleep.
        self.advance(0.5)
        self.answer(UNREACHED)
        self.advance(0.5)

    def test_cancelled(self) -> None:
        """Who asks may lose interest."""
        asked = self.ask()
        asked.cancel()
        self.assert_failed(asked, CancelledError, "")
        self.advance(0.5)
        self.answer(UNREACHED)
        self.advance(0.5)

    def test_delivered_twice(self) -> None:
        """Is asked twice, which does no harm, and answered once."""
        asked = self.ask()
        self.advance(0.5)
        payload = {"probe": "p", "host_id": self.asks.host(2).id, "server_id": self.holds.server.probes.server_id}
        self.holds.server.probes._probe({**payload, "commands": write_contents([QUESTION]).decode(), "timeout": 5})
        first, second = [header.sequence for header, _ in self.link.take()]
        for sequence in (second, first):
            self.link.receive([UNREACHED], sequence=sequence, flags=Flag(0))
        self.advance(0.5)
        self.assertEqual(self.successResultOf(asked), [UNREACHED])

    def test_only_questions(self) -> None:
        """A message cannot have a host do anything, nor can what is no command."""
        for command in (MaintainCommand(), Answer()):
            asked = self.ask(command)  # type: ignore[arg-type]
            self.advance(0.75)
            self.assert_failed(asked, AgentUnavailable, "nothing that a server asks")
            self.assertEqual(self.link.take(), [])

    def test_unreadable(self) -> None:
        """What cannot be read is told, on either side."""
        server_id, host_id = self.holds.server.probes.server_id, self.asks.host(2).id
        payload = {"probe": "p", "host_id": host_id, "server_id": server_id, "commands": "{", "timeout": 5}
        self.holds.server.probes._probe(payload)
        asked = self.ask()
        (probe,) = self.asks.server.probes._waiting
        self.asks.server.probes._probed({"probe": probe, "answers": "]"})
        self.assert_failed(asked, AgentUnavailable, "cannot be read")
        self.advance(0.5)
        self.answer(UNREACHED)
        self.advance(0.5)

    def test_too_many(self) -> None:
        """A server takes on only so many."""
        self.patch(probes, "AT_ONCE", 2)
        asked = [self.ask() for _ in range(3)]
        self.advance(0.75)
        failed = [each for each in asked if each.called]
        self.assertEqual(len(failed), 1)
        self.assertIn("too many", str(self.failureResultOf(failed[0], AgentUnavailable).value))
        for header, _ in self.link.take():
            self.link.receive([UNREACHED], sequence=header.sequence, flags=Flag(0))
        self.advance(0.5)
        self.assertEqual([self.successResultOf(each) for each in asked if each is not failed[0]], [[UNREACHED]] * 2)

    def test_database_is_away(self) -> None:
        """Nobody can be asked, and who was asked waits to no avail."""
        run = self.asks.database.run

        def away(_: Any) -> Any:
            return fail(StoreUnavailable("the disk is full"))

        self.asks.database.run = away  # type: ignore[method-assign, assignment]
        self.assert_failed(self.ask(), AgentUnavailable, "the disk is full")
        self.asks.database.run = run  # type: ignore[method-assign]
        asked = self.ask()
        self.advance(0.5)
        run, self.holds.database.run = self.holds.database.run, away  # type: ignore[method-assign, assignment]
        self.answer(UNREACHED)
        self.advance(5)
        self.holds.database.run = run  # type: ignore[method-assign]
        self.assert_failed(asked, AgentTimedOut, "5 s")

    def test_a_stop(self) -> None:
        """Leaves nothing on the clock."""
        asked = self.ask(seconds=60)
        self.advance(0.5)
        self.holds.stop()
        self.holds.advance(5)
        self.assertEqual(self.holds.reactor.getDelayedCalls(), [])
        asked.cancel()
        self.failureResultOf(asked)

    def test_the_heartbeat_of_a_neighbour_elsewhere(self) -> None:
        """A host is Down by the word of a neighbour whose agent is on another server."""
        self.up(self.asks, 1)
        host = self.asks.host(1)
        investigator = KVMInvestigator(self.asks.server._means)
        opened = Case(host=host, attache=None, cause=HostEvent.AGENT_DISCONNECTED, seconds=10.0)
        begun = Deferred.fromCoroutine(investigator.investigate(opened))
        self.advance(0.5)
        own, other = self.answer(
            CheckOnHostAnswer(determined=True, alive=True), CheckOnHostAnswer(determined=True, alive=False)
        )
        assert isinstance(own, CheckOnHostCommand)
        assert isinstance(other, CheckOnHostCommand)
        assert own.host is not None
        assert other.host is not None
        self.assertEqual((own.host.guid, other.host.guid), (self.asks.host(2).facts.guid, host.facts.guid))
        self.advance(0.5)
        verdict, reason = self.successResultOf(begun)
        self.assertIs(verdict, Verdict.DOWN, reason)
        self.assertIn("host-2", reason)
