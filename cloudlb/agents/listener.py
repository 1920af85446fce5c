"""The port that agents connect to, and connections that have not said yet who they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from cloudlb.config import ServerConfig
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.sparse_log import SparseLog
from cloudlb.wire import (
    Header,
    Link,
    StartupCommand,
    WireError,
    read_body,
    read_contents,
    read_header,
)
from cloudlb.wire.link import Channel

MAX_INTRODUCTION = 2**20
"""Bytes of the first message, inflated: StartupCommands have a few thousand, and a stranger may send it."""

Begin = Callable[[LinkProtocol, Header, Sequence[StartupCommand]], None]


class Newcomer:
    """Owns a link until its agent introduces itself."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._deadline: IDelayedCall | None = None

    def link_established(self, link: LinkProtocol) -> None:
        """Give the agent time for its first StartupCommand."""
        timeout = self._listener.config.startup_timeout
        self._deadline = self._listener.clock.callLater(timeout, link.abort, f"no StartupCommand within {timeout} s")

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Begin the admission with the first StartupCommands; throw away anything else [AgentManagerImpl]."""
        try:
            header = read_header(message)
            if not header.is_request:
                return
            contents = read_contents(read_body(message, header, MAX_INTRODUCTION))
        except WireError as error:
            link.abort(str(error))
            return
        startups = [content for content in contents if isinstance(content, StartupCommand)]
        if startups:
            self._leave(link)
            self._listener.begin(link, header, startups)

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """It went without having said who it is: a probe, a failed handshake, an attacker."""
        self._leave(link)
        # A bare connect and close is how CloudStack's agents look whether a server is there.
        if link.established or reason != "closed by the peer":
            self._listener.sparse_log.info("{peer} was not admitted: {reason}", peer=link.peer_address, reason=reason)

    def _leave(self, link: LinkProtocol) -> None:
        self._listener.half_open.remove(link)
        self._listener.newcomers.discard(link)
        if self._deadline is not None:
            if self._deadline.active():
                self._deadline.cancel()
            self._deadline = None


class Listener(ServerFactory):
    """Accepts agents, within limits on those that have not introduced themselves."""

    noisy = False
    log = Logger()

    def __init__(
        self, config: ServerConfig, clock: IReactorTime, channel_factory: Callable[[], Channel], begin: Begin
    ) -> None:
        self.config = config
        self.clock = clock
        self.begin = begin
        self.half_open = HalfOpen(clock, config.max_half_open, config.max_half_open_per_address)
        self.sparse_log = SparseLog(clock, self.log)
        self.newcomers: set[LinkProtocol] = set()
        self._channel_factory = channel_factory

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        """Make the shell of one accepted connection; only TCP addresses have a host to count by."""
        link = LinkProtocol(
            Link(self._channel_factory(), self.config.max_message),
            Newcomer(self),
            self.clock,
            handshake_timeout=self.config.handshake_timeout,
        )
        self.newcomers.add(link)
        self.half_open.add(link, getattr(addr, "host", ""))
        return link

    def close(self) -> None:
        """Drop everyone who has not introduced themselves."""
        for link in list(self.newcomers):
            link.abort("the server is stopping")
