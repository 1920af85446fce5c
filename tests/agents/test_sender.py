"""Sending commands to hosts: who gets them, how long they may take, and what becomes of them."""

from __future__ import annotations

import random
from gc import collect
from typing import cast
from uuid import UUID
from weakref import ref

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.directory import Directory
from cloudlb.agents.errors import (
    AgentBusy,
    AgentTimedOut,
    AgentUnavailable,
    BadAnswer,
    CommandCancelled,
    CommandError,
    LinkLost,
)
from cloudlb.agents.hooks import Hook, Hooks
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.requests import MAX_REQUESTS, Answers
from cloudlb.agents.sender import MAX_TIMEOUT, Outcome, Sender
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId
from cloudlb.domain.resource_state import ResourceState
from cloudlb.domain.settings import COMMANDS_TIMEOUT, WAIT, Settings
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
from tests.agents.sessions import Attaches, Session, session

HOST = HostId(1)
START = "com.cloud.agent.api.StartCommand"


class Recorder(Hook):
    """Keeps what it is told of commands."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def commands_seen(self, host_id: HostId, commands: object) -> None:
        self.told.append(("seen", host_id))

    def answers_seen(self, host_id: HostId, answers: object) -> None:
        self.told.append(("answered", host_id))

    def timed_out(self, host_id: HostId, commands: object) -> None:
        self.told.append(("timed out", host_id))


@define
class FixedSettings:
    """Settings that nobody changes but the test."""

    current: Settings = field(factory=Settings)


class Fixture:
    """A sender, and one host that may have a session."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.attaches = Attaches()
        self.settings = FixedSettings()
        self.hook = Recorder()
        rng = random.Random(1)
        self.sender = Sender(
            cast("Directory", self.attaches),
            cast("LiveSettings", self.settings),
            Hooks([self.hook]),
            self.clock,
            lambda: UUID(int=rng.getrandbits(128), version=4),
        )

    def connect(self, number: int = 1, *, ours: bool = True, up: bool = True) -> Session:
        """Have the host begin a session."""
        made = session(self.clock, number, ours=ours, up=up)
        self.attaches.by_host[HOST] = made.attache
        return made


def id_of(command: object) -> str:
    """The id under which a command went out."""
    assert isinstance(command, Command)
    return command.context_map[COMMAND_ID]


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
        own = MaintainCommand(context_map={COMMAND_ID: "mine", "logcontextid": "42"})
        self.sender.send(
            HOST, [CheckHealthCommand(), MaintainCommand(), own, Opaque(START, {"contextMap": {"a": "b"}})]
        )
        [(_, [check, maintain, same, start])] = connection.requests()
        assert isinstance(check, Command)
        assert isinstance(start, Opaque)
        self.assertNotIn(COMMAND_ID, check.context_map)
        UUID(id_of(maintain))
        self.assertEqual(same, MaintainCommand(context_map={COMMAND_ID: "mine", "logcontextid": "42"}, wait=1800))
        self.assertEqual({**start.fields["contextMap"], COMMAND_ID: "?"}, {"a": "b", COMMAND_ID: "?"})
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


