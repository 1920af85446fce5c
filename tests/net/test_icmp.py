"""ICMP echo: what counts as an answer, and the kernel's own."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from cloudlb.net.icmp import Icmp, NotPermitted, _checksum, open_socket


class FakeSocket:
    """A socket of one kind whose packets the test makes."""

    def __init__(self, kind: int = socket.SOCK_DGRAM) -> None:
        self.type = kind
        self.where: object = None
        self.sent: list[bytes] = []
        self.received: list[bytes | OSError] = []
        self.refused: OSError | None = None
        self.closed = False

    def connect(self, where: object) -> None:
        self.where = where

    def send(self, packet: bytes) -> None:
        if self.refused is not None:
            raise self.refused
        self.sent.append(packet)

    def recv(self, limit: int) -> bytes:
        packet = self.received.pop(0)
        if isinstance(packet, OSError):
            raise packet
        return packet

    def fileno(self) -> int:
        return 99

    def close(self) -> None:
        self.closed = True


class EchoTests(SynchronousTestCase):
    """One echo on a socket that is not there."""

    def setUp(self) -> None:
        """A reactor whose readers the test wakes."""
        self.reactor = MemoryReactorClock()
        self.socket = FakeSocket()

    def echo(self, address: str = "192.0.2.1", timeout: float = 3.0) -> Deferred[float | None]:
        """Begin an echo."""
        icmp = Icmp(self.reactor, lambda family: self.socket)  # type: ignore[arg-type,return-value]
        return Deferred.fromCoroutine(icmp.echo(address, timeout))

    def receive(self, packet: bytes | OSError) -> None:
        """Have something come."""
        self.socket.received.append(packet)
        for reader in list(self.reactor.readers):
            reader.doRead()

    def reply(self, number: int = -1, kind: int = 0) -> bytes:
        """The answer to a request."""
        return bytes([kind]) + self.socket.sent[number][1:]

    def assert_over(self) -> None:
        """Nothing is left of it."""
        self.assertTrue(self.socket.closed)
        self.assertEqual((list(self.reactor.readers), self.reactor.getDelayedCalls()), ([], []))

    def test_answered(self) -> None:
        """The first answer ends it, with the time that it took."""
        echo = self.echo()
        self.reactor.advance(0.25)
        self.receive(self.reply())
        self.assertEqual(self.successResultOf(echo), 0.25)
        self.assertEqual(self.socket.where, ("192.0.2.1", 0))
        self.assert_over()

    def test_request(self) -> None:
        """A request is an echo request with a right checksum and a number of its own."""
        self.echo()
        self.reactor.pump([1, 1])
        self.assertEqual([struct.unpack("!BBHHH", p[:8])[4] for p in self.socket.sent], [1, 2, 3])
        for packet in self.socket.sent:
            self.assertEqual((packet[:2], _checksum(packet)), (b"\x08\x00", 0))

    def test_late_answer_to_an_earlier_request(self) -> None:
        """Any request may be the one that is answered."""
        echo = self.echo()
        self.reactor.pump([1, 1])
        self.receive(self.reply(0))
        self.assertEqual(self.successResultOf(echo), 2.0)

    def test_no_answer(self) -> None:
        """When the time is over there was none."""
        echo = self.echo(timeout=2.5)
        self.reactor.pump([1, 1])
        self.assertNoResult(echo)
        self.reactor.advance(0.5)
        self.assertIsNone(self.successResultOf(echo))
        self.assert_over()

    def test_what_is_no_answer(self) -> None:
        """Own requests, others' answers and rubbish do not count."""
        echo = self.echo()
        foreign = self.reply()[:-1] + bytes([self.reply()[-1] ^ 1])
        for packet in (self.socket.sent[0], foreign, b"", b"\x00" * 7, self.reply() + b"\x00", BlockingIOError()):
            self.receive(packet)
        self.assertNoResult(echo)
        self.receive(self.reply())
        self.successResultOf(echo)

    def test_raw_socket(self) -> None:
        """A raw IPv4 socket hands over the header, of whatever length."""
        self.socket = FakeSocket(socket.SOCK_RAW)
        for header in (b"\x45" + bytes(19), b"\x46" + bytes(23)):
            echo = self.echo()
            self.receive(b"")
            self.receive(header + self.socket.sent[-1])
            self.assertNoResult(echo)
            self.receive(header + self.reply())
            self.successResultOf(echo)

    def test_ipv6(self) -> None:
        """ICMPv6 has other types, and no header on a raw socket either."""
        self.socket = FakeSocket(socket.SOCK_RAW)
        echo = self.echo("2001:db8::1")
        self.assertEqual(self.socket.sent[0][0], 128)
        self.receive(self.reply(kind=0))
        self.assertNoResult(echo)
        self.receive(self.reply(kind=129))
        self.successResultOf(echo)

    def test_no_way(self) -> None:
        """What the kernel says is handed on, whether it says so at once or later."""
        unreachable = OSError(errno.EHOSTUNREACH, "No route to host")
        echo = self.echo()
        self.receive(unreachable)
        self.assertIs(self.failureResultOf(echo, OSError).value, unreachable)
        self.assert_over()
        self.socket = FakeSocket()
        self.socket.refused = unreachable
        self.assertIs(self.failureResultOf(self.echo(), OSError).value, unreachable)
        self.assert_over()

    def test_cancelled(self) -> None:
        """An echo that nobody waits for any more leaves nothing."""
        echo = self.echo()
        echo.cancel()
        self.failureResultOf(echo, CancelledError)
        self.assert_over()

    def test_no_address(self) -> None:
        """Names are not resolved."""
        self.failureResultOf(self.echo("localhost"), ValueError)


