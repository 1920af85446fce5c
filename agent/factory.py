"""How an agent that has no server gets one: by walking down its list.

Twisted's ReconnectingClientFactory keeps trying one address, with a delay of its own making. Here :meth:`retry` asks
:class:`agent.hosts.Hosts` for the next address and the pause, and none of the class's delay arithmetic is used:
``resetDelay`` would forget a pending attempt without cancelling it, and ``delay`` drifts past ``maxDelay``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ReconnectingClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from agent.hosts import Hosts
from cloudlb.net.link_protocol import LinkProtocol

CONNECT_TIMEOUT = 5.0
"""Seconds for the TCP connection, so that a server that vanished without a word is passed quickly."""


class AgentFactory(ReconnectingClientFactory):
    """Connects to one server after another; whoever gets the link says when to go on."""

    log = Logger()
    noisy = False

    def __init__(
        self,
        reactor: Any,
        hosts: Hosts,
        port: int,
        open_link: Callable[[str], LinkProtocol],
    ) -> None:
        """Prepare; :meth:`retry` begins.

        Args:
            reactor: IReactorTCP and IReactorTime.
            hosts: says where to.
            port: of every server.
            open_link: makes the protocol for a connection to an address.
        """
        self.clock = reactor
        self._reactor = reactor
        self._hosts = hosts
        self._port = port
        self._open_link = open_link
        self._address = ""

    def retry(self, connector: IConnector | None = None) -> None:
        """Connect to the next server, after the pause that is due. Does nothing while an attempt is pending."""
        if not self.continueTrying or self._callID is not None:
            return
        step = self._hosts.next(self._reactor.seconds())
        if step.delay:
            self.log.info("Trying {server} in {delay:.1f} s", server=step.address, delay=step.delay)
        self._callID = self._reactor.callLater(step.delay, self._connect, step.address)

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        """Make the protocol of the connection that has come about."""
        return self._open_link(self._address)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """Go on to the next server."""
        self.log.info("Cannot connect to {server}: {reason}", server=self._address, reason=reason.getErrorMessage())
        self.retry()

    def clientConnectionLost(self, connector: IConnector, unused_reason: Failure) -> None:
        """Leave it to the session, which knows whether it was lost or left."""

    def _connect(self, address: str) -> None:
        self._callID = None
        self._address = address
        self.connector = self._reactor.connectTCP(address, self._port, self, timeout=CONNECT_TIMEOUT)
