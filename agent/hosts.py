"""Which server to try next, and after what pause. Pure: time is passed in, randomness injected.

A pass tries every server of the list once: the ones that servers have told us to avoid after all others, then those
that a server without room has named, and last one that the list does not have any more, another one in each pass: of
a list that was wrong, or became so while the agent was away, perhaps no server ever comes back. The first pass begins
behind the server that was lost and has no pauses; a later one begins at the head of the list after a random pause whose
upper end doubles from pass to pass, up to a bound.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence

from attrs import frozen

from cloudlb.domain.host_list import MAX_ADDRESSES, HostList

AVOID_SECONDS = 120.0
"""How long a server is avoided after the last word to do so. Servers repeat theirs with every answer to a ping."""
SETTLED_SECONDS = 10.0
"""A server that keeps us for less has not worked, and losing it does not start the walk over without pauses."""


@frozen
class Step:
    """What to do next."""

    address: str
    delay: float
    """Seconds to wait before connecting."""


class Hosts:
    """The walk of one agent over its servers."""

    def __init__(
        self,
        hosts: HostList,
        rng: random.Random,
        *,
        base: float,
        bound: float,
        seen: Sequence[str] = (),
    ) -> None:
        """Begin at the head of a list.

        Args:
            hosts: the list.
            rng: draws the pauses.
            base: upper end of the pause before the second pass, in seconds.
            bound: upper end of every pause.
            seen: :attr:`seen` of an earlier run. It counts only if it has all of the list: otherwise somebody else has
                written the list, perhaps to have the host in another cloud.
        """
        self._hosts = hosts
        self._rng = rng
        self._base = base
        self._bound = bound
        self._seen = tuple(seen) if set(hosts.addresses) <= set(seen) else hosts.addresses
        self._avoided: dict[str, float] = {}
        self._known: tuple[str, ...] = ()
        self._behind: str | None = None
        self._pass: deque[str] = deque()
        self._passes = 0
        self._refused = False
        self._least_pause = 0.0

    @property
    def current(self) -> HostList:
        """The list in force."""
        return self._hosts

    @property
    def seen(self) -> tuple[str, ...]:
        """The servers that worked and those of all lists, the latest first."""
        return self._seen

    def replace(self, hosts: HostList, sender: str) -> None:
        """Take a new list from a server; the next pass is a first one. The list in force already changes nothing."""
        if hosts != self._hosts:
            self._hosts = hosts
            self._see(sender, *hosts.addresses)
            self._start_over()

    def avoid(self, addresses: Iterable[str], now: float) -> None:
        """Take what a server says is to be avoided; it replaces what was said before and expires."""
        self._avoided = dict.fromkeys(addresses, now + AVOID_SECONDS)
        # A pass that has begun counts on it, too.
        sooner = [each for each in self._permitted(self._pass, now) if each in self._hosts.addresses]
        self._pass = deque([*sooner, *(each for each in self._pass if each not in sooner)])

    def next(self, now: float) -> Step:
        """Say which server to try now."""
        delay = 0.0
        if not self._pass:
            self._pass = deque(self._order(now))
            delay, self._least_pause = max(self._pause(), self._least_pause), 0.0
            self._passes += 1
            self._behind = None
        if self._refused:
            self._refused = False
            delay = self._rng.uniform(self._bound / 2, self._bound)
        return Step(self._pass.popleft(), delay)

    @property
    def others_left(self) -> bool:
        """Whether this pass has servers that were not tried yet."""
        return bool(self._pass)

    def worked(self, address: str) -> None:
        """Note that a server has admitted us."""
        self._see(address)

    def lost(self, address: str, lasted: float) -> None:
        """Note that a server that had worked for ``lasted`` seconds is gone: the walk goes on behind it."""
        if lasted >= SETTLED_SECONDS:
            self._start_over()
        if not self._pass:
            self._behind = address

    def again(self, address: str) -> None:
        """Have a server tried once more before the others."""
        self._pass.appendleft(address)

    def refused(self) -> None:
        """Note that a server will not have us. They share one database, so the next one is not asked soon."""
        self._refused = True

    def busy(self, seconds: float) -> None:
        """Note that a server has no room for us: others of this pass may, but the next pass begins no sooner than it
        said, and later by chance, so that those who were told at one moment do not come at one moment."""
        least = min(max(seconds, 0.0), self._bound / 2)
        self._least_pause = max(self._least_pause, self._rng.uniform(least, 2 * least))

    def know(self, addresses: Sequence[str]) -> None:
        """Note what servers there are: of an old list perhaps nobody is left who takes us."""
        self._known = tuple(addresses)

    def better_than(self, address: str, now: float) -> tuple[str, ...]:
        """The servers that we should rather be on than on ``address``, in order."""
        servers = self._hosts.addresses
        ahead = servers[: servers.index(address)] if address in servers else servers
        return tuple(self._permitted(ahead, now))

    def others(self, address: str, now: float) -> tuple[str, ...]:
        """The servers of the list to go to when told to leave ``address``, in order."""
        return tuple(self._permitted([other for other in self._hosts.addresses if other != address], now))

    def _see(self, *addresses: str) -> None:
        self._seen = tuple(dict.fromkeys([*addresses, *self._seen]))[:MAX_ADDRESSES]

    def _start_over(self) -> None:
        self._passes = 0
        self._pass.clear()

    def _order(self, now: float) -> list[str]:
        servers = list(self._hosts.addresses)
        if self._behind in servers:
            turn = servers.index(self._behind) + 1
            servers = servers[turn:] + servers[:turn]
        permitted = self._permitted(servers, now)
        order = permitted + [address for address in servers if address not in permitted]
        # In an order of our own: not all whose lists are old are to come to the same server.
        others = self._permitted([address for address in self._known if address not in servers], now)
        order += self._rng.sample(others, len(others))
        # One only: those that are gone for good would draw out the time until the list is tried again.
        earlier = [address for address in self._seen if address not in order]
        if earlier:
            order.append(earlier[self._passes % len(earlier)])
        return order

    def _permitted(self, servers: Sequence[str], now: float) -> list[str]:
        return [address for address in servers if self._avoided.get(address, now) <= now]

    def _pause(self) -> float:
        if self._passes == 0:
            return 0.0
        # The exponent is bounded, so that an agent that has tried for a month computes no number of a month's length.
        return self._rng.uniform(0, min(self._bound, self._base * 2.0 ** min(self._passes - 1, 32)))
