"""The header and the body of packets."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.wire.errors import PacketError
from cloudlb.wire.packet import (
    COMPRESS_FROM,
    Flag,
    Header,
    read_body,
    read_header,
    response_flags,
    with_header,
    write_packet,
)

MAX_BODY = 2**20
REQUEST = Header(sequence=1, server_id=2, agent_id=3, via=-1, flags=Flag.REQUEST, size=0)

HAND_MADE = bytes.fromhex(
    "00 00 0027"  # version, unused, from server + in sequence + stop on error + request
    "04d2000000000001"  # sequence
    "00000002"  # size
    "0000aabbccddeeff"  # management server
    "0000000000000005"  # agent
    "ffffffffffffffff"  # via nobody
    "5b5d"  # []
)

numbers = st.integers(-(2**63), 2**63 - 1)


def packet(body: bytes, flags: Flag = Flag.REQUEST) -> bytes:
    """A packet whose numbers do not matter."""
    return write_packet(sequence=1, server_id=2, agent_id=3, via=-1, flags=flags, body=body)


def with_size(message: bytes, size: int) -> bytes:
    """The packet with another declared size."""
    return message[:12] + size.to_bytes(4, "big", signed=True) + message[16:]


def compressed(stream: bytes, size: int) -> bytes:
    """A packet that says of its body that it is compressed and inflates to ``size`` bytes."""
    message = bytearray(with_size(packet(b""), size))
    message[3] |= Flag.COMPRESSED
    return bytes(message) + stream


def body_of(message: bytes, max_body: int = MAX_BODY) -> bytes:
    """The body, read as receivers do."""
    return read_body(message, read_header(message), max_body)


class HeaderTests(SynchronousTestCase):
    """The 40 bytes."""

    def test_hand_made(self) -> None:
        """Each field is where CloudStack puts it, in both directions."""
        header = read_header(HAND_MADE)
        expected = Header(
            sequence=0x04D2000000000001, server_id=0xAABBCCDDEEFF, agent_id=5, via=-1, flags=Flag(0x27), size=2
        )
        self.assertEqual(header, expected)
        self.assertEqual(read_body(HAND_MADE, header, 2), b"[]")
        written = write_packet(
            sequence=0x04D2000000000001, server_id=0xAABBCCDDEEFF, agent_id=5, via=-1, flags=Flag(0x27), body=b"[]"
        )
        self.assertEqual(written, HAND_MADE)

    @given(numbers, numbers, numbers, numbers, st.integers(0, 0x7F), st.binary(max_size=50))
    def test_round_trip(self, sequence: int, server_id: int, agent_id: int, via: int, flags: int, body: bytes) -> None:
        """All 64 bits of every number survive, signed."""
        message = write_packet(
            sequence=sequence, server_id=server_id, agent_id=agent_id, via=via, flags=Flag(flags), body=body
        )
        self.assertEqual(read_header(message), Header(sequence, server_id, agent_id, via, Flag(flags), len(body)))
        self.assertEqual(body_of(message), body)

    def test_another_header(self) -> None:
        """The body stays as it came, compressed or not, and so does what the header says of it."""
        for body in (b"[]", b" " * 10_000):
            packet = write_packet(sequence=1, server_id=2, agent_id=3, via=4, flags=Flag.REQUEST, body=body)
            header = evolve(read_header(packet), sequence=-5, server_id=6, agent_id=7, via=8)
            relayed = with_header(packet, header)
            self.assertEqual((read_header(relayed), relayed[40:]), (header, packet[40:]))
            self.assertEqual(read_body(relayed, header, 10_000), body)

    def test_properties(self) -> None:
        """Each property stands for one flag."""
        for flag, name in (
            (Flag.REQUEST, "is_request"),
            (Flag.STOP_ON_ERROR, "stop_on_error"),
            (Flag.IN_SEQUENCE, "in_sequence"),
            (Flag.FROM_SERVER, "from_server"),
            (Flag.COMPRESSED, "compressed"),
        ):
            self.assertTrue(getattr(evolve(REQUEST, flags=flag), name), name)
            self.assertFalse(getattr(evolve(REQUEST, flags=Flag(0xFF) & ~flag), name), name)

    def test_truncated(self) -> None:
        """Anything shorter than a header is refused, whatever it holds."""
        for length in range(40):
            with self.assertRaisesRegex(PacketError, f"packet of {length} bytes"):
                read_header(HAND_MADE[:length])

    def test_other_version(self) -> None:
        """The version is named in the refusal."""
        with self.assertRaisesRegex(PacketError, "version 3"):
            read_header(b"\3" + HAND_MADE[1:])

    def test_ignored(self) -> None:
        """The unused byte and flags that nobody has defined change nothing."""
        odd = HAND_MADE[:1] + b"\x7f\xff" + HAND_MADE[3:]
        self.assertEqual(read_header(odd), read_header(HAND_MADE))

    def test_negative_size(self) -> None:
        """A size below 0 is refused with the header."""
        with self.assertRaisesRegex(PacketError, "-1 bytes"):
            read_header(with_size(HAND_MADE, -1))

    def test_header_alone(self) -> None:
        """A packet to be relayed needs no sound body."""
        self.assertEqual(read_header(compressed(b"no gzip", 2**31 - 1)).size, 2**31 - 1)

    @given(st.binary(max_size=200))
    def test_arbitrary_bytes(self, message: bytes) -> None:
        """Nothing but PacketError comes out of a hostile message."""
        for candidate in (message, b"\0" + message, compressed(message, 10)):
            try:
                body = body_of(candidate)
            except PacketError:
                continue
            self.assertEqual(len(body), read_header(candidate).size)


class ResponseFlagsTests(SynchronousTestCase):
    """What of a request's flags its response has."""

    def test_seen_on_the_wire(self) -> None:
        """The pairs of CloudStack's own packets."""
        for request, response in ((0x1, 0x20), (0x3, 0x22), (0x27, 0x6), (0x23, 0x2), (0x83, 0x22), (0x67, 0x6)):
            self.assertEqual(response_flags(evolve(REQUEST, flags=Flag(request))), Flag(response))


