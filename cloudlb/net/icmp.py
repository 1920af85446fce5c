"""ICMP echo [RFC 792, RFC 4443]: does a machine answer at all.

An echo uses one socket: an unprivileged datagram socket where the kernel lets this process have one
(``net.ipv4.ping_group_range``), or else a raw one, which takes CAP_NET_RAW. Both are told apart by what they deliver:
a raw IPv4 socket hands over the IP header as well, and everybody's packets. So a reply counts by its payload, which is
random and new for each echo.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorCore, IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

INTERVAL = 1.0
"""Seconds between the requests of one echo: one of them may be lost, and the first waits for ARP."""
_TOKEN_BYTES = 16
_MAX_PACKET = 2048
_ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
"""Types of request and reply."""
_PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}

OpenSocket = Callable[[socket.AddressFamily], socket.socket]


class NotPermitted(Exception):
    """This process may not send echo requests; the message says what would let it."""


def open_socket(family: socket.AddressFamily) -> socket.socket:
    """Open a socket for echoes that does not block.

    Raises:
        NotPermitted: neither kind of socket may be opened.
        OSError: the machine has no such network.
    """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            opened = socket.socket(family, kind, _PROTOCOL[family])
        except PermissionError:
            continue
        opened.setblocking(False)
        return opened
    raise NotPermitted(
        "this process may not send ICMP echo requests; "
        "sysctl net.ipv4.ping_group_range='0 2147483647' (or CAP_NET_RAW) lets it"
    )


class Icmp:
    """Sends echo requests from this machine."""

    def __init__(self, reactor: Any, open_socket: OpenSocket = open_socket) -> None:
        """Prepare to send.

        Args:
            reactor: IReactorTime and, for anything to be sent, IReactorFDSet of a real reactor.
        """
        self._reactor = reactor
        self._open = open_socket

    async def echo(self, address: str, patience: float) -> float | None:
        """Send requests until one is answered.

        Args:
            address: IPv4 or IPv6, as a number.
            patience: seconds.

        Returns:
            Seconds from the first request to the answer; None: there was none in time.

        Raises:
            NotPermitted: see :func:`open_socket`.
            OSError: the kernel knows no way to the address.
            ValueError: that is no address.
        """
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        if not (IReactorCore.providedBy(self._reactor) and IReactorFDSet.providedBy(self._reactor)):
            raise NotPermitted("this process has no sockets of the kernel's")
        # Resolves nothing: it turns a scope ("fe80::1%eth0") into its number.
        where = socket.getaddrinfo(address, None, family, type=socket.SOCK_RAW, flags=socket.AI_NUMERICHOST)[0][4]
        opened = self._open(family)
        try:
            opened.connect(where)
            return await _Echo(self._reactor, opened, family, patience).answered
        finally:
            opened.close()


@implementer(IReadDescriptor)
class _Echo:
    """One echo: its requests, and the wait for the answer."""

    def __init__(self, reactor: Any, opened: socket.socket, family: socket.AddressFamily, patience: float) -> None:
        self.answered: Deferred[float | None] = Deferred(lambda _: self._stop())
        self._reactor = reactor
        self._socket = opened
        self._family = family
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self._count = 0
        self._started = reactor.seconds()
        self._next: IDelayedCall | None = None
        self._end: IDelayedCall = reactor.callLater(patience, self._done, None)
        reactor.addReader(self)
        self._send()

    def _send(self) -> None:
        self._next = self._reactor.callLater(INTERVAL, self._send)
        self._count += 1
        try:
            self._socket.send(_request(self._family, self._count, self._token))
        except BlockingIOError:
            pass
        except OSError as error:
            self._failed(error)

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """Look at what came."""
        try:
            packet = self._socket.recv(_MAX_PACKET)
        except BlockingIOError:
            return
        except OSError as error:
            # An ICMP error about a request: a router, or our own kernel, knows no way.
            self._failed(error)
            return
        if _is_reply(self._family, self._socket.type, packet, self._token):
            self._done(self._reactor.seconds() - self._started)

    def _done(self, seconds: float | None) -> None:
        self._stop()
        if not self.answered.called:
            self.answered.callback(seconds)

    def _failed(self, reason: OSError | Failure) -> None:
        self._stop()
        if not self.answered.called:
            self.answered.errback(reason)

    def _stop(self) -> None:
        self._reactor.removeReader(self)
        for call in (self._next, self._end):
            if call is not None and call.active():
                call.cancel()

    def fileno(self) -> int:
        """The descriptor that the reactor watches."""
        return self._socket.fileno()

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """What a line of the log is about."""
        return "icmp"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor lets go of the socket."""
        self._failed(reason)


def _request(family: socket.AddressFamily, sequence: int, token: bytes) -> bytes:
    # The kernel writes the identifier of a datagram socket, and every checksum of ICMPv6.
    kind, _ = _ECHO[family]
    identifier = int.from_bytes(token[:2])
    unchecked = struct.pack("!BBHHH", kind, 0, 0, identifier, sequence) + token
    return struct.pack("!BBHHH", kind, 0, _checksum(unchecked), identifier, sequence) + token


def _checksum(packet: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _is_reply(family: socket.AddressFamily, kind: int, packet: bytes, token: bytes) -> bool:
    if family == socket.AF_INET and kind == socket.SOCK_RAW:
        packet = packet[(packet[0] & 0x0F) * 4 :] if packet else b""
    return len(packet) == 8 + _TOKEN_BYTES and packet[0] == _ECHO[family][1] and packet[8:] == token
