"""A closed loop of pings: every agent sends again as soon as it has its answer."""

from __future__ import annotations

import time
from typing import Any

from attrs import frozen
from twisted.internet.task import deferLater

from bench.cluster import Usage
from bench.fleet import FleetAgent

GRACE = 2.0
"""Seconds that the last answers have to come in before their pings count as lost."""


@frozen
class Loop:
    """What came of it."""

    round_trips: int
    seconds: float
    cpu: float
    """Seconds of the server's."""

    @property
    def rate(self) -> float:
        """Round trips per second."""
        return self.round_trips / self.seconds

    @property
    def cpu_per_10000(self) -> float:
        """Seconds of the server's CPU."""
        return self.cpu / self.round_trips * 10_000


async def ping_loop(reactor: Any, pid: int | None, fleet: list[FleetAgent], seconds: float) -> tuple[Loop, int]:
    """Have a fleet ping; the second value is how many pings got no answer."""
    running = True

    def again(agent: FleetAgent) -> None:
        if running:
            agent.ping()

    before, began = Usage.of(pid), time.monotonic()
    answered_before = sum(agent.answered for agent in fleet)
    for agent in fleet:
        agent.pinged = again
        agent.ping()
    await deferLater(reactor, seconds, lambda: None)
    loop = Loop(
        round_trips=sum(agent.answered for agent in fleet) - answered_before,
        seconds=time.monotonic() - began,
        cpu=Usage.of(pid).cpu - before.cpu,
    )
    running = False
    await deferLater(reactor, GRACE, lambda: None)
    return loop, sum(agent.sent - agent.answered for agent in fleet)