class OpenTests(SynchronousTestCase):
    """Which sockets are tried."""

    def kinds(self, *permitted: int) -> list[int]:
        """The kinds asked for while only some are permitted."""
        asked: list[int] = []

        def fake(family: int, kind: int, protocol: int) -> FakeBlocking:
            asked.append(kind)
            if kind not in permitted:
                raise PermissionError
            return FakeBlocking()

        self.patch(socket, "socket", fake)
        try:
            open_socket(socket.AF_INET)
        finally:
            self.asked = asked
        return asked

    def test_unprivileged_first(self) -> None:
        """A raw socket is opened only where the other kind is not permitted."""
        self.assertEqual(self.kinds(socket.SOCK_DGRAM, socket.SOCK_RAW), [socket.SOCK_DGRAM])
        self.assertEqual(self.kinds(socket.SOCK_RAW), [socket.SOCK_DGRAM, socket.SOCK_RAW])

    def test_neither(self) -> None:
        """Where neither is, the error says what to set."""
        error = self.assertRaises(NotPermitted, self.kinds)
        self.assertIn("net.ipv4.ping_group_range", str(error))
        self.assertEqual(self.asked, [socket.SOCK_DGRAM, socket.SOCK_RAW])


class FakeBlocking:
    """A new socket."""

    def setblocking(self, flag: bool) -> None:
        assert not flag


class KernelTests(TestCase):
    """Echoes through the kernel's loopback, where this process may send them."""

    timeout = 20

    async def echo(self, opener: Callable[[socket.AddressFamily], socket.socket], *addresses: str) -> None:
        for address in addresses:
            if ":" in address and not _has_ipv6():
                continue
            try:
                self.assertIsNotNone(await Icmp(reactor, opener).echo(address, 5))
            except NotPermitted as error:
                raise SkipTest(str(error)) from error

    async def test_loopback(self) -> None:
        """This machine answers, on IPv4 and IPv6."""
        await self.echo(open_socket, "127.0.0.1", "127.0.0.77", "::1")

    async def test_raw_loopback(self) -> None:
        """The same over raw sockets, which hear of all echoes of the machine."""

        def raw(family: socket.AddressFamily) -> socket.socket:
            protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
            try:
                opened = socket.socket(family, socket.SOCK_RAW, protocol)
            except PermissionError as error:
                raise NotPermitted("raw sockets take CAP_NET_RAW") from error
            opened.setblocking(False)
            return opened

        await self.echo(raw, "127.0.0.1", "::1")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
