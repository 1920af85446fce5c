"""How many admissions may wait for the database at once, and what becomes of agents for whom there is no room.

Agents of ours are told to come again later, each when its turn will be at the pace at which admissions have gone of
late. CloudStack's have no word for that: any refusal makes them exit, so the answer to their StartupCommand is held
back until there is room [they wait 180 s]. While they wait they count among the half-open connections, and at those
limits the oldest is closed.

Agents that were here before, by their own word, go before newcomers: theirs are the hosts that somebody misses when a
server has died. Newcomers have half of the room. Whoever lies about it has a better place in the queue, and no more.

A database that is gone leaves no room at all. Once a moment has passed, one admission tries whether it is back.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cloudlb.agents.held import Held
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.link_protocol import LinkProtocol

LIMIT = 1000
"""Admissions that wait for the database at once: about two seconds of its work."""
FULL = 2.0
"""Seconds that a full room takes, until it was seen how long it does."""
CROWD = 0.05
"""The part of the room that must be taken for its pace to tell something: one admission alone takes the database nearly
as long as a batch of them."""
RETRY_AFTER = 5
"""Seconds after which a database that was gone is tried again, and with it whoever came meanwhile."""
MAX_RETRY_AFTER = 30
"""Most seconds that anybody is sent away for: half of the longest pause that agents make by themselves."""


class Room:
    """Counts admissions in and out."""

    def __init__(self, clock: IReactorTime, half_open: HalfOpen, limit: int = LIMIT) -> None:
        self._clock = clock
        self._half_open = half_open
        self._limit = limit
        self._taken = 0
        # How long how many admissions took, lately and in a crowd.
        self._seconds = FULL
        self._served = limit
        # When the last one left or, where nobody was here, the next one entered.
        self._last = 0.0
        # When the last one who was told to come again may find room.
        self._promised = 0.0
        self._shut_until: float | None = None
        """None: the database answers."""
        self._known: OrderedDict[Held, Callable[[], None]] = OrderedDict()
        self._newcomers: OrderedDict[Held, Callable[[], None]] = OrderedDict()
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        """Admissions that wait for the database, and agents that wait for room."""
        return self._taken + len(self._known) + len(self._newcomers)

    def enter(self, *, known: bool) -> bool:
        """Take a place; False if there is none.

        Args:
            known: the agent was here before, as it says.
        """
        now = self._clock.seconds()
        if self._shut_until is not None:
            if self._taken or now < self._shut_until:
                return False
        elif self._taken >= (self._limit if known else self._limit // 2):
            return False
        if not self._taken:
            self._last = now
        self._taken += 1
        return True

    def come_again(self) -> int:
        """Seconds after which an agent that found no room is to come again; for the next one it is later."""
        now = self._clock.seconds()
        each = (self._seconds + (now - self._last if self._taken else 0.0)) / self._served
        opens = now if self._shut_until is None else max(now, self._shut_until)
        turn = max(self._promised, opens + (self._taken + len(self._known) + len(self._newcomers)) * each) + each
        self._promised = min(turn, now + MAX_RETRY_AFTER)
        return math.ceil(self._promised - now)

    def leave(self, *, served: bool) -> None:
        """Give the place back; whether the database did what it was asked for."""
        now = self._clock.seconds()
        if self._taken >= CROWD * self._limit:
            self._seconds += now - self._last
            self._served += 1
            if self._served >= 2 * self._limit:
                self._seconds, self._served = self._seconds / 2, self._served // 2
        self._last = now
        self._taken -= 1
        self._shut_until = None if served else now + RETRY_AFTER
        self._let_in()

    def wait(self, link: LinkProtocol, begin: Callable[[], None], *, known: bool) -> None:
        """Keep a link until there is room, and then begin."""
        held = Held(link, self._half_open, self._gone)
        (self._known if known else self._newcomers)[held] = begin
        self._arm()

    def stop(self) -> None:
        """Let go of those who wait."""
        self._disarm()
        waiting = [*self._known, *self._newcomers]
        self._known.clear()
        self._newcomers.clear()
        for held in waiting:
            held.link.abort("the server is stopping")

    def _gone(self, held: Held) -> None:
        self._known.pop(held, None)
        self._newcomers.pop(held, None)
        if not (self._known or self._newcomers):
            self._disarm()

    def _let_in(self) -> None:
        for waiting, known in ((self._known, True), (self._newcomers, False)):
            while waiting and self.enter(known=known):
                held, begin = waiting.popitem(last=False)
                held.release()
                begin()
        self._arm()

    def _arm(self) -> None:
        """Look again when a database that was gone is to be tried."""
        self._disarm()
        if (self._known or self._newcomers) and self._shut_until is not None and not self._taken:
            wait = max(0.0, self._shut_until - self._clock.seconds())
            self._timer = self._clock.callLater(wait, self._let_in)

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