class SendEachTests(SynchronousTestCase):
    """Answers as they come."""

    def setUp(self) -> None:
        self.fixture = Fixture()
        self.connection = self.fixture.connect()
        self.ends: dict[int, Outcome] = {}

    def send(self, count: int, *, stop_on_error: bool) -> Deferred[None]:
        return self.fixture.sender.send_each(
            HOST, [CheckHealthCommand()] * count, self.receive, timeout=5, stop_on_error=stop_on_error
        )

    def receive(self, index: int, outcome: Outcome) -> None:
        self.assertNotIn(index, self.ends)
        self.ends[index] = outcome

    def test_all_at_once(self) -> None:
        """Each is told when it has ended, and the whole when all have."""
        whole = self.send(3, stop_on_error=False)
        first, second, _ = [header.sequence for header, _ in self.connection.requests()]
        self.connection.answer(second, Answer(result=False))
        self.assertEqual(self.ends, {1: Answer(result=False)})
        self.connection.answer(first)
        self.assertNoResult(whole)
        self.fixture.clock.advance(5)
        self.assertIsInstance(self.ends[2], AgentTimedOut)
        self.successResultOf(whole)

    def test_one_after_another(self) -> None:
        """The next goes when the one before has ended; after one that failed none goes."""
        whole = self.send(4, stop_on_error=True)
        for result in (True, False):
            [(header, _)] = self.connection.requests()
            self.connection.answer(header.sequence, Answer(result=result))
        self.successResultOf(whole)
        self.assertEqual(self.connection.requests(), [])
        stopped = Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE)
        self.assertEqual(self.ends, {0: Answer(), 1: Answer(result=False), 2: stopped, 3: stopped})

    def test_an_error_stops_the_others_too(self) -> None:
        """It is not known that they could be carried out."""
        self.send(2, stop_on_error=True)
        self.connection.lose()
        self.assertIsInstance(self.ends[0], LinkLost)
        self.assertEqual(self.ends[1], Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE))

    def test_cancelled(self) -> None:
        """Those that have not ended are cancelled, whether they were sent or not."""
        for stop_on_error in (True, False):
            self.ends.clear()
            whole = self.send(3, stop_on_error=stop_on_error)
            header = self.connection.requests()[0][0]
            self.connection.answer(header.sequence)
            whole.cancel()
            self.successResultOf(whole)
            self.assertEqual(self.ends.pop(0), Answer())
            self.assertEqual([type(end) for end in self.ends.values()], [CommandCancelled] * 2)
            self.connection.requests()

    def test_who_is_told_fails(self) -> None:
        """It is logged, and the others have their ends all the same."""

        def receive(index: int, outcome: Outcome) -> None:
            self.receive(index, outcome)
            raise ZeroDivisionError

        for stop_on_error in (True, False):
            self.ends.clear()
            whole = self.fixture.sender.send_each(
                HOST, [CheckHealthCommand()] * 2, receive, stop_on_error=stop_on_error
            )
            while packets := self.connection.requests():
                for header, _ in packets:
                    self.connection.answer(header.sequence)
            self.successResultOf(whole)
            self.assertEqual(len(self.ends), 2)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


@define(eq=False)
class Sent:
    """One request, as who sent it sees it, and as the host has seen it."""

    commands: list[Command | Opaque]
    deadline: float
    ended: Deferred[Answers]
    ends: list[Answers | CommandError] = field(factory=list)
    session: Session | None = None
    """Where it was sent, if it was."""
    sequence: int = -1
    answers: list[Answer] | None = None
    """What the host has made of it."""


