"""Options of real sockets."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.socket_options import MAX_USER_TIMEOUT, set_user_timeout


class UserTimeoutTests(SynchronousTestCase):
    """TCP_USER_TIMEOUT."""

    def test_any_time(self) -> None:
        """The kernel gets milliseconds, and never more than it takes."""
        for seconds, milliseconds in ((1.5, 1500), (3e6, MAX_USER_TIMEOUT), (2**62, MAX_USER_TIMEOUT)):
            with socket.socket() as connection:
                set_user_timeout(connection, seconds)
                held = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                self.assertEqual(held, milliseconds)
