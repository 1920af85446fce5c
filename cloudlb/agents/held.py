"""Links whose agents have introduced themselves and have to wait for what they are told."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cloudlb.net.half_open import HalfOpen
from cloudlb.net.link_protocol import LinkProtocol

MAX_MESSAGE = 2**16
"""Bytes of a message of an agent that waits: CloudStack's pings from its StartupAnswer on."""


class Held:
    """Owns a link meanwhile. It counts as half-open: who is told to wait must not cost more than who says nothing."""

    def __init__(self, link: LinkProtocol, half_open: HalfOpen, gone: Callable[[Held], None]) -> None:
        """Begin to hold; ``gone`` is called if the link ends before it is released."""
        self.link = link
        self._half_open = half_open
        self._gone = gone
        self._max_message = link.max_message
        link.owner = self
        link.max_message = MAX_MESSAGE
        half_open.add(link, link.peer_address)

    def release(self) -> None:
        """Hold no more; whoever calls this is the link's next owner, or closes it."""
        self._half_open.remove(self.link)
        self.link.max_message = self._max_message

    def link_established(self, link: LinkProtocol) -> None:
        """Never: it was established before."""
        raise AssertionError("a held link is established")

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Ignore it."""

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Forget it."""
        self._half_open.remove(link)
        self._gone(self)


class Delays:
    """Holds links for a while each."""

    def __init__(self, clock: IReactorTime, half_open: HalfOpen) -> None:
        self._clock = clock
        self._half_open = half_open
        self._timers: dict[Held, IDelayedCall] = {}

    def after(self, delay: float, link: LinkProtocol, go_on: Callable[[], None]) -> None:
        """Go on in ``delay`` seconds, at once for 0, unless the link ends before."""
        if not delay:
            go_on()
            return
        held = Held(link, self._half_open, self._gone)
        self._timers[held] = self._clock.callLater(delay, self._release, held, go_on)

    def stop(self) -> None:
        """Let go of those who wait."""
        timers, self._timers = self._timers, {}
        for held, timer in timers.items():
            timer.cancel()
            held.link.abort("the server is stopping")

    def _release(self, held: Held, go_on: Callable[[], None]) -> None:
        del self._timers[held]
        held.release()
        go_on()

    def _gone(self, held: Held) -> None:
        timer = self._timers.pop(held, None)
        if timer is not None and timer.active():
            timer.cancel()
