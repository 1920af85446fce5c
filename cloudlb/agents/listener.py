"""The port that agents connect to, and connections that have not said yet who they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from cloudlb.config import ServerConfig
from cloudlb.metrics.meters import Meters
from cloudlb.net.half_open import HalfOpen
from cloudlb.net.handshakes import Handshakes
from cloudlb.net.in_order import InOrder
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.sparse_log import SparseLog
from cloudlb.wire import (
    Answer,
    BodyError,
    Command,
    Header,
    Link,
    Opaque,
    PeerCommand,
    StartupAnswer,
    StartupCommand,
    WireError,
    class_named,
    read_body,
    read_content,
    read_elements,
    read_header,
    response_flags,
    write_contents,
    write_packet,
)
from cloudlb.wire.link import Channel

MAX_INTRODUCTION = 2**18
"""Bytes of the first request's body, inflated. StartupCommands have a few thousand, ten times that with many GPUs."""
MAX_FIRST_MESSAGE = 2**16
"""Bytes of a message as it comes, until the agent has introduced itself: it is compressed from 8192 bytes on. So much
memory every stranger may take, up to the limits of half-open connections."""
MAX_IGNORED = 3
"""Messages before the first StartupCommand."""

Begin = Callable[[LinkProtocol, Header, Sequence[StartupCommand]], None]
BeginPeer = Callable[[LinkProtocol, Header, PeerCommand], None]


class Newcomer:
    """Owns a link until its agent introduces itself."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._deadline: IDelayedCall | None = None
        self._ignored = 0

    def link_established(self, link: LinkProtocol) -> None:
        """Give the agent time for its first StartupCommand."""
        self._listener.meters.handshakes.labels("ok").inc()
        timeout = self._listener.config.startup_timeout
        self._deadline = self._listener.clock.callLater(timeout, link.abort, f"no StartupCommand within {timeout} s")

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Begin with who introduces himself; throw away anything else [AgentManagerImpl], a few times.

        What does not parse is refused, so that the agent's operator learns why: the agent would only send it again.
        """
        try:
            header = read_header(message)
            commands = _introductions(read_body(message, header, MAX_INTRODUCTION)) if header.is_request else []
        except BodyError as error:
            link.send(_refusal(header, str(error)))
            link.close(str(error))
        except WireError as error:
            link.abort(str(error))
        else:
            if startups := [command for command in commands if isinstance(command, StartupCommand)]:
                self._leave(link)
                link.max_message = self._listener.config.max_message
                self._listener.begin(link, header, startups)
                return
            if peers := [command for command in commands if isinstance(command, PeerCommand)]:
                self._leave(link)
                self._listener.begin_peer(link, header, peers[0])
                return
            self._ignored += 1
            if self._ignored > MAX_IGNORED:
                link.abort(f"{self._ignored} messages and no StartupCommand among them")

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """It went without having said who it is: a probe, a failed handshake, an attacker."""
        self._leave(link)
        if not link.established:
            result = "timed_out" if link.overdue else "refused" if link.failure is not None else "abandoned"
            self._listener.meters.handshakes.labels(result).inc()
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
        self,
        config: ServerConfig,
        clock: IReactorTime,
        channel_factory: Callable[[], Channel],
        begin: Begin,
        half_open: HalfOpen,
        begin_peer: BeginPeer,
        meters: Meters,
    ) -> None:
        self.config = config
        self.meters = meters
        self.clock = clock
        self.begin = begin
        self.begin_peer = begin_peer
        self.half_open = half_open
        self.sparse_log = SparseLog(clock, self.log)
        self.newcomers = InOrder[LinkProtocol]()
        self._handshakes = Handshakes(clock, half_open)
        self._channel_factory = channel_factory

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        """Make the shell of one accepted connection; only TCP addresses have a host to count by."""
        link = LinkProtocol(
            Link(self._channel_factory(), min(MAX_FIRST_MESSAGE, self.config.max_message)),
            Newcomer(self),
            self.clock,
            handshake_timeout=self.config.handshake_timeout,
            handshakes=self._handshakes,
        )
        self.newcomers.add(link)
        self.half_open.add(link, getattr(addr, "host", ""))
        return link

    @property
    def waiting(self) -> int:
        """Steps of handshakes that wait for their turn."""
        return len(self._handshakes)

    def close(self) -> None:
        """Drop everyone who has not introduced themselves."""
        for link in list(self.newcomers):
            link.abort("the server is stopping")
        self._handshakes.stop()


def _introductions(body: bytes) -> list[Command | Answer | Opaque]:
    """Read what of a request says who sends it, and nothing else of it."""
    kinds = (StartupCommand, PeerCommand)
    return [
        read_content(element)
        for element in read_elements(body)
        if issubclass(class_named(element.wire_name) or Opaque, kinds)
    ]


def _refusal(request: Header, reason: str) -> bytes:
    return write_packet(
        sequence=request.sequence,
        server_id=-1,
        agent_id=request.agent_id,
        via=-1,
        flags=response_flags(request),
        body=write_contents([StartupAnswer(result=False, details=reason)]),
    )
