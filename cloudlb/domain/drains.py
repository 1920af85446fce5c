"""Emptying a management server: what was ordered, and how far it is.

A server has one drain at most, its latest: ordered by whoever asked, carried out by the server itself, which writes
down how far it is. A drain that has ended stays until the next one, for people to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import define, evolve, field, frozen

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId, ServerId


class DrainEnd(Enum):
    """How a drain ended."""

    DONE = "done"
    """No agent was left, and no job."""
    TIMED_OUT = "timed out"
    """Agents are left, or have come back though they were disconnected; ordered again, it goes on."""
    FORCED = "forced"
    """Its time was over, and the agents that were left were disconnected."""
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """The server ended in the middle of it."""


@frozen
class Whereabouts:
    """Where a host's row says that it is."""

    status: HostStatus
    server_id: ServerId | None


@frozen(kw_only=True)
class Drain:
    """One server's drain. Times are seconds since the epoch by that server's clock."""

    server_id: ServerId
    number: int = 0
    """Counts the server's drains. Storage gives it: what is written about one never changes the next."""
    algorithm: Algorithm | None = None
    """Orders the lists by which the agents choose their new servers; None: the one in force."""
    forced: bool = False
    """When its time is over, disconnect the agents that are left, if another server takes them."""
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


ARRIVES_WITHIN = 30.0
"""Seconds that a host has to be Up on another server, once it is gone. A drain does not wait for it any longer, but
counts it when it comes."""
MOST_FAILED = 100
"""Hosts at most of which a drain says why they failed."""


@define
class _Guest:
    uuid: str
    gone: float | None = None
    """When it was missed first; None: it is here."""
    arrived: bool = False
    status: HostStatus = HostStatus.UP
    """What its row said last, while it was missed."""


class Tally:
    """Of the hosts that a server had since its drain began: which are here, which have arrived, which are nowhere."""

    def __init__(self) -> None:
        self._guests: dict[HostId, _Guest] = {}
        self._arrived = 0.0
        """When one arrived last."""

    @property
    def missing(self) -> list[HostId]:
        """Hosts that are not here and of which it is not known that they are Up elsewhere."""
        return [host for host, guest in self._guests.items() if guest.gone is not None and not guest.arrived]

    def look(self, here: Mapping[HostId, str], now: float) -> None:
        """Take the hosts that are here, by their numbers, with their uuids."""
        for host, guest in self._guests.items():
            if host not in here and guest.gone is None:
                guest.gone = now
        for host, uuid in here.items():
            self._guests[host] = _Guest(uuid)

    def learn(self, own: ServerId, found: Mapping[HostId, Whereabouts], now: float) -> None:
        """Take what the rows of the missing ones say; one that has no row, or was deleted, counts no more."""
        for host in self.missing:
            where = found.get(host)
            if where is None or where.status is HostStatus.REMOVED:
                del self._guests[host]
                continue
            self._guests[host].status = where.status
            if where.status is HostStatus.UP and where.server_id != own:
                self._guests[host].arrived = True
                self._arrived = now

    def is_over(self, now: float) -> bool:
        """Whether none is here, and none is on its way any more."""
        return all(
            guest.arrived or (guest.gone is not None and guest.gone <= now - ARRIVES_WITHIN)
            for guest in self._guests.values()
        )

    def counted(self, drain: Drain, *, jobs: int, stayed: Mapping[str, str], note: str | None, now: float) -> Drain:
        """A drain that has started, with how far it is now.

        Args:
            drain: as it was.
            jobs: that the server has.
            stayed: why hosts are here that were asked to go, by uuid.
            note: see Drain.
            now: the time.
        """
        guests = self._guests.values()
        moved = sum(guest.arrived for guest in guests)
        left = [guest.uuid for guest in guests if guest.gone is None]
        lost = {
            guest.uuid: f"it has gone, and is {guest.status.value}"
            for guest in guests
            if guest.gone is not None and not guest.arrived and guest.gone <= now - ARRIVES_WITHIN
        }
        failed = {**lost, **{uuid: stayed[uuid] for uuid in left if uuid in stayed}}
        # At the pace of those that have arrived; nobody knows when those that stay will go.
        elapsed = self._arrived - (drain.started or now)
        to_come = len(guests) - moved - len(failed)
        return evolve(
            drain,
            total=len(guests),
            moved=moved,
            left=len(left),
            jobs=jobs,
            failed=dict(list(failed.items())[:MOST_FAILED]),
            eta=round(to_come * elapsed / moved, 1) if moved and to_come else None,
            note=note,
        )
