"""Framing, reassembly and limits, byte by byte on a channel without TLS and in any pieces on one with it."""

from __future__ import annotations

import ssl
import sys
from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.wire.errors import LinkError
from cloudlb.wire.link import MAX_CHUNK, MAX_FRAME, MAX_HANDSHAKE_RECORDS, Link
from tests.wire.tls import TLS12, TLS13, client_context, client_link, established_pair, exchange_bytes, server_link

HELLO = b"\x16\x03\x01\x00\x02hi"
FINISHED = b"\x14\x03\x03\x00\x01!"


class OpenChannel:
    """Seals nothing: a record is its plaintext. The handshake ends with FINISHED."""

    peer_certificate = None
    is_cloudlb = True

    def __init__(self) -> None:
        self.established = False
        self.records: list[bytes] = []

    def start(self) -> bytes:
        """A server's channel."""
        return b""

    def handshake(self, record: bytes) -> bytes:
        """Answer a record in one byte."""
        self.records.append(record)
        self.established = record == FINISHED
        return record[:1]

    def open(self, records: bytes) -> bytes:
        """Refuse what begins with "bad"."""
        if records.startswith(b"bad"):
            raise LinkError("bad record")
        return records

    def seal(self, chunk: bytes | memoryview) -> bytes:
        """Nothing to do."""
        return bytes(chunk)

    def last_words(self) -> bytes:
        """What a failed session says."""
        return b"alert"


def open_link(max_message: int = 2**20) -> Link:
    """A link whose handshake is done, without TLS."""
    link = Link(OpenChannel(), max_message)
    link.receive_data(FINISHED)
    link.data_to_send()
    return link


def frame(records: bytes, more: bool = False) -> bytes:
    """A frame, written by hand."""
    return bytes([0, int(more), len(records) >> 8, len(records) & 0xFF]) + records


def feed(link: Link, data: bytes, sizes: list[int]) -> list[bytes]:
    """Hand data to a link in pieces of the sizes given, over and over."""
    messages: list[bytes] = []
    position = 0
    for size in cycle(sizes):
        if position >= len(data):
            return messages
        messages += link.receive_data(data[position : position + size])
        position += size
    raise AssertionError("cycle ends never")


class HandshakeTests(SynchronousTestCase):
    """Before the link is established records are raw."""

    def test_one_record_at_a_time(self) -> None:
        """However the bytes come, TLS gets whole records, each by itself, and framing begins right behind the last."""
        stream = HELLO + HELLO + FINISHED + frame(b"first") + frame(b"second")
        for size in range(1, len(stream) + 1):
            channel = OpenChannel()
            link = Link(channel)
            self.assertEqual(feed(link, stream, [size]), [b"first", b"second"])
            self.assertEqual(channel.records, [HELLO, HELLO, FINISHED])
            self.assertEqual(link.data_to_send(), b"\x16\x16\x14")
            self.assertEqual(link.data_to_send(), b"")

    def test_not_tls(self) -> None:
        """A peer that speaks something else is refused at its first byte, or second, and quoted."""
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\5", b"\x80", b"\x16\x02", b"\x18\x03"):
            with self.assertRaisesRegex(LinkError, "does not speak TLS: it sent b"):
                Link(OpenChannel()).receive_data(said)

    def test_quotes_little(self) -> None:
        """A long line of garbage does not fill the log."""
        with self.assertRaises(LinkError) as caught:
            Link(OpenChannel()).receive_data(b"x" * 60000)
        self.assertLess(len(str(caught.exception)), 100)

    def test_long_record(self) -> None:
        """A raw record may have 18000 bytes with its header, and not one more: that is seen in the header."""
        link = Link(OpenChannel())
        link.receive_data(b"\x16\x03\x01" + (MAX_FRAME - 5).to_bytes(2, "big") + bytes(MAX_FRAME - 5))
        self.assertEqual(link.data_to_send(), b"\x16")
        with self.assertRaisesRegex(LinkError, "record of 17996 bytes"):
            link.receive_data(b"\x16\x03\x01" + (MAX_FRAME - 4).to_bytes(2, "big"))

    def test_endless(self) -> None:
        """A stranger can go on for 32 records, which bounds the bytes and the work that he costs."""
        link = Link(OpenChannel())
        link.receive_data(HELLO * MAX_HANDSHAKE_RECORDS)
        with self.assertRaisesRegex(LinkError, "after 32 records"):
            link.receive_data(HELLO)

    def test_tells_when_a_record_is_whole(self) -> None:
        """Before it is handed over, and whatever part of it is here; what is no TLS is over at once."""
        link = Link(OpenChannel())
        for position, byte in enumerate(HELLO):
            piece = bytes([byte])
            self.assertEqual(link.completes_record(HELLO[position:] + FINISHED), True)
            self.assertEqual(link.completes_record(piece), position == len(HELLO) - 1)
            link.receive_data(piece)
        self.assertFalse(link.completes_record(HELLO[:-1]))
        self.assertTrue(link.completes_record(HELLO))
        self.assertTrue(link.completes_record(b"GET / HTTP/1.1"))
        link.receive_data(HELLO[:4])
        self.assertFalse(link.completes_record(HELLO[4:-1]))
        self.assertTrue(link.completes_record(HELLO[4:]))

    def test_not_yet_established(self) -> None:
        """There is no sending before."""
        with self.assertRaises(RuntimeError):
            Link(OpenChannel()).send_message(b"early")

    def test_last_words_raw(self) -> None:
        """A handshake that fails ends with a raw alert."""
        link = Link(OpenChannel())
        with self.assertRaises(LinkError):
            link.receive_data(b"garbage")
        self.assertEqual(link.data_to_send(), b"alert")


