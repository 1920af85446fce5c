"""Links that have more to write than is read, or more to read than a turn has time for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.error import ConnectionLost

from cloudlb.net.link_protocol import TURN, LinkProtocol
from tests.net.link_ends import End, LinkTestCase, sending


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
