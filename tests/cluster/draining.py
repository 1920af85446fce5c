"""What tests of drains start from: a cluster, the calls that empty its servers, and what became of its hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.drains import Drain
from cloudlb.domain.models import Server
from cloudlb.domain.ports import Transaction
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.server_state import ServerState
from tests.support.world import AgentProcess, ServerProcess, World


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
