"""The lines of the log, as an operator reads them."""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer


@implementer(ILogObserver)
class LogLines:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self._events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Take an event."""
        self._events.append(event)

    def lines(self, level: str = "info") -> list[str]:
        """The lines of one level."""
        wanted = LogLevel.levelWithName(level)
        return [formatEvent(event) for event in self._events if event["log_level"] is wanted]
