"""A model of the 5,000 agents of a dead server: how they come to the two that are left, and when all of them are Up.

Real are what decides: the agents' walk with its pauses, the room of the servers, and the batches of their database. The
rest is times: one of a handshake, which a server makes one after the other, and one of a transaction.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from attrs import define
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from agent.host_agent import PATIENCE, SHORT_PATIENCE
from agent.hosts import Hosts
from cloudlb.agents.claims import _BATCH
from cloudlb.agents.room import Room
from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.host_list import HostList
from cloudlb.net.batch import Batch
from cloudlb.net.half_open import HalfOpen
from tests.support.virtual_clock import VirtualClock

AGENTS = 5000
VICTIM, SURVIVORS = "a", ("b", "c")
HANDSHAKE = 0.0025
"""Seconds of CPU, with what else an admission costs the reactor."""
HANDSHAKE_TIMEOUT = 30.0


class Survivor:
    """A server that lives."""

    def __init__(self, clock: VirtualClock, transaction: float) -> None:
        self.clock = clock
        self.came: Counter[int] = Counter()
        """Connections by the second."""
        self.up = 0
        self.room = Room(clock, HalfOpen(clock, AGENTS, AGENTS))
        self._free_at = clock.seconds()
        self._writer: DeferredLock = DeferredLock()
        self._transaction = transaction
        self._claims: Batch[None, None] = Batch(self._write, _BATCH)
        self._statuses: Batch[None, None] = Batch(self._write, 2 * _BATCH)

    def shake_hands(self) -> float:
        """The seconds after which the handshake of one that comes now has ended."""
        now = self.clock.seconds()
        self.came[int(now)] += 1
        self._free_at = max(now, self._free_at) + HANDSHAKE
        return self._free_at - now

    async def admit(self) -> float:
        """See one through that has its place; the seconds until its row was written."""
        began = self.clock.seconds()
        await self._claims.add(None)
        self.room.leave(served=True)
        waited = self.clock.seconds() - began
        await self._statuses.add(None)
        self.up += 1
        return waited

    async def _write(self, rows: list[None]) -> Sequence[None]:
        """Take the time of a transaction; both batches have one writer."""
        await self._writer.acquire()
        await deferLater(self.clock, self._transaction + 0.0003 * len(rows))
        self._writer.release()
        return rows


@define(eq=False)
class Agent:
    """One that has lost its server, or is new."""

    hosts: Hosts
    servers: dict[str, Survivor]
    clock: VirtualClock
    known: bool
    visits: int = 0
    up_after: float = float("inf")
    longest_wait: float = 0.0
    """Seconds between StartupAnswer and ReadyCommand, in which it has no word from the server."""

    async def find_a_server(self) -> None:
        """Walk down the list until one admits it."""
        began = self.clock.seconds()
        self.hosts.lost(VICTIM, lasted=3600.0)
        while True:
            step = self.hosts.next(self.clock.seconds())
            await deferLater(self.clock, step.delay)
            # The victim's kernel refuses at once.
            if step.address in self.servers and await self._is_admitted(self.servers[step.address]):
                break
        self.up_after = self.clock.seconds() - began

    async def _is_admitted(self, server: Survivor) -> bool:
        self.visits += 1
        patience = min(SHORT_PATIENCE if self.hosts.others_left else PATIENCE, HANDSHAKE_TIMEOUT)
        handshake = server.shake_hands()
        await deferLater(self.clock, min(patience, handshake))
        if handshake > patience:
            return False
        if not server.room.enter(known=self.known):
            self.hosts.busy(server.room.come_again())
            return False
        self.longest_wait = max(self.longest_wait, await server.admit())
        return True


class HerdTests(SynchronousTestCase):
    """The end of a server under rendezvous, with a quick database and a slow one."""

    def kill(self, *, transaction: float, newcomers: int = 0, within: float) -> tuple[list[Agent], list[Survivor]]:
        """Have the victim's agents come, and as many newcomers, and all of them be Up in time."""
        clock, rng = VirtualClock(), random.Random(1)
        servers = {address: Survivor(clock, transaction) for address in SURVIVORS}
        agents = []
        for number in range(AGENTS + newcomers):
            place = Place(f"guid-{number}", number)
            others = host_list_for(Algorithm.RENDEZVOUS, SURVIVORS, place, rng).addresses
            hosts = Hosts(HostList((VICTIM, *others), "rendezvous"), rng, base=5.0, bound=60.0)
            agents.append(Agent(hosts, servers, clock, known=number < AGENTS))
        for agent in agents:
            Deferred.fromCoroutine(agent.find_a_server()).addErrback(self.fail)
        clock.advance(within)
        self.assertEqual([agent for agent in agents if agent.up_after == float("inf")], [])
        self.assertEqual(sum(server.up for server in servers.values()), len(agents))
        return agents, list(servers.values())

    def check_arrivals(self, servers: list[Survivor], most: int) -> None:
        """After the first rush no second brings more than so many connections to a server."""
        for server in servers:
            first = min(server.came)
            self.assertLessEqual(max(count for second, count in server.came.items() if second > first), most)

    def test_quick_database(self) -> None:
        """The handshakes are what takes its time; nobody has to come twice, and the survivors share the herd."""
        agents, servers = self.kill(transaction=0.02, within=7.0)
        self.assertEqual({agent.visits for agent in agents}, {1})
        for server in servers:
            self.assertLess(abs(server.up / AGENTS - 0.5), 0.05)

    def test_slow_database(self) -> None:
        """At 100 agents a second in all, with half a second for each transaction, nobody starves or comes often."""
        agents, servers = self.kill(transaction=0.5, within=40.0)
        self.check_arrivals(servers, most=round(1 / HANDSHAKE))
        self.assertLessEqual(max(agent.visits for agent in agents), 4)
        self.assertLess(sum(agent.visits for agent in agents), 2 * AGENTS)
        self.assertLess(max(agent.longest_wait for agent in agents), SHORT_PATIENCE)

    def test_newcomers(self) -> None:
        """A thousand that come in the middle of it are Up last, and soon after the others."""
        agents, servers = self.kill(transaction=0.5, newcomers=1000, within=50.0)
        self.check_arrivals(servers, most=round(1 / HANDSHAKE))
        known = sorted(agent.up_after for agent in agents if agent.known)
        new = sorted(agent.up_after for agent in agents if not agent.known)
        self.assertLess(known[len(known) // 2], 0.6 * new[len(new) // 2])
        self.assertLess(known[-1], 40.0)
