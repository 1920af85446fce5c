"""Options of a link's TCP socket that Twisted has no methods for; transports without a socket are left alone."""

from __future__ import annotations

import socket
from typing import cast

from twisted.internet.interfaces import ISystemHandle, ITransport

MAX_USER_TIMEOUT = 2**31 - 1
"""Milliseconds; the kernel refuses more."""


def socket_of(transport: ITransport) -> socket.socket | None:
    """The socket under a TCP connection's transport, None under a transport that has none."""
    return cast("socket.socket", transport.getHandle()) if ISystemHandle.providedBy(transport) else None


def set_user_timeout(connection: socket.socket, seconds: float) -> None:
    """Have the kernel give up a connection when what was sent is not acknowledged for so long (TCP_USER_TIMEOUT).

    More than the kernel takes, 24 days, is as much as it takes.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(min(seconds * 1000, MAX_USER_TIMEOUT)))


def acknowledge_now(connection: socket.socket) -> None:
    """Have the kernel acknowledge what comes next without delay (TCP_QUICKACK); it forgets this after a while."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
