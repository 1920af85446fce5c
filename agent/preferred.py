"""When to look whether the agent can return to a server that stands higher in its list [Agent.PreferredHostTask]."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from cloudlb.domain.balancing import Algorithm
from cloudlb.net.periodic import Periodic


class PreferredCheck:
    """The periodic check, while the agent is up."""

    def __init__(self, clock: IReactorTime, own_interval: int | None, check: Callable[[], None]) -> None:
        """Prepare.

        Args:
            clock: tells the time.
            own_interval: seconds, from agent.properties; None: what servers send counts. 0 is none either way.
            check: looks once.
        """
        self._own_interval = own_interval
        self._sent_interval = 0
        self._algorithm = ""
        self._up = False
        self._check = check
        self._periodic = Periodic(clock, "check the preferred server", self._turn)

    @property
    def interval(self) -> float | None:
        """Seconds between the checks that are being made; None: none are."""
        return self._periodic.interval

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
        if self._up and interval > 0:
            self._periodic.start(interval)
        else:
            self._periodic.stop()

    def _turn(self) -> None:
        if self._algorithm == Algorithm.SHUFFLE.value:
            self._periodic.stop()
        self._check()
