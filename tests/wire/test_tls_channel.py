"""TLS inside the link: who is who, refusals, and peers that are CloudStack's."""

from __future__ import annotations

import contextlib
import ssl

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.wire.errors import LinkError
from cloudlb.wire.link import Link
from cloudlb.wire.tls_channel import Tls13WithoutAlpn, TlsChannel
from tests.wire.tls import (
    TLS12,
    certificate,
    client_context,
    client_link,
    established_pair,
    exchange_bytes,
    server_context,
    server_link,
)


def tls(link: Link) -> TlsChannel:
    """A link's channel."""
    assert isinstance(link.channel, TlsChannel)
    return link.channel


class JavaClient:
    """CloudStack's agent as it was seen: TLS 1.2 without ALPN and SNI, header and record in writes of their own.

    Written against WIRE's bytes with the ssl module alone, so that no fault of our framing hides in both ends.
    """

    def __init__(self) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = client_context(version=TLS12, alpn=False).wrap_bio(self.incoming, self.outgoing)

    def shake_hands(self, server: Link) -> None:
        """As on any TLS connection."""
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.session.do_handshake()
                return
            server.receive_data(self.outgoing.read())
            self.incoming.write(server.data_to_send())

    def writes(self, message: bytes) -> list[bytes]:
        """What goes to the socket, write by write."""
        writes = []
        for start in range(0, len(message), 16384):
            self.session.write(message[start : start + 16384])
            record = self.outgoing.read()
            more = start + 16384 < len(message)
            writes += [(len(record) | (0x10000 if more else 0)).to_bytes(4, "big"), record]
        return writes

    def read(self, data: bytes) -> list[bytes]:
        """Take frames apart."""
        messages, message = [], b""
        while data:
            header, data = int.from_bytes(data[:4], "big"), data[4:]
            self.incoming.write(data[: header & 0xFFFF])
            data = data[header & 0xFFFF :]
            with contextlib.suppress(ssl.SSLWantReadError):
                while True:
                    message += self.session.read(16384)
            if not header & 0x10000:
                messages.append(message)
                message = b""
        return messages


class IdentityTests(SynchronousTestCase):
    """What a link knows about its peer."""

    def test_two_of_ours(self) -> None:
        """TLS 1.3, our ALPN name, and each other's certificate."""
        client, server = map(tls, established_pair())
        self.assertEqual((client.version, server.version), ("TLSv1.3", "TLSv1.3"))
        self.assertTrue(client.is_cloudlb and server.is_cloudlb)
        self.assertEqual(server.peer_certificate, ssl.PEM_cert_to_DER_cert(certificate("agent")[0]))
        self.assertEqual(client.peer_certificate, ssl.PEM_cert_to_DER_cert(certificate("server")[0]))

    def test_before_the_handshake(self) -> None:
        """Nothing is known, and nothing established."""
        channel = TlsChannel(server_context(), server_side=True)
        self.assertFalse(channel.established or channel.is_cloudlb)

    def test_client_without_a_certificate(self) -> None:
        """A server that does not insist takes it and knows no certificate."""
        client, server = established_pair(client_context(own=None), server_context(strict=False))
        client.send_message(b"hello")
        self.assertEqual(exchange_bytes(client, server)[1], [b"hello"])
        self.assertIsNone(tls(server).peer_certificate)


class RefusalTests(SynchronousTestCase):
    """Handshakes that fail, and what both ends learn."""

    def assert_refused(self, link: Link, data: bytes, reason: str) -> bytes:
        """The link fails for the reason; return what it still says."""
        with self.assertRaisesRegex(LinkError, reason):
            link.receive_data(data)
        return link.data_to_send()

    def test_client_certificate_refused_late(self) -> None:
        """In TLS 1.3 the client believes itself done: the raw alert reaches it in any pieces, its message is lost."""
        for size in (1, 3, 1000):
            client, server = client_link(client_context(own=None)), server_link()
            server.receive_data(client.data_to_send())
            client.receive_data(server.data_to_send())
            self.assertTrue(client.established)
            client.send_message(b"startup")
            alert = self.assert_refused(server, client.data_to_send(), "TLS: peer did not return a certificate")
            self.assertFalse(server.established)
            with self.assertRaisesRegex(LinkError, "TLS: tlsv13 alert certificate required"):
                for start in range(0, len(alert), size):
                    client.receive_data(alert[start : start + size])

    def test_client_certificate_unknown(self) -> None:
        """A certificate that our CA has not signed; the server's log says what is wrong with it."""
        client, server = client_link(client_context(own="stranger")), server_link()
        server.receive_data(client.data_to_send())
        client.receive_data(server.data_to_send())
        alert = self.assert_refused(
            server, client.data_to_send(), "TLS: certificate verify failed: (self-signed|self signed) certificate"
        )
        self.assert_refused(client, alert, "TLS: tlsv1 alert unknown ca")

    def test_client_certificate_refused_in_tls12(self) -> None:
        """There the client learns it within its handshake."""
        client, server = client_link(client_context(own=None, version=TLS12)), server_link()
        server.receive_data(client.data_to_send())
        client.receive_data(server.data_to_send())
        self.assertFalse(client.established)
        alert = self.assert_refused(server, client.data_to_send(), "TLS: peer did not return a certificate")
        self.assert_refused(client, alert, "TLS: .*alert handshake failure")

    def test_server_certificate_unknown(self) -> None:
        """The client's alert reaches the server."""
        client, server = client_link(client_context(trusted="stranger")), server_link()
        server.receive_data(client.data_to_send())
        alert = self.assert_refused(client, server.data_to_send(), "TLS: certificate verify failed")
        self.assert_refused(server, alert, "TLS: tlsv1 alert unknown ca")

    def test_forged_record(self) -> None:
        """Once established the alert is framed."""
        for version in (TLS12, client_context().maximum_version):
            client, server = established_pair(client_context(version=version))
            client.send_message(b"hello")
            data = bytearray(client.data_to_send())
            data[-1] ^= 1
            alert = self.assert_refused(server, bytes(data), "TLS: decryption failed or bad record mac")
            self.assertEqual(int.from_bytes(alert[:4], "big"), len(alert) - 4)
            self.assert_refused(client, alert, "TLS: .*bad record mac")


