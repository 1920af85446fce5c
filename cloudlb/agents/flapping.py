"""Agents that connect and leave again and again: they wait longer each time, and nobody else does.

What counts is a session that makes work for everybody: one of a host that had been lost, or that follows another one on
this server within SHORT_LIVED. A host that another server gives away while it is Up does not count, however often: that
is an honest failover or failback. As refusals do, a few cost nothing, then each doubles the wait, up to a minute, and a
minute makes up for one; so in the long run a host has one such session a minute on a server.

The StartupAnswer is what is held back, and the link counts as half-open meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from cloudlb.agents.held import Delays
from cloudlb.agents.penalties import Penalties
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostId, Session
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.link_protocol import LinkProtocol

SHORT_LIVED = 60.0
"""Seconds; a session that was followed by the next one later than that was a proper one."""


@frozen
class _Began:
    session: Session
    time: float


class Flapping:
    """Counts sessions, and has agents wait."""

    def __init__(self, clock: IReactorTime, half_open: HalfOpen) -> None:
        self._clock = clock
        self._penalties = Penalties()
        # The last session of each host here, in the order in which they began; of the last SHORT_LIVED seconds.
        self._began: OrderedDict[HostId, _Began] = OrderedDict()
        self._delays = Delays(clock, half_open)

    def began(self, host: Host, *, anew: bool) -> None:
        """A session has begun.

        Args:
            host: its row, as the admission left it.
            anew: it is on a new link, and not one of an agent that introduced itself again.
        """
        now = self._clock.seconds()
        before = self._began.pop(host.id, None)
        self._began[host.id] = _Began(host.session, now)
        while next(iter(self._began.values())).time < now - SHORT_LIVED:
            self._began.popitem(last=False)
        follows = before is not None and before.session == host.session - 1 and now - before.time <= SHORT_LIVED
        if anew and (follows or host.status is not HostStatus.UP):
            self._penalties.count(host.facts.guid, now)

    def admit(self, link: LinkProtocol, guid: str, begin: Callable[[], None]) -> None:
        """Begin an admission, now or when it is time."""
        self._delays.after(self._penalties.delay(guid, self._clock.seconds()), link, begin)

    def stop(self) -> None:
        """Let go of those who wait."""
        self._delays.stop()
