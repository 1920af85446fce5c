"""What tests of drains start from: a cluster, the calls that empty its servers, and what became of its hosts."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.drains import Drain
from cloudlb.domain.models import Server
from cloudlb.domain.ports import Transaction
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.server_state import ServerState
from cloudlb.wire import LOGGING_CONTEXT, CheckHealthCommand
from tests.support.agent_process import AgentProcess
from tests.support.server_process import ServerProcess
from tests.support.world import World


class DrainCase(SynchronousTestCase):
    """A cluster whose servers can be emptied."""

    def build(self, **options: Any) -> World:
        """Start one."""
        self.world = World(Path(self.mktemp()), **options)
        self.addCleanup(self.world.close)
        self.first, self.second, *others = self.world.servers.values()
        self.third = others[0] if others else None
        self.mark = self.last_event()
        return self.world

    def build_with_commands(self, **options: Any) -> World:
        """Start one whose hosts take half a second for a command, and note which ones they carry out."""
        self.record = Path(self.mktemp()).absolute()
        self.sent: dict[str, object] = {}
        return self.build(properties=f"simulator.delay=0.5\nsimulator.record={self.record}\n", **options)

    def send(self, *servers: ServerProcess) -> None:
        """Have servers send a command to every host."""
        for server in servers or self.world.running_servers:
            for agent in self.world.agents.values():
                mark = f"sent-{len(self.sent)}"
                self.sent[mark] = None
                command = CheckHealthCommand(context_map={LOGGING_CONTEXT: mark})
                sent = server.service.sender.send(self.world.row(agent).id, [command], timeout=30)
                sent.addBoth(partial(self.sent.__setitem__, mark))

    def assert_answered(self) -> None:
        """Each command that was sent has its answer, and was carried out once."""
        self.world.advance(31)
        ends = Counter(
            "never ended" if end is None else repr(end.value) if isinstance(end, Failure) else "answered"
            for end in self.sent.values()
        )
        self.assertEqual(ends, {"answered": len(self.sent)})
        carried_out = Counter(line.split()[1] for line in self.record.read_text().splitlines())
        self.assertEqual(carried_out, dict.fromkeys(self.sent, 1))

    def stop(self, *servers: ServerProcess, limit: float = 40.0) -> float:
        """Tell servers to stop (SIGTERM), all at the same time; seconds until the last one has ended."""
        began = self.world.clock.seconds()
        stopping = {server: maybeDeferred(server.service.stopService) for server in servers}
        while not all(stop.called for stop in stopping.values()):
            self.assertLess(self.world.clock.seconds(), began + limit, "servers do not stop")
            self.world.advance(0.05)
            for server, stop in stopping.items():
                if stop.called and server.alive:
                    self.successResultOf(stop)
                    self.world.network.kill(server.machine)
        for server in servers:
            if server.alive:
                self.world.network.kill(server.machine)
        return self.world.clock.seconds() - began

    def order(self, call: str, server: ServerProcess, *, asked: ServerProcess | None = None, **options: Any) -> None:
        """Have a server do something, by a call on another one, or on any."""
        asked = asked or next(s for s in self.world.running_servers if s is not server or len(self.world.servers) == 1)
        method = getattr(asked.service.server_orders, call)
        self.world.wait_for(Deferred.fromCoroutine(method(self.row(server).id, 1, **options)))

    def row(self, server: ServerProcess) -> Server:
        """The row of a server."""
        return next(row for row in self.world.read(lambda txn: txn.servers.all()) if row.name == server.address)

    def state(self, server: ServerProcess) -> ServerState:
        """As everybody sees it."""
        return self.row(server).state

    def drain(self, server: ServerProcess) -> Drain:
        """The latest drain of a server."""
        server_id = self.row(server).id
        found = self.world.read(lambda txn: txn.drains.get(server_id))
        assert found is not None, f"{server.address} was never drained"
        return found

    def advance_until_ended(self, server: ServerProcess, limit: float = 60.0) -> Drain:
        """Let time pass until the drain of a server has ended."""
        end = self.world.clock.seconds() + limit
        while (drain := self.drain(server)).ended is None:
            self.assertLess(self.world.clock.seconds(), end, f"the drain of {server.address} does not end: {drain}")
            self.world.advance(0.25)
        return drain

    def last_event(self) -> int:
        """How many status changes there were so far."""
        return len(self._transitions())

    def transitions(self) -> list[str]:
        """The status changes of hosts since the cluster came to rest."""
        return self._transitions()[self.mark :]

    def _transitions(self) -> list[str]:
        def work(txn: Transaction) -> list[str]:
            events, _ = txn.events.list(EventFilter(event_type="HOST.STATUS.TRANSITION"), 0, None)
            return [f"{event.host_id}: {event.details['from']} -> {event.details['to']}" for event in events][::-1]

        return self.world.read(work)

    def assert_well(self, *agents: AgentProcess) -> None:
        """Each agent is Up exactly once."""
        for agent in agents or self.world.agents.values():
            self.assertEqual(list(self.world.problems(agent)), [])
        self.assertEqual(self.world.stale_writes(), [])
