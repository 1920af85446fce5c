"""A link on a plain channel works as one on TLS does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.wire.errors import LinkError
from cloudlb.wire.link import MAX_CHUNK, Channel, Link
from tests.support.plain_channel import PlainChannel


def connected(opened: list[bytes] | None = None) -> tuple[Link, Link]:
    """A client's link and a server's, with the handshake done."""
    watch = (lambda plaintext: None) if opened is None else opened.append
    client, server = Link(PlainChannel(server_side=False, opened=watch)), Link(PlainChannel(server_side=True))
    client.start()
    server.start()
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    return client, server


class PlainChannelTests(SynchronousTestCase):
    """Handshake, records, and what is none."""

    def test_handshake(self) -> None:
        """Neither side is established before it has heard the other; the client speaks first."""
        client, server = Link(PlainChannel(server_side=False)), Link(PlainChannel(server_side=True))
        client.start()
        server.start()
        self.assertEqual(server.data_to_send(), b"")
        flight = client.data_to_send()
        server.receive_data(flight[:5])
        self.assertFalse(server.established)
        server.receive_data(flight[5:])
        self.assertEqual([client.established, server.established], [False, True])
        client.receive_data(server.data_to_send())
        self.assertTrue(client.established)

    @settings(max_examples=20, deadline=None)
    @given(messages=st.lists(st.binary(min_size=1, max_size=3 * MAX_CHUNK), max_size=4), cut=st.integers(1, 5000))
    def test_messages(self, messages: list[bytes], cut: int) -> None:
        """Messages of any size arrive whole, however the bytes are split."""
        client, server = connected()
        for message in messages:
            client.send_message(message)
        data = client.data_to_send()
        received = [message for at in range(0, len(data), cut) for message in server.receive_data(data[at : at + cut])]
        self.assertEqual(received, messages)

    def test_opened(self) -> None:
        """Whoever watches sees what came."""
        opened: list[bytes] = []
        client, server = connected(opened)
        server.send_message(b"hello")
        client.receive_data(server.data_to_send())
        self.assertEqual(opened, [b"hello"])

    def test_type(self) -> None:
        """It is a channel, as mypy sees it."""
        channel: Channel = PlainChannel(server_side=True)
        self.assertEqual([channel.start(), channel.last_words(), channel.peer_certificate], [b"", b"", None])

    def test_hostile(self) -> None:
        """What is no greeting and no record breaks the link."""
        channel = PlainChannel(server_side=True)
        for bad in (b"\x16\x03\x03\x00\x06server", b"\x16\x03\x03\x00\x00", b""):
            with self.assertRaises(LinkError):
                channel.handshake(bad)
        for bad in (b"\x17", b"\x17\x03\x03\x00\x05hell", b"\x16\x03\x03\x00\x01!"):
            with self.assertRaises(LinkError):
                channel.open(bad)
