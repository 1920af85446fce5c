"""Whether this server takes the agents that come to it, or sends them on to others.

Only agents of ours are sent on: CloudStack's know no such word. A server that was emptied and is used again is told so,
and so are those that send agents to it. Whoever comes before it has heard of it waits until it has looked.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed

from cloudlb.agents.held import Held
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.in_order import InOrder
from cloudlb.net.link_protocol import LinkProtocol


class Door:
    """Holds agents that come while this server takes none, until it is sure of that."""

    def __init__(self, half_open: HalfOpen) -> None:
        self._half_open = half_open
        self._held = InOrder[Held]()
        self.elsewhere: Callable[[], tuple[str, ...] | None] = lambda: None
        """Servers to avoid, for agents that are to go to another one than this; None: this one takes agents."""
        self.look: Callable[[], Deferred[None]] = lambda: succeed(None)
        """Has :attr:`elsewhere` go by what the database says now; fires then, never with a failure."""

    def knock(self, link: LinkProtocol, decide: Callable[[tuple[str, ...] | None], None]) -> None:
        """Call ``decide`` with what :attr:`elsewhere` says, now or when it has looked, unless the link ends before."""
        if not link.channel.is_cloudlb or self.elsewhere() is None:
            decide(None)
            return
        held = Held(link, self._half_open, self._held.discard)
        self._held.add(held)
        self.look().addCallback(lambda _: self._release(held, decide))

    def stop(self) -> None:
        """Let go of those who wait."""
        for held in list(self._held):
            held.link.abort("the server is stopping")

    def _release(self, held: Held, decide: Callable[[tuple[str, ...] | None], None]) -> None:
        if held in self._held:
            self._held.discard(held)
            held.release()
            decide(self.elsewhere())
