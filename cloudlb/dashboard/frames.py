"""Server-sent events, encoded once for everybody who is to get them.

A viewer that takes gzip gets one endless member of it, made of blocks that were compressed each for itself: a block
refers to nothing before it and ends on a byte, so the same one fits into every viewer's stream, wherever that began.
"""

from __future__ import annotations

import zlib
from typing import Any

import orjson
from attrs import field, frozen

GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Of a member without a name, a time or a system."""
_RAW = -zlib.MAX_WBITS
_LEVEL = 6


@frozen
class Frame:
    """One event of a stream, or a comment in it."""

    plain: bytes = field(repr=False)
    deflated: bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.deflated)


def frame(text: bytes) -> Frame:
    """Encode what stands in a stream."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    return Frame(text, compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))


def event_frame(name: str, position: str, data: Any) -> Frame:
    """Encode an event.

    Args:
        name: what the browser listens for.
        position: what it comes back with to go on from here.
        data: anything that JSON knows.
    """
    return frame(b"id: %b\nevent: %b\ndata: %b\n\n" % (position.encode(), name.encode(), orjson.dumps(data)))


KEEP_ALIVE = frame(b":\n\n")
"""A comment, for whoever waits and for what stands between."""
