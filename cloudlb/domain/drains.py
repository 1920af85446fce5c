"""Emptying a management server: what was ordered, and how far it is.

A server has one drain at most, its latest: ordered by whoever asked, carried out by the server itself, which writes
down how far it is. A drain that has ended stays until the next one, for people to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.models import ServerId


class DrainEnd(Enum):
    """How a drain ended."""

    DONE = "done"
    """No agent was left, and no job."""
    TIMED_OUT = "timed out"
    """Agents are left; ordered again, it goes on."""
    FORCED = "forced"
    """Its time was over, and the agents that were left were disconnected."""
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """The server ended in the middle of it."""


@frozen(kw_only=True)
class Drain:
    """One server's drain. Times are seconds since the epoch by that server's clock."""

    server_id: ServerId
    number: int = 0
    """Counts the server's drains. Storage gives it: what is written about one never changes the next."""
    algorithm: Algorithm | None = None
    """Orders the lists by which the agents choose their new servers; None: the one in force."""
    forced: bool = False
    """When its time is over, disconnect the agents that are left."""
    timeout: float
    """Seconds that it has from its start."""
    started: float | None = None
    """None: the server has not begun yet."""
    ended: float | None = None
    end: DrainEnd | None = None
    total: int = 0
    """Hosts that the server had at the start, and those that came since."""
    moved: int = 0
    """Hosts that are Up on another server."""
    left: int = 0
    """Hosts that the server still has."""
    jobs: int = 0
    """Jobs that the server still has to end."""
    failed: Mapping[str, str] = field(factory=dict)
    """By the uuid of a host: why it is still here, or that it went and is Up nowhere. At most 100 of them."""
    eta: float | None = None
    """Seconds until the last agent will have gone, as things look; None: unknown."""
    note: str | None = None
    """Why it does not go on, where it waits for something."""
