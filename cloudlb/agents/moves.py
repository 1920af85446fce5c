"""Moving one host to another server, on request of whatever part of this server: the queue, the commands, the end.

All that leave this server on its request go through one queue, paced at ``indirect.agent.lb.move.rate`` with some
jitter, so that the queues of several servers do not beat together. How a host moves depends on what it has:

- An agent of ours makes its new link before it breaks the old one. It is asked, and the rest is its own doing: its
  host is Up throughout, and if nobody takes it, it stays.
- CloudStack's agent answers, breaks its link 3 s later, and then makes the new one. So its host is Rebalancing first,
  which keeps new commands waiting, and the agent is asked when nothing is under way on it any more. That its link ends
  then is no loss, unless it has come to no server within RETURNS_WITHIN.
- A direct host's resource is loaded by the other server, which begins a session of it; this one lets go of it then.

A host has moved when another server has begun a session of it. Who has stayed is not asked to go to the same server
again before a pause is over.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.agents.departures import Departures, Move, MoveEnd, MoveReason
from cloudlb.agents.directory import ADMITTED, REMOVED, Directory
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.domain.host_list import HostList
from cloudlb.domain.models import HostId, ServerId
from cloudlb.domain.ports import Bus
from cloudlb.metrics.meters import Meters
from cloudlb.net.in_order import InOrder
from cloudlb.net.spawn import spawn

__all__ = ["MoveEnd", "MoveReason", "Moves"]

JITTER = 0.2
"""How much longer a gap between two departures may be than the rate asks for, as a share of it. Never shorter: the rate
is a limit."""
CATCH_UP = 0.1
"""Seconds of departures that may be made up for when the server was busy with something else."""
PAUSE = 10.0
"""Seconds until a host that has stayed is asked to go to the same server again."""


class Servers(Protocol):
    """What moves need to know of the servers."""

    def is_own(self, address: str) -> bool: ...
    def avoid(self, addresses: Sequence[str]) -> tuple[str, ...]: ...


class Moves:
    """Sends hosts to other servers."""

    log = Logger()

    def __init__(
        self,
        bus: Bus,
        settings: LiveSettings,
        directory: Directory,
        servers: Servers,
        departures: Departures,
        clock: IReactorTime,
        rng: random.Random,
        meters: Meters,
    ) -> None:
        self._meters = meters
        self._settings = settings
        self._directory = directory
        self._servers = servers
        self._departures = departures
        self._clock = clock
        self._rng = rng
        self._moves: dict[HostId, Move] = {}
        self._queue: deque[Move] = deque()
        self._next = 0.0
        self._departed: deque[float] = deque()
        """When the last ones were sent, as many as may be in a second."""
        self._timer: IDelayedCall | None = None
        self._stayed: WeakKeyDictionary[Attache, tuple[str, float]] = WeakKeyDictionary()
        """Where it was to go, and when it may be asked again."""
        self._under_way = InOrder[Deferred[None]]()
        self._stopped = False
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        bus.subscribe(ADMITTED, self._admitted)
        bus.subscribe(REMOVED, self._removed)

    @property
    def waiting(self) -> int:
        """Hosts that wait for their turn."""
        return len(self._queue)

    def move(
        self, attache: Attache, hosts: HostList, *, avoid: Sequence[str] = (), reason: MoveReason, why: str
    ) -> Deferred[MoveEnd]:
        """Have a host go to another server, when its turn comes.

        A request for a host that waits for its turn is replaced by a newer one, and both end as that does. One for a
        host that was asked already ends as the first one does, if it says the same; otherwise it waits for the end of
        that, and gets its turn if the host has stayed.

        Args:
            attache: the host's, here.
            hosts: the list that the agent is to hold. The host should go to the first server of it that is neither in
                ``avoid`` nor known to be down; if that is this server, it stays.
            avoid: servers to which it is not to go; with this one among them it goes to whichever takes it.
            reason: what it is counted under.
            why: for the log and the host's events, as in "its list begins with 10.0.0.2".

        Returns:
            What became of it; never a failure. Cancelled before its turn, it stays.
        """
        if self._stopped or not attache.owns_host:
            return succeed(self._end_of(attache))
        before, avoid = self._moves.get(attache.host.id), tuple(avoid)
        if before is not None and before.attache is not attache:
            self._finish(before, MoveEnd.STAYED)
            before = None
        if before is None:
            move = self._moves[attache.host.id] = Move(attache, hosts, avoid, reason, why)
            self._enqueue(move)
        elif not before.begun or (before.hosts, before.avoid) == (hosts, avoid):
            move = before
        else:
            move = before.then = before.then or Move(attache, hosts, avoid, reason, why)
        if not move.begun:
            move.hosts, move.avoid, move.reason, move.why = hosts, avoid, reason, why
            # The pause is for the server that it did not go to, which need not be wanted any more.
            self._resume(move)
        waiter: Deferred[MoveEnd] = Deferred(lambda waiter: self._cancelled(move, waiter))
        move.waiters.append(waiter)
        if before is not None and before is not move:
            before.tell()
        return waiter

    def ended(self, attache: Attache) -> None:
        """The session of a host is gone."""
        move = self._moves.get(attache.host.id) if attache.claimed else None
        if move is None or move.attache is not attache:
            return
        if move.begun:
            move.tell()
        else:
            self._finish(move, MoveEnd.LOST)

    def stop(self) -> None:
        """Ask nobody any more."""
        self._stopped = True
        for work in list(self._under_way):
            work.cancel()
        for move in list(self._moves.values()):
            self._finish(move, MoveEnd.STAYED)
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What happens to hosts.

    def _admitted(self, payload: Mapping[str, Any]) -> None:
        end = MoveEnd.STAYED if payload["server_id"] == self.server_id else MoveEnd.MOVED
        for host_id, session in payload["hosts"].items():
            move = self._moves.get(HostId(int(host_id)))
            if move is not None and move.attache.host.session < session:
                self._learn(move, end)

    def _removed(self, payload: Mapping[str, Any]) -> None:
        if move := self._moves.get(HostId(payload["host_id"])):
            self._learn(move, MoveEnd.LOST)

    def _learn(self, move: Move, end: MoveEnd) -> None:
        move.end = end
        if move.begun:
            move.tell()
        else:
            self._finish(move, end)

    def _end_of(self, attache: Attache) -> MoveEnd:
        """What a host that cannot be moved any more has come to."""
        if self._directory.get(attache.host.id) is not None:
            return MoveEnd.STAYED
        return MoveEnd.MOVED if attache.superseded else MoveEnd.LOST

    def _cancelled(self, move: Move, waiter: Deferred[MoveEnd]) -> None:
        if waiter in move.waiters:
            move.waiters.remove(waiter)
        if not move.waiters and self._moves.get(move.attache.host.id) is move and not move.begun:
            self._finish(move, MoveEnd.STAYED)
        waiter.callback(MoveEnd.STAYED)

    def _finish(self, move: Move, end: MoveEnd) -> None:
        if self._moves.get(move.attache.host.id) is move:
            del self._moves[move.attache.host.id]
            self._meters.moves.labels(move.reason.value, end.value).inc()
        move.end = end
        move.end_pause()
        if (then := move.then) is not None:
            if end is MoveEnd.STAYED and move.attache.owns_host and then.waiters and not self._stopped:
                self._moves[move.attache.host.id] = then
                self._enqueue(then)
            else:
                self._finish(then, end)
        waiters, move.waiters = move.waiters, []
        for waiter in waiters:
            waiter.callback(end)

    # The queue.

    def _enqueue(self, move: Move) -> None:
        self._queue.append(move)
        self._arm()

    def _resume(self, move: Move) -> None:
        """Have a host wait for its turn again that waits out a pause, if it does."""
        if move.pause is not None:
            move.end_pause()
            self._enqueue(move)

    def _arm(self) -> None:
        if self._timer is None and self._queue and not self._stopped:
            now = self._clock.seconds()
            # Never at once: servers that learn of a change together must not begin together.
            first = now + self._rng.uniform(0, 1 / self._settings.current.move_rate)
            self._next = max(self._next, first)
            self._timer = self._clock.callLater(self._next - now, self._depart)

    def _depart(self) -> None:
        """Let those go whose turn has come."""
        self._timer = None
        # A timer may go off a rounding error before its time.
        now = max(self._clock.seconds(), self._next)
        self._next = max(self._next, now - CATCH_UP)
        while self._queue and self._next <= now:
            move = self._queue.popleft()
            if move.end is None and self._begin(move):
                self._departed_at(now)
        self._arm()

    def _departed_at(self, now: float) -> None:
        """Say when the next one may go: also where others make up for lost time, no second has more than the rate."""
        rate = self._settings.current.move_rate
        self._next += self._rng.uniform(1, 1 + JITTER) / rate
        self._departed.append(now)
        while len(self._departed) > rate:
            self._departed.popleft()
        if len(self._departed) == rate:
            self._next = max(self._next, self._departed[0] + 1)

    def _begin(self, move: Move) -> bool:
        """Send a host away, if there is somewhere to go and it has not just stayed; whether it was sent."""
        avoid = (*move.avoid, *self._servers.avoid(move.hosts.addresses))
        target = next((address for address in move.hosts.addresses if address not in avoid), None)
        if target is None or self._servers.is_own(target):
            self._finish(move, MoveEnd.STAYED)
            return False
        stayed, until = self._stayed.get(move.attache, ("", 0.0))
        if stayed == target and until > self._clock.seconds():
            move.pause = self._clock.callLater(until - self._clock.seconds(), self._resume, move)
            return False
        move.begun = True
        name = move.attache.host.facts.name
        self.log.info("host {name} is sent to {server}: {why}", name=name, server=target, why=move.why)
        self._spawn(self._see_through(move, target, avoid))
        return True

    async def _see_through(self, move: Move, target: str, avoid: Sequence[str]) -> None:
        end, leave = MoveEnd.STAYED, any(self._servers.is_own(address) for address in avoid)
        try:
            end = await self._departures.depart(move, target, avoid, leave=leave)
        finally:
            if end is MoveEnd.STAYED and move.attache.owns_host:
                self._stayed[move.attache] = target, self._clock.seconds() + PAUSE
            self._finish(move, end)

    def _spawn(self, steps: Coroutine[Deferred[Any], Any, None]) -> None:
        work = spawn(steps, self.log, "move a host")
        self._under_way.add(work)
        work.addBoth(lambda _: self._under_way.discard(work))
