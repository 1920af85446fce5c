"""Time that passes from event to event."""

from __future__ import annotations

from twisted.internet.task import Clock

START = 1_800_000_000.0
"""A time of day that a server could really see, so that nothing passes because time is near 0."""


class VirtualClock(Clock):
    """A task.Clock on which every call sees the time it was planned for, however far one advances."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = START

    def advance(self, amount: float) -> None:
        """Pass time, running everything due at its own time."""
        end = self.rightNow + amount
        self._sortCalls()
        while self.calls and (time := self.calls[0].getTime()) <= end:
            self.rightNow = max(time, self.rightNow)
            super().advance(0)
        self.rightNow = end
