"""How many admissions may wait for the database at once, and what becomes of agents for whom there is no room.

Agents of ours are told to come again later. CloudStack's have no word for that: any refusal makes them exit, so the
answer to their StartupCommand is held back until there is room [they wait 180 s]. While they wait they count among the
half-open connections, and at those limits the oldest is closed.

A database that is gone leaves no room at all. Once a moment has passed, one admission tries whether it is back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cloudlb.agents.held import Held
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.link_protocol import LinkProtocol

LIMIT = 1000
"""Admissions that wait for the database at once: about two seconds of its work."""
RETRY_AFTER = 5
"""Seconds after which whoever found no room is to come again, and after which a database that was gone is tried."""


class Room:
    """Counts admissions in and out."""

    def __init__(self, clock: IReactorTime, half_open: HalfOpen, limit: int = LIMIT) -> None:
        self._clock = clock
        self._half_open = half_open
        self._limit = limit
        self._taken = 0
        self._shut_until: float | None = None
        """None: the database answers."""
        self._waiting: OrderedDict[Held, Callable[[], None]] = OrderedDict()
        self._timer: IDelayedCall | None = None

    def enter(self) -> bool:
        """Take a place; False if there is none."""
        if self._shut_until is not None:
            if self._taken or self._clock.seconds() < self._shut_until:
                return False
        elif self._taken >= self._limit:
            return False
        self._taken += 1
        return True

    def leave(self, *, served: bool) -> None:
        """Give the place back; whether the database did what it was asked for."""
        self._taken -= 1
        self._shut_until = None if served else self._clock.seconds() + RETRY_AFTER
        self._let_in()

    def wait(self, link: LinkProtocol, begin: Callable[[], None]) -> None:
        """Keep a link until there is room, and then begin."""
        held = Held(link, self._half_open, self._gone)
        self._waiting[held] = begin
        self._arm()

    def stop(self) -> None:
        """Let go of those who wait."""
        self._disarm()
        waiting, self._waiting = self._waiting, OrderedDict()
        for held in waiting:
            held.link.abort("the server is stopping")

    def _gone(self, held: Held) -> None:
        self._waiting.pop(held, None)
        if not self._waiting:
            self._disarm()

    def _let_in(self) -> None:
        while self._waiting and self.enter():
            held, begin = self._waiting.popitem(last=False)
            held.release()
            begin()
        self._arm()

    def _arm(self) -> None:
        """Look again when a database that was gone is to be tried."""
        self._disarm()
        if self._waiting and self._shut_until is not None and not self._taken:
            wait = max(0.0, self._shut_until - self._clock.seconds())
            self._timer = self._clock.callLater(wait, self._let_in)

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
