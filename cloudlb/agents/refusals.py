"""What becomes of agents that are refused: they are told why, later and later, and it is on record.

Only the refusal itself is held back, and only from whoever is refused: an agent that is welcome is not slowed down by
another one at its address. An agent that goes on trying has one event an hour, with the number of its refusals. A
stranger can make up any number of GUIDs: of one address a few agents have events of their own, and the others share
one, an hour, so that they take nobody else's place; and however many addresses there are, events are few.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.held import Delays
from cloudlb.agents.penalties import Penalties
from cloudlb.domain.models import ServerId
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.domain.records import Level
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.periodic import Periodic
from cloudlb.net.sparse_log import SparseLog

REFUSED = "HOST.REFUSED"
INTERVAL = 10.0
"""Seconds between the batches of events."""
MOST = 10
"""Agents that have events of their own in one batch; the others share one."""
MOST_OF_ADDRESS = 4
"""Agents of one address that have events of their own within AGAIN; the others share one. Not those of one certificate:
whoever is refused for what it says has a proper one, and shows it from one address."""
AGAIN = 3600.0
"""Seconds between the events of an agent that goes on trying."""
MAX_WAITING = 10_000
"""Agents whose events wait while the database is away; of the others only the refusals are counted."""
MAX_TEXT = 300
"""Characters of what an agent says of itself, as they are kept."""


@frozen
class _Agent:
    guid: str | None
    """None: the other agents of the address."""
    address: str


@define
class _Refusal:
    reason: str
    count: int = 0
    """How often, since the last event."""
    told: float = 0.0


class Refusals:
    """Refuses agents."""

    log = Logger()

    def __init__(self, store: Store, clock: IReactorTime, half_open: HalfOpen) -> None:
        self._store = store
        self._clock = clock
        self._penalties = Penalties()
        self._delays = Delays(clock, half_open)
        self._waiting: dict[_Agent, _Refusal] = {}
        # In the order of their events, of which there are at most MOST an INTERVAL.
        self._told: OrderedDict[_Agent, _Refusal] = OrderedDict()
        self._others = 0
        # How many agents of an address wait or were told of, as of the last batch, and those who came since.
        self._known: Counter[str] = Counter()
        self._sparse_log = SparseLog(clock, self.log)
        self._batches = Periodic(clock, "write refusals", self.write)
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""

    def start(self) -> None:
        """Begin to write events."""
        self._batches.start(INTERVAL)

    async def stop(self) -> None:
        """Let go of those who wait, and write what is left."""
        self._batches.stop()
        self._delays.stop()
        await self.write()

    def refuse(self, link: LinkProtocol, packet: bytes, guid: str, reason: str) -> None:
        """Send a refusal, now or when it is time, and close."""
        self.record(guid, link.peer_address, reason)

        def tell() -> None:
            link.send(packet)
            link.close()

        self._delays.after(self._penalty(guid, link.peer_address), link, tell)

    def record(self, guid: str, address: str, reason: str) -> None:
        """Note a refusal for the log and for an event."""
        agent = _Agent(_text(guid), address)
        self._sparse_log.info("{guid} at {peer} is refused: {reason}", guid=agent.guid, peer=address, reason=reason)
        refusal = self._told.get(agent) or self._waiting.get(agent)
        if refusal is None and self._known[address] >= MOST_OF_ADDRESS:
            agent = _Agent(None, address)
            refusal = self._told.get(agent) or self._waiting.get(agent)
        if refusal is None:
            if len(self._waiting) >= MAX_WAITING:
                self._others += 1
                return
            refusal = self._waiting[agent] = _Refusal(reason)
            self._known[address] += 1
        refusal.reason = _text(reason)
        refusal.count += 1

    async def write(self) -> None:
        """Write a batch of events."""
        now = self._clock.seconds()
        while self._told and next(iter(self._told.values())).told <= now - AGAIN:
            agent, refusal = self._told.popitem(last=False)
            if refusal.count:
                self._waiting[agent] = refusal
        waiting, self._waiting = self._waiting, {}
        others, self._others = self._others, 0
        if not waiting and not others:
            self._known = Counter(agent.address for agent in self._told)
            return
        own = dict(list(waiting.items())[:MOST])
        rest = others + sum(refusal.count for agent, refusal in waiting.items() if agent not in own)
        told = [(agent, refusal.reason, refusal.count) for agent, refusal in own.items()]
        try:
            await self._store.run(lambda txn: self._add_events(txn, told, rest, now))
        except StoreUnavailable:
            # For the next time; meanwhile more may have come.
            for agent, refusal in waiting.items():
                refusal.count += self._waiting[agent].count if agent in self._waiting else 0
                self._waiting[agent] = refusal
            self._others += others
            return
        for agent, _, count in told:
            refusal, meanwhile = own[agent], self._waiting.pop(agent, None)
            refusal.told = now
            refusal.count += (meanwhile.count if meanwhile is not None else 0) - count
            self._told[agent] = refusal
        self._known = Counter(agent.address for agent in (*self._told, *self._waiting))

    def _add_events(self, txn: Transaction, told: list[tuple[_Agent, str, int]], rest: int, now: float) -> None:
        for agent, reason, count in told:
            host = None if agent.guid is None else txn.hosts.by_guid(agent.guid)
            who = {"address": agent.address} if agent.guid is None else {"guid": agent.guid, "address": agent.address}
            times = "" if count == 1 else f", {count} times"
            subject = "Other agents" if agent.guid is None else f"The agent of {agent.guid}"
            verb = "were" if agent.guid is None else "was"
            txn.events.add(
                REFUSED,
                f"{subject} at {agent.address} {verb} refused{times}: {reason}",
                now=now,
                level=Level.WARN,
                server_id=self.server_id,
                host_id=host.id if host is not None else None,
                details={**who, "reason": reason, "count": str(count)},
            )
        if rest:
            txn.events.add(
                REFUSED,
                f"Other agents were refused, {rest} times in all",
                now=now,
                level=Level.WARN,
                server_id=self.server_id,
                details={"count": str(rest)},
            )

    def _penalty(self, guid: str, address: str) -> float:
        """Count a refusal; seconds to hold it back."""
        now = self._clock.seconds()
        keys = (f"guid {guid}", f"address {address}")
        for key in keys:
            self._penalties.count(key, now)
        return max(self._penalties.delay(key, now) for key in keys)


def _text(text: str) -> str:
    """What an agent says, as a database and a reader can take it."""
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_TEXT])
