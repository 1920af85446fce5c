"""From StartupCommands to Up, on a real database and a virtual clock."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.admission import READY_TIMEOUT
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.resource_state import ResourceState
from cloudlb.domain.settings_in_force import Settings
from cloudlb.wire import (
    AgentControlAnswer,
    AgentControlCommand,
    Answer,
    CheckHealthCommand,
    Flag,
    PingAnswer,
    PingCommand,
    ReadyAnswer,
    ReadyCommand,
    ShutdownCommand,
    StartupAnswer,
    StartupRoutingCommand,
    UnsupportedAnswer,
    write_packet,
)
from tests.agents.server import FakeChannel, FakeLink, ServerFixture

RESPONSE = Flag(0)


class AdmissionTests(SynchronousTestCase):
    """One server."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent, host="127.0.0.1,127.0.0.2")
        self.addCleanup(self.fixture.stop)

    def make_ready(self, link: FakeLink) -> ReadyCommand:
        """Answer the Ready that was sent last."""
        header, ready = link.take()[-1]
        assert isinstance(ready, ReadyCommand)
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=RESPONSE)
        return ready

    def attache(self) -> LinkAttache:
        """The one that speaks for host 1."""
        attache = self.fixture.server.directory.get(self.fixture.host(1).id)
        assert isinstance(attache, LinkAttache)
        return attache

    def test_a_server_that_takes_no_agents(self) -> None:
        """Sends those of ours on, with the servers to avoid; CloudStack's would exit, and are admitted."""
        self.fixture.server.door.elsewhere = lambda: ("127.0.0.1", "127.0.0.3")
        ours = self.fixture.startup(1)
        ((_, answer),) = ours.take()
        assert isinstance(answer, StartupAnswer)
        self.assertEqual((answer.result, answer.avoid_ms_list), (False, ("127.0.0.1", "127.0.0.3")))
        self.assertTrue(answer.retry_after)
        self.assertIsNotNone(ours.ended)
        theirs = self.fixture.startup(2, FakeLink(FakeChannel(is_cloudlb=False)))
        self.make_ready(theirs)
        self.assertIs(self.fixture.host(2).status, HostStatus.UP)

    def test_a_server_that_takes_agents_again(self) -> None:
        """Before it sends one on it looks whether it takes them meanwhile; one that has gone by then is forgotten."""
        looks: list[Deferred[None]] = []

        def look() -> Deferred[None]:
            looks.append(Deferred())
            return looks[-1]

        door = self.fixture.server.door
        door.elsewhere, door.look = lambda: ("127.0.0.1",), look
        link, gone = self.fixture.startup(1), self.fixture.startup(2)
        self.assertEqual((link.take(), gone.take()), ([], []))
        gone.lose()
        door.elsewhere = lambda: None
        for each in looks:
            each.callback(None)
        self.make_ready(link)
        self.assertIs(self.fixture.host(1).status, HostStatus.UP)
        self.assertEqual(gone.take(), [])

    def test_an_agent_becomes_up(self) -> None:
        """StartupAnswer at once with host id 0, ReadyCommand with the real one, Up only when that is answered."""
        link = self.fixture.startup(1)
        (_, answer), (header, ready) = link.take()
        self.assertEqual(answer, StartupAnswer(host_id=0, host_name="", host_uuid="", ping_interval=60))
        assert isinstance(ready, ReadyCommand)
        host = self.fixture.host(1)
        self.assertEqual((ready.host_id, ready.host_uuid, ready.host_name), (host.id, host.uuid, "host-1"))
        self.assertEqual(int(header.flags), 0x27)
        self.assertEqual(host.status, HostStatus.CONNECTING)
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=RESPONSE)
        host = self.fixture.host(1)
        self.assertEqual((host.status, host.resource_state), (HostStatus.UP, ResourceState.ENABLED))
        self.assertEqual(host.server_id, self.fixture.server.membership.own.id)

    def test_the_list_is_sent_where_it_differs(self) -> None:
        """The agent of this test holds one server where the setting has two."""
        ready = self.make_ready(self.fixture.startup(1))
        self.assertEqual((ready.ms_host_list, ready.lb_algorithm), (("127.0.0.1", "127.0.0.2"), "static"))
        self.assertEqual(ready.lb_check_interval, 0)

    def test_the_list_is_not_sent_where_it_is_right(self) -> None:
        """But the interval is, always."""
        ready = self.make_ready(self.fixture.startup(1, ms_host_list="127.0.0.1,127.0.0.2@static"))
        self.assertEqual((ready.ms_host_list, ready.lb_algorithm, ready.lb_check_interval), (None, None, 0))

    def test_the_algorithms_name_counts(self) -> None:
        """The same order under another name is another list."""
        ready = self.make_ready(self.fixture.startup(1, ms_host_list="127.0.0.1,127.0.0.2@shuffle"))
        self.assertEqual(ready.lb_algorithm, "static")

    def test_an_unknown_zone_is_refused_for_good(self) -> None:
        """With a ReadyCommand whose details say why, then the link is closed; no row is made."""
        link = self.fixture.startup(1, data_center="nowhere")
        header, ready = link.take()[-1]
        assert isinstance(ready, ReadyCommand)
        self.assertIn("nowhere", ready.details or "")
        self.assertEqual((int(header.flags), header.sequence, header.agent_id), (0x7, -1, -1))
        self.assertIsNotNone(link.ended)
        link.lose()
        self.assertRaises(AssertionError, self.fixture.host, 1)

    def test_a_startup_that_does_not_do_is_answered_with_false(self) -> None:
        """And nothing else is sent."""
        link = FakeLink()
        self.fixture.begin(link, [StartupRoutingCommand()])
        ((_, answer),) = link.take()
        assert isinstance(answer, StartupAnswer)
        self.assertFalse(answer.result)
        self.assertIsNotNone(link.ended)

    def test_a_lost_link_makes_the_host_disconnected(self) -> None:
        """Once no other server has claimed it in time; the directory forgets it at once."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        self.assertEqual(len(self.fixture.server.directory), 1)
        link.lose()
        self.assertEqual(self.fixture.host(1).status, HostStatus.UP)
        self.fixture.advance(2)
        self.assertEqual(self.fixture.host(1).status, HostStatus.DISCONNECTED)
        self.assertEqual(len(self.fixture.server.directory), 0)

    def test_a_newer_link_supersedes_an_older_one(self) -> None:
        """What the older one says or suffers later changes nothing."""
        old = self.fixture.startup(1)
        self.make_ready(old)
        new = self.fixture.startup(1)
        self.make_ready(new)
        old.lose()
        self.assertEqual(self.fixture.host(1).status, HostStatus.UP)
        self.assertEqual(self.fixture.host(1).session, 2)
        attache = self.attache()
        self.assertIs(attache.link, new)

    def test_a_superseded_link_is_closed_when_nothing_is_under_way(self) -> None:
        """After a moment in which the agent may close it itself."""
        old = self.fixture.startup(1)
        self.make_ready(old)
        self.fixture.startup(1)
        self.assertIsNone(old.ended)
        self.fixture.advance(3)
        self.assertIsNotNone(old.ended)
        old.lose()

    def transfer(self) -> FakeLink:
        """Have the agent of host 1 move here from a link that it still has."""
        return self.fixture.startup(1, connection_transferred=True, host_id=self.fixture.host(1).id)

    def test_a_transferred_host_stays_up(self) -> None:
        """An agent that moves is Up all the while, and taken over when it is ready."""
        old = self.fixture.startup(1)
        self.make_ready(old)
        new = self.transfer()
        self.assertEqual((self.fixture.host(1).status, self.fixture.host(1).session), (HostStatus.UP, 1))
        self.make_ready(new)
        self.assertEqual((self.fixture.host(1).status, self.fixture.host(1).session), (HostStatus.UP, 2))
        old.lose()
        self.fixture.advance(3)
        self.assertEqual(self.fixture.host(1).status, HostStatus.UP)

    def test_a_move_that_fails_changes_nothing(self) -> None:
        """Whatever becomes of the new link before the agent is ready, the old one has the host."""
        old = self.fixture.startup(1)
        self.make_ready(old)
        before = self.fixture.host(1)
        self.transfer().lose()
        refused = self.transfer()
        header, _ = refused.take()[-1]
        refused.receive([ReadyAnswer(result=False, details="no room")], sequence=header.sequence, flags=RESPONSE)
        refused.lose()
        self.fixture.advance(5)
        self.assertEqual(self.fixture.host(1), evolve(before, last_heard=self.fixture.host(1).last_heard))
        attache = self.fixture.server.directory.get(before.id)
        assert isinstance(attache, LinkAttache)
        self.assertIs(attache.link, old)
        self.assertIsNone(old.ended)

    def test_a_host_that_is_not_up_is_not_transferred(self) -> None:
        """CloudStack's agent has left its old server by then: it comes like any other."""
        old = self.fixture.startup(1)
        self.make_ready(old)
        old.lose()
        self.fixture.advance(2)
        new = self.transfer()
        self.assertEqual(self.fixture.host(1).status, HostStatus.CONNECTING)
        self.make_ready(new)
        self.assertEqual(self.fixture.host(1).status, HostStatus.UP)

    def test_an_agent_is_dropped_when_the_database_fails_it(self) -> None:
        """It must not stay Connecting for ever: it comes back by itself."""
        link = self.fixture.startup(1)
        self.fixture.database.run = lambda work: fail(StoreUnavailable("locked"))  # type: ignore[method-assign]
        self.make_ready(link)
        self.assertIn("database", link.ended or "")
        link.lose()
        self.fixture.advance(5)
        del self.fixture.database.run
        self.fixture.advance(1)
        self.assertEqual(self.fixture.host(1).status, HostStatus.DISCONNECTED)

    def test_a_stop_while_agents_are_admitted(self) -> None:
        """Leaves no row that says Up or Connecting."""
        self.make_ready(self.fixture.startup(1))
        self.fixture.startup(2)
        self.fixture.server.stopService()
        for link in self.fixture.links:
            self.assertIsNotNone(link.ended)
            link.lose(link.ended or "")
        self.fixture.advance(4)
        again = ServerFixture(self.fixture.folder, "127.0.0.2")
        self.addCleanup(again.stop)
        self.assertEqual({again.host(n).status for n in (1, 2)}, {HostStatus.DISCONNECTED})

    def test_a_session_that_is_not_the_latest_gives_way(self) -> None:
        """Even where the message of the newer one was missed: the row decides when the host is to become Up."""
        link = self.fixture.startup(1)
        header, _ = link.take()[-1]
        host_id = self.fixture.host(1).id
        self.fixture.server.bus.stop()
        other = ServerFixture(self.fixture.folder, "127.0.0.2")
        self.addCleanup(other.stop)
        other.startup(1)
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=RESPONSE)
        self.assertIsNone(self.fixture.server.directory.get(host_id))
        self.fixture.advance(3)
        self.assertIsNotNone(link.ended)
        self.assertEqual(self.fixture.host(1).status, HostStatus.CONNECTING)

    def test_pings_are_answered_and_stamped_in_batches(self) -> None:
        """The answer echoes the ping; the database learns of it later."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        self.fixture.advance(1)
        link.receive([PingCommand(host_id=1)], sequence=5, flags=Flag.REQUEST | Flag.STOP_ON_ERROR)
        heard = self.fixture.reactor.seconds()
        ((header, answer),) = link.take()
        assert isinstance(answer, PingAnswer) and answer.command is not None
        self.assertEqual((header.sequence, int(header.flags), answer.command["hostId"]), (5, 0x22, 1))
        self.assertNotEqual(self.fixture.host(1).last_heard, heard)
        self.fixture.advance(11)
        self.assertEqual(self.fixture.host(1).last_heard, heard)

    def test_a_silent_agent_is_dropped(self) -> None:
        """After two and a half ping intervals, and no earlier, it is investigated, and then dropped."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        self.fixture.advance(149)
        self.assertIsNone(link.ended)
        self.fixture.advance(2 + Settings().investigator_timeout)
        self.assertIn("no ping", link.ended or "")
        link.lose()

    def test_an_agent_that_never_becomes_ready_is_dropped(self) -> None:
        """Its row must not stay Connecting."""
        link = self.fixture.startup(1)
        link.receive([PingCommand()], sequence=1)
        self.fixture.advance(READY_TIMEOUT + 1)
        self.assertIn("ReadyCommand", link.ended or "")
        link.lose()
        self.assertEqual(self.fixture.host(1).status, HostStatus.DISCONNECTED)

    def test_a_shutdown_closes_the_link_without_an_answer(self) -> None:
        """The host is Disconnected."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        link.receive([ShutdownCommand(reason="sig.kill")], sequence=-1)
        self.assertEqual(link.take(), [])
        self.assertIsNotNone(link.ended)
        link.lose()
        self.assertEqual(self.fixture.host(1).status, HostStatus.DISCONNECTED)

    def test_every_request_gets_an_answer(self) -> None:
        """What nobody knows is unsupported; what does not parse is a failure."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        link.receive([AgentControlCommand(), CheckHealthCommand()], sequence=3)
        self.assertEqual([type(content) for _, content in link.take()], [AgentControlAnswer, UnsupportedAnswer])

    def test_startup_on_an_admitted_link(self) -> None:
        """Each command gets its own answer, and the host is admitted anew."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        again = StartupRoutingCommand(
            guid="guid-1-SimulatorResource", name="host-1", data_center="1", pod="1", cluster="1"
        )
        link.receive([again, again], sequence=9)
        answers = [content for _, content in link.take() if isinstance(content, StartupAnswer)]
        self.assertEqual([answer.host_id for answer in answers], [self.fixture.host(1).id] * 2)

    def test_startups_that_do_not_fit_the_link_end_it(self) -> None:
        """One link speaks for one host."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        link.receive([StartupRoutingCommand(guid="guid-2-SimulatorResource")], sequence=9)
        self.assertIn("fit", link.ended or "")

    def test_a_deleted_host_is_refused(self) -> None:
        """Its link is closed, and it cannot come back by itself."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        operations = self.fixture.server.operations
        self.successResultOf(Deferred.fromCoroutine(operations.delete_host(self.fixture.host(1).id, 1)))
        self.fixture.advance(1)
        self.assertIsNotNone(link.ended)
        link.lose()
        link = self.fixture.startup(1)
        _, ready = link.take()[-1]
        assert isinstance(ready, ReadyCommand)
        self.assertIn("deleted", ready.details or "")

    def test_a_request_to_an_agent_gets_its_answer(self) -> None:
        """And none once the link is gone."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        attache = self.attache()
        answered = attache.send([CheckHealthCommand()], timeout=5)
        ((header, _),) = link.take()
        link.receive([Answer(details="fine")], sequence=header.sequence, flags=RESPONSE)
        self.assertEqual(self.successResultOf(answered), [Answer(details="fine")])
        waiting = attache.send([CheckHealthCommand()], timeout=5)
        link.lose("gone")
        self.assertIn("gone", str(self.failureResultOf(waiting).value))

    def test_an_answer_that_breaks_the_protocol_fails_its_request(self) -> None:
        """And ends the link: nobody waits for ever."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        attache = self.attache()
        waiting = attache.send([CheckHealthCommand()], timeout=5)
        ((header, _),) = link.take()
        answer = write_packet(sequence=header.sequence, server_id=-1, agent_id=-1, via=-1, flags=RESPONSE, body=b"[]")
        attache.message_received(attache.link, answer + b"more")
        self.assertIn("broke the protocol", str(self.failureResultOf(waiting).value))
        self.assertIsNotNone(link.ended)

    def test_a_long_request_is_refused(self) -> None:
        """Before it is inflated."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        link.receive([ShutdownCommand(detail="x" * 3 * 2**20)], sequence=7)
        self.assertIn("limit", link.ended or "")

    def test_a_request_times_out(self) -> None:
        """A late answer is nobody's."""
        link = self.fixture.startup(1)
        self.make_ready(link)
        attache = self.attache()
        waiting = attache.send([CheckHealthCommand()], timeout=5)
        ((header, _),) = link.take()
        self.fixture.advance(5.1)
        self.assertIn("in time", str(self.failureResultOf(waiting).value))
        link.receive([Answer()], sequence=header.sequence, flags=RESPONSE)
