"""Links on transports in memory: what their owners learn, when, and how often."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.handshakes import Handshakes
from cloudlb.net.link_protocol import CLOSE_TIMEOUT, TURN, LinkProtocol
from cloudlb.net.tls import client_context, server_context
from cloudlb.wire.errors import LinkError
from cloudlb.wire.link import Link
from cloudlb.wire.tls_channel import TlsChannel
from tests.net.certificates import certificates
from tests.net.owner import Owner

REQUIRED = server_context(certificates().server, strict=True)
CLIENT = client_context(certificates().agent)


class Transport(StringTransport):
    """A TCP connection in memory, which keeps what was written until the test takes it, and counts the writes."""

    writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)

    def writeSequence(self, data: list[bytes]) -> None:  # noqa: N802 - Twisted's name
        if data:
            self.write(b"".join(data))

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.keep_alive = enabled

    def take(self) -> bytes:
        """What was written since the last time."""
        data: bytes = self.value()
        self.clear()
        return data


class End:
    """One link with its owner, transport and clock."""

    def __init__(
        self,
        clock: Clock,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        handshakes: Handshakes | None = None,
        max_unsent: int = 2**20,
    ) -> None:
        self.owner = Owner()
        channel = TlsChannel(context, server_side=server_side)
        self.link = LinkProtocol(
            Link(channel),
            self.owner,
            clock,
            handshake_timeout=10,
            handshakes=handshakes,
            user_timeout=30,
            max_unsent=max_unsent,
        )
        self.transport = Transport()
        self.link.makeConnection(self.transport)

    def lose(self, error: Exception | None = None) -> None:
        """Let the connection be gone."""
        self.link.connectionLost(Failure(error or ConnectionDone()))


def sending(*messages: bytes) -> Callable[[LinkProtocol], None]:
    """What an owner does that sends these."""

    def send(link: LinkProtocol) -> None:
        for message in messages:
            link.send(message)

    return send


class LinkTestCase(SynchronousTestCase):
    """Two ends on one clock."""

    def setUp(self) -> None:
        """A server's end and an agent's."""
        self.clock = Clock()
        self.server = End(self.clock, REQUIRED, server_side=True)
        self.client = End(self.clock, CLIENT, server_side=False)

    def pump(self, step: int = 2**20) -> None:
        """Carry bytes both ways until there are no more."""
        for _ in range(50):
            moved = False
            for source, target in ((self.client, self.server), (self.server, self.client)):
                data = source.transport.take()
                for start in range(0, len(data), step):
                    moved = True
                    target.link.dataReceived(data[start : start + step])
            if not moved:
                return

    def tearDown(self) -> None:
        """After a loss nothing is left on the clock, and no owner has heard of it twice."""
        for end in (self.server, self.client):
            if not end.owner.lost:
                end.lose()
            self.assertEqual(len(end.owner.lost), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


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


class Stalls(LinkTestCase):
    """A peer that does not read."""

    def stall(self, end: End) -> None:
        """Do what a transport with a full buffer does."""
        self.assertIs(end.transport.producer, end.link)
        self.assertTrue(end.transport.streaming)
        end.link.pauseProducing()

    def test_the_accepting_side_stops_reading(self) -> None:
        """Who does not take answers can send no more requests; it goes on in order when the answers are taken."""
        self.pump()
        self.stall(self.server)
        self.assertEqual(self.server.transport.producerState, "paused")
        for message in (b"1", b"2"):
            self.server.link.send(message)
        self.assertEqual(self.server.transport.take(), b"")
        self.server.link.resumeProducing()
        self.assertEqual(self.server.transport.producerState, "producing")
        self.server.link.send(b"3")
        self.pump()
        self.assertEqual(self.client.owner.messages, [b"1", b"2", b"3"])

    def test_the_connecting_side_reads_on(self) -> None:
        """If both stopped, neither would ever go on."""
        self.pump()
        self.stall(self.client)
        self.assertEqual(self.client.transport.producerState, "producing")
        self.client.link.send(b"1")
        self.server.link.send(b"2")
        self.pump()
        self.assertEqual((self.server.owner.messages, self.client.owner.messages), ([], [b"2"]))
        self.client.link.resumeProducing()
        self.pump()
        self.assertEqual(self.server.owner.messages, [b"1"])

    def test_limit(self) -> None:
        """More than max_unsent bytes for a peer that does not read end its link; what it has read does not count."""
        self.pump()
        for _ in range(5):
            self.stall(self.server)
            self.server.link.send(b"x" * 700_000)
            self.server.link.resumeProducing()
        self.assertFalse(self.server.transport.disconnected)
        self.stall(self.server)
        self.server.link.send(b"x" * 700_000)
        self.server.link.send(b"x" * 700_000)
        self.assertTrue(self.server.transport.disconnected)
        self.server.lose(ConnectionLost())
        self.assertIn("the peer does not read: 14", self.server.owner.lost[0])

    def test_close_while_stalled(self) -> None:
        """What waits for the peer is handed to the transport before it closes, and no producer is left to wait for."""
        self.pump()
        self.stall(self.server)
        self.server.link.send(b"the last one")
        self.server.link.close()
        self.assertIsNone(self.server.transport.producer)
        self.pump()
        self.assertEqual(self.client.owner.messages, [b"the last one"])

    def test_abort_while_stalled(self) -> None:
        """A transport that reports late finds nothing to do."""
        self.pump()
        self.stall(self.server)
        self.server.link.send(b"x")
        self.server.link.abort("enough")
        self.server.link.resumeProducing()
        self.assertEqual(self.server.transport.take(), b"")


class Turns(LinkTestCase):
    """Reads that bring more than a turn has time for."""

    def setUp(self) -> None:
        """The server's owner takes half a turn for each message and answers it."""
        super().setUp()
        self.pump()
        self.server.owner.on_message = self.work

    def work(self, link: LinkProtocol, message: bytes) -> None:
        """Let time go by without letting the reactor turn."""
        self.clock.rightNow += TURN / 2
        link.send(b"re " + message)

    def work_until_3(self, end: Callable[[LinkProtocol, str], None], link: LinkProtocol, message: bytes) -> None:
        """End the link in the third message."""
        self.work(link, message)
        if message == b"3":
            end(link, "enough")

    def send(self, *messages: bytes) -> None:
        """Have the server read these at once."""
        sending(*messages)(self.client.link)
        self.server.link.dataReceived(self.client.transport.take())

    def turn(self) -> None:
        """Let the reactor turn once: a Clock would go on with what the calls themselves put on it."""
        due, self.clock.calls = self.clock.calls, []
        for call in due:
            call.called = 1
            call.func(*call.args, **call.kw)

    def test_the_rest_waits_for_the_next_turns(self) -> None:
        """In order, with reading paused and the answers of each turn in one write."""
        before = self.server.transport.writes
        self.send(b"1", b"2", b"3", b"4", b"5")
        self.assertEqual(self.server.owner.messages, [b"1", b"2"])
        self.assertEqual(self.server.transport.producerState, "paused")
        self.turn()
        self.assertEqual(self.server.owner.messages, [b"1", b"2", b"3", b"4"])
        self.assertEqual(self.server.transport.producerState, "paused")
        self.turn()
        self.assertEqual(self.server.owner.messages, [b"1", b"2", b"3", b"4", b"5"])
        self.assertEqual(self.server.transport.producerState, "producing")
        self.assertEqual(self.server.transport.writes - before, 3)
        self.pump()
        self.assertEqual(self.client.owner.messages, [b"re 1", b"re 2", b"re 3", b"re 4", b"re 5"])

    def test_a_read_within_a_turn_costs_no_other(self) -> None:
        """The last message may take as long as it likes."""
        self.send(b"1", b"2")
        self.assertEqual(self.server.owner.messages, [b"1", b"2"])
        self.assertEqual(self.server.transport.producerState, "producing")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_comes_meanwhile_comes_last(self) -> None:
        """Also from a transport that pauses late."""
        self.send(b"1", b"2", b"3")
        self.send(b"4")
        self.send(b"5", b"6")
        for _ in range(3):
            self.turn()
        self.assertEqual(self.server.owner.messages, [b"1", b"2", b"3", b"4", b"5", b"6"])

    def test_what_was_received_is_told_before_the_loss(self) -> None:
        """An answer that arrived is not lost because its sender is gone."""
        self.send(b"1", b"2", b"3", b"4", b"5")
        self.server.lose()
        self.assertEqual(self.server.owner.lost, [])
        self.turn()
        self.assertEqual((len(self.server.owner.messages), self.server.owner.lost), (4, []))
        self.turn()
        self.assertEqual((len(self.server.owner.messages), self.server.owner.lost), (5, ["closed by the peer"]))

    def test_closed_on_this_side(self) -> None:
        """Whoever closes a link hears no more from it but that it is gone, between the turns and within one."""
        for end in (LinkProtocol.close, LinkProtocol.abort):
            self.send(b"1", b"2", b"3")
            end(self.server.link, "enough")
            self.server.lose()
            self.turn()
            self.assertEqual((self.server.owner.messages, self.server.owner.lost), ([b"1", b"2"], ["enough"]))
            self.client.lose()
            self.setUp()
            self.server.owner.on_message = partial(self.work_until_3, end)
            self.send(b"1", b"2", b"3", b"4")
            self.turn()
            self.server.lose()
            self.assertEqual((self.server.owner.messages, self.server.owner.lost), ([b"1", b"2", b"3"], ["enough"]))
            self.client.lose()
            self.setUp()

    def test_closed_after_the_loss(self) -> None:
        """Who closes a link while it is told what arrived before the loss is told no more of it."""
        self.send(b"1", b"2", b"3", b"4")
        self.server.lose()
        self.server.link.abort("enough")
        self.assertEqual(self.server.owner.lost, [])
        self.turn()
        self.assertEqual((self.server.owner.messages, self.server.owner.lost), ([b"1", b"2"], ["closed by the peer"]))

    def test_stalled_meanwhile(self) -> None:
        """Reading goes on when both the turns and the stall are over."""
        self.send(b"1", b"2", b"3")
        self.server.link.pauseProducing()
        self.turn()
        self.assertEqual(self.server.owner.messages, [b"1", b"2", b"3"])
        self.assertEqual(self.server.transport.producerState, "paused")
        self.server.link.resumeProducing()
        self.assertEqual(self.server.transport.producerState, "producing")
        self.send(b"4", b"5", b"6")
        self.server.link.pauseProducing()
        self.server.link.resumeProducing()
        self.assertEqual(self.server.transport.producerState, "paused")
        self.turn()
        self.assertEqual(self.server.transport.producerState, "producing")

    def test_limit_of_a_message_is_raised(self) -> None:
        """The limit holds for what comes after it was set."""
        self.server.link.max_message = 5
        self.server.owner.on_message = lambda link, _: setattr(link, "max_message", 10)
        self.send(b"1", b"7 bytes")
        self.assertEqual(self.server.owner.messages, [])
        self.assertIn("longer than 5 bytes", str(self.server.link.failure))
        self.client.lose()
        self.server.lose()
        super().setUp()
        self.pump()
        self.server.link.max_message = 5
        self.server.owner.on_message = lambda link, _: setattr(link, "max_message", 10)
        self.send(b"1")
        self.send(b"7 bytes")
        self.assertEqual((self.server.owner.messages, self.server.link.max_message), ([b"1", b"7 bytes"], 10))
