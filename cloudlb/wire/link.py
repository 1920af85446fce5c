"""Bytes of a connection to whole messages and back, without I/O: TLS inside, CloudStack's frames outside.

    handshake   | TLS record | TLS record | ...                        raw, as on any TLS connection
    afterwards  | header 4 | TLS record(s) | header 4 | TLS record(s)  a message is the plaintext of its frames

The header is big-endian and in clear: bits 0-15 the length of what follows, 1 to 18000; bit 16 says that more frames of
the same message follow; all others are 0 [com.cloud.utils.nio.Link]. docs/wire.md has the whole wire.
"""

from __future__ import annotations

from struct import Struct
from typing import Protocol

from cloudlb.wire.errors import LinkError

MAX_MESSAGE = 16 * 2**20
"""Bytes of a message's plaintext, unless told otherwise."""
MAX_FRAME = 18000
"""Bytes of a frame's body, and of a raw record [Link.MAX_SIZE_PER_PACKET]."""
MAX_CHUNK = 4096
"""Bytes of plaintext that we put in one record.

TLS allows 16384, but a memory BIO never gives back what its largest record took: with this a link keeps 11 KiB of
buffers after large messages, and 50 KiB with 16384. Large messages are rare and cost half as much again in CPU.
"""
MAX_HANDSHAKE_RECORDS = 32
"""Raw records until the handshake must be complete. Ours take 4 to 7; this bounds what a stranger costs."""

_FRAME = Struct(">I")
_MORE_FOLLOWS = 0x10000
_RECORD_HEADER = 5
_RECORD_TYPES = range(0x14, 0x18)
"""ChangeCipherSpec, alert, handshake, application data. A frame's first byte is always 0."""
_MAJOR_VERSION = 3
"""The second byte of every record since SSL 3.0."""


class Channel(Protocol):
    """What makes records of plaintext and back; :class:`cloudlb.wire.tls_channel.TlsChannel` is the real one."""

    established: bool
    """The handshake is complete: what follows is framed."""

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, if it showed one."""

    @property
    def is_cloudlb(self) -> bool:
        """The peer is one of our own, and not CloudStack's."""

    def start(self) -> bytes:
        """Return a client's first flight; nothing for a server."""

    def handshake(self, record: bytes) -> bytes:
        """Feed one raw record and return raw bytes to send."""

    def open(self, records: bytes) -> bytes:
        """Return the plaintext of a frame's body."""

    def seal(self, chunk: bytes | memoryview) -> bytes:
        """Return the record of at most MAX_CHUNK bytes of plaintext."""

    def last_words(self) -> bytes:
        """Return what a failed session still has to send, unframed."""


