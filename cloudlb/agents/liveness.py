"""When each agent was last heard from: who fell silent, and what the database learns of it.

Stamping is a dictionary move, and finding the silent ones looks at the head of an ordered queue only, so the cost of
a ping does not grow with the fleet. The database gets the stamps in batches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.domain.models import HostId
from cloudlb.domain.ports import Store
from cloudlb.net.periodic import Periodic

if TYPE_CHECKING:
    from cloudlb.agents.attache import Attache

PING_TIMEOUT = 2.5
"""Ping intervals of silence after which an agent's link is closed [CloudStack: ping.timeout]."""
FLUSH_INTERVAL = 10.0
"""Seconds between the batches of last-heard stamps; how far lastpinged may lag."""


class Liveness:
    """Last-heard stamps of the agents on this server."""

    log = Logger()

    def __init__(self, store: Store, clock: IReactorTime, silent: Callable[[Attache], None]) -> None:
        self._store = store
        self._clock = clock
        self._silent = silent
        # One queue per ping interval, because agents keep the interval that they were given when they connected.
        # Within a queue the order of stamps is the order of deadlines.
        self._queues: dict[int, OrderedDict[Attache, float]] = {}
        self._unwritten: dict[HostId, float] = {}
        self._checks = Periodic(clock, "look for silent agents", self.check)
        self._flushes = Periodic(clock, "write last-heard stamps", self.flush)

    def start(self) -> None:
        """Begin to look for silent agents and to write stamps."""
        self._checks.start(1.0)
        self._flushes.start(FLUSH_INTERVAL)

    async def stop(self) -> None:
        """Stop and write what is left."""
        self._checks.stop()
        self._flushes.stop()
        await self.flush()

    def heard(self, attache: Attache) -> None:
        """An agent said something: called once for every message."""
        now = self._clock.seconds()
        queue = self._queues.get(attache.ping_interval)
        if queue is None:
            queue = self._queues[attache.ping_interval] = OrderedDict()
        queue[attache] = now
        queue.move_to_end(attache)
        if attache.owns_host:
            self._unwritten[attache.host.id] = now

    def forget(self, attache: Attache) -> None:
        """An agent's link is gone."""
        queue = self._queues.get(attache.ping_interval)
        if queue is not None:
            queue.pop(attache, None)
            if not queue:
                del self._queues[attache.ping_interval]

    def check(self) -> None:
        """Report every agent whose silence has lasted too long, once."""
        now = self._clock.seconds()
        for interval, queue in list(self._queues.items()):
            while queue:
                attache, heard = next(iter(queue.items()))
                if now - heard <= interval * PING_TIMEOUT:
                    break
                queue.popitem(last=False)
                self._silent(attache)

    async def flush(self) -> None:
        """Write the stamps gathered since the last time; kept for the next time if that fails."""
        stamps, self._unwritten = self._unwritten, {}
        if not stamps:
            return
        try:
            await self._store.run(lambda txn: txn.hosts.touch(stamps))
        except BaseException:
            self._unwritten = {**stamps, **self._unwritten}
            raise
