"""What can be wrong with bytes that a peer sent. Each message names the fault for the log of the one connection."""

from __future__ import annotations


class WireError(Exception):
    """A peer broke the protocol. Unless said otherwise its connection is closed."""


class LinkError(WireError):
    """Below the packets: framing, TLS, or a limit. The link stays failed."""


class PacketError(WireError):
    """A message is no packet: its header is cut short or impossible, or its body does not inflate as declared."""


class BodyError(WireError):
    """The body of a sound packet is no list of commands or answers: answered, and the connection stays."""
