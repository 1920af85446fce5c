"""Handshakes of many links at once, paced: a herd of agents must not hold up those who are connected already.

A step of a handshake takes up to a few milliseconds of CPU, and a thousand of them may be ready at one moment. So many
of them are taken in each turn of the reactor as BUDGET allows; between two turns it serves everybody else. The oldest
connection goes on first, so that handshakes end in the order in which they began. A stranger delays others by what his
own handshakes cost, and has to go to the end with every connection that he opens anew.
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


class Handshakes:
    """Takes steps at once while a turn has time for them, and otherwise in later turns."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, half_open: HalfOpen) -> None:
        """Prepare; ``half_open`` is told of connections whose steps wait, and for how long."""
        self._clock = clock
        self._half_open = half_open
        self._numbers = count()
        self._waiting: list[tuple[int, Abortable, Callable[[], None]]] = []
        self._spent = 0.0
        self._taking = False
        self._turn: IDelayedCall | None = None

    def __len__(self) -> int:
        """How many steps wait."""
        return len(self._waiting)

    def begin(self) -> int:
        """The age of a new connection, for its steps."""
        return next(self._numbers)

    def add(self, connection: Abortable, age: int, step: Callable[[], None]) -> None:
        """Have a step taken, now or in a later turn.

        Args:
            connection: whose step it is.
            age: as :meth:`begin` has given it. A connection adds its next step after it has taken the last one.
            step: an exception from it costs the connection, and only that one.
        """
        self._half_open.heard(connection)
        heapq.heappush(self._waiting, (age, connection, step))
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
        self._turn, self._spent = None, 0.0
        if self._waiting:
            self._turn = self._clock.callLater(0, self._begin_turn)
            self._go_on()

    def _go_on(self) -> None:
        """Take what this turn has time for."""
        self._taking = True
        while self._waiting and self._spent < BUDGET:
            _, connection, step = heapq.heappop(self._waiting)
            began = self._clock.seconds()
            try:
                step()
            except Exception:  # noqa: BLE001 - whatever it is, others wait behind it
                self._log.failure("A handshake is cut for a fault of our own")
                connection.abort("internal error")
            self._half_open.answered(connection)
            self._spent += max(0.0, self._clock.seconds() - began)
        self._taking = False
