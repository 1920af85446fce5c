"""Handshakes of many links at once, paced: a herd of agents must not hold up those who are connected already.

A step of a handshake takes up to a few milliseconds of CPU, and a thousand of them may be ready at one moment. So many
of them are taken in each turn of the reactor as BUDGET allows; between two turns it serves everybody else.

Connections go in rounds. In each round every address has a place for one connection, and within a round the oldest goes
first. So agents that have an address each end their handshakes in the order in which they began, and so do those that
share one; they do not come to stand behind the many connections of somebody else.

What a stranger can do: delay those who share his address by what all of his handshakes cost, and others by what one of
them costs in each round, and by the later steps of those whose round has come already. So it takes many addresses to
delay others much. What he cannot do: get a step for less than a whole record, go before others with connections that he
opens anew while somebody waits, or stay for longer than a handshake may take. The first and the last of these are seen
to by :mod:`.link_protocol`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cloudlb.net.half_open import Abortable, HalfOpen

BUDGET = 0.01
"""Seconds of each turn of the reactor for steps of handshakes; the last one of a turn may exceed it."""
SHARE = 0.5
"""Where everything else of a turn takes long, handshakes have this part of its time: else a busy server, or one on a
busy machine, would let nobody in."""
MAX_BUDGET = 0.05
"""Seconds that they have of a turn even then."""
MAX_ADDRESSES = 10_000
"""So many addresses at most are known to have been given their places."""

Place = tuple[int, int]
"""The round of a connection, and its number among all."""


class Handshakes:
    """Takes steps at once while a turn has time for them, and otherwise in later turns."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, half_open: HalfOpen) -> None:
        """Prepare; ``half_open`` is told of connections whose steps wait, and for how long."""
        self._clock = clock
        self._half_open = half_open
        self._numbers = count()
        self._waiting: list[tuple[Place, Abortable, Callable[[], None]]] = []
        self._round = 0
        self._last_rounds: dict[str, int] = {}
        self._left = BUDGET
        self._ended = 0.0
        self._taking = False
        self._turn: IDelayedCall | None = None

    def __len__(self) -> int:
        """How many steps wait."""
        return len(self._waiting)

    def place(self, address: str) -> Place:
        """The place of a connection whose first step is ready, for all of its steps: the address's next round."""
        if len(self._last_rounds) >= MAX_ADDRESSES:
            self._last_rounds.clear()
        number = max(self._round, self._last_rounds.get(address, -1) + 1)
        self._last_rounds[address] = number
        return number, next(self._numbers)

    def add(self, connection: Abortable, place: Place, step: Callable[[], None]) -> None:
        """Have a step taken, now or in a later turn.

        Args:
            connection: whose step it is.
            place: as :meth:`place` has given it. A connection adds its next step after it has taken the last one.
            step: an exception from it costs the connection, and only that one.
        """
        self._half_open.heard(connection)
        heapq.heappush(self._waiting, (place, connection, step))
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._begin_turn)
        if not self._taking:
            self._go_on()

    def stop(self) -> None:
        """Take no more."""
        self._waiting.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _begin_turn(self) -> None:
        self._turn, self._left = None, BUDGET
        if self._waiting:
            elsewhere = self._clock.seconds() - self._ended
            self._left = max(BUDGET, min(MAX_BUDGET, SHARE * elsewhere))
            self._turn = self._clock.callLater(0, self._begin_turn)
            self._go_on()
        else:
            # Whatever places there were, the round has come to them.
            self._last_rounds.clear()

    def _go_on(self) -> None:
        """Take what this turn has time for."""
        self._taking = True
        while self._waiting and self._left > 0:
            (number, _), connection, step = heapq.heappop(self._waiting)
            self._round = max(self._round, number)
            began = self._clock.seconds()
            try:
                step()
            except Exception:  # noqa: BLE001 - whatever it is, others wait behind it
                self._log.failure("A handshake is cut for a fault of our own")
                connection.abort("internal error")
            self._half_open.answered(connection)
            self._ended = self._clock.seconds()
            self._left -= max(0.0, self._ended - began)
        self._taking = False
