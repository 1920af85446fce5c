"""This server's part in plans of moves: its own hosts are sent away, and all servers are told what became of them.

A plan is as old as its way here, so each of its moves is looked at again: a host that is not here any more, or that its
list leads elsewhere by now, is left alone. A newer plan calls off what has not begun of an older one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import Directory
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.agents.lists import Orders
from cloudlb.agents.moves import MoveEnd, MoveReason
from cloudlb.domain.host_list import HostList
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId, ServerId
from cloudlb.domain.ports import Bus, Store, StoreUnavailable
from cloudlb.net.in_order import InOrder
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

MOVE = "agents.move"
"""A plan: {"plan", "moves": {server id: [[host id, target], ...]}, "held", "seconds"}. With ``held`` each of these
servers moves, besides, its agents that are off the first server of the list that they hold, which nobody else knows.
After so many seconds nobody waits for the plan's end."""
MOVED = "agents.moved"
"""How far a server is with its part: {"plan", "server_id", "planned", "moved", "stayed", "lost"}."""
REPORT_INTERVAL = 1.0
"""Seconds between the messages in which a server tells how far it is."""


@frozen(kw_only=True)
class Tally:
    """Numbers of hosts of a plan."""

    planned: int = 0
    moved: int = 0
    stayed: int = 0
    lost: int = 0

    @property
    def ended(self) -> bool:
        """Of every host it is known what became of it."""
        return self.planned == self.moved + self.stayed + self.lost


class Peers(Protocol):
    """What this part needs to know of the servers."""

    @property
    def steady(self) -> bool: ...
    def look(self) -> Deferred[None]: ...
    def is_alive(self, address: str) -> bool: ...
    def is_own(self, address: str) -> bool: ...


class AgentLists(Protocol):
    """What agents should hold; Lists of cloudlb.agents."""

    def orders(self, attache: LinkAttache) -> Orders: ...
    async def update_places(self) -> None: ...


class HostMoves(Protocol):
    """What moves a host; Moves of cloudlb.agents."""

    def move(self, attache: Attache, hosts: HostList, *, reason: MoveReason, why: str) -> Deferred[MoveEnd]: ...


@define(eq=False)
class _Part:
    plan: str
    ends: Counter[MoveEnd] = field(factory=Counter)
    planned: int = 0
    waiting: InOrder[Deferred[MoveEnd]] = field(factory=InOrder)
    told: Tally | None = None

    @property
    def tally(self) -> Tally:
        """How far it is."""
        return Tally(
            planned=self.planned,
            moved=self.ends[MoveEnd.MOVED],
            stayed=self.ends[MoveEnd.STAYED],
            lost=self.ends[MoveEnd.LOST],
        )

    def follow(self, move: Deferred[MoveEnd]) -> None:
        """Count how a move ends."""

        def ended(end: MoveEnd) -> None:
            self.waiting.discard(move)
            self.ends[end] += 1

        self.waiting.add(move)
        move.addCallback(ended)

    def call_off(self) -> None:
        """Wait for nothing any more."""
        for move in list(self.waiting):
            move.cancel()


class PlanParts:
    """Carries out what plans say of this server's hosts."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        bus: Bus,
        peers: Peers,
        directory: Directory,
        lists: AgentLists,
        moves: HostMoves,
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._peers = peers
        self._directory = directory
        self._lists = lists
        self._moves = moves
        self._clock = clock
        self._parts: list[_Part] = []
        """Of which not everybody knows the end; the newest is the last."""
        self._newest = ""
        self._stopped = False
        self._reports = Periodic(clock, "tell how far a plan is", self._report)
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        bus.subscribe(MOVE, self._begin)

    def stop(self) -> None:
        """Begin and tell nothing more."""
        self._stopped = True
        self._reports.stop()

    def _begin(self, payload: Mapping[str, Any]) -> None:
        if payload["plan"] == self._newest:
            # The bus may tell twice.
            return
        self._newest = payload["plan"]
        for older in self._parts:
            older.call_off()
        moves = payload["moves"].get(str(self.server_id))
        if moves is not None:
            steps = self._carry_out(payload["plan"], moves, held=payload["held"])
            spawn(steps, self.log, "carry out a plan")

    async def _carry_out(self, plan: str, moves: Sequence[tuple[int, str]], *, held: bool) -> None:
        # A server that is used again is a target at once, and what was seen of it is older than the plan.
        await self._peers.look()
        try:
            # The plan goes by the places that hosts have now; deleted ones have left theirs to others.
            await self._lists.update_places()
        except StoreUnavailable as error:
            self.log.warn("hosts that have other places than before stay where they are: {error}", error=error)
        if self._stopped:
            return
        part = _Part(plan)
        self._parts.append(part)
        # Who has been away for a while hears of plans that were made for other times.
        timely = self._peers.steady and plan == self._newest
        for host_id, target in moves:
            self._move(part, HostId(host_id), target, timely=timely)
        if held and timely:
            for attache, target in list(self._off_their_lists()):
                self._move(part, attache.host.id, target, timely=True)
        self._reports.start(REPORT_INTERVAL)

    def _move(self, part: _Part, host_id: HostId, target: str, *, timely: bool) -> None:
        part.planned += 1
        attache = self._directory.get(host_id)
        hosts = self._way_to(attache, target) if attache is not None and timely else None
        if attache is None or hosts is None:
            part.ends[MoveEnd.STAYED] += 1
        else:
            why = "the servers are evened out"
            part.follow(self._moves.move(attache, hosts, reason=MoveReason.REBALANCE, why=why))

    def _way_to(self, attache: Attache, target: str) -> HostList | None:
        """The list by which a host gets to a server; None if it should not go there any more."""
        if not attache.owns_host or attache.host.status is not HostStatus.UP or not self._peers.is_alive(target):
            return None
        if not isinstance(attache, LinkAttache):
            return HostList((target,))
        wanted = self._lists.orders(attache).wanted
        return wanted if self._first_alive(wanted) == target else None

    def _off_their_lists(self) -> Iterator[tuple[Attache, str]]:
        for attache in self._directory:
            if isinstance(attache, LinkAttache) and not (orders := self._lists.orders(attache)).send_list:
                target = self._first_alive(orders.wanted)
                if target is not None and not self._peers.is_own(target):
                    yield attache, target

    def _first_alive(self, hosts: HostList) -> str | None:
        return next((address for address in hosts.addresses if self._peers.is_alive(address)), None)

    async def _report(self) -> None:
        for part in list(self._parts):
            tally = part.tally
            if tally != part.told:
                await self._tell(part.plan, tally)
                part.told = tally
            if tally.ended:
                self._parts.remove(part)
        if not self._parts:
            self._reports.stop()

    async def _tell(self, plan: str, tally: Tally) -> None:
        payload = {
            "plan": plan,
            "server_id": self.server_id,
            "planned": tally.planned,
            "moved": tally.moved,
            "stayed": tally.stayed,
            "lost": tally.lost,
        }
        now = self._clock.seconds()
        await self._store.run(lambda txn: txn.bus.publish(MOVED, payload, now))
