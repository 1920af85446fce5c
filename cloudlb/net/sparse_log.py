"""A log line that neither an attacker nor an outage can multiply."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

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
        self._write(LogLevel.info, format, fields)

    def warn(self, format: str, **fields: object) -> None:  # noqa: A002 - as above
        """The same as a warning."""
        self._write(LogLevel.warn, format, fields)

    def _write(self, level: LogLevel, line: str, fields: dict[str, object]) -> None:
        now = self._clock.seconds()
        if now < self._next_line:
            self._left_out += 1
            return
        self._next_line = now + INTERVAL
        if self._left_out:
            line += " ({left_out} more since the last such line)"
            fields["left_out"] = self._left_out
            self._left_out = 0
        self._log.emit(level, line, **fields)