class FrameTests(SynchronousTestCase):
    """Afterwards every record is framed."""

    def test_written(self) -> None:
        """Header and record leave in one piece, big-endian length first."""
        link = open_link()
        link.send_message(b"hello")
        link.send_message(b"")
        link.send_message(b"!")
        self.assertEqual(link.data_to_send(), b"\0\0\0\5hello" + b"\0\0\0\1!")

    def test_written_in_chunks(self) -> None:
        """All frames of a long message but the last say that more follow; one that just fits is one frame."""
        link = open_link()
        link.send_message(b"x" * MAX_CHUNK)
        self.assertEqual(link.data_to_send(), frame(b"x" * MAX_CHUNK))
        link.send_message(b"x" * (2 * MAX_CHUNK + 1))
        self.assertEqual(
            link.data_to_send(),
            frame(b"x" * MAX_CHUNK, more=True) + frame(b"x" * MAX_CHUNK, more=True) + frame(b"x"),
        )

    def test_read(self) -> None:
        """Frames of one message are joined, in whatever pieces they come."""
        stream = frame(b"one") + frame(b"tw", more=True) + frame(b"o", more=True) + frame(b"!") + frame(b"three")
        for size in range(1, len(stream) + 1):
            self.assertEqual(feed(open_link(), stream, [size]), [b"one", b"two!", b"three"])

    def test_header_alone(self) -> None:
        """CloudStack writes the header and the record apart."""
        link = open_link()
        self.assertEqual(link.receive_data(b"\0\0\0\5"), [])
        self.assertEqual(link.receive_data(b"hello"), [b"hello"])

    def test_bad_headers(self) -> None:
        """A length of 0 or above 18000, or any other bit, is refused before the frame has come."""
        for header in ("00000000", "00010000", "00004651", "0000ffff", "00020001", "80000001", "ffffffff"):
            link = open_link()
            link.receive_data(frame(b"first"))
            with self.assertRaisesRegex(LinkError, f"0x{header} is no frame header"):
                link.receive_data(bytes.fromhex(header))

    def test_longest_frame(self) -> None:
        """18000 bytes are allowed."""
        self.assertEqual(open_link().receive_data(frame(b"x" * MAX_FRAME)), [b"x" * MAX_FRAME])

    def test_message_limit(self) -> None:
        """A message may have as many bytes as the limit; what goes beyond is not kept."""
        for parts in ([10], [4, 6], [5, 5, 0], [11], [4, 7], [10, 1]):
            link = open_link(max_message=10)
            total = 0
            for index, size in enumerate(parts):
                total += size
                more = index < len(parts) - 1
                # Only TLS can make an empty plaintext.
                data = frame(b"x" * size, more) if size else b""
                if total > 10:
                    with self.assertRaisesRegex(LinkError, "longer than 10 bytes"):
                        link.receive_data(data)
                    self.assertEqual(len(link._partial), 0)
                else:
                    self.assertEqual(link.receive_data(data), [] if more or not size else [b"x" * total])

    def test_limit_is_for_each_message(self) -> None:
        """Many messages together may be longer."""
        self.assertEqual(open_link(max_message=5).receive_data(frame(b"12345") * 3), [b"12345"] * 3)

    def test_raw_alert_before_the_first_frame(self) -> None:
        """TLS 1.3 tells a client late and raw that its certificate is refused: TLS says why."""
        alert = b"\x15\x03\x03\x00\x02\x02\x74"
        with self.assertRaisesRegex(LinkError, "without a frame header"):
            open_link().receive_data(alert)
        with self.assertRaisesRegex(LinkError, "does not speak TLS"):
            open_link().receive_data(b"\x01")

    def test_raw_alert_after_the_first_frame(self) -> None:
        """Later nothing raw is expected."""
        link = open_link()
        link.receive_data(frame(b"first"))
        with self.assertRaisesRegex(LinkError, "0x15030300 is no frame header"):
            link.receive_data(b"\x15\x03\x03\x00\x02\x02\x74")

    def test_failed_for_good(self) -> None:
        """A link that failed says so again and takes no message; its alert is framed."""
        link = open_link()
        with self.assertRaisesRegex(LinkError, "bad record"):
            link.receive_data(frame(b"fine") + frame(b"bad"))
        for data in (b"", frame(b"fine")):
            with self.assertRaisesRegex(LinkError, "bad record"):
                link.receive_data(data)
        with self.assertRaises(RuntimeError):
            link.send_message(b"late")
        self.assertEqual(link.data_to_send(), b"\0\0\0\5alert")

    def test_nothing_is_kept(self) -> None:
        """Between messages a link has no buffer, whatever came before."""
        link = open_link()
        empty = sys.getsizeof(bytearray())
        for data in (frame(b"x" * 18000, more=True), frame(b"x" * 18000)[:9000], frame(b"x" * 18000)[9000:]):
            link.receive_data(data)
        self.assertLess(sys.getsizeof(link._buffer) + sys.getsizeof(link._partial), 2 * empty + 16)


