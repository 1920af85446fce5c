"""A message as a packet: the 40 bytes of its header, and its body.

    0   1  version, 0           12  4  length of the body before compression
    1   1  unused               16  8  management server that sends or is meant, -1 from an agent
    2   2  flags                24  8  agent (host), -1 before its first registration
    4   8  sequence             32  8  via: the host that the packet is routed through

All numbers are signed and big-endian [com.cloud.agent.transport.Request]. The body follows, gzip-compressed if the flag
says so. A packet for another server is relayed as the bytes that it came in: only its header need be read.
"""

from __future__ import annotations

import zlib
from enum import IntFlag
from struct import Struct

from cloudlb.wire.content import frozen
from cloudlb.wire.errors import PacketError

COMPRESS_FROM = 8192
"""Bytes of a body from which on it is compressed [Request.toBytes]."""

_HEADER = Struct(">BBHqiqqq")
_GZIP = 31
"""zlib's wbits for the gzip format and nothing else."""
_LEVEL = 1
"""Takes 40 % of the time of zlib's default for a sixth more bytes, which a data centre's network does not mind."""


class Flag(IntFlag):
    """What a packet is [Request.FLAG_*]. A response is a packet that is no request."""

    REQUEST = 0x1
    STOP_ON_ERROR = 0x2
    """Of several commands, those after one that failed are not executed."""
    IN_SEQUENCE = 0x4
    """Executed after what came before it, and before what comes after it."""
    FROM_SERVER = 0x20
    CONTROL = 0x40
    COMPRESSED = 0x80


_FLAGS = tuple(map(Flag, range(256)))
"""Every combination of a header's low byte, as looking one up is five times as fast as making it."""
# As plain numbers, because asking a Flag whether another one is in it takes three times as long.
_REQUEST, _STOP_ON_ERROR, _IN_SEQUENCE, _FROM_SERVER, _, _COMPRESSED = map(int, Flag)
_KEPT_IN_RESPONSE = _STOP_ON_ERROR | _IN_SEQUENCE


@frozen
class Header:
    """The first 40 bytes of a packet."""

    sequence: int
    server_id: int
    agent_id: int
    via: int
    flags: Flag
    size: int
    """Bytes of the body before compression."""

    @property
    def is_request(self) -> bool:
        """Whether the packet holds commands, and not answers."""
        return int(self.flags) & _REQUEST != 0

    @property
    def stop_on_error(self) -> bool:
        """Whether the commands after one that failed are left out."""
        return int(self.flags) & _STOP_ON_ERROR != 0

    @property
    def in_sequence(self) -> bool:
        """Whether the commands wait for those of earlier packets."""
        return int(self.flags) & _IN_SEQUENCE != 0

    @property
    def from_server(self) -> bool:
        """Whether a server sent the packet, and not an agent."""
        return int(self.flags) & _FROM_SERVER != 0

    @property
    def compressed(self) -> bool:
        """Whether the body is gzip-compressed."""
        return int(self.flags) & _COMPRESSED != 0


def read_header(message: bytes) -> Header:
    """Read the header of a packet; the second byte and flags above 0x80 are ignored, as CloudStack does.

    Raises:
        PacketError: the message is too short, of another version, or declares a negative size.
    """
    if len(message) < _HEADER.size:
        raise PacketError(f"a packet of {len(message)} bytes is shorter than its header of {_HEADER.size}")
    version, _, flags, sequence, size, server_id, agent_id, via = _HEADER.unpack_from(message)
    if version != 0:
        raise PacketError(f"a packet of version {version}; only version 0 is known")
    if size < 0:
        raise PacketError(f"packet {sequence} declares a body of {size} bytes")
    return Header(sequence, server_id, agent_id, via, _FLAGS[flags & 0xFF], size)


def read_body(message: bytes, header: Header, max_body: int) -> bytes:
    """Return the body of a packet, inflated.

    Args:
        message: the whole packet.
        header: what read_header made of it.
        max_body: bytes that a body may have, inflated.

    Raises:
        PacketError: the declared size is over the limit (nothing is inflated then) or is not that of the body, or the
            body is no gzip stream, or more than one.
    """
    if header.size > max_body:
        raise PacketError(f"packet {header.sequence} declares {header.size} bytes, over the limit of {max_body}")
    body = message[_HEADER.size :]
    if not header.compressed:
        if len(body) != header.size:
            raise PacketError(f"packet {header.sequence} declares {header.size} bytes and has {len(body)}")
        return body
    stream = zlib.decompressobj(_GZIP)
    try:
        # One byte more than declared: enough to see that there is more, and for zlib to reach the end if there is not.
        inflated = stream.decompress(body, header.size + 1)
    except zlib.error as error:
        raise PacketError(f"packet {header.sequence} does not inflate: {error}") from error
    if len(inflated) != header.size or not stream.eof:
        raise PacketError(f"packet {header.sequence} does not inflate to the {header.size} bytes that it declares")
    if stream.unused_data:
        raise PacketError(f"packet {header.sequence} goes on after its compressed body")
    return inflated


def write_packet(*, sequence: int, server_id: int, agent_id: int, via: int, flags: Flag, body: bytes) -> bytes:
    """Return a packet; whether it is compressed depends on the body alone."""
    size = len(body)
    value = int(flags) & ~_COMPRESSED
    if size >= COMPRESS_FROM:
        value |= _COMPRESSED
        body = zlib.compress(body, _LEVEL, wbits=_GZIP)
    return _HEADER.pack(0, 0, value, sequence, size, server_id, agent_id, via) + body


def with_header(message: bytes, header: Header) -> bytes:
    """Return a packet under another header, its body as it is; the header has to say of that what the old one did."""
    return (
        _HEADER.pack(
            0, 0, int(header.flags), header.sequence, header.size, header.server_id, header.agent_id, header.via
        )
        + message[_HEADER.size :]
    )


def response_flags(request: Header) -> Flag:
    """Return the flags of a request's response [Response(Request, Answer[])]."""
    value = int(request.flags)
    return _FLAGS[value & _KEPT_IN_RESPONSE | ~value & _FROM_SERVER]
