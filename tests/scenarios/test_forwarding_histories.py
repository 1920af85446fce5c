"""Commands to hosts of other servers, whatever befalls servers and hosts: histories that Hypothesis makes up.

See tests.scenarios.test_convergence for how to have more of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from tests.scenarios.forwarding import KINDS, PING, A, B, C, Play, move
from tests.scenarios.histories import WorldHistory, run_histories
from tests.support.server_process import ServerProcess
from tests.support.world import World

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
