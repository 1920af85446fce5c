"""When to ping, and when to give a server up. Pure: time is passed in.

Once a ping is not answered within interval / retries, the next ones follow at that distance, and with ``retries`` of
them unanswered the server is lost. A server that goes silent just after it answered a ping at second 0 gets the next
ping at ``interval``, leaves ``retries`` of them unanswered up to twice the interval, and is left then: within 2
intervals of its last sign of life, whatever the two numbers are.
"""

from __future__ import annotations

from collections import deque


class Pings:
    """The pings of one session."""

    def __init__(self, interval: float, retries: int, first_at: float) -> None:
        """Start the schedule.

        Args:
            interval: seconds between pings that are answered.
            retries: unanswered pings that mean lost, at least 1.
            first_at: when the first ping is due.
        """
        self.interval = interval
        self._retries = retries
        self._next_at = first_at
        self._last_at = first_at
        self._unanswered: deque[tuple[int, float]] = deque()
        """Their sequences, and when they were sent."""
        self._round_trip: float | None = None

    @property
    def next_at(self) -> float:
        """When to look at :attr:`lost`, and to ping if it is not."""
        return self._next_at

    @property
    def lost(self) -> bool:
        """Whether the server counts as lost when :attr:`next_at` has come."""
        return len(self._unanswered) >= self._retries

    def sent(self, sequence: int, now: float) -> None:
        """Note a ping."""
        self._unanswered.append((sequence, now))
        self._last_at = now
        self._next_at = now + self.interval / self._retries

    def answered(self, sequence: int, now: float) -> bool:
        """Note an answer; False if it answers no ping. It vouches for the earlier pings, not for later ones."""
        if all(sequence != unanswered for unanswered, _ in self._unanswered):
            return False
        while (oldest := self._unanswered.popleft())[0] != sequence:
            pass
        self._round_trip = max(0.0, now - oldest[1])
        if not self._unanswered:
            self._next_at = self._last_at + self.interval
        return True

    def take_round_trip(self) -> float | None:
        """Seconds from a ping to its answer, as measured last; None if that was told of already."""
        taken, self._round_trip = self._round_trip, None
        return taken