class TlsLinkTests(SynchronousTestCase):
    """Two ends with TLS between them."""

    @settings(max_examples=30, deadline=None)
    @given(
        st.sampled_from([TLS12, TLS13]),
        st.lists(st.tuples(st.booleans(), st.integers(1, 40_000)), min_size=1, max_size=8),
        st.lists(st.integers(1, 5000), min_size=1, max_size=8),
    )
    def test_any_messages_in_any_pieces(
        self, version: ssl.TLSVersion, messages: list[tuple[bool, int]], sizes: list[int]
    ) -> None:
        """From the first byte of the handshake on, each end gets what the other sent, however the bytes are cut."""
        links = client_link(client_context(version=version)), server_link()
        received: tuple[list[bytes], list[bytes]] = ([], [])
        sent: tuple[list[bytes], list[bytes]] = ([], [])

        def carry() -> None:
            moving = True
            while moving:
                moving = False
                for end in (0, 1):
                    if data := links[end].data_to_send():
                        received[1 - end].extend(feed(links[1 - end], data, sizes))
                        moving = True

        # A client sends as soon as its own end is done: its first frame may ride with its last flight.
        for _ in range(2):
            feed(links[1], links[0].data_to_send(), sizes)
            feed(links[0], links[1].data_to_send(), sizes)
        for number, (from_client, size) in enumerate(messages):
            message = (b"%d," % number * size)[:size]
            end = 0 if from_client or not links[1].established else 1
            links[end].send_message(message)
            sent[end].append(message)
            if size % 2:
                carry()
        carry()
        self.assertEqual((received[1], received[0]), sent)

    def test_first_frame_rides_with_the_last_flight(self) -> None:
        """In one segment, with TLS 1.3, where the client finishes last."""
        client, server = client_link(), server_link()
        server.receive_data(client.data_to_send())
        self.assertEqual(client.receive_data(server.data_to_send()), [])
        client.send_message(b"startup")
        self.assertFalse(server.established)
        self.assertEqual(server.receive_data(client.data_to_send()), [b"startup"])

    def test_byte_by_byte(self) -> None:
        """The worst network, with a message of several frames."""
        client, server = established_pair()
        client.send_message(b"x" * 20_000)
        self.assertEqual(feed(server, client.data_to_send(), [1]), [b"x" * 20_000])

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(max_size=60), max_size=5), st.sampled_from(["client", "server", "established"]))
    def test_arbitrary_bytes(self, pieces: list[bytes], which: str) -> None:
        """Whatever comes, only LinkError goes out, and then for good."""
        link = {"client": client_link, "server": server_link, "established": lambda: established_pair()[1]}[which]()
        self._assert_survives(link, pieces)

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from([TLS12, TLS13]),
        st.integers(0, 3000),
        st.sampled_from(["flip", "cut", "double"]),
        st.integers(1, 2000),
    )
    def test_damaged_conversation(self, version: ssl.TLSVersion, position: int, damage: str, size: int) -> None:
        """A real conversation, changed at one place."""
        client, server = client_link(client_context(version=version)), server_link()
        data = client.data_to_send()
        fed = 0
        for _ in range(4):
            if fed <= position < fed + len(data):
                at = position - fed
                data = {
                    "flip": data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :],
                    "cut": data[:at] + data[at + 1 :],
                    "double": data[: at + 1] + data[at:],
                }[damage]
            fed += len(data)
            if not self._assert_survives(server, [data[i : i + size] for i in range(0, len(data), size)]):
                return
            if not self._assert_survives(client, [server.data_to_send()]):
                return
            if client.established:
                client.send_message(b"x" * 300)
            data = client.data_to_send()

    def _assert_survives(self, link: Link, pieces: list[bytes]) -> bool:
        try:
            for piece in pieces:
                link.receive_data(piece)
        except LinkError as error:
            with self.assertRaises(LinkError) as again:
                link.receive_data(b"more")
            self.assertEqual(str(again.exception), str(error))
            with self.assertRaises(RuntimeError):
                link.send_message(b"more")
            return False
        return True

    def test_one_pair_fails_alone(self) -> None:
        """The next link of the same context is not impressed."""
        client, server = established_pair()
        with self.assertRaises(LinkError):
            server.receive_data(frame(b"forged"))
        del client
        other_client, other_server = established_pair()
        other_client.send_message(b"fine")
        self.assertEqual(exchange_bytes(other_client, other_server)[1], [b"fine"])
