"""What becomes of the agents of a server that is cut off from the database: it writes no heartbeat past the threshold.

It takes no new agents, because nobody can be admitted without the database. Those that it has it gives up, but only to
somebody: where the database is away for all servers there is nobody, and thrown off they would be worse off. A server
that is cut off cannot know whether the others are. Its agents find out: a few of ours are asked to move, which cost
them nothing if nobody takes them, because they make the new link before they break the old one. When they are gone,
others have the database, and all agents go: ours are asked to move, and the links of CloudStack's, which would break
them anyway and cannot be made Rebalancing now, and of direct hosts are closed, at a pace. A server without agents of
ours keeps the others.

Two servers never write the same host's row meanwhile, fenced or not: a row takes only what its latest session says.
"""

from __future__ import annotations

import random
from typing import TypeGuard

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import Directory
from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.agents.lists import Lists
from cloudlb.agents.moves import MoveReason, Moves
from cloudlb.cluster.membership import Membership
from cloudlb.domain.host_status import HostEvent
from cloudlb.net.periodic import Periodic

TICK = 1.0
"""Seconds between looks whether this server is cut off, and between the portions in which agents are given up."""
STOOD_STILL = 3.0
"""Seconds without a look that mean that the process was suspended, or starved."""
PER_TICK = 50
"""Agents given up in one portion: each costs another server a handshake and an admission."""
WITNESSES = 3
"""Agents of ours that are asked to move before it is known whether anybody takes them."""
PROOF = 2
"""Witnesses that must have gone: one might have gone by chance."""
HEARTBEATS = 2
"""Heartbeats for whose time this server must be cut off still after it stood still, and after its witnesses have gone:
where the database was away for all, they go when it is back, a moment before this server's own heartbeat is written."""
AGAIN = 30.0
"""Seconds after which other witnesses are asked, and agents that are still here are asked once more."""
_REASON = "this server is cut off from the database"


class Fencing:
    """Gives this server's agents up while others can have them and it cannot."""

    log = Logger()

    def __init__(
        self,
        membership: Membership,
        directory: Directory,
        disconnection: Disconnection,
        lists: Lists,
        moves: Moves,
        clock: IReactorTime,
        rng: random.Random,
    ) -> None:
        self._membership = membership
        self._directory = directory
        self._disconnection = disconnection
        self._lists = lists
        self._moves = moves
        self._clock = clock
        self._rng = rng
        self._last_tick = 0.0
        self._goes_on_since = 0.0
        self._cut_off = False
        self._others_take = False
        self._gone_since: float | None = None
        """When the witnesses turned out to have gone."""
        self._witnesses: list[LinkAttache] = []
        self._asked: dict[Attache, float] = {}
        self._next_witnesses = 0.0
        self._ticks = Periodic(clock, "look for the database", self._tick)

    def start(self) -> None:
        """Begin to look."""
        self._ticks.start(TICK)

    def stop(self) -> None:
        """Look no more."""
        self._ticks.stop()

    def _tick(self) -> None:
        now = self._clock.seconds()
        if now - self._last_tick > STOOD_STILL:
            self._goes_on_since = now
        self._last_tick = now
        if not self._membership.cut_off:
            if self._cut_off:
                self.log.info("the database is back, and agents stay")
            self._reset()
            return
        if now - self._goes_on_since < self._patience:
            # A process that stood still has not tried yet.
            return
        if not self._cut_off:
            self._cut_off = True
            self.log.warn("cut off from the database: agents stay until others turn out to take them")
        if not self._others_take:
            self._hear_witnesses()
        if self._others_take:
            self._give_up()

    @property
    def _patience(self) -> float:
        return HEARTBEATS * self._membership.heartbeat_interval

    def _reset(self) -> None:
        self._cut_off, self._others_take, self._gone_since = False, False, None
        self._witnesses, self._next_witnesses = [], 0.0
        self._asked.clear()

    def _hear_witnesses(self) -> None:
        now, gone = self._clock.seconds(), sum(not witness.connected for witness in self._witnesses)
        if self._witnesses and gone >= min(PROOF, len(self._witnesses)):
            if self._gone_since is None:
                self._gone_since = now
            if now - self._gone_since >= self._patience:
                self._others_take = True
                self.log.warn("cut off from the database, and others are not: all agents are given up")
        elif now >= self._next_witnesses:
            self._next_witnesses = now + AGAIN
            movable = [attache for attache in self._directory if _moves(attache)]
            self._witnesses = self._rng.sample(movable, min(WITNESSES, len(movable)))
            for witness in self._witnesses:
                self._ask(witness)

    def _give_up(self) -> None:
        now = self._clock.seconds()
        due = [attache for attache in self._directory if now - self._asked.get(attache, float("-inf")) >= AGAIN]
        for attache in due[:PER_TICK]:
            if _moves(attache):
                self._ask(attache)
            else:
                self._disconnection.close(attache, HostEvent.MANAGEMENT_SERVER_DOWN, _REASON)

    def _ask(self, attache: LinkAttache) -> None:
        self._asked[attache] = self._clock.seconds()
        own, wanted = self._membership.own, self._lists.orders(attache).wanted
        avoid = own.address, own.name
        self._moves.move(attache, wanted, avoid=avoid, reason=MoveReason.FENCING, why=_REASON)


def _moves(attache: Attache) -> TypeGuard[LinkAttache]:
    """Whether an agent makes its new link before it breaks the old one: ours do."""
    return isinstance(attache, LinkAttache) and attache.link.channel.is_cloudlb
