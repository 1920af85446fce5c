"""Make before break: another server takes the host first, and only then is the old link given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from twisted.internet.error import NotConnectingError
from twisted.internet.interfaces import IAddress, IConnector, IReactorTCP
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from agent.factory import CONNECT_TIMEOUT
from agent.session import Session
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.sparse_log import SparseLog

CANNOT_MOVE = "Cannot move to {server}: {reason}"
"""What the log says of every attempt in vain."""


class Move(ClientFactory):
    """Tries servers in order, one connection each, until one of them has taken the host or none is left."""

    noisy = False

    def __init__(
        self,
        reactor: IReactorTCP,
        port: int,
        candidates: Iterable[str],
        open_session: Callable[[str], Session],
        failed: Callable[[], None],
        log: SparseLog,
    ) -> None:
        """Prepare; :meth:`next` begins.

        Args:
            reactor: connects.
            port: of every server.
            candidates: addresses in order.
            open_session: makes the session, with its link, for a connection to an address.
            failed: called when no candidate is left.
            log: takes what went wrong.
        """
        self.session: Session | None = None
        """The session with the server that is being tried."""
        self._reactor = reactor
        self._port = port
        self._candidates = deque(candidates)
        self._open_session = open_session
        self._failed = failed
        self._log = log
        self._address = ""
        self._connector: IConnector | None = None

    def next(self) -> None:
        """Try the next server."""
        self.session = None
        if not self._candidates:
            self._failed()
            return
        self._address = self._candidates.popleft()
        self._connector = self._reactor.connectTCP(self._address, self._port, self, timeout=CONNECT_TIMEOUT)

    def redirect(self, candidates: Iterable[str]) -> None:
        """Go on with other servers if the one that is being tried does not take the host."""
        self._candidates = deque(candidates)

    def again(self) -> None:
        """Try the same server once more."""
        self._candidates.appendleft(self._address)
        self.next()

    def cancel(self) -> None:
        """Give up; nobody is told."""
        session, self.session = self.session, None
        if session is not None:
            session.link.abort("not needed any more")
        elif self._connector is not None:
            connector, self._connector = self._connector, None
            with suppress(NotConnectingError):
                connector.stopConnecting()

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        """Make the protocol of the connection that has come about."""
        self.session = self._open_session(self._address)
        return self.session.link

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """Try the next server, unless this is the end of a cancelled attempt."""
        if connector is self._connector:
            self._log.info(CANNOT_MOVE, server=self._address, reason=reason.getErrorMessage())
            self.next()
