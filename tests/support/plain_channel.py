"""A channel that encrypts nothing, so that whole clusters cost no handshakes; framing and records are as with TLS."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from cloudlb.wire.errors import LinkError

_RECORD = Struct(">BHH")
_HANDSHAKE, _DATA = 0x16, 0x17
_VERSION = 0x0303
_FOREIGN = b"CloudStack's"
"""What a client says that is not one of ours."""


class PlainChannel:
    """One handshake record each way, then records with TLS's five bytes of header around plaintext."""

    peer_certificate: bytes | None = None

    def __init__(
        self, *, server_side: bool, opened: Callable[[bytes], None] = lambda plaintext: None, cloudlb: bool = True
    ) -> None:
        """Prepare one end.

        Args:
            server_side: which one.
            opened: sees the plaintext of every frame that came.
            cloudlb: whether a client is one of ours; a server finds out.
        """
        self.established = False
        self.is_cloudlb = cloudlb
        self._server_side = server_side
        self._opened = opened

    def start(self) -> bytes:
        """A client's first flight."""
        return b"" if self._server_side else _record(_HANDSHAKE, b"client" if self.is_cloudlb else _FOREIGN)

    def handshake(self, record: bytes) -> bytes:
        """Take the other side's greeting, and return it if this is the server."""
        if self._server_side:
            self.is_cloudlb = record != _record(_HANDSHAKE, _FOREIGN)
        client = b"client" if self.is_cloudlb else _FOREIGN
        expected = _record(_HANDSHAKE, client if self._server_side else b"server")
        if record != expected:
            raise LinkError(f"{record!r} is no greeting")
        self.established = True
        return _record(_HANDSHAKE, b"server") if self._server_side else b""

    def open(self, records: bytes) -> bytes:
        """Return what the records hold."""
        plaintext = b""
        position = 0
        while position < len(records):
            if position + _RECORD.size > len(records):
                raise LinkError("a record without a whole header")
            kind, version, size = _RECORD.unpack_from(records, position)
            position += _RECORD.size
            if (kind, version) != (_DATA, _VERSION) or position + size > len(records):
                raise LinkError("no record of this channel")
            plaintext += records[position : position + size]
            position += size
        self._opened(plaintext)
        return plaintext

    def seal(self, chunk: bytes | memoryview) -> bytes:
        """Return the record of a chunk."""
        return _record(_DATA, bytes(chunk))

    def last_words(self) -> bytes:
        """Nothing."""
        return b""


class PlainTrust:
    """Servers that take each other's word for who they are; see cloudlb.cluster.peer_trust.PeerTrust."""

    def channel(self) -> PlainChannel:
        """What seals one link to another server."""
        return PlainChannel(server_side=False)

    def check(self, certificate: bytes | None, server: object) -> None:
        """Whoever it is."""


def _record(kind: int, content: bytes) -> bytes:
    return _RECORD.pack(kind, _VERSION, len(content)) + content