class BodyTests(SynchronousTestCase):
    """Compression, and sizes that lie."""

    def test_threshold(self) -> None:
        """From 8192 bytes on a body is compressed, whatever the caller's flags say."""
        for size, is_compressed in ((0, False), (COMPRESS_FROM - 1, False), (COMPRESS_FROM, True), (20000, True)):
            for flags in (Flag.REQUEST, Flag.REQUEST | Flag.COMPRESSED):
                message = packet(b"x" * size, flags)
                header = read_header(message)
                self.assertEqual((header.compressed, header.size), (is_compressed, size))
                self.assertEqual(gzip.decompress(message[40:]) if is_compressed else message[40:], b"x" * size)
                self.assertEqual(body_of(message), b"x" * size)

    def test_java_compresses_small_ones(self) -> None:
        """A small body may be compressed by a peer, an empty one too."""
        for body in (b"", b"[]"):
            self.assertEqual(body_of(compressed(gzip.compress(body), len(body))), body)

    def test_plain_mismatch(self) -> None:
        """A plain body has the declared size."""
        for size in (0, 1, 3):
            with self.assertRaisesRegex(PacketError, f"declares {size} bytes and has 2"):
                body_of(with_size(HAND_MADE, size))

    def test_inflated_mismatch(self) -> None:
        """A body that inflates to less or more than declared is refused."""
        for size in (0, 99, 101, 200):
            with self.assertRaisesRegex(PacketError, f"to the {size} bytes"):
                body_of(compressed(gzip.compress(b"x" * 100), size))

    def test_trailing_garbage(self) -> None:
        """Nothing may follow the stream, not even a second one."""
        for rest in (b"\0", gzip.compress(b"")):
            with self.assertRaisesRegex(PacketError, "goes on"):
                body_of(compressed(gzip.compress(b"abc") + rest, 3))

    def test_every_truncation(self) -> None:
        """A stream cut anywhere is refused, within its checksum too."""
        stream = gzip.compress(b"abc" * 100)
        for length in range(len(stream)):
            with self.assertRaises(PacketError):
                body_of(compressed(stream[:length], 300))

    def test_damaged(self) -> None:
        """A wrong checksum, or another format, is refused."""
        stream = bytearray(gzip.compress(b"abc"))
        stream[-5] ^= 1
        for damaged in (bytes(stream), zlib.compress(b"abc"), b"abc", b"\x1f\x8b"):
            with self.assertRaises(PacketError):
                body_of(compressed(damaged, 3))

    def test_over_the_limit(self) -> None:
        """A declared size over the limit is refused without a look at the body; at the limit it is not."""
        with self.assertRaisesRegex(PacketError, "over the limit of 100"):
            body_of(compressed(b"never looked at", 101), max_body=100)
        with self.assertRaisesRegex(PacketError, "over the limit of 1"):
            body_of(HAND_MADE, max_body=1)
        self.assertEqual(body_of(compressed(gzip.compress(b"x" * 100), 100), max_body=100), b"x" * 100)

    def test_bomb(self) -> None:
        """A stream that inflates to far more than declared takes no more memory than declared."""
        bomb = compressed(gzip.compress(bytes(64 * 2**20)), 1000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        with self.assertRaisesRegex(PacketError, "1000 bytes"):
            body_of(bomb)
        self.assertLess(tracemalloc.get_traced_memory()[1], 2 * len(bomb) + 2**17)
