"""The kernel's half of an in-memory TCP network: sockets that Twisted's own TCP transports run on.

Twisted's transports, ports and connectors are used as they are (see tests.support.network), so what is imitated
here is only what a kernel does: buffers with a bound, segments that arrive later and in pieces, FIN, RST,
retransmission over a cut, and giving up (TCP_USER_TIMEOUT). Nothing here calls a process: it is told that something
may be ready, and looks when it runs.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from tests.support.machine import Machine
    from tests.support.network import Network

Address = tuple[str, int]

WINDOW = 64 * 1024
"""Bytes that one side may have sent and the other side's process not yet read: both kernels' buffers together."""
RETRANSMISSION_LIMIT = 924.6
"""Seconds until Linux gives up on unacknowledged data by default (tcp_retries2 = 15)."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@frozen(kw_only=True, eq=False)
class Packet:
    """Something under way to the other side; ``effect`` is what its arrival does there."""

    effect: Callable[[], None] = field(repr=False)
    sent: float
    arrival: float
    acknowledged: bool
    """The sender keeps it until the other kernel has acknowledged it, and gives up in the end."""
    reset: bool = False
    """A RST: sent once; with it the sender forgets the connection."""


class Socket:
    """A non-blocking stream socket, with the methods of socket.socket that Twisted's transports call."""

    def __init__(self, network: Network, machine: Machine) -> None:
        self._network = network
        self._machine = machine
        self._number = network.next_descriptor()
        self._options: dict[tuple[int, int], int] = {}
        self._local: Address = (machine.address, 0)
        self._remote: Address = ("", 0)
        self._peer: Socket | None = None
        self._connecting = False
        self._established = False
        self._broken = False
        self._error = 0
        self._reset_on_close = False
        self._closed = False
        # Outgoing.
        self._under_way: deque[Packet] = deque()
        self._unread_by_peer = 0
        self._finished = False
        self._unacknowledged_since: float | None = None
        # Incoming.
        self._received = bytearray()
        self._read_uncredited = 0
        self._end_received = False
        # Listening.
        self._backlog: deque[Socket] | None = None
        self._backlog_limit = 0
        machine.own(self)

    # What the process asks for.

    def setblocking(self, flag: bool) -> None:
        """Accept what Twisted sets; there is nothing to block on."""

    def fileno(self) -> int:
        """A number that no real descriptor has."""
        return self._number

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Keep an option; SO_LINGER (1, 0) makes close() reset, TCP_USER_TIMEOUT bounds retransmission."""
        if isinstance(value, bytes):
            if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
                self._reset_on_close = value == _RESET_ON_CLOSE
        else:
            self._options[level, option] = int(value)

    def getsockopt(self, level: int, option: int) -> int:
        """Read an option; SO_ERROR tells an error once."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            pending, self._error = self._error, 0
            return pending
        return self._options.get((level, option), 0)

    def getsockname(self) -> Address:
        """The own address."""
        return self._local

    def getpeername(self) -> Address:
        """The other side's address."""
        return self._remote

    def bind(self, address: Address) -> None:
        """Take an address of the machine and a port; 0 is any free one."""
        host, port = address
        if host not in ("", "0.0.0.0", self._machine.address):  # noqa: S104 (nothing real is bound)
            raise _error(errno.EADDRNOTAVAIL)
        self._local = (self._machine.address, port or self._network.next_port())

    def listen(self, limit: int) -> None:
        """Have connections accepted from now on."""
        if not self._network.listen(self._local, self):
            raise _error(errno.EADDRINUSE)
        self._backlog, self._backlog_limit = deque(), limit

    def accept(self) -> tuple[Socket, Address]:
        """Take the oldest connection that the kernel has accepted."""
        if not self._backlog:
            raise _error(errno.EWOULDBLOCK)
        accepted = self._backlog.popleft()
        return accepted, accepted._remote

    def connect_ex(self, address: Address) -> int:
        """Send a SYN the first time, tell how it went the next."""
        if self._established:
            return errno.EISCONN
        if self._connecting:
            return errno.EALREADY
        self._connecting = True
        self._remote = address
        if not self._local[1]:
            self._local = (self._machine.address, self._network.next_port())
        self._send_packet(lambda: self._network.connection_asked(self, address))
        return errno.EINPROGRESS

    def send(self, data: memoryview) -> int:
        """Hand data to the kernel, as much as it has room for."""
        if self._error:
            raise _error(self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if self._finished or self._broken or not self._established:
            raise _error(errno.EPIPE)
        taken = bytes(data[: WINDOW - self._unread_by_peer])
        if not taken:
            if len(data):
                raise _error(errno.EWOULDBLOCK)
            return 0
        self._unread_by_peer += len(taken)
        for segment in self._network.segments(taken):
            self._send_to_peer(partial(Socket._data_arrived, data=segment))
        return len(taken)

    def recv(self, limit: int) -> bytes:
        """Read what has arrived; b"" after the other side's FIN, or after the error has been told."""
        if self._received:
            data = bytes(self._received[:limit])
            del self._received[:limit]
            self._credit(len(data))
            return data
        if self._end_received:
            return b""
        if self._error:
            raise _error(self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if self._broken:
            return b""
        raise _error(errno.EWOULDBLOCK)

    def shutdown(self, how: int) -> None:
        """Send a FIN after everything sent."""
        if self._broken or not self._established:
            raise _error(errno.ENOTCONN)
        if how != socket.SHUT_RD:
            self._finish()

    def close(self) -> None:
        """Give the socket up: FIN, or RST where data stayed unread or lingering is off."""
        if self._closed:
            return
        self._closed = True
        self._machine.forget(self)
        if self._backlog is not None:
            self._network.stop_listening(self._local)
            for accepted in self._backlog:
                accepted._reset()
        elif self._reset_on_close or self._received:
            self._reset()
        else:
            self._finish()

    def vanish(self) -> None:
        """Be forgotten with the whole kernel: nothing is sent, and what still comes is answered with RST one day."""
        if self._backlog is not None:
            self._network.stop_listening(self._local)
        self._machine.forget(self)
        self._closed = self._finished = True
        self._under_way.clear()

    # What the process's reactor asks.

    @property
    def readable(self) -> bool:
        """recv, accept or connect_ex has something to tell."""
        return bool(self._received or self._end_received or self._broken or self._backlog)

    @property
    def writable(self) -> bool:
        """Send would take something, or would fail; a connection was established or refused."""
        return self._broken or (self._established and (self._finished or self._unread_by_peer < WINDOW))

    # Packets out.

    def _finish(self) -> None:
        if self._established and not self._broken and not self._finished:
            self._finished = True
            self._send_to_peer(Socket._end_arrived)

    def _reset(self) -> None:
        self._closed = True
        if self._peer is not None and not self._broken:
            self._finished = True
            self._send_to_peer(Socket._reset_arrived, acknowledged=False, reset=True)

    def _credit(self, read: int) -> None:
        # Like a kernel, which announces a wider window when it is worth a packet, not after every read.
        self._read_uncredited += read
        if self._read_uncredited >= WINDOW // 2:
            credit, self._read_uncredited = self._read_uncredited, 0
            self._send_to_peer(partial(Socket._credit_arrived, credit=credit), acknowledged=False)

    def _send_to_peer(
        self, effect: Callable[[Socket], None], *, acknowledged: bool = True, reset: bool = False
    ) -> None:
        peer = self._peer
        assert peer is not None
        self._send_packet(lambda: effect(peer), acknowledged=acknowledged, reset=reset)

    def _send_packet(self, effect: Callable[[], None], *, acknowledged: bool = True, reset: bool = False) -> None:
        now = self._network.clock.seconds()
        delay = self._network.latency(self._local[0], self._remote[0])
        if self._under_way:
            delay = max(delay, self._under_way[-1].arrival - now)
        packet = Packet(effect=effect, sent=now, arrival=now + delay, acknowledged=acknowledged, reset=reset)
        self._under_way.append(packet)
        self._network.clock.callLater(delay, self.deliver)

    def deliver(self) -> None:
        """Let everything arrive whose time has come, unless the way is cut."""
        now = self._network.clock.seconds()
        there = not self._network.is_cut(self._local[0], self._remote[0])
        back = not self._network.is_cut(self._remote[0], self._local[0])
        if not there and any(packet.reset for packet in self._under_way):
            self._under_way.clear()
        if there and back:
            self._unacknowledged_since = None
        while self._under_way and self._under_way[0].arrival <= now:
            packet = self._under_way[0]
            if packet.acknowledged and not (there and back):
                self._expect_acknowledgement(packet.sent)
            if not there:
                self._network.wait_for_repair(self)
                return
            self._under_way.popleft()
            packet.effect()

    def _expect_acknowledgement(self, since: float) -> None:
        if self._unacknowledged_since is not None:
            return
        self._unacknowledged_since = since
        milliseconds = self._options.get((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 0)
        limit = milliseconds / 1000 or RETRANSMISSION_LIMIT
        remaining = since + limit - self._network.clock.seconds()
        self._network.clock.callLater(max(0, remaining), self._give_up, since)

    def _give_up(self, since: float) -> None:
        if self._unacknowledged_since == since:
            self._under_way.clear()
            self._break(errno.ETIMEDOUT)

    # Packets in.

    def connection_refused(self) -> None:
        """The RST for a SYN came."""
        self._break(errno.ECONNREFUSED)

    def connection_accepted(self, peer: Socket) -> None:
        """The SYN-ACK came."""
        self._peer = peer
        self._established = True
        if self._closed:
            self._reset()
        self._machine.look(self)

    def accept_connection(self, client: Socket, remote: Address) -> None:
        """A SYN came for a listening socket; its process need not run for that."""
        assert self._backlog is not None
        if len(self._backlog) >= self._backlog_limit:
            return
        accepted = Socket(self._network, self._machine)
        accepted._local, accepted._remote = self._local, remote
        accepted._peer, accepted._established = client, True
        self._backlog.append(accepted)
        accepted._send_packet(lambda: client.connection_accepted(accepted))
        self._machine.look(self)

    def _data_arrived(self, data: bytes) -> None:
        if self._closed:
            self._reset()
        elif not self._error:
            self._received += data
            self._machine.look(self)

    def _end_arrived(self) -> None:
        self._end_received = True
        self._machine.look(self)

    def _reset_arrived(self) -> None:
        self._under_way.clear()
        self._break(errno.EPIPE if self._end_received else errno.ECONNRESET)

    def _credit_arrived(self, credit: int) -> None:
        self._unread_by_peer -= credit
        self._machine.look(self)

    def _break(self, error: int) -> None:
        self._unacknowledged_since = None
        self._broken = True
        self._error = error
        self._machine.look(self)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