class SenderMachine(RuleBasedStateMachine):
    """Any history of a host whose sessions come and go, and which keeps its answers."""

    def __init__(self) -> None:
        """Begin with a host that is Up."""
        super().__init__()
        self.fixture = Fixture()
        self.sessions: list[Session] = []
        self.alive: Session | None = None
        self.history: list[Sent] = []
        self.connect()

    def arrived(self) -> None:
        """Note what has reached the host."""
        for each in self.sessions:
            for header, contents in each.requests():
                marks = [_mark(content) for content in contents]
                [sent] = [sent for sent in self.history if [_mark(command) for command in sent.commands] == marks]
                assert sent.session is None, "sent twice"
                sent.session, sent.sequence = each, header.sequence
                sent.commands = cast("list[Command | Opaque]", contents)

    @rule()
    def connect(self) -> None:
        """A session begins; the one before may not know that it is over."""
        before = self.alive
        self.alive = self.fixture.connect(len(self.sessions))
        self.sessions.append(self.alive)
        if before is not None:
            before.attache.supersede()

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """A link turns out to be lost."""
        chosen = data.draw(st.sampled_from(self.sessions))
        if not chosen.link.lost:
            chosen.lose()
        if chosen is self.alive:
            self.alive = None

    @rule(kinds=st.lists(st.booleans(), min_size=1, max_size=3), in_sequence=st.booleans(), timeout=st.integers(1, 40))
    def send(self, kinds: list[bool], in_sequence: bool, timeout: int) -> None:
        """Somebody sends commands, journalled or not."""
        number = len(self.history)
        commands: list[Command | Opaque] = [
            (MaintainCommand if journalled else CheckHealthCommand)(context_map={"mark": f"{number}.{index}"})
            for index, journalled in enumerate(kinds)
        ]
        sent = Sent(commands, self.fixture.clock.seconds() + timeout, Deferred())
        self.history.append(sent)
        sent.ended = self.fixture.sender.send(HOST, commands, timeout=timeout, in_sequence=in_sequence)
        sent.ended.addCallbacks(sent.ends.append, lambda failure: sent.ends.append(failure.value))

    def _carry_out(self, sent: Sent, fails: bool) -> list[Answer]:
        if sent.answers is None:
            answers = [Answer(details=_mark(command)) for command in sent.commands]
            if fails:
                answers[0] = Answer(result=False, details=_mark(sent.commands[0]))
                answers[1:] = [Answer(result=False, details=STOPPED_BY_PREVIOUS_FAILURE)] * (len(answers) - 1)
            sent.answers = answers
        return sent.answers

    @precondition(lambda self: any(sent.session for sent in self.history))
    @rule(data=st.data(), fails=st.booleans(), by_report=st.booleans())
    def answer(self, data: st.DataObject, fails: bool, by_report: bool) -> None:
        """The host has carried a request out, now or long ago, and tells it on its link or on a later session."""
        sent = data.draw(st.sampled_from([sent for sent in self.history if sent.session]))
        answers = self._carry_out(sent, fails)
        assert sent.session is not None
        if not by_report:
            if sent.session.link.ended is None and not sent.session.link.lost:
                sent.session.answer(sent.sequence, *answers)
            return
        for command, answer in zip(sent.commands, answers, strict=True):
            if isinstance(command, MaintainCommand) and answer.details == _mark(command):
                self.fixture.sender.reported(id_of(command), answer, HOST)

    @precondition(lambda self: any(not sent.ends for sent in self.history))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Somebody does not want an answer any more."""
        sent = data.draw(st.sampled_from([sent for sent in self.history if not sent.ends]))
        sent.ended.cancel()
        assert isinstance(sent.ends[0], CommandCancelled)

    @rule(seconds=st.integers(1, 25))
    def pass_time(self, seconds: int) -> None:
        """Deadlines pass."""
        self.fixture.clock.advance(seconds)

    @invariant()
    def one_end_each(self) -> None:
        """In time, and with the answers that the host gave to these very commands."""
        self.arrived()
        now = self.fixture.clock.seconds()
        for sent in self.history:
            assert len(sent.ends) <= 1
            assert sent.ends or now < sent.deadline
            for end in sent.ends:
                if isinstance(end, list):
                    assert end == sent.answers
                elif isinstance(end, LinkLost):
                    assert sent.session is not None
                    assert sent.session.link.lost
                    assert not all(isinstance(command, MaintainCommand) for command in sent.commands)
                elif isinstance(end, AgentUnavailable):
                    assert sent.session is None
                else:
                    assert isinstance(end, AgentTimedOut | CommandCancelled)
                    assert not isinstance(end, BadAnswer)

    def teardown(self) -> None:
        """Wait for the last deadline; nothing is left then."""
        self.fixture.clock.advance(41)
        self.one_end_each()
        assert all(sent.ends for sent in self.history)
        assert len(self.fixture.sender._late) == 0
        assert not self.fixture.sender._late._lost
        assert not any(each.attache._requests for each in self.sessions)
        assert [call for call in self.fixture.clock.getDelayedCalls() if "_expire" in str(call)] == []


def _mark(content: object) -> str:
    assert isinstance(content, Command)
    return content.context_map["mark"]


class SenderHistoryTests(SynchronousTestCase):
    """The machine under trial."""

    def test_any_history(self) -> None:
        """After any history each request has ended once."""
        run_state_machine_as_test(
            SenderMachine, settings=settings(max_examples=100, stateful_step_count=25, deadline=None)
        )
