"""Commands to hosts of other servers, while servers and hosts come, go and hang.

Hypothesis makes up histories; see tests.scenarios.test_convergence for how to have more of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import (
    AgentBusy,
    AgentTimedOut,
    AgentUnavailable,
    CommandCancelled,
    CommandError,
    LinkLost,
)
from cloudlb.agents.moves import MoveReason
from cloudlb.agents.requests import Answers
from cloudlb.domain.host_list import HostList
from cloudlb.wire import COMMAND_ID, LOGGING_CONTEXT, Answer, CancelCommand, CheckHealthCommand, Command, Opaque
from tests.scenarios.case import WorldCase
from tests.scenarios.histories import WorldHistory, run_histories
from tests.support.agent_process import AgentProcess
from tests.support.server_process import ServerProcess
from tests.support.world import World

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
PING = 6
TIMEOUT = 20
KINDS = ("query", "change", "unheard of")


def command(kind: str, mark: str) -> Command | Opaque:
    """A command that the simulator records by its mark; all but queries are journalled."""
    if kind == "query":
        return CheckHealthCommand(context_map={LOGGING_CONTEXT: mark})
    name = "com.cloud.agent.api.MaintainCommand" if kind == "change" else "com.example.UnheardOfCommand"
    return Opaque(name, {"contextMap": {COMMAND_ID: mark}, "vm": {"name": mark}})


def move(world: World, agent: AgentProcess, target: str) -> None:
    """Have the server of an agent ask it to go to another one."""
    owner = world.servers[agent.server or ""]
    attache = owner.attache(world.row(agent).id)
    assert attache is not None
    hosts = HostList(tuple(dict.fromkeys((target, *world.servers))), "shuffle")
    owner.service.moves.move(attache, hosts, avoid=(owner.address,), reason=MoveReason.LIST, why="a test wants it")


@define(eq=False)
class Sent:
    """One command, as who sent it sees it."""

    server: ServerProcess
    mark: str
    deadline: float
    answer: Deferred[Answers]
    ends: list[Answers | CommandError] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        """Note each end."""
        self.answer.addCallbacks(self.ends.append, lambda failure: self.ends.append(failure.value))

    @property
    def never_sent(self) -> bool:
        """Whether its end says that it was not carried out, and never will be."""
        end = self.ends[0] if self.ends else None
        if isinstance(end, AgentTimedOut):
            return "not sent" in str(end)
        return isinstance(end, AgentBusy) or (isinstance(end, AgentUnavailable) and not isinstance(end, LinkLost))


class Play:
    """A world whose hosts record what they carry out, and what was sent there."""

    def __init__(self, world: World, record: Path) -> None:
        self.world = world
        self.record = record
        self.sent: list[Sent] = []

    def send(
        self,
        server: str,
        agent: AgentProcess,
        kind: str = "query",
        *,
        in_sequence: bool = False,
        timeout: float = TIMEOUT,
    ) -> Sent:
        """Send a command by a server."""
        process = self.world.servers[server]
        line = f"{server}>{agent.number}" if in_sequence else "-"
        mark = f"{line}/{len(self.sent)}"
        answer = process.service.sender.send(
            self.world.row(agent).id, [command(kind, mark)], timeout=timeout, in_sequence=in_sequence
        )
        sent = Sent(process, mark, self.world.clock.seconds() + timeout, answer)
        self.sent.append(sent)
        return sent

    def executed(self) -> list[str]:
        """The marks of what was carried out, in order."""
        if not self.record.exists():
            return []
        marks = (line.split()[1] for line in self.record.read_text(encoding="utf-8").splitlines())
        return [mark for mark in marks if "/" in mark]


class StoryTests(WorldCase):
    """What becomes of one command; agent 2 is on the second server, and the first is asked."""

    def begin(self, delay: float = 2.0) -> None:
        record = Path(self.mktemp())
        properties = f"backoff.seconds=1\nsimulator.delay={delay}\nsimulator.record={record}\n"
        world = self.world(agents=3, ping_interval=PING, algorithm="shuffle", properties=properties)
        self.play = Play(world, record)
        self.clock, self.servers, self.agent = world.clock, world.servers, world.agents[2]
        if self.agent.server != B:
            move(world, self.agent, B)
            world.settle()
        self.assertEqual(self.agent.server, B)
        # So that a link is there.
        self.assert_answered(self.send("query", timeout=60), within=delay + 1)
        self.agent.received.clear()

    def send(self, kind: str, server: str = A, *, in_sequence: bool = False, timeout: float = TIMEOUT) -> Sent:
        return self.play.send(server, self.agent, kind, in_sequence=in_sequence, timeout=timeout)

    def assert_answered(self, sent: Sent, within: float = 0.0) -> None:
        """It has its answer, and was carried out once."""
        self.play.world.advance(within)
        [end] = sent.ends
        self.assertIsInstance(end, list, str(end))
        self.assertEqual(self.play.executed().count(sent.mark), 1)

    def assert_error(self, sent: Sent, kind: type[CommandError], words: str, *, executed: int) -> None:
        """It ended with an error, and was carried out or not."""
        [end] = sent.ends
        self.assertIs(type(end), kind, str(end))
        self.assertIn(words, str(end))
        self.assertEqual(self.play.executed().count(sent.mark), executed)

    def test_every_kind(self) -> None:
        """Also of a class that no server knows; what it holds is not touched."""
        self.begin()
        for kind in KINDS:
            self.assert_answered(self.send(kind), within=3)
        fields = {element.wire_name: element.fields for element in self.agent.received if isinstance(element, Opaque)}
        self.assertEqual(fields["com.example.UnheardOfCommand"]["vm"], {"name": self.play.sent[-1].mark})

    def test_large(self) -> None:
        """Compressed once, by the server that was asked."""
        self.begin()
        large = Opaque("com.example.LargeCommand", {"text": "x" * 100_000})
        answer = self.servers[A].service.sender.send(self.play.world.row(self.agent).id, [large], timeout=5)
        self.play.world.advance(3)
        self.assertEqual(self.successResultOf(answer)[0], Answer())
        self.assertEqual(self.agent.received[-1].fields["text"], "x" * 100_000)  # type: ignore[union-attr]

    def test_the_host_moves_under_way(self) -> None:
        """The answer comes over the old link, and the next command goes to the new server."""
        self.begin(delay=5)
        first = self.send("query")
        self.play.world.advance(0.5)
        move(self.play.world, self.agent, C)
        self.play.world.advance(3)
        self.assertEqual((self.agent.server, first.ends), (C, []))
        second = self.send("query")
        self.assert_answered(first, within=2)
        self.assert_answered(second, within=5)
        self.assertTrue(self.servers[C].service.relays)

    def test_its_turn_had_not_come(self) -> None:
        """What waited on the old server for its turn goes to the new one, whichever server was asked."""
        self.begin(delay=3)
        running = self.send("query", B, in_sequence=True)
        self.play.world.advance(0.2)
        waiting = [self.send("query", server, in_sequence=True) for server in (A, B)]
        self.play.world.advance(0.2)
        move(self.play.world, self.agent, C)
        self.play.world.advance(12)
        self.assertEqual(self.agent.server, C)
        for sent in (running, *waiting):
            self.assert_answered(sent)

    def test_its_turn_comes_when_the_old_link_is_done(self) -> None:
        """What was sent on the old link, and is still on its way there, comes before what goes to the new server."""
        self.begin(delay=0)
        world, agent = self.play.world, self.agent
        move(world, agent, C)
        while agent.server != C:
            world.advance(0.001)
        world.network.cut(B, agent.address, one_way=True)
        sent = [self.send("query", B, in_sequence=True) for _ in range(2)]
        world.advance(1)
        sent.append(self.send("query", B, in_sequence=True))
        world.advance(1)
        self.assertEqual([[], [], []], [each.ends for each in sent])
        world.network.heal()
        world.advance(5)
        for each in sent:
            self.assert_answered(each)
        self.assertEqual([each.mark for each in sent], self.play.executed()[-3:])

    def test_the_owner_is_dead_before(self) -> None:
        """The host is waited for, and found where it goes."""
        self.begin()
        self.play.world.kill_server(self.servers[B])
        self.play.world.advance(0.01)
        sent = self.send("query")
        self.assert_answered(sent, within=15)
        self.assertIn(self.agent.server, (A, C))

    def test_nobody_takes_the_host(self) -> None:
        """A definite error in time, and nothing of it later."""
        self.begin()
        self.play.world.kill_server(self.servers[B])
        self.play.world.kill_agent(self.agent)
        self.play.world.advance(0.01)
        sent = self.send("query", timeout=60)
        self.play.world.advance(31)
        self.assert_error(sent, AgentUnavailable, "host agent-2", executed=0)
        self.play.world.restart_agent(self.agent)
        self.play.world.advance(40)
        self.assert_error(sent, AgentUnavailable, "host agent-2", executed=0)

    def test_the_owner_dies_under_way(self) -> None:
        """A query fails at once; what is journalled has its answer by the agent's next session."""
        self.begin(delay=4)
        query, change = self.send("query"), self.send("change")
        self.play.world.advance(0.5)
        self.play.world.kill_server(self.servers[B])
        self.play.world.advance(0.1)
        self.assert_error(query, LinkLost, "server 10.0.0.2", executed=1)
        self.assertEqual(change.ends, [])
        self.assert_answered(change, within=PING + 10)

    def test_the_owner_hangs(self) -> None:
        """Found to be Down, it is given up; what it had got it may still carry out, and says so nowhere."""
        self.begin()
        self.play.world.freeze(self.servers[B])
        query = self.send("query", timeout=100)
        self.play.world.advance(40)
        self.assert_error(query, LinkLost, "is Down", executed=0)
        self.play.world.thaw(self.servers[B])
        self.play.world.advance(20)
        self.assertLessEqual(self.play.executed().count(query.mark), 1)
        self.assert_answered(self.send("query"), within=5)

    def test_cut_off(self) -> None:
        """Whichever way packets vanish there is an end in time, and a later command gets through."""
        for way in ((A, B), (B, A)):
            self.begin()
            self.play.world.network.cut(*way, one_way=True)
            query = self.send("query", timeout=8)
            self.play.world.advance(9)
            self.assert_error(query, AgentTimedOut, "did not answer in time", executed=way == (B, A))
            self.play.world.network.heal()
            self.assert_answered(self.send("query"), within=5)

    def test_cut_off_before(self) -> None:
        """Without a link the command was not sent, and never will be."""
        self.begin()
        self.play.world.network.cut(C, B)
        sent = self.send("query", C, timeout=12)
        self.play.world.advance(13)
        self.assert_error(sent, AgentTimedOut, "was not sent it within 12 s", executed=0)
        self.play.world.network.heal()
        self.play.world.advance(20)
        self.assert_error(sent, AgentTimedOut, "was not sent it", executed=0)

    def test_the_asking_server_dies(self) -> None:
        """What had not been sent is not sent any more; what had is carried out."""
        self.begin(delay=3)
        own = self.send("query", B, in_sequence=True)
        self.play.world.advance(0.1)
        under_way, waiting = self.send("query"), self.send("query", in_sequence=True)
        self.play.world.advance(0.1)
        self.play.world.kill_server(self.servers[A])
        self.play.world.advance(20)
        self.assertEqual([self.play.executed().count(each.mark) for each in (own, under_way, waiting)], [1, 1, 0])
        self.assertEqual(len(self.servers[B].service.relays), 0)

    def test_the_asking_server_hangs(self) -> None:
        """Found to be Down, it is as good as dead."""
        self.begin(delay=30)
        own = self.send("query", B, in_sequence=True, timeout=60)
        self.play.world.advance(0.1)
        waiting = self.send("query", in_sequence=True, timeout=60)
        self.play.world.advance(0.1)
        self.play.world.freeze(self.servers[A])
        self.play.world.advance(50)
        self.assertEqual([self.play.executed().count(each.mark) for each in (own, waiting)], [1, 0])

    def test_too_late(self) -> None:
        """The asking server calls it off, and the owner tells the host."""
        self.begin(delay=10)
        query = self.send("query", timeout=3)
        self.play.world.advance(4)
        self.assert_error(query, AgentTimedOut, "did not answer in time, which was 3 s", executed=1)
        self.assertEqual(len([each for each in self.agent.received if isinstance(each, CancelCommand)]), 1)
        self.play.world.advance(10)
        self.assertEqual(len(self.play.sent[-1].ends), 1)

    def test_cancelled(self) -> None:
        """By who sent it."""
        self.begin(delay=10)
        query, waiting = self.send("query", in_sequence=True), self.send("query", in_sequence=True)
        self.play.world.advance(1)
        for sent in (waiting, query):
            sent.answer.cancel()
            self.assertIsInstance(sent.ends[0], CommandCancelled)
        self.play.world.advance(1)
        self.assertTrue(any(isinstance(each, CancelCommand) for each in self.agent.received))
        self.play.world.advance(20)
        self.assertEqual([self.play.executed().count(each.mark) for each in (query, waiting)], [1, 0])
        self.assertEqual(len(self.servers[A].service.forwarding), 0)

    def test_the_owner_is_started_again(self) -> None:
        """Between two heartbeats, so that nobody has seen it Down."""
        self.begin()
        self.play.world.restart_server(self.servers[B])
        self.play.world.advance(0.2)
        self.assert_answered(self.send("query"), within=20)

    def test_stop(self) -> None:
        """A server that stops leaves nobody waiting, and nothing on its clock."""
        self.begin(delay=10)
        sent = [self.send("query", timeout=60) for _ in range(3)]
        self.play.world.advance(0.5)
        self.play.world.stop_server(self.servers[A])
        self.assertEqual([type(each.ends[0]) for each in sent], [CommandCancelled] * 3)
        self.play.world.stop_server(self.servers[B])