class Link:
    """One end of a link. It fails once and for good: whoever holds it closes the connection.

    What was received is kept only while it is incomplete: a part of one frame or record (at most 18004 bytes), and the
    plaintext of one message up to its limit.
    """

    __slots__ = (
        "_buffer",
        "_failure",
        "_framed",
        "_handshake_records",
        "_missing",
        "_partial",
        "_unsent",
        "channel",
        "max_message",
    )

    def __init__(self, channel: Channel, max_message: int = MAX_MESSAGE) -> None:
        """Prepare a link.

        Args:
            channel: new, for this link alone.
            max_message: bytes of plaintext that one message of the peer may have; may be changed at any time, through
                the attribute.
        """
        self.channel = channel
        self.max_message = max_message
        self._buffer = bytearray()
        self._missing = 0
        self._framed = False
        self._handshake_records = 0
        self._partial = bytearray()
        self._unsent: list[bytes] = []
        self._failure: str | None = None

    @property
    def established(self) -> bool:
        """Whether messages can be sent."""
        return self.channel.established

    def start(self) -> None:
        """Begin the handshake; the first flight is in :meth:`data_to_send`."""
        self._send_raw(self.channel.start())

    def receive_data(self, data: bytes) -> list[bytes]:
        """Return the messages that the data completes; empty ones are dropped.

        Raises:
            LinkError: the peer broke the framing, TLS or a limit, also if it did so in an earlier call. Messages that
                the same data had completed before are lost. :meth:`data_to_send` has what TLS says to the peer.
        """
        if self._failure is not None:
            raise LinkError(self._failure)
        if self._buffer:
            self._buffer += data
            if len(data) < self._missing:
                self._missing -= len(data)
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        try:
            return self._receive(data)
        except LinkError as error:
            self._failure = str(error)
            self._buffer.clear()
            self._partial.clear()
            self._send_last_words()
            raise

    def completes_record(self, data: bytes) -> bool:
        """Whether data of the handshake completes a record, or is no TLS at all.

        Then :meth:`receive_data` may take milliseconds. Otherwise it only keeps the data.
        """
        start = bytes(self._buffer[:_RECORD_HEADER]) + data[:_RECORD_HEADER]
        try:
            return len(self._buffer) + len(data) >= _record_end(start, 0, len(start))
        except LinkError:
            return True

    def send_message(self, message: bytes) -> None:
        """Seal a message; its frames are in :meth:`data_to_send`. An empty one is not sent.

        Raises:
            RuntimeError: the link is not established, or has failed.
        """
        if self._failure is not None or not self.channel.established:
            raise RuntimeError("a message for a link that is not established")
        size = len(message)
        if size <= MAX_CHUNK:
            if message:
                self._send_frame(self.channel.seal(message))
            return
        view = memoryview(message)
        for start in range(0, size, MAX_CHUNK):
            last = start + MAX_CHUNK >= size
            self._send_frame(self.channel.seal(view[start : start + MAX_CHUNK]), 0 if last else _MORE_FOLLOWS)

    def data_to_send(self) -> bytes:
        """Return everything to write now, once."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        return data

    def _receive(self, data: bytes) -> list[bytes]:
        messages: list[bytes] = []
        position, size = 0, len(data)
        while position < size:
            if self._framed or (self.channel.established and data[position] == 0):
                end = _frame_end(data, position, size)
                if end > size:
                    break
                self._take_frame(data, position, end, messages)
            else:
                end = _record_end(data, position, size)
                if end > size:
                    break
                self._take_record(data[position:end])
            position = end
        if position < size:
            self._buffer += data[position:] if position else data
            self._missing = end - size
        return messages

    def _take_frame(self, data: bytes, position: int, end: int, messages: list[bytes]) -> None:
        self._framed = True
        plaintext = self.channel.open(data[position + _FRAME.size : end])
        if len(self._partial) + len(plaintext) > self.max_message:
            raise LinkError(f"a message is longer than {self.max_message} bytes")
        if data[position + 1]:
            self._partial += plaintext
        elif self._partial:
            self._partial += plaintext
            messages.append(bytes(self._partial))
            self._partial.clear()
        elif plaintext:
            messages.append(plaintext)

    def _take_record(self, record: bytes) -> None:
        if self.channel.established:
            self.channel.open(record)
            raise LinkError("a TLS record without a frame header")
        self._handshake_records += 1
        if self._handshake_records > MAX_HANDSHAKE_RECORDS:
            raise LinkError(f"no end of the handshake after {MAX_HANDSHAKE_RECORDS} records")
        self._send_raw(self.channel.handshake(record))

    def _send_raw(self, flight: bytes) -> None:
        if flight:
            self._unsent.append(flight)

    def _send_frame(self, records: bytes, more: int = 0) -> None:
        self._unsent += (_FRAME.pack(more | len(records)), records)

    def _send_last_words(self) -> None:
        if last_words := self.channel.last_words():
            if self.channel.established:
                self._send_frame(last_words)
            else:
                self._send_raw(last_words)


def _frame_end(data: bytes, position: int, size: int) -> int:
    """Return where a frame ends, or where its header does if that is incomplete."""
    if position + _FRAME.size > size:
        return position + _FRAME.size
    (header,) = _FRAME.unpack_from(data, position)
    length: int = header & ~_MORE_FOLLOWS
    if not 1 <= length <= MAX_FRAME:
        raise LinkError(f"0x{header:08x} is no frame header: a frame has 1 to {MAX_FRAME} bytes")
    return position + _FRAME.size + length


def _record_end(data: bytes, position: int, size: int) -> int:
    """Return where a raw TLS record ends, or where its header does if that is incomplete."""
    if data[position] not in _RECORD_TYPES or (position + 1 < size and data[position + 1] != _MAJOR_VERSION):
        raise LinkError(f"the peer does not speak TLS: it sent {data[position : position + 16]!r}")
    if position + _RECORD_HEADER > size:
        return position + _RECORD_HEADER
    length = int.from_bytes(data[position + 3 : position + _RECORD_HEADER], "big")
    end = position + _RECORD_HEADER + length
    if end - position > MAX_FRAME:
        raise LinkError(f"a TLS record of {length} bytes")
    return end
