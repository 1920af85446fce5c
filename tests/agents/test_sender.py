"""Sending commands to hosts: who gets them, how long they may take, and what becomes of them."""

from __future__ import annotations

from gc import collect
from uuid import UUID
from weakref import ref

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import AgentBusy, AgentTimedOut, AgentUnavailable, CommandCancelled, CommandError, LinkLost
from cloudlb.agents.hooks import Hook, Hooks
from cloudlb.agents.requests import MAX_REQUESTS, Answers
from cloudlb.agents.sender import MAX_TIMEOUT
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId
from cloudlb.domain.resource_state import ResourceState
from cloudlb.domain.settings import COMMANDS_TIMEOUT, WAIT
from cloudlb.domain.settings_in_force import Settings
from cloudlb.wire import (
    COMMAND_ID,
    STOPPED_BY_PREVIOUS_FAILURE,
    Answer,
    CheckHealthCommand,
    Command,
    Flag,
    MaintainCommand,
    Opaque,
)
from tests.agents.sending import HOST, Fixture, Recorder, id_of

START = "com.cloud.agent.api.StartCommand"


class SenderTests(SynchronousTestCase):
    """One property each."""

    def setUp(self) -> None:
        self.fixture = Fixture()
        self.sender, self.clock, self.hook = self.fixture.sender, self.fixture.clock, self.fixture.hook

    def refused(self, sent: Deferred[Answers], kind: type[CommandError] = AgentUnavailable) -> str:
        return str(self.failureResultOf(sent, kind).value)

    # Who gets them.

    def test_a_host_that_is_not_here(self) -> None:
        """Refused at once, whether there is none or it is elsewhere: nobody is asked."""
        self.assertIn("host 1 has no agent", self.refused(self.sender.send(HOST, [CheckHealthCommand()])))

    def test_a_host_that_is_lost(self) -> None:
        """The directory may not have heard of it yet."""
        self.fixture.connect().lose()
        self.assertIn("host 1 has no agent", self.refused(self.sender.send(HOST, [CheckHealthCommand()])))

    def test_a_host_that_is_not_up(self) -> None:
        """Its agent has not said yet that it is ready."""
        connection = self.fixture.connect(up=False)
        why = self.refused(self.sender.send(HOST, [CheckHealthCommand()]))
        self.assertEqual(why, "host host-1 is not Up yet: it is Connecting")
        self.assertEqual(connection.requests(), [])
        connection.attache.take_status(HostStatus.UP)
        self.assertNoResult(self.sender.send(HOST, [CheckHealthCommand()]))

    def test_a_host_in_maintenance(self) -> None:
        """Only what its resource state allows; one command that is not is enough for all of them to stay here."""
        connection = self.fixture.connect()
        connection.attache.take_state(ResourceState.MAINTENANCE)
        start = Opaque(START, {})
        why = self.refused(self.sender.send(HOST, [CheckHealthCommand(), start]))
        self.assertIn("host host-1: StartCommand is not sent: the host is in Maintenance", why)
        self.assertEqual(self.hook.told, [])
        self.assertNoResult(self.sender.send(HOST, [CheckHealthCommand()]))
        self.assertNoResult(self.sender.send(HOST, [Opaque(START, {"bypassHostMaintenance": True})]))

    def test_a_command_that_cannot_be_written(self) -> None:
        """A definite error, and no packet."""
        connection = self.fixture.connect()
        why = self.refused(self.sender.send(HOST, [Opaque(START, {"vm": object()})]))
        self.assertIn("host host-1 cannot be sent it", why)
        self.assertEqual((connection.requests(), self.hook.told), ([], []))

    def test_a_busy_host(self) -> None:
        """Told as such; hooks do not hear of what was never sent."""
        self.fixture.connect()
        for _ in range(MAX_REQUESTS):
            self.sender.send(HOST, [CheckHealthCommand()])
        told = len(self.hook.told)
        self.refused(self.sender.send(HOST, [CheckHealthCommand()]), AgentBusy)
        self.assertEqual(len(self.hook.told), told)
        self.assertNoResult(self.fixture.attaches.by_host[HOST].send([CheckHealthCommand()], timeout=5))

    def test_no_commands(self) -> None:
        """No answers, wherever the host is."""
        self.assertEqual(self.successResultOf(self.sender.send(HOST, [])), [])

    # How.

    def test_flags(self) -> None:
        """As asked for; to stop on error is the rule."""
        connection = self.fixture.connect()
        self.sender.send(HOST, [CheckHealthCommand()])
        self.sender.send(HOST, [CheckHealthCommand()], stop_on_error=False, in_sequence=True)
        flags = [header.flags & (Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE) for header, _ in connection.requests()]
        self.assertEqual(flags, [Flag.STOP_ON_ERROR, Flag.IN_SEQUENCE])

    def waits(self, commands: list[Command | Opaque], timeout: float | None = None) -> float:
        """Send commands; the seconds after which they time out, which each of them must be told."""
        connection = self.fixture.connect()
        sent = self.sender.send(HOST, commands, timeout=timeout, stop_on_error=False)
        [(_, contents)] = connection.requests()
        waits = {content.fields["wait"] if isinstance(content, Opaque) else content.wait for content in contents}
        [call] = self.clock.getDelayedCalls()
        seconds: float = call.getTime() - self.clock.seconds()
        self.assertEqual(len(waits), 1)
        self.assertTrue(seconds <= waits.pop() < seconds + 1)
        sent.addErrback(lambda failure: None)
        sent.cancel()
        return seconds

    def test_time_outs(self) -> None:
        """commands.timeout by name, then the caller's or else the command's own, then wait."""
        health, own = CheckHealthCommand(), CheckHealthCommand(wait=40)
        self.assertEqual(self.waits([health]), 1800)
        self.fixture.settings.current = Settings({WAIT: "600"})
        self.assertEqual(self.waits([health]), 600)
        self.assertEqual(self.waits([own]), 40)
        self.assertEqual(self.waits([Opaque(START, {"wait": 50})]), 50)
        self.assertEqual(self.waits([Opaque(START, {"wait": "long"})]), 600)
        self.assertEqual(self.waits([own], timeout=7.5), 7.5)
        self.assertEqual(self.waits([own], timeout=0), 40)
        self.fixture.settings.current = Settings({COMMANDS_TIMEOUT: "CheckHealthCommand=5,StartCommand=900"})
        self.assertEqual(self.waits([own], timeout=7.5), 5)
        self.assertEqual(self.waits([Opaque(START, {})], timeout=7.5), 900)

    def test_the_longest_time_out_of_several(self) -> None:
        """All of them have it: they are carried out one after another."""
        self.fixture.settings.current = Settings({COMMANDS_TIMEOUT: "CheckHealthCommand=5"})
        self.assertEqual(self.waits([CheckHealthCommand(), MaintainCommand(wait=30)]), 30)
        self.assertEqual(self.waits([CheckHealthCommand(), MaintainCommand(wait=3)]), 5)

    def test_ids(self) -> None:
        """Commands that change something have one each; the caller's own stays, and so does the rest of the context."""
        connection = self.fixture.connect()
        own = MaintainCommand(context_map={COMMAND_ID: "mine", "logid": "42"})
        self.sender.send(
            HOST, [CheckHealthCommand(), MaintainCommand(), own, Opaque(START, {"contextMap": {"a": "b"}})]
        )
        [(_, [check, maintain, same, start])] = connection.requests()
        assert isinstance(maintain, Command)
        assert isinstance(check, Command)
        assert isinstance(start, Opaque)
        self.assertNotIn(COMMAND_ID, check.context_map)
        UUID(id_of(maintain))
        self.assertRegex(check.context_map["logid"], "^[0-9a-f]{8}$")
        self.assertEqual(check.context_map["logid"], maintain.context_map["logid"])
        self.assertEqual(same, MaintainCommand(context_map={COMMAND_ID: "mine", "logid": "42"}, wait=1800))
        self.assertEqual(
            {**start.fields["contextMap"], COMMAND_ID: "?"},
            {"a": "b", COMMAND_ID: "?", "logid": check.context_map["logid"]},
        )
        self.assertNotEqual(start.fields["contextMap"][COMMAND_ID], id_of(maintain))

    def test_hooks(self) -> None:
        """They see commands, answers and time-outs."""
        connection = self.fixture.connect()
        self.sender.send(HOST, [CheckHealthCommand()])
        [(header, _)] = connection.requests()
        connection.answer(header.sequence)
        self.assertEqual(self.hook.told, [("seen", 1), ("answered", 1)])
        late = self.sender.send(HOST, [CheckHealthCommand()], timeout=5)
        self.clock.advance(5)
        self.refused(late, AgentTimedOut)
        self.assertEqual(self.hook.told[2:], [("seen", 1), ("timed out", 1)])

    # Journalled commands.

    def test_a_lost_link_fails_a_query_at_once(self) -> None:
        """A request with one command that is not journalled fails as a whole."""
        connection = self.fixture.connect()
        query = self.sender.send(HOST, [CheckHealthCommand()])
        mixed = self.sender.send(HOST, [MaintainCommand(), CheckHealthCommand()])
        connection.lose()
        self.refused(query, LinkLost)
        self.refused(mixed, LinkLost)

    def test_a_late_answer_to_a_journalled_command(self) -> None:
        """It may come until the deadline, from the session of that moment."""
        connection = self.fixture.connect()
        sent = self.sender.send(HOST, [MaintainCommand()], timeout=60)
        [(_, [command])] = connection.requests()
        connection.lose()
        self.clock.advance(59)
        self.assertNoResult(sent)
        self.assertFalse(self.sender.reported("another", Answer(), HOST))
        self.assertFalse(self.sender.reported(id_of(command), Answer(), HostId(2)))
        self.assertTrue(self.sender.reported(id_of(command), Answer(details="done"), HOST))
        self.assertEqual(self.successResultOf(sent), [Answer(details="done")])
        self.assertFalse(self.sender.reported(id_of(command), Answer(details="again"), HOST))
        self.assertEqual((len(self.sender._late), self.clock.getDelayedCalls()), (0, []))
        self.assertEqual(self.hook.told, [("seen", 1), ("answered", 1)])

    def test_what_was_sent_is_let_go(self) -> None:
        """While its answer is waited for; only a hook that is told of time-outs has it kept."""

        class Payload(dict[str, str]):
            """May be referred to weakly."""

        for hooks, kept in ((Hooks([Hook()]), False), (Hooks([Recorder()]), True)):
            self.sender._hooks = hooks
            connection = self.fixture.connect()
            payload = Payload(a="x")
            held = ref(payload)
            sent = self.sender.send(HOST, [Opaque(START, {"payload": payload})])
            del payload
            connection.requests()
            collect()
            self.assertEqual(held() is not None, kept)
            sent.cancel()
            self.failureResultOf(sent)

    def test_longest(self) -> None:
        """Nobody's time-out is endless."""
        for command, timeout in ((CheckHealthCommand(wait=2**31 - 1), None), (CheckHealthCommand(), 1e9)):
            self.assertEqual(MAX_TIMEOUT, self.sender.seconds([command], timeout))

    def test_time_out_as_it_is_shown(self) -> None:
        """Without the microseconds that the way of a job has taken."""
        self.fixture.connect()
        for seconds, shown in ((0.995872, "which was 1 s"), (59.84, "which was 59.8 s"), (0.01, "less than 0.1 s")):
            sent = self.sender.send(HOST, [CheckHealthCommand()], timeout=seconds)
            self.clock.advance(seconds)
            self.assertTrue(self.refused(sent, AgentTimedOut).endswith(shown))

    def test_no_late_answer(self) -> None:
        """At the deadline that was set when it was sent."""
        connection = self.fixture.connect()
        sent = self.sender.send(HOST, [MaintainCommand()], timeout=60)
        self.clock.advance(20)
        connection.lose()
        self.clock.advance(39)
        self.assertNoResult(sent)
        self.clock.advance(1)
        self.assertIn("host host-1 has lost its link", self.refused(sent, AgentTimedOut))
        self.assertEqual(len(self.sender._late), 0)

    def test_a_command_that_was_not_sent_fails_at_once(self) -> None:
        """There will be no answer to it, journalled or not."""
        connection = self.fixture.connect()
        running = self.sender.send(HOST, [MaintainCommand()], in_sequence=True)
        waiting = self.sender.send(HOST, [MaintainCommand()], in_sequence=True)
        connection.lose()
        self.assertNoResult(running)
        self.assertIn("was not sent it", self.refused(waiting))

    def test_an_agent_without_a_journal(self) -> None:
        """CloudStack's will never tell, so nobody waits."""
        connection = self.fixture.connect(ours=False)
        sent = self.sender.send(HOST, [MaintainCommand()])
        connection.lose()
        self.refused(sent, LinkLost)

    def test_a_report_comes_before_the_loss_is_noticed(self) -> None:
        """The old link's silence, or its late answer, changes nothing then."""
        connection = self.fixture.connect()
        sent = self.sender.send(HOST, [MaintainCommand()], timeout=60)
        [(header, [command])] = connection.requests()
        self.fixture.connect(2)
        self.assertTrue(self.sender.reported(id_of(command), Answer(details="done"), HOST))
        self.assertEqual(self.successResultOf(sent), [Answer(details="done")])
        connection.answer(header.sequence, Answer(details="again"))
        connection.lose()
        self.assertEqual(self.hook.told, [("seen", 1), ("answered", 1)])

    def test_several_late_answers(self) -> None:
        """All of them are needed; of those behind one that failed nobody will tell."""
        connection = self.fixture.connect()
        sent = self.sender.send(HOST, [MaintainCommand(), MaintainCommand(), MaintainCommand()])
        [(_, [first, second, _])] = connection.requests()
        connection.lose()
        self.assertTrue(self.sender.reported(id_of(second), Answer(result=False), HOST))
        self.assertNoResult(sent)
        self.assertTrue(self.sender.reported(id_of(first), Answer(), HOST))
        stopped = Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE)
        self.assertEqual(self.successResultOf(sent), [Answer(), Answer(result=False), stopped])

    def test_one_id_twice(self) -> None:
        """Both wait for the one answer, and the agent carries the command out once."""
        connection = self.fixture.connect()
        same = MaintainCommand(context_map={COMMAND_ID: "same"})
        first, second = self.sender.send(HOST, [same]), self.sender.send(HOST, [same])
        connection.lose()
        self.assertTrue(self.sender.reported("same", Answer(), HOST))
        self.assertEqual([self.successResultOf(first), self.successResultOf(second)], [[Answer()], [Answer()]])

    def test_cancelled(self) -> None:
        """On a link, or when it is lost."""
        connection = self.fixture.connect()
        on_link, lost = self.sender.send(HOST, [MaintainCommand()]), self.sender.send(HOST, [MaintainCommand()])
        on_link.cancel()
        self.refused(on_link, CommandCancelled)
        connection.lose()
        lost.cancel()
        self.refused(lost, CommandCancelled)
        self.assertEqual((len(self.sender._late), self.clock.getDelayedCalls()), (0, []))

    def test_waiters_of_lost_links_are_limited(self) -> None:
        """A host whose link comes and goes does not fill the memory with those that wait for it."""
        for number in (1, 2):
            connection = self.fixture.connect(number)
            sent = [self.sender.send(HOST, [MaintainCommand()]) for _ in range(MAX_REQUESTS)]
            connection.lose()
            self.assertEqual(len(self.sender._late), MAX_REQUESTS)
        for each in sent:
            self.refused(each, LinkLost)

    def test_stop(self) -> None:
        """A server that stops leaves nobody waiting."""
        connection = self.fixture.connect()
        sent = self.sender.send(HOST, [MaintainCommand()])
        connection.lose()
        self.sender.stop()
        self.assertIn("the server is stopping", self.refused(sent, LinkLost))
        self.assertEqual(self.clock.getDelayedCalls(), [])