servers = st.sampled_from([A, B, C])
agents = st.integers(1, 3)


class History(WorldHistory):
    """Commands, what befalls them, and what must hold."""

    @initialize(
        lag=st.sampled_from([0.0, 0.02]),
        delay=st.sampled_from([0, 1, 7]),
        told=st.booleans(),
        seed=st.integers(0, 2**32),
    )
    def begin(self, lag: float, delay: int, told: bool, seed: int) -> None:
        """Start a cluster."""
        self.watch()
        record = Path(self.folder, "executed")
        self.world = World(
            Path(self.folder, "world"),
            servers=3,
            agents=3,
            seed=seed,
            algorithm="shuffle",
            ping_interval=PING,
            database_lag=lag,
            told=told,
            properties=f"backoff.seconds=1\nbackoff.max.seconds=5\nsimulator.delay={delay}\nsimulator.record={record}\n",
        )
        self.play = Play(self.world, record)
        self.dead: set[int] = set()

    @rule(
        server=servers,
        agent=agents,
        kind=st.sampled_from(KINDS),
        in_sequence=st.booleans(),
        count=st.sampled_from([1, 3]),
        cancelled=st.sampled_from([False, False, True]),
    )
    def send(self, server: str, agent: int, kind: str, in_sequence: bool, count: int, cancelled: bool) -> None:
        """Somebody sends commands, and perhaps does not want the last any more."""
        if self.world.servers[server].running:
            for _ in range(count):
                sent = self.play.send(server, self.world.agents[agent], kind, in_sequence=in_sequence)
            if cancelled:
                self.world.advance(0.0005)
                sent.answer.cancel()

    @rule(seconds=st.sampled_from([0.0003, 0.001, 0.05, 0.5, 3.0, 12.0]))
    def wait(self, seconds: float) -> None:
        """Time."""
        self.world.advance(seconds)

    @rule(agent=agents, server=servers)
    def move(self, agent: int, server: str) -> None:
        """A host is asked to go to another server."""
        chosen = self.world.agents[agent]
        address = chosen.server if chosen.alive else None
        if address is None or address == server or not self.world.servers[address].running:
            return
        if self.world.servers[address].attache(self.world.row(chosen).id) is not None:
            move(self.world, chosen, server)

    @rule(server=servers, silently=st.booleans(), restarted=st.booleans())
    def kill_server(self, server: str, silently: bool, restarted: bool) -> None:
        """A server dies, and perhaps starts anew at once."""
        chosen = self.world.servers[server]
        self.forget(chosen)
        if not chosen.alive or restarted:
            self.world.restart_server(chosen)
        elif silently:
            self.world.power_off(chosen)
        else:
            self.world.kill_server(chosen)

    @rule(server=servers, seconds=st.sampled_from([1.0, 9.0, 40.0]))
    def freeze_server(self, server: str, seconds: float) -> None:
        """A server hangs for a while."""
        if self.world.servers[server].running:
            self.world.freeze(self.world.servers[server])
            self.world.advance(seconds)
            self.world.thaw(self.world.servers[server])
            # Its timers are late; they go off now.
            self.world.advance(0.01)

    @rule(one=servers, other=servers, one_way=st.booleans(), seconds=st.sampled_from([0.5, 5.0, 30.0]))
    def cut_servers(self, one: str, other: str, one_way: bool, seconds: float) -> None:
        """Two servers do not reach each other."""
        if one != other:
            self.world.network.cut(one, other, one_way=one_way)
            self.world.advance(seconds)
            self.world.network.heal()

    @rule(agent=agents, server=servers, one_way=st.booleans(), seconds=st.sampled_from([1.0, 2 * PING + 0.5]))
    def cut_agent(self, agent: int, server: str, one_way: bool, seconds: float) -> None:
        """An agent and a server do not."""
        self.world.network.cut(self.world.agents[agent].address, server, one_way=one_way)
        self.world.advance(seconds)
        self.world.network.heal()

    @rule(agent=agents, restarted=st.booleans())
    def kill_agent(self, agent: int, restarted: bool) -> None:
        """An agent dies, and perhaps starts anew at once."""
        self.world.kill_agent(self.world.agents[agent])
        if restarted:
            self.world.restart_agent(self.world.agents[agent])

    def forget(self, server: ServerProcess) -> None:
        """Nobody hears any more of what a server that dies was asked."""
        self.dead.update(index for index, sent in enumerate(self.play.sent) if sent.server is server)

    @invariant()
    def nothing_is_broken(self) -> None:
        """No defect is logged, and no stale session has changed a row."""
        assert self.failures == [], self.failures
        assert self.world.stale_writes() == []

    @invariant()
    def ends(self) -> None:
        """Each command ends once, in time, and what its end says is true."""
        now, executed = self.world.clock.seconds(), Counter(self.play.executed())
        for index, sent in enumerate(self.play.sent):
            assert executed[sent.mark] <= 1, f"{sent.mark} was carried out twice"
            assert len(sent.ends) <= 1
            assert not (sent.never_sent and executed[sent.mark]), f"{sent.mark} was carried out: {sent.ends}"
            if sent.ends and isinstance(sent.ends[0], list):
                assert executed[sent.mark] == 1, f"{sent.mark} was answered by nobody"
            if index not in self.dead and sent.server.running:
                assert sent.ends or now <= sent.deadline, f"{sent.mark} has not ended"

    @invariant()
    def order_is_kept(self) -> None:
        """What one server sends to one host in sequence is begun in the order in which it was sent."""
        lines = defaultdict(list)
        for mark in self.play.executed():
            line, _, number = mark.partition("/")
            if line != "-":
                lines[line].append(int(number))
        assert [each for each in lines.items() if each[1] != sorted(each[1])] == []

    def teardown(self) -> None:
        """Stop the faults, let time pass, and look."""
        if not hasattr(self, "world"):
            return
        try:
            self.world.network.heal()
            for server in self.world.servers.values():
                if not server.alive:
                    self.forget(server)
                    self.world.restart_server(server)
            for agent in self.world.agents.values():
                if not agent.alive:
                    self.world.restart_agent(agent)
            self.world.advance(60)
            self.nothing_is_broken()
            self.ends()
            self.order_is_kept()
            for server in self.world.servers.values():
                assert len(server.service.forwarding) == 0
                assert not server.service.forwarding._turns
                assert not any(peer.under_way or peer.size for peer in server.service.relays._peers.values())
                for agent in self.world.agents.values():
                    sent = self.play.send(server.address, agent)
                    self.world.advance(8)
                    assert isinstance(sent.ends[0], list), sent.ends
        finally:
            self.let_go()


class HistoryTests(SynchronousTestCase):
    """The machine under trial."""

    def test_any_history(self) -> None:
        """After any history each command has ended once, and nothing was carried out twice."""
        run_histories(History)
