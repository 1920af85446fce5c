"""What a server takes from others, byte by byte, and what it does not."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents import requests
from cloudlb.cluster import relays
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Server
from cloudlb.net.certificate_names import CertificateMismatch
from cloudlb.wire import (
    Answer,
    CancelCommand,
    CheckHealthCommand,
    Command,
    Flag,
    Header,
    NoAnswer,
    Opaque,
    PeerAnswer,
    PeerCommand,
    StartupAnswer,
    read_body,
    read_contents,
    read_header,
    with_header,
    write_contents,
    write_packet,
)
from tests.agents.server import FakeLink
from tests.agents.two_servers import TwoServersCase

SENT = Flag.REQUEST | Flag.FROM_SERVER
BODY = b'[{"com.example.UnheardOfCommand":{"a": 1.50}}]'
HELLO = Header(sequence=-1, server_id=5, agent_id=-1, via=-1, flags=SENT | Flag.CONTROL, size=0)


class RelaysCase(TwoServersCase):
    """The second server has host 1; the test plays the first one towards it."""

    def setUp(self) -> None:
        super().setUp()
        self.asked.advance(4)
        self.holder.advance(4)
        self.agent = self.up(self.holder)
        self.agent.take()
        self.host_id = self.holder.host(1).id
        self.server = self.holder.server
        self.peer = self.hello()
        self.addCleanup(self.lose_peer)

    def lose_peer(self) -> None:
        """Have the link of the moment end."""
        self.peer.lose()

    def hello(self, **values: Any) -> FakeLink:
        """A link whose other end says that it is the first server, or something else."""
        link = FakeLink()
        own, asked = self.server.membership.own, self.asked.server.membership.own
        said = PeerCommand(server_id=asked.id, run_id=asked.run_id, to_server_id=own.id)
        self.server.relays.begin(link, HELLO, evolve(said, **values))  # type: ignore[arg-type]
        [(header, self.welcome)] = link.take()
        self.assertEqual(header.flags, Flag.CONTROL)
        return link

    def packet(self, sequence: int = 9, *, flags: Flag = SENT, host_id: int | None = None, body: bytes = BODY) -> bytes:
        """A request of the first server."""
        return write_packet(
            sequence=sequence,
            server_id=5,
            agent_id=self.host_id if host_id is None else host_id,
            via=20_000,
            flags=flags,
            body=body,
        )

    def say(self, message: bytes) -> None:
        """Have the first server send a message."""
        self.peer.owner.message_received(self.peer, message)  # type: ignore[attr-defined]

    def heard(self) -> list[tuple[Header, bytes]]:
        """What the first server was sent."""
        packets, self.peer.sent = self.peer.sent, []
        return [(read_header(packet), packet) for packet in packets]

    def no_answer(self) -> tuple[int, NoAnswer]:
        """The one end without an answer that the first server was told."""
        [(header, packet)] = self.heard()
        self.assertEqual(header.flags & (Flag.CONTROL | Flag.REQUEST), Flag.CONTROL)
        [said] = read_contents(read_body(packet, header, 2**16))
        assert isinstance(said, NoAnswer)
        return header.sequence, said


class IntroductionTests(RelaysCase):
    """Who is a server."""

    def test_taken(self) -> None:
        """It learns which life of this server it has reached, and may send large messages."""
        self.assertEqual(self.welcome, PeerAnswer(run_id=self.server.membership.own.run_id))
        self.assertEqual((self.peer.max_message, self.peer.ended), (self.holder.server.config.max_message, None))

    def test_refused(self) -> None:
        """With a reason, and the link is closed."""
        own, asked = self.server.membership.own, self.asked.server.membership.own
        for values, words in (
            ({"to_server_id": asked.id}, "is meant"),
            ({"server_id": 99}, "knows of no such other server"),
            ({"server_id": own.id}, "knows of no such other server"),
            ({"run_id": asked.run_id - 1}, "started again"),
            ({"server_id": -(2**63)}, "knows of no such other server"),
        ):
            link = self.hello(**values)
            assert isinstance(self.welcome, PeerAnswer)
            self.assertFalse(self.welcome.result)
            self.assertIn(words, self.welcome.details or "")
            self.assertIn(words, link.ended or "")
        self.assertEqual((len(self.server.relays), self.peer.ended), (1, None))

    def test_its_certificate(self) -> None:
        """Is held against the row of the server that it says to be."""
        checked: list[tuple[bytes | None, str]] = []

        def check(certificate: bytes | None, server: Server) -> None:
            checked.append((certificate, server.address))
            raise CertificateMismatch("it is not")

        self.patch(self.server.relays._trust, "check", check)
        link = self.hello()
        self.assertEqual((link.ended, checked), ("it is not", [(None, "127.0.0.1")]))

    def test_a_newer_link(self) -> None:
        """Takes the place of the older one."""
        newer = self.hello()
        self.assertIn("newer link", self.peer.ended or "")
        self.peer.lose()
        self.assertEqual((len(self.server.relays), newer.ended), (1, None))


class RelayTests(RelaysCase):
    """Requests for hosts."""

    def test_as_it_came(self) -> None:
        """Nothing but the header changes, on either way."""
        self.say(self.packet(flags=SENT | Flag.STOP_ON_ERROR))
        [sent] = self.agent.sent
        header = read_header(sent)
        self.assertEqual(sent[40:], BODY)
        self.assertEqual((header.agent_id, header.via), (self.host_id, self.host_id))
        self.assertEqual(header.server_id, self.server.membership.own.id)
        self.assertEqual(header.flags, SENT | Flag.STOP_ON_ERROR)
        answer = b'[{"com.example.UnheardOfAnswer":{"b":2.50}} ]'
        said = write_packet(
            sequence=header.sequence,
            server_id=1,
            agent_id=2,
            via=3,
            flags=Flag.STOP_ON_ERROR | Flag.CONTROL,
            body=answer,
        )
        self.agent.owner.message_received(self.agent, said)  # type: ignore[attr-defined]
        [(theirs, packet)] = self.heard()
        self.assertEqual((theirs.sequence, theirs.server_id, packet[40:]), (9, 5, answer))
        # What a host says never passes for its server's own word.
        self.assertEqual(theirs.flags, Flag.STOP_ON_ERROR)

    def test_not_looked_into(self) -> None:
        """What does not parse, or does not inflate, is the host's to complain about, or the asking server's."""
        self.say(self.packet(body=b"]"))
        broken = read_header(self.packet(10))
        self.say(with_header(self.packet(10), evolve(broken, flags=broken.flags | Flag.COMPRESSED)))
        self.assertEqual([packet[40:] for packet in self.agent.sent], [b"]", BODY])
        garbage = self.packet(read_header(self.agent.sent[0]).sequence, flags=Flag(0), body=b"\xff")
        self.agent.owner.message_received(self.agent, garbage)  # type: ignore[attr-defined]
        self.assertEqual(self.heard()[0][1][40:], b"\xff")
        self.assertIsNone(self.agent.ended)

    def test_no_such_host(self) -> None:
        """Whatever the number, it is not here."""
        for host_id in (99, 0, -1, 2**63 - 1, -(2**63)):
            self.say(self.packet(host_id=host_id))
            sequence, said = self.no_answer()
            self.assertEqual((sequence, said.error, said.result), (9, "AgentUnavailable", False))
            self.assertIn(f"host {host_id} is not on this server", said.details or "")
        self.assertEqual(self.agent.sent, [])

    def test_not_up(self) -> None:
        """Nothing is sent to a host that is on its way."""
        attache = self.server.directory.get(self.host_id)
        assert attache is not None
        attache.take_status(HostStatus.CONNECTING)
        self.say(self.packet())
        self.assertIn("is not Up yet", self.no_answer()[1].details or "")
        self.assertEqual(self.agent.sent, [])

    def test_stood_still(self) -> None:
        """What was sent to a server that stood still goes elsewhere: the host may have been taken over."""
        self.holder.reactor.rightNow += self.server.settings.current.heartbeat_threshold + 1
        self.say(self.packet())
        sequence, said = self.no_answer()
        self.assertEqual((sequence, said.error, said.told_later), (9, "AgentUnavailable", False))
        self.assertIn("may have been called Down", said.details or "")
        self.assertEqual(self.agent.sent, [])
        self.holder.advance(0)
        self.say(self.packet(10))
        self.assertEqual(1, len(self.agent.take()))

    def test_its_link_is_lost(self) -> None:
        """What was sent may have been carried out, and its agent will tell; what waits was never sent."""
        self.say(self.packet(1, flags=SENT | Flag.IN_SEQUENCE))
        self.say(self.packet(2, flags=SENT | Flag.IN_SEQUENCE))
        self.assertEqual(len(self.agent.sent), 1)
        self.agent.lose()
        ends = {header.sequence: read_contents(read_body(packet, header, 2**16))[0] for header, packet in self.heard()}
        self.assertEqual(
            {sequence: (end.error, end.told_later) for sequence, end in ends.items() if isinstance(end, NoAnswer)},
            {1: ("LinkLost", True), 2: ("AgentUnavailable", True)},
        )

    def test_time_out(self) -> None:
        """The owner keeps the time, too, should the asking server not call the request off."""
        self.say(with_header(self.packet(), evolve(read_header(self.packet()), via=3000)))
        self.agent.take()
        for server in (self.asked, self.holder, self.asked):
            server.advance(1.45)
        self.holder.advance(1.45)
        self.assertEqual(self.heard(), [])
        self.holder.advance(0.2)
        self.assertEqual(self.no_answer()[1].error, "AgentTimedOut")
        [(_, command)] = self.agent.take()
        self.assertIsInstance(command, CancelCommand)

    def test_any_time(self) -> None:
        """Also one that makes no sense."""
        for sequence, via in enumerate((-1, 0, -(2**63), 2**63 - 1)):
            self.say(with_header(self.packet(), evolve(read_header(self.packet()), via=via, sequence=sequence)))
        self.holder.advance(0.1)
        self.assertEqual(len(self.heard()), 3)

    def test_called_off(self) -> None:
        """By its sequence on this link; another one means nothing."""
        self.say(self.packet())
        self.agent.take()
        for sequence in (8, 9, 9):
            body = write_contents([CancelCommand(sequence=sequence), CheckHealthCommand()])
            self.say(self.packet(-1, flags=SENT | Flag.CONTROL, body=body))
        self.assertEqual(self.no_answer()[1].error, "CommandCancelled")
        self.assertEqual([type(command) for _, command in self.agent.take()], [CancelCommand])

    def test_the_link_to_the_asking_server_is_lost(self) -> None:
        """What has not been sent is not sent; the rest is left alone, and its answer is nobody's."""
        self.say(self.packet(1, flags=SENT | Flag.IN_SEQUENCE))
        self.say(self.packet(2, flags=SENT | Flag.IN_SEQUENCE))
        self.say(self.packet(3))
        sequences = [header.sequence for header, _ in self.agent.take()]
        self.assertEqual(len(sequences), 2)
        self.peer.lose()
        for sequence in sequences:
            self.agent.receive([Answer()], sequence=sequence, flags=Flag(0))
        self.assertEqual((self.agent.sent, len(self.server.relays)), ([], 0))

    def test_what_breaks_the_protocol(self) -> None:
        """Costs the link: a truncated header, another version, a response, one sequence twice, a body of no JSON."""
        truncated, response = self.packet()[:39], self.packet(flags=Flag.FROM_SERVER)
        control = self.packet(-1, flags=SENT | Flag.CONTROL, body=b"{")
        bomb = write_packet(
            sequence=-1, server_id=5, agent_id=1, via=1, flags=SENT | Flag.CONTROL, body=b" " * (2**16 + 1)
        )
        for message in (truncated, b"", b"\x01" + self.packet()[1:], response, control, bomb):
            self.peer = self.hello()
            self.say(message)
            self.assertIsNotNone(self.peer.ended, message[:50])
            self.peer.lose()
        self.peer = self.hello()
        self.say(self.packet())
        self.say(self.packet())
        self.assertIn("is under way already", self.peer.ended or "")
        self.assertEqual(len(self.agent.sent), 1)
        self.assertIsNone(self.agent.ended)

    def test_limits(self) -> None:
        """Of each server's requests, in number and bytes, and of each host's."""
        self.patch(relays, "MAX_UNDER_WAY", 3)
        for sequence in range(4):
            self.say(self.packet(sequence))
        sequence, said = self.no_answer()
        self.assertEqual((sequence, said.error), (3, "AgentBusy"))
        for header, _ in self.agent.take():
            self.agent.receive([Answer()], sequence=header.sequence, flags=Flag(0))
        self.assertEqual(len(self.heard()), 3)
        self.patch(relays, "MAX_BYTES", 2 * len(self.packet()))
        for sequence in range(3):
            self.say(self.packet(sequence))
        self.assertEqual(self.no_answer()[1].error, "AgentBusy")
        self.patch(relays, "MAX_UNDER_WAY", 10)
        self.patch(relays, "MAX_BYTES", 2**20)
        self.patch(requests, "MAX_REQUESTS", 2)
        self.say(self.packet(5))
        self.assertIn("host host-1 is busy", self.no_answer()[1].details or "")

    def test_down(self) -> None:
        """A server that is Down waits for nothing any more."""
        self.holder.advance(60)
        self.assertIn("is Down", self.peer.ended or "")


class NewcomerTests(SynchronousTestCase):
    """The commands, as they stand on the wire."""

    def test_names(self) -> None:
        """Of classes of our own."""
        contents: list[Command | Answer | Opaque] = [
            PeerCommand(server_id=1, run_id=2, to_server_id=3),
            NoAnswer(result=False, error="AgentBusy", told_later=True),
            PeerAnswer(run_id=4),
            StartupAnswer(),
        ]
        read = read_contents(write_contents(contents))
        self.assertEqual(read, contents)
