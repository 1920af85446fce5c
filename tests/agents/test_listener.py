"""Connections until they have said who they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.listener import MAX_FIRST_MESSAGE, MAX_IGNORED, MAX_INTRODUCTION, Listener
from cloudlb.metrics.meters import Meters
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.tls import client_context, server_context
from cloudlb.wire import (
    Command,
    Flag,
    Header,
    Link,
    Opaque,
    PeerCommand,
    PingCommand,
    StartupAnswer,
    StartupCommand,
    StartupRoutingCommand,
    TlsChannel,
    read_body,
    read_contents,
    read_header,
    write_contents,
    write_packet,
)
from tests.agents.server import config
from tests.net.certificates import certificates

STARTUP = StartupRoutingCommand(guid="agent-1-SimulatorResource")


class TcpTransport(StringTransport):
    """With what StringTransport lacks of a TCP connection."""

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's
        """Nothing to delay."""

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's
        """Nothing to keep alive."""

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's
        """Close."""
        self.loseConnection()


class Client:
    """The far end of an accepted connection, on real TLS and no socket."""

    def __init__(self, listener: Listener, clock: Clock, address: str = "127.0.0.1") -> None:
        self.clock = clock
        self.transport = TcpTransport(peerAddress=IPv4Address("TCP", address, 5))
        self.link = Link(TlsChannel(client_context(certificates().agent), server_side=False))
        self.heard: list[bytes] = []
        server = listener.buildProtocol(self.transport.getPeer())
        self.server = server
        server.makeConnection(self.transport)

    def talk(self) -> None:
        """Carry bytes both ways until nobody has more to say."""
        while data := self.link.data_to_send():
            self.server.dataReceived(data)
            self.heard += self.link.receive_data(self.transport.value())
            self.transport.clear()
        self.clock.advance(0)  # The turn ends.

    def handshake(self) -> None:
        """Complete it."""
        self.link.start()
        self.talk()
        assert self.link.established

    def say(self, contents: Sequence[Command | Opaque], flags: Flag = Flag.REQUEST) -> None:
        """Send a request, or a response."""
        self.say_body(write_contents(contents), flags)

    def say_body(self, body: bytes, flags: Flag = Flag.REQUEST) -> None:
        """Send a packet, also one that does not parse."""
        packet = write_packet(sequence=7, server_id=-1, agent_id=-1, via=-1, flags=flags, body=body)
        self.link.send_message(packet)
        self.talk()

    def lose(self) -> str:
        """Let the connection be gone; why the server ended it."""
        self.server.connectionLost()
        return str(self.server._reason)

    @property
    def closed(self) -> bool:
        """Whether the server closed the connection."""
        return bool(self.transport.disconnecting)


class ListenerTests(SynchronousTestCase):
    """A listener whose admissions are only counted."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.begun: list[Sequence[StartupCommand]] = []
        self.peers: list[PeerCommand] = []
        self.meters = Meters()
        self.listener = self.make(max_half_open=3, max_half_open_per_address=2)

    def make(self, **limits: Any) -> Listener:
        """A listener with limits."""

        def begin(link: LinkProtocol, header: Header, startups: Sequence[StartupCommand]) -> None:
            self.begun.append(startups)

        context = server_context(certificates().server, strict=True)
        chosen = evolve(config("127.0.0.1", Path("none")), **limits)
        return Listener(
            chosen,
            self.clock,
            lambda: TlsChannel(context, server_side=True),
            begin,
            HalfOpen(self.clock, chosen.max_half_open, chosen.max_half_open_per_address),
            lambda link, header, command: self.peers.append(command),
            self.meters,
        )

    def test_the_first_startup_begins_an_admission(self) -> None:
        """What came before it was thrown away, and the deadline is gone."""
        client = Client(self.listener, self.clock)
        client.handshake()
        client.say([PingCommand()])
        self.assertEqual(self.begun, [])
        client.say([STARTUP])
        self.assertEqual(self.begun, [[STARTUP]])
        self.assertEqual((len(self.listener.half_open), self.clock.getDelayedCalls()), (0, []))

    def test_a_server_introduces_itself(self) -> None:
        """Whoever judges servers gets its link, of which not more is read yet than of any stranger's."""
        client = Client(self.listener, self.clock)
        client.handshake()
        client.say([PeerCommand(server_id=7)])
        self.assertEqual((self.peers, self.begun), ([PeerCommand(server_id=7)], []))
        self.assertEqual((len(self.listener.half_open), self.clock.getDelayedCalls()), (0, []))
        self.assertEqual(client.server.max_message, MAX_FIRST_MESSAGE)

    def test_few_messages_are_thrown_away(self) -> None:
        """Responses and requests count alike, and after too many the connection is closed for it."""
        for flags in (Flag.REQUEST, Flag(0)):
            patient, closed = Client(self.listener, self.clock), Client(self.listener, self.clock)
            for client in (patient, closed):
                client.handshake()
                for _ in range(MAX_IGNORED):
                    client.say([PingCommand()], flags)
                self.assertFalse(client.closed)
            closed.say([PingCommand()], flags)
            self.assertTrue(closed.closed)
            self.assertEqual(closed.lose(), "4 messages and no StartupCommand among them")
            self.begun.clear()
            patient.say([PingCommand(), STARTUP])
            self.assertEqual(self.begun, [[STARTUP]])

    def test_what_is_thrown_away_is_not_looked_into(self) -> None:
        """The body of a response need not be one, and the fields of other commands need not fit."""
        client = Client(self.listener, self.clock)
        client.handshake()
        client.say_body(b"no body", Flag(0))
        client.say([Opaque("com.cloud.agent.api.PingCommand", {"hostId": "x"})])
        client.say([STARTUP])
        self.assertEqual(self.begun, [[STARTUP]])

    def test_an_introduction_that_does_not_parse_is_refused(self) -> None:
        """The agent is told what is wrong with it before the connection closes; the deadline stays."""
        name = b"com.cloud.agent.api.StartupRoutingCommand"
        for fields, reason in (
            (b'"guid":5', "com.cloud.agent.api.StartupRoutingCommand: guid: a text was expected, not int"),
            (b'"memory":1180591620717411303424', "the body has an integer beyond 64 bits"),
            (b'"memory":9223372036854775808', "StartupRoutingCommand: memory: an integer of 64 bits was expected"),
            (b'"guid"', "the body is not JSON"),
        ):
            client = Client(self.listener, self.clock)
            client.handshake()
            client.say_body(b'[{"%s":{%s}}]' % (name, fields))
            [message] = client.heard
            header = read_header(message)
            self.assertEqual((header.sequence, header.flags, header.via), (7, Flag.FROM_SERVER, -1))
            [answer] = read_contents(read_body(message, header, 10000))
            assert isinstance(answer, StartupAnswer)
            self.assertFalse(answer.result)
            self.assertIn(reason, answer.details or "")
            self.assertTrue(client.closed)
            self.assertEqual(client.lose(), answer.details)
            self.assertEqual((self.begun, len(self.listener.half_open), self.clock.getDelayedCalls()), ([], 0, []))

    def test_a_stranger_has_little_room(self) -> None:
        """Longer messages are for agents that have introduced themselves."""
        client = Client(self.listener, self.clock)
        client.handshake()
        client.link.send_message(b"x" * (MAX_FIRST_MESSAGE + 1))
        client.talk()
        self.assertTrue(client.closed)
        self.assertEqual(client.lose(), f"a message is longer than {MAX_FIRST_MESSAGE} bytes")
        client = Client(self.listener, self.clock)
        client.handshake()
        client.say([STARTUP])
        self.assertEqual(client.server.max_message, self.listener.config.max_message)

    def test_an_introduction_inflates_to_little(self) -> None:
        """As an agent with many devices needs, and no more."""
        for size, begun in ((MAX_INTRODUCTION - 1000, 1), (MAX_INTRODUCTION, 0)):
            self.begun.clear()
            client = Client(self.listener, self.clock)
            client.handshake()
            client.say([evolve(STARTUP, host_details={"gpus": "x" * size})])
            self.assertEqual((len(self.begun), client.closed), (begun, not begun))

    def test_a_handshake_that_does_not_end_is_cut(self) -> None:
        """After its deadline; nothing is left of it."""
        client = Client(self.listener, self.clock)
        self.clock.advance(9.9)
        self.assertFalse(client.closed)
        self.clock.advance(0.2)
        self.assertTrue(client.closed)
        client.server.connectionLost()
        self.assertEqual((len(self.listener.half_open), self.listener.newcomers), (0, set()))

    def test_silence_after_the_handshake_is_cut(self) -> None:
        """With a deadline of its own."""
        client = Client(self.listener, self.clock)
        client.handshake()
        self.clock.advance(9.9)
        self.assertFalse(client.closed)
        self.clock.advance(0.2)
        self.assertTrue(client.closed)

    def test_the_oldest_of_an_address_goes_at_its_limit(self) -> None:
        """The newest is not refused, and other addresses are not touched."""
        other = Client(self.listener, self.clock, "127.0.0.2")
        clients = [Client(self.listener, self.clock) for _ in range(3)]
        self.assertEqual([client.closed for client in (other, *clients)], [False, True, False, False])

    def test_the_oldest_of_all_goes_at_the_limit(self) -> None:
        """Whoever it is."""
        clients = [Client(self.listener, self.clock, f"127.0.0.{number}") for number in range(1, 6)]
        self.assertEqual([client.closed for client in clients], [True, True, False, False, False])

    def test_a_packet_that_breaks_the_protocol_costs_its_connection(self) -> None:
        """And nobody else's."""
        bystander, client = Client(self.listener, self.clock, "127.0.0.2"), Client(self.listener, self.clock)
        client.handshake()
        client.link.send_message(b"\x09" * 50)
        client.talk()
        self.assertTrue(client.closed)
        self.assertFalse(bystander.closed)

    def test_garbage_instead_of_a_handshake_costs_its_connection(self) -> None:
        """HTTP, random bytes, a length of 4 GiB."""
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"\xff\xff\xff\xff"):
            client = Client(self.listener, self.clock)
            client.server.dataReceived(garbage)
            self.assertTrue(client.closed, garbage)

    def test_closing_drops_all(self) -> None:
        """When the server stops."""
        clients = [Client(self.listener, self.clock), Client(self.listener, self.clock)]
        self.listener.close()
        self.assertTrue(all(client.closed for client in clients))
