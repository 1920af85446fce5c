"""Links on transports in memory: what their owners learn, when, and how often."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from cloudlb.net.link_protocol import CLOSE_TIMEOUT, LinkProtocol
from cloudlb.net.tls import client_context
from cloudlb.wire.errors import LinkError
from tests.net.certificates import certificates
from tests.net.link_ends import REQUIRED, End, LinkTestCase, sending
from tests.net.owner import Owner


class Conversation(LinkTestCase):
    """Peers that behave."""

    def test_establishes(self) -> None:
        """Both owners learn it once, the deadline is gone, and each end knows the other."""
        self.pump()
        self.assertEqual((self.server.owner.established, self.client.owner.established), (1, 1))
        self.assertTrue(self.server.link.established)
        self.assertTrue(self.server.link.channel.is_cloudlb)
        self.assertIsNotNone(self.server.link.channel.peer_certificate)
        self.assertEqual(self.server.link.peer_address, "192.168.1.1")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_options_of_tcp(self) -> None:
        """Small messages leave at once, and the kernel looks after idle connections."""
        self.assertTrue(self.server.transport.no_delay)
        self.assertTrue(self.server.transport.keep_alive)

    def test_byte_by_byte(self) -> None:
        """However the bytes arrive, the messages are the same, in order."""
        self.client.owner.on_established = sending(b"a", b"b" * 40000, b"c")
        self.server.owner.on_message = lambda link, message: link.send(message[:10])
        self.pump(1)
        self.assertEqual(self.server.owner.messages, [b"a", b"b" * 40000, b"c"])
        self.assertEqual(self.client.owner.messages, [b"a", b"b" * 10, b"c"])

    def test_sends_inside_callbacks_leave_together(self) -> None:
        """Everything that is sent while one read is handled is one write."""
        self.server.owner.on_message = lambda link, _: sending(*[b"answer"] * 5)(link)
        self.pump()
        for _ in range(3):
            self.client.link.send(b"request")
        data = self.client.transport.take()
        before = self.server.transport.writes
        self.server.link.dataReceived(data)
        self.assertEqual(self.server.transport.writes - before, 1)
        self.pump()
        self.assertEqual(self.client.owner.messages, [b"answer"] * 15)

    def test_owner_is_replaced(self) -> None:
        """A new owner gets what comes next, also from the same read."""
        successor = Owner()

        def hand_over(link: LinkProtocol, _: bytes) -> None:
            link.owner = successor

        self.server.owner.on_message = hand_over
        self.client.owner.on_established = sending(b"1", b"2", b"3")
        self.pump()
        self.assertEqual((self.server.owner.messages, successor.messages), ([b"1"], [b"2", b"3"]))
        self.server.lose()
        self.assertEqual((self.server.owner.lost, successor.lost), ([], ["closed by the peer"]))
        self.server.owner.lost = successor.lost

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.integers(1, 700))
    def test_any_messages_in_any_pieces(self, messages: list[bytes], step: int) -> None:
        """What is sent is what arrives."""
        self.setUp()
        self.client.owner.on_established = sending(*messages)
        self.pump(step)
        self.assertEqual(self.server.owner.messages, messages)


class Endings(LinkTestCase):
    """How links end, and what their owners are told."""

    def test_handshake_deadline(self) -> None:
        """A peer that never finishes its handshake is cut at the deadline."""
        self.clock.advance(9.9)
        self.assertFalse(self.server.transport.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(self.server.transport.disconnected)
        self.server.lose(ConnectionLost())
        self.assertEqual(self.server.owner.lost, ["handshake not finished within 10 s"])
        self.assertFalse(self.server.link.established)

    def test_probe(self) -> None:
        """A bare connect and close is told, though there never was a link."""
        self.server.lose()
        self.assertEqual((self.server.owner.established, self.server.owner.lost), (0, ["closed by the peer"]))

    def test_reset(self) -> None:
        """A connection that broke is not one that was closed."""
        self.pump()
        self.server.lose(ConnectionLost())
        self.assertEqual(self.server.owner.lost, ["reset by the peer, or not acknowledged any more"])

    def test_garbage(self) -> None:
        """A peer that speaks something else is closed, for a reason, without a message."""
        self.server.link.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(self.server.transport.disconnecting)
        self.server.lose()
        self.assertEqual(len(self.server.owner.lost), 1)
        self.assertIn("does not speak TLS", self.server.owner.lost[0])
        self.assertIsInstance(self.server.link.failure, LinkError)
        self.assertEqual(self.server.owner.messages, [])

    def test_bad_frame_after_the_handshake(self) -> None:
        """Hostile lengths end the link, and nothing behind them is looked at."""
        self.pump()
        self.server.link.dataReceived(b"\x00\x00\xff\xff")
        self.server.link.dataReceived(b"more")
        self.assertTrue(self.server.transport.disconnecting)
        self.assertIsNone(self.server.transport.producer)
        self.server.lose()
        self.assertIn("0x0000ffff", self.server.owner.lost[0])

    def test_agent_without_certificate(self) -> None:
        """Both ends have a readable reason: the server's own, and the alert that it sent to the agent."""
        self.client.lose()
        for tls12 in (False, True):
            self.server.lose()
            self.server = End(self.clock, REQUIRED, server_side=True)
            self.client = End(self.clock, client_context(certificates().nobody, tls12=tls12), server_side=False)
            self.pump()
            for end in (self.server, self.client):
                self.assertTrue(end.transport.disconnecting)
                end.lose()
            self.assertEqual(self.server.owner.lost, ["TLS: peer did not return a certificate"])
            self.assertIn("TLS: ", self.client.owner.lost[0])
            self.assertRegex(self.client.owner.lost[0], "certificate required|handshake failure")
            self.server = End(self.clock, REQUIRED, server_side=True)

    def test_close(self) -> None:
        """What was sent is written before the connection closes; what comes afterwards is ignored, both ways."""
        self.pump()
        self.server.link.send(b"the last one")
        self.server.link.close()
        self.server.link.close()
        self.server.link.send(b"too late")
        self.assertTrue(self.server.transport.disconnecting)
        self.assertFalse(self.server.transport.disconnected)
        self.client.link.send(b"too late")
        self.pump()
        self.assertEqual(self.client.owner.messages, [b"the last one"])
        self.assertEqual(self.server.owner.messages, [])
        self.server.lose()
        self.client.lose()
        self.assertEqual((self.server.owner.lost, self.client.owner.lost), (["closed"], ["closed by the peer"]))

    def test_close_to_a_peer_that_does_not_read(self) -> None:
        """A closing link waits for its reader to a deadline."""
        self.pump()
        self.server.link.send(b"nobody reads this")
        self.server.link.close("superseded")
        self.clock.advance(CLOSE_TIMEOUT - 0.1)
        self.assertFalse(self.server.transport.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(self.server.transport.disconnected)
        self.server.lose(ConnectionLost())
        self.assertEqual(self.server.owner.lost, ["superseded"])

    def test_abort(self) -> None:
        """Abort cuts at once, also while the link is closing; the first reason is the reason."""
        self.pump()
        self.server.link.abort("the host was deleted")
        self.server.link.abort("again")
        self.server.link.close()
        self.assertTrue(self.server.transport.disconnected)
        self.client.link.close()
        self.client.link.abort("no time")
        self.assertTrue(self.client.transport.disconnected)
        self.server.lose(ConnectionLost())
        self.client.lose(ConnectionLost())
        self.server.link.abort("after the end")
        self.assertEqual((self.server.owner.lost, self.client.owner.lost), (["the host was deleted"], ["closed"]))

    def test_close_inside_a_message(self) -> None:
        """An owner that closes at a message gets no further one of the same read."""

        def dismiss(link: LinkProtocol, _: bytes) -> None:
            link.send(b"bye")
            link.close()

        self.server.owner.on_message = dismiss
        self.client.owner.on_established = sending(b"1", b"2")
        self.pump()
        self.assertEqual(self.server.owner.messages, [b"1"])
        self.assertEqual(self.client.owner.messages, [b"bye"])

    def test_faults_of_the_owner(self) -> None:
        """An exception in any callback is logged and costs this link only."""

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        self.server.owner.on_message = fail
        self.server.owner.on_lost = fail
        self.client.owner.on_established = sending(b"1", b"2")
        self.pump()
        self.assertTrue(self.server.transport.disconnected)
        self.assertEqual(self.server.owner.messages, [b"1"])
        self.server.lose(ConnectionLost())
        self.assertEqual(self.server.owner.lost, ["internal error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_send_before_the_handshake(self) -> None:
        """Sending too early is a fault of the caller, and changes nothing."""
        self.assertRaises(RuntimeError, self.client.link.send, b"hello")
        self.pump()
        self.assertEqual(self.client.owner.established, 1)
