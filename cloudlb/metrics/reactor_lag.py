"""How late the reactor is: what everybody who waits for it has to wait for besides."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cloudlb.metrics.meters import Meters

INTERVAL = 0.5
"""Seconds between two looks."""


class ReactorLag:
    """A timer that looks how much later than it should it goes off."""

    def __init__(self, clock: IReactorTime, meters: Meters) -> None:
        self._clock = clock
        self._meters = meters
        self._timer: IDelayedCall | None = None
        self._due = 0.0
        self.last = 0.0
        """Seconds, at the last look."""

    def start(self) -> None:
        """Begin to look."""
        self._due = self._clock.seconds() + INTERVAL
        self._timer = self._clock.callLater(INTERVAL, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        # A clock that is set back makes nobody early.
        self.last = max(0.0, self._clock.seconds() - self._due)
        self._meters.reactor_lag.observe(self.last)
        self.start()
