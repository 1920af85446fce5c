"""A link whose agent has introduced itself and has to wait for what it is told."""

from __future__ import annotations

from collections.abc import Callable

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
