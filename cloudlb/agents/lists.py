"""The list of servers that each agent should hold, and how agents come to hold it.

An agent gets its list with ReadyCommand when it connects with another one, and with SetupMSListCommand after a change
of ``host``, the algorithm, the weights or the interval. A new list alone moves nobody, so where its head is another
server than the one that the agent is on, the agent is sent there when its turn comes (`cloudlb.agents.moves`), so that
a change of the whole fleet's lists does not become a storm of connections. Where the head is down, it is sent when that
server comes up.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cloudlb.agents.directory import Directory
from cloudlb.agents.errors import CommandError
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.moves import MoveEnd, MoveReason, Moves
from cloudlb.domain.balancing import Algorithm, Place, host_list_for, is_current, only_joined
from cloudlb.domain.host_list import HostList
from cloudlb.domain.models import HostId, ZoneId
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn
from cloudlb.wire import Answer, Flag, SetupMSListCommand

TICK = 0.1
"""Seconds between the portions of a propagation."""
LISTS_PER_TICK = 100
"""1,000 lists a second: about a tenth of a core."""
RETRY = 5.0
"""Seconds until lists are computed again that could not be for want of the database."""
ANSWER_TIMEOUT = 60.0
"""Seconds that an agent has to acknowledge a list [IndirectAgentLBServiceImpl]."""


class Peers(Protocol):
    """What the lists need to know of the other servers."""

    def is_alive(self, address: str) -> bool: ...
    def is_own(self, address: str) -> bool: ...
    def avoid(self, addresses: Sequence[str]) -> tuple[str, ...]: ...
    def observe(self, changed: Callable[[], None]) -> None: ...


def ranks(txn: Transaction, algorithm: Algorithm, zones: set[ZoneId]) -> dict[HostId, int]:
    """The place of each host in its zone, for the algorithm that asks for it; one query a zone."""
    if algorithm is not Algorithm.ROUNDROBIN:
        return {}
    return {host_id: place for zone in zones for place, host_id in enumerate(txn.hosts.ids_in_zone(zone))}


@frozen
class Orders:
    """What one agent should hold, and what it must be told for that."""

    wanted: HostList
    interval: int
    send_list: bool
    """The agent holds another list."""


class Lists:
    """Computes lists and brings them to the agents of this server."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        settings: LiveSettings,
        directory: Directory,
        peers: Peers,
        moves: Moves,
        clock: IReactorTime,
        rng: random.Random,
    ) -> None:
        self._store = store
        self._settings = settings
        self._directory = directory
        self._peers = peers
        self._moves = moves
        self._rng = rng
        self._to_tell: deque[LinkAttache] = deque()
        self._changes = 0
        self._changed: float | None = None
        """When the oldest change came of which agents have not been told for want of the database."""
        self._unconfirmed: WeakKeyDictionary[LinkAttache, float] = WeakKeyDictionary()
        """Since when an agent should hold something else than it has confirmed."""
        self._clock = clock
        self._retry: IDelayedCall | None = None
        self._ticks = Periodic(clock, "send lists to agents", self._tick)
        settings.observe(self._look_again)
        peers.observe(self._look_again)

    def orders(self, attache: LinkAttache) -> Orders:
        """Decide what a host's agent should hold, given what it holds."""
        settings, host, held = self._settings.current, attache.host, attache.held
        algorithm = settings.algorithm
        place = Place(host.facts.guid, attache.rank)
        wanted = host_list_for(algorithm, settings.servers, place, self._rng, settings.weights)
        current = held is not None and is_current(algorithm, wanted, held)
        interval = settings.check_interval(host.cluster.id if host.cluster else None)
        return Orders(held if current and held else wanted, interval, not current)

    def is_home(self, held: HostList | None) -> bool:
        """Whether an agent that holds a list prefers this server; so does one that holds none."""
        return held is None or self._peers.is_own(held.preferred)

    def avoid_list(self) -> tuple[str, ...]:
        """Servers of ``host`` that are known to be down."""
        return self._peers.avoid(self._settings.current.servers)

    @property
    def age(self) -> float:
        """Seconds since the oldest change that an agent of this server has not confirmed; 0: there is none."""
        changes = [since for attache, since in self._unconfirmed.items() if attache.owns_host]
        changes += [self._changed] if self._changed is not None else []
        return max(0.0, self._clock.seconds() - min(changes)) if changes else 0.0

    @property
    def waiting(self) -> int:
        """Agents to be looked at whether they hold what they should."""
        return len(self._to_tell)

    def check(self, attache: LinkAttache) -> None:
        """Look at an agent that has confirmed something: what it should hold may have changed meanwhile."""
        if not self._tell(attache):
            self._move(attache)

    def _look_again(self) -> None:
        self._cancel_retry()
        spawn(self.propagate(), self.log, "propagate lists")

    async def propagate(self) -> None:
        """Bring every agent of this server what it should hold now, and where it should have gone already."""
        self._changes += 1
        since = self._changed = self._clock.seconds() if self._changed is None else self._changed
        change = self._changes
        try:
            places = await self._places()
        except StoreUnavailable as error:
            self.log.warn("lists cannot be computed, trying again: {error}", error=error)
            self._retry = self._clock.callLater(RETRY, self._look_again)
            return
        if change != self._changes:
            return
        self._changed = None
        self._take(places)
        for attache in self._agents():
            self._unconfirmed.setdefault(attache, since)
        # A later change starts over; who holds the right list by then is passed over.
        self._to_tell = deque(self._agents())
        if self._ticks.interval is None:
            self._ticks.start(TICK)

    async def update_places(self) -> None:
        """Learn where in their zones the hosts stand now, which deletions of others change. No list is sent for it.

        Raises:
            StoreUnavailable: they stay as they were known.
        """
        self._take(await self._places())

    async def _places(self) -> dict[HostId, int]:
        algorithm, zones = self._settings.current.algorithm, {attache.host.zone.id for attache in self._agents()}
        return await self._store.read(lambda txn: ranks(txn, algorithm, zones))

    def _take(self, places: Mapping[HostId, int]) -> None:
        for attache in self._agents():
            attache.rank = places.get(attache.host.id, attache.rank)

    def _agents(self) -> list[LinkAttache]:
        """The hosts that have an agent of their own; no others hold lists."""
        return [attache for attache in self._directory if isinstance(attache, LinkAttache)]

    def stop(self) -> None:
        """Send nothing more."""
        self._to_tell.clear()
        self._ticks.stop()
        self._cancel_retry()

    def _cancel_retry(self) -> None:
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._retry = None

    def _tick(self) -> None:
        for _ in range(min(LISTS_PER_TICK, len(self._to_tell))):
            self.check(self._to_tell.popleft())
        if not self._to_tell:
            self._ticks.stop()

    def _tell(self, attache: LinkAttache) -> bool:
        """Send an agent what it should hold, if that is something else; say whether it is."""
        if not attache.owns_host:
            return False
        orders = self.orders(attache)
        # Who was told to avoid a server that has come back would not return to it before the next ping.
        returned = not set(attache.avoided) <= set(self.avoid_list())
        differs = orders.send_list or orders.interval != attache.check_interval or returned
        if not differs:
            self._unconfirmed.pop(attache, None)
        else:
            self._unconfirmed.setdefault(attache, self._clock.seconds())
            spawn(self._send(attache, orders), self.log, "send a list")
        return differs

    async def _send(self, attache: LinkAttache, orders: Orders) -> None:
        settings, held = self._settings.current, attache.held
        if await self._setup(attache, orders.wanted, orders.interval):
            # To a server that has joined as many go as even the cluster out, which is not decided here.
            joined = settings.rebalances and held is not None and only_joined(held, orders.wanted)
            attache.move_due |= orders.send_list and not joined
            self.check(attache)

    def _move(self, attache: LinkAttache) -> None:
        """Have an agent sent to the head of its list, if that is due and somebody is there."""
        held = attache.held
        if not attache.owns_host or not attache.move_due or held is None:
            return
        head = held.preferred
        if self._peers.is_own(head):
            attache.move_due = False
        elif self._peers.is_alive(head):
            attache.move_due = False
            moved = self._moves.move(attache, held, reason=MoveReason.LIST, why=f"its list begins with {head}")
            moved.addCallback(lambda end: self._moved(attache, head, end))

    def _moved(self, attache: LinkAttache, head: str, end: MoveEnd) -> None:
        # Where the server went down before the agent's turn came, it is due again when it comes up.
        attache.move_due |= end is MoveEnd.STAYED and not self._peers.is_alive(head)

    async def _setup(self, attache: LinkAttache, wanted: HostList, interval: int) -> bool:
        attache.avoided = self.avoid_list()
        command = SetupMSListCommand(
            ms_list=wanted.addresses,
            avoid_ms_list=attache.avoided,
            lb_algorithm=wanted.algorithm,
            lb_check_interval=interval,
        )
        try:
            answers = await attache.send([command], timeout=ANSWER_TIMEOUT, flags=Flag.STOP_ON_ERROR)
        except CommandError as error:
            self.log.warn("a list was not acknowledged: {error}", error=error)
            return False
        refusal = next((a.details for a in answers if isinstance(a, Answer) and not a.result), None)
        if refusal is not None or not answers:
            name = attache.host.facts.name
            self.log.warn("host {name} did not take its list: {details}", name=name, details=refusal)
            return False
        # Only what an agent acknowledged counts as held, so that a change meanwhile is compared with that.
        attache.held, attache.check_interval = wanted, interval
        return True
