"""A log line that an attacker cannot multiply."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

INTERVAL = 10.0
"""Seconds between two lines."""


class SparseLog:
    """Writes at most one line per INTERVAL; the next line says how many were left out in between."""

    def __init__(self, clock: IReactorTime, log: Logger) -> None:
        self._clock = clock
        self._log = log
        self._next_line = float("-inf")
        self._left_out = 0

    def info(self, format: str, **fields: object) -> None:  # noqa: A002 - twisted.logger's name for it
        """Log a line, or count it."""
        now = self._clock.seconds()
        if now < self._next_line:
            self._left_out += 1
            return
        self._next_line = now + INTERVAL
        if self._left_out:
            format += " ({left_out} more since the last such line)"  # noqa: A001 - as above
            fields["left_out"] = self._left_out
            self._left_out = 0
        self._log.info(format, **fields)