class CloseNotifyTests(SynchronousTestCase):
    """A peer that takes its leave in TLS too."""

    def test_framed_close_notify(self) -> None:
        """What came before it is a message; it is none itself, and what follows it is thrown away."""
        client, server = established_pair()
        channel = tls(client)
        client.send_message(b"goodbye")
        with contextlib.suppress(ssl.SSLError):
            channel._session.unwrap()
        record = channel._outgoing.read()
        framed = len(record).to_bytes(4, "big") + record
        self.assertEqual(server.receive_data(client.data_to_send() + framed), [b"goodbye"])
        for _ in range(100):
            self.assertEqual(server.receive_data(framed), [])
        self.assertLessEqual(tls(server)._incoming.pending, len(record))


class RecordTests(SynchronousTestCase):
    """Frames that are not one record of application data."""

    def test_several_records_in_a_frame(self) -> None:
        """Their plaintexts are one message."""
        client, server = established_pair()
        records = tls(client).seal(b"one ") + tls(client).seal(b"two ") + tls(client).seal(b"three")
        self.assertEqual(server.receive_data(len(records).to_bytes(4, "big") + records), [b"one two three"])

    def test_long_record(self) -> None:
        """One of 16384 bytes, as CloudStack makes them, alone and with others in its frame."""
        for tail in (b"", b"tail"):
            client, server = established_pair()
            records = b"".join(map(tls(client).seal, [b"x" * 16384, tail] if tail else [b"x" * 16384]))
            self.assertEqual(server.receive_data(len(records).to_bytes(4, "big") + records), [b"x" * 16384 + tail])

    def test_refused_renegotiation(self) -> None:
        """TLS's own answer leaves with the next message, in its frame, and the link goes on."""
        context = SSL.Context(SSL.TLSv1_2_METHOD)
        peer = SSL.Connection(context)
        peer.set_connect_state()
        server = server_link(server_context(strict=False))

        def shake_hands() -> None:
            with contextlib.suppress(SSL.WantReadError):
                peer.do_handshake()

        shake_hands()
        while not server.established:
            server.receive_data(peer.bio_read(2**16))
            peer.bio_write(server.data_to_send())
            shake_hands()
        peer.renegotiate()
        shake_hands()
        hello = peer.bio_read(2**16)
        self.assertEqual(server.receive_data(len(hello).to_bytes(4, "big") + hello), [])
        self.assertEqual(server.data_to_send(), b"")
        server.send_message(b"answer")
        data = server.data_to_send()
        length = int.from_bytes(data[:4], "big")
        first_record = int.from_bytes(data[7:9], "big")
        self.assertEqual(length, len(data) - 4)
        self.assertEqual((data[4], data[9 + first_record]), (0x15, 0x17))


class CloudStackTests(SynchronousTestCase):
    """Both kinds of peers that are not ours."""

    def test_agent(self) -> None:
        """TLS 1.2 without our ALPN, each write by itself, messages of several records, and our answers."""
        client, server = JavaClient(), server_link()
        client.shake_hands(server)
        self.assertEqual((tls(server).version, server.channel.is_cloudlb), ("TLSv1.2", False))
        for size in (1, 300, 16384, 16385, 40000):
            message = bytes(range(256)) * 157
            received = [m for write in client.writes(message[:size]) for m in server.receive_data(write)]
            self.assertEqual(received, [message[:size]])
            server.send_message(message[:size])
            self.assertEqual(client.read(server.data_to_send()), [message[:size]])

    def test_server_with_tls13(self) -> None:
        """It is found out at the end of the handshake, before a message is lost to its unframed tickets."""
        theirs = server_context(alpn=False, tickets=2)
        client, server = client_link(), server_link(theirs)
        server.receive_data(client.data_to_send())
        with self.assertRaises(Tls13WithoutAlpn):
            client.receive_data(server.data_to_send())
        self.assertFalse(client.established)
        self.assertEqual(client.data_to_send(), b"")

    def test_server_with_tls12(self) -> None:
        """The second attempt works."""
        theirs = server_context(alpn=False, tickets=2)
        client, server = established_pair(client_context(version=TLS12), theirs)
        client.send_message(b"startup")
        self.assertEqual(exchange_bytes(client, server)[1], [b"startup"])
        self.assertFalse(client.channel.is_cloudlb)

    def test_server_of_the_other_kind_is_fine_with_ours(self) -> None:
        """A client without ALPN that takes TLS 1.3 may be anybody's: only a client cares."""
        theirs = TlsChannel(server_context(), server_side=True)
        client = client_context(alpn=False).wrap_bio(incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO())
        link = Link(theirs)
        while not link.established:
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            link.receive_data(outgoing.read())
            incoming.write(link.data_to_send())
        self.assertEqual((theirs.version, theirs.is_cloudlb), ("TLSv1.3", False))
