"""Whatever moves are asked for, hosts keep their place: histories that Hypothesis makes up.

See tests.scenarios.test_convergence for how to have more of them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import CommandError
from cloudlb.agents.moves import MoveEnd, MoveReason
from cloudlb.domain.host_list import HostList
from cloudlb.domain.models import Host
from cloudlb.domain.record_ports import AlertFilter, EventFilter
from cloudlb.storage.steps import TRANSITION
from cloudlb.wire import CheckHealthCommand
from tests.scenarios.histories import WorldHistory, run_histories
from tests.scenarios.moving import ALGORITHM, PING, A, B, C
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.marks import is_mark
from tests.support.world import World

SERVERS = (A, B, C)
OURS = ("agent-1", "agent-2")
THEIRS = ("cloudstack-1", "cloudstack-2")
TIMEOUT = 60
SETTLED = 130.0
"""Seconds after the last request in which every move has ended, and every host is Up."""
KEEPS_PLACE = {
    ("Up", "Rebalancing"),
    ("Rebalancing", "Connecting"),
    ("Connecting", "Up"),
}
"""Steps of a host whose agent breaks its link, and is not lost."""

servers = st.sampled_from(SERVERS)
hosts = st.sampled_from(OURS + THEIRS)


class Moved(WorldHistory):
    """Hosts that are asked to move, and commands for them."""

    @initialize(lag=st.sampled_from([0.0, 0.05]), seed=st.integers(0, 2**32), deaths=st.booleans())
    def begin(self, lag: float, seed: int, deaths: bool) -> None:
        """Start a cluster in which servers and agents may die, or in which nothing does."""
        self.watch()
        self.deaths = deaths
        self.moves: list[Deferred[MoveEnd]] = []
        self.sent: dict[str, Deferred[object]] = {}
        self.world = World(
            Path(self.folder, "world"),
            servers=len(SERVERS),
            agents=len(OURS),
            seed=seed,
            algorithm=ALGORITHM,
            ping_interval=PING,
            database_lag=lag,
            properties="simulator.delay=1\n",
        )
        self.theirs = [CloudStackAgent(self.world.network, n, HostList(SERVERS, ALGORITHM)) for n in (1, 2)]
        for agent in self.theirs:
            agent.delay = 1
            agent.start()
        self.world.settle()
        for ours in self.world.agents.values():
            ours.received.clear()

    @rule(name=hosts, to=servers, leave=st.booleans(), twice=st.booleans())
    def move(self, name: str, to: str, leave: bool, twice: bool) -> None:
        """Somebody wants a host elsewhere."""
        host = self.host(name)
        for server in self.world.running_servers:
            attache = server.attache(host.id)
            if attache is not None:
                order = tuple(dict.fromkeys((to, server.address, *SERVERS)))
                avoid = (server.address,) if leave else ()
                moves = server.service.moves
                for _ in range(1 + twice):
                    hosts = HostList(order, ALGORITHM)
                    move = moves.move(attache, hosts, avoid=avoid, reason=MoveReason.LIST, why="so it wants")
                    self.moves.append(move)

    @rule(name=hosts, server=servers)
    def send(self, name: str, server: str) -> None:
        """Somebody sends a command, from any server."""
        chosen = self.world.servers[server]
        if chosen.running:
            mark = f"{len(self.sent)}"
            command = CheckHealthCommand(context_map={"logid": mark})
            sent = chosen.service.sender.send(self.host(name).id, [command], timeout=TIMEOUT)
            self.sent[mark] = sent.addErrback(lambda failure: failure.trap(CommandError))

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 3.0, 3.3, 8.0, 25.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.advance(seconds)

    @rule(number=st.integers(0, 1), refuses=st.booleans(), delay=st.sampled_from([0.1, 1.0, 15.0, 40.0]))
    def change(self, number: int, refuses: bool, delay: float) -> None:
        """An agent of CloudStack's refuses to move, or takes its time with commands."""
        self.theirs[number].refuses, self.theirs[number].delay = refuses, delay

    @precondition(lambda self: self.deaths)
    @rule(server=servers)
    def restart_server(self, server: str) -> None:
        """A server dies and starts anew; nobody calls it before it has."""
        self.world.restart_server(self.world.servers[server])
        self.world.advance(1)

    @precondition(lambda self: self.deaths)
    @rule(number=st.integers(0, 1))
    def restart_agent(self, number: int) -> None:
        """An agent of CloudStack's dies and starts anew."""
        self.theirs[number].kill()
        self.theirs[number].start()

    @invariant()
    def nothing_is_broken(self) -> None:
        """No defect is logged, no stale session has changed a row, and nothing was carried out twice."""
        if not hasattr(self, "world"):
            return
        assert self.failures == [], self.failures
        assert self.world.stale_writes() == []
        done = Counter(mark for agent in self.theirs for mark in agent.carried_out)
        for agent in self.world.agents.values():
            commands = [command for command in agent.received if isinstance(command, CheckHealthCommand)]
            done.update(str(command.context_map["logid"]) for command in commands)
        twice = [mark for mark, count in done.items() if count > 1 and is_mark(mark)]
        assert twice == [], twice

    @invariant()
    def hosts_keep_their_place(self) -> None:
        """While nothing dies, nobody is lost."""
        if not hasattr(self, "world") or self.deaths:
            return
        for name in OURS:
            assert self.steps(name) == [], (name, self.steps(name))
        for name in THEIRS:
            wrong = set(self.steps(name)) - KEEPS_PLACE
            assert not wrong, (name, wrong)
        alerts, _ = self.world.read(lambda txn: txn.alerts.list(AlertFilter(), 0, None))
        investigations = EventFilter(event_type="HOST.INVESTIGATION")
        looks, _ = self.world.read(lambda txn: txn.events.list(investigations, 0, None))
        assert (alerts, looks) == ([], [])

    def host(self, name: str) -> Host:
        """A host's row."""
        host = self.world.read(lambda txn: txn.hosts.find(name))
        assert host is not None
        return host

    def steps(self, name: str) -> list[tuple[str, str]]:
        """Those of a host's status since it came Up first."""
        which = EventFilter(event_type=TRANSITION, host_id=self.host(name).id)
        events, _ = self.world.read(lambda txn: txn.events.list(which, 0, None))
        steps = [(event.details["from"], event.details["to"]) for event in reversed(events)]
        return steps[[after for _, after in steps].index("Up") + 1 :]

    def teardown(self) -> None:
        """Let time pass, and look."""
        if not hasattr(self, "world"):
            return
        try:
            for agent in self.theirs:
                agent.refuses = False
            self.world.advance(SETTLED)
            self.nothing_is_broken()
            self.hosts_keep_their_place()
            for name in OURS + THEIRS:
                host = self.host(name)
                believers = [server for server in self.world.servers.values() if server.attache(host.id) is not None]
                assert len(believers) == 1, (name, [server.address for server in believers])
                assert (host.status.value, host.server_id) == ("Up", believers[0].service.membership.own.id), name
            if not self.deaths:
                assert all(move.called for move in self.moves)
                assert all(sent.called for sent in self.sent.values())
        finally:
            self.let_go()


class MoveHistoryTests(SynchronousTestCase):
    """Many histories."""

    def test_histories(self) -> None:
        """Hosts keep their place, and end Up on one server."""
        run_histories(Moved, few=8)
