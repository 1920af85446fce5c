"""When to look whether the agent can return to a server that stands higher in its list [Agent.PreferredHostTask].

The first check comes at a random moment of the first interval, or else agents that lost a server together would all
return to it together, at every interval again.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cloudlb.domain.balancing import Algorithm
from cloudlb.net.periodic import Periodic


class PreferredCheck:
    """The periodic check, while the agent is up."""

    def __init__(
        self, clock: IReactorTime, rng: random.Random, own_interval: int | None, check: Callable[[], None]
    ) -> None:
        """Prepare.

        Args:
            clock: tells the time.
            rng: draws the moment of the first check.
            own_interval: seconds, from agent.properties; None: what servers send counts. 0 is none either way.
            check: looks once.
        """
        self._clock = clock
        self._rng = rng
        self._own_interval = own_interval
        self._sent_interval = 0
        self._algorithm = ""
        self._up = False
        self._check = check
        self._interval = 0
        """Of the checks that are being made; 0: none are."""
        self._first: IDelayedCall | None = None
        self._periodic = Periodic(clock, "check the preferred server", self._turn)

    def configure(self, sent_interval: int | None, algorithm: str) -> None:
        """Take what a server has sent; the rhythm stays if the interval in force does.

        Args:
            sent_interval: seconds; None leaves the last one in force.
            algorithm: of the list. The head of a shuffled one means little: it is checked once only.
        """
        if sent_interval is not None:
            self._sent_interval = max(0, sent_interval)
        self._algorithm = algorithm
        self._apply()

    def start(self) -> None:
        """The agent is up."""
        self._up = True
        self._apply()

    def stop(self) -> None:
        """The agent has no server, or stops."""
        self._up = False
        self._apply()

    def _apply(self) -> None:
        interval = self._sent_interval if self._own_interval is None else self._own_interval
        if not self._up:
            interval = 0
        if interval != self._interval:
            self._halt()
            self._interval = interval
            if interval > 0:
                self._first = self._clock.callLater(self._rng.uniform(0, interval), self._begin)

    def _begin(self) -> None:
        self._periodic.start(self._interval, now=True)

    def _halt(self) -> None:
        self._interval = 0
        self._periodic.stop()
        first, self._first = self._first, None
        if first is not None and first.active():
            first.cancel()

    def _turn(self) -> None:
        if self._algorithm == Algorithm.SHUFFLE.value:
            self._halt()
        self._check()
