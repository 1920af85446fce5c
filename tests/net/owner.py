"""An owner of links that notes what it is told."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from cloudlb.net.link_protocol import LinkProtocol


@define(eq=False)
class Owner:
    """Notes everything, and does in each place what a test wants done."""

    established: int = 0
    messages: list[bytes] = field(factory=list)
    lost: list[str] = field(factory=list)
    on_established: Callable[[LinkProtocol], object] = lambda _: None
    on_message: Callable[[LinkProtocol, bytes], object] = lambda _, __: None
    on_lost: Callable[[str], object] = lambda _: None

    def link_established(self, link: LinkProtocol) -> None:
        """Note it."""
        self.established += 1
        self.on_established(link)

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Note it."""
        self.messages.append(message)
        self.on_message(link, message)

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Note it."""
        self.lost.append(reason)
        self.on_lost(reason)
