"""One link on a TCP connection: the thin shell around :class:`cloudlb.wire.link.Link`.

The link turns bytes into messages and back; this gives it a transport, deadlines and limits, and tells its owner.

Closing is a FIN after the last message, without TLS's close_notify, as CloudStack does it: every message carries its
own length, so a link that was cut loses whole messages at most, and an answer that never came is no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from socket import socket
from typing import Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cloudlb.net.handshakes import Handshakes, Place
from cloudlb.net.socket_options import acknowledge_now, set_user_timeout, socket_of
from cloudlb.wire.errors import LinkError
from cloudlb.wire.link import Channel, Link

MAX_UNSENT = 32 * 2**20
CLOSE_TIMEOUT = 10.0
"""Seconds that a peer has to read the rest of what was sent before a link was closed."""
LONGEST_HANDSHAKE = 3
"""A handshake ends after so many times its time-out, even if it was always the peer that waited."""
TURN = 0.02
"""Seconds that the messages of one read may take before other links have their turn."""


class LinkOwner(Protocol):
    """Whom a link tells what happens. An exception from it costs the link, and only that one."""

    def link_established(self, link: LinkProtocol) -> None:
        """The handshake is done: messages can be sent, the peer's certificate is known."""

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """A whole message came."""

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """The connection is gone, said once; also for one that was never established."""


class LinkTransport(ITCPTransport, IConsumer, IPushProducer):
    """What a link needs of its transport; Twisted's TCP connections are all of it."""


@implementer(IPushProducer)
class LinkProtocol(TwistedProtocol):
    """A link on a transport.

    While the peer does not read what is sent to it, the accepting side stops reading from it: who sends requests and
    never takes the answers fills its own buffers, not ours. The connecting side reads on, or else two ends with much
    to say to each other would wait for each other for ever.

    One read may bring a thousand messages. What they take longer than TURN is left for the reactor's next turns, and
    nothing is read meanwhile. What was received is told before the loss of the link, unless it was closed on this side.

    The steps of a handshake may have to wait for those of other links; a step is what whole records ask for, while a
    part of one is only kept. To wait takes nothing of the time that the peer has for it, up to LONGEST_HANDSHAKE, and
    no more is read from the peer meanwhile than two reads.
    """

    _log = Logger()
    transport: LinkTransport

    def __init__(
        self,
        link: Link,
        owner: LinkOwner,
        clock: IReactorTime,
        *,
        handshake_timeout: float,
        handshakes: Handshakes | None = None,
        user_timeout: float | None = None,
        max_unsent: int = MAX_UNSENT,
    ) -> None:
        """Prepare; the connection does the rest.

        Args:
            link: new, for this connection alone.
            owner: may be replaced at any time, through the attribute.
            clock: for the deadlines.
            handshake_timeout: seconds from the connection to the end of the handshake, without those of waiting for
                other links.
            handshakes: paces the handshakes of many links; None: this one's steps are taken as they come.
            user_timeout: seconds after which the kernel gives up a peer that acknowledges nothing; its own choice
                (about 15 minutes) if None.
            max_unsent: bytes that may wait for a peer that does not read; beyond them the link is aborted.
        """
        self.owner = owner
        self.peer_address = ""
        self.failure: LinkError | None = None
        """How the peer broke the link, if it was lost for that; some failures ask for another try, in another way."""
        self.overdue = False
        """Whether it was cut because the handshake took too long."""
        self._link = link
        self._clock = clock
        self._handshakes = handshakes
        self._place: Place | None = None
        self._early = b""
        self._handshake_timeout = handshake_timeout
        self._handshake_end = clock.seconds() + LONGEST_HANDSHAKE * handshake_timeout
        self._user_timeout = user_timeout
        self._max_unsent = max_unsent
        self._deadline: IDelayedCall | None = None
        self._established = False
        self._corked = False
        self._stalled = False
        self._reads_while_stalled = False
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._waiting: list[bytes] = []
        self._takes_turns = False
        self._closing = False
        self._lost = False
        self._socket: socket | None = None
        self._reason: str | None = None

    @property
    def established(self) -> bool:
        """Whether the owner was told so; stays true when the link is lost."""
        return self._established

    @property
    def closing(self) -> bool:
        """Whether it ends, or has ended: what is sent goes nowhere. The owner may not have been told so yet."""
        return self._closing

    @property
    def channel(self) -> Channel:
        """What seals the link; knows the peer's certificate."""
        return self._link.channel

    @property
    def max_message(self) -> int:
        """Bytes that one message of the peer may have; may be set at any time."""
        return self._link.max_message

    @max_message.setter
    def max_message(self, size: int) -> None:
        self._link.max_message = size

    @property
    def unsent(self) -> int:
        """Bytes that wait here for a peer that does not read; beyond ``max_unsent`` the link is aborted."""
        return self._unsent_size

    def send(self, message: bytes) -> None:
        """Send a message; one for a link that is closing or lost goes nowhere.

        Raises:
            RuntimeError: the link is not established yet.
        """
        if self._closing:
            return
        self._link.send_message(message)
        if not self._corked:
            self._flush()

    def close(self, reason: str = "closed") -> None:
        """Close after what was sent has been written, within CLOSE_TIMEOUT; nothing is received any more."""
        self._waiting.clear()
        if self._closing:
            return
        self._flush()
        if self._closing:
            return
        self._closing = True
        self._reason = reason
        self._set_deadline(CLOSE_TIMEOUT, self.transport.abortConnection)
        # A transport with a producer waits for it before it closes.
        self.transport.unregisterProducer()
        self.transport.writeSequence(self._unsent)
        self._unsent.clear()
        self.transport.loseConnection()

    def abort(self, reason: str) -> None:
        """Cut the connection at once, whatever is still unsent. The owner is told soon after."""
        self._waiting.clear()
        if self._lost:
            return
        self._closing = True
        self._reason = self._reason or reason
        self._unsent.clear()
        self.transport.abortConnection()

    def connectionMade(self) -> None:
        """Begin the handshake."""
        peer = self.transport.getPeer()
        self.peer_address = getattr(peer, "host", str(peer))
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._socket = socket_of(self.transport)
        if self._socket is not None and self._user_timeout is not None:
            set_user_timeout(self._socket, self._user_timeout)
        self._await_peer(self._handshake_timeout)
        self._link.start()
        first_flight = self._link.data_to_send()
        # In TLS the client speaks first.
        self._reads_while_stalled = bool(first_flight)
        self.transport.registerProducer(self, True)
        if first_flight:
            self.transport.write(first_flight)

    def dataReceived(self, data: bytes) -> None:
        """Hand over the messages that the data completes; their answers leave in one write."""
        if self._closing:
            return
        if self._handshakes is None or self._established:
            self._cork(self._receive, data)
        elif self._early:
            self._early += data
            self.transport.pauseProducing()
        elif self._link.completes_record(data):
            self._await_turn(self._handshakes, data)
        else:
            self._cork(self._receive, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner, once."""
        self._closing = self._lost = True
        self._clear_deadline()
        self._unsent.clear()
        self._early = b""
        self._socket = None
        if self._reason is None:
            clean = isinstance(reason.value, ConnectionDone)
            self._reason = "closed by the peer" if clean else "reset by the peer, or not acknowledged any more"
        if not self._takes_turns:
            self._tell(self.owner.link_lost, self._reason)

    def pauseProducing(self) -> None:
        """The peer does not read: keep what follows here, where it is counted."""
        self._stalled = True
        if not self._reads_while_stalled and not self._closing:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The peer has read everything so far."""
        if self._closing:
            return
        self._stalled = False
        unsent, self._unsent, self._unsent_size = self._unsent, [], 0
        self._read_on()
        self.transport.writeSequence(unsent)

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost follows."""

    def _await_peer(self, seconds: float) -> None:
        """Give the peer so long for what it has to say in the handshake."""
        self._set_deadline(seconds, self._time_out, f"{self._handshake_timeout:g} s")

    def _time_out(self, patience: str) -> None:
        self.overdue = True
        self.abort(f"handshake not finished within {patience}")

    def _await_turn(self, handshakes: Handshakes, data: bytes) -> None:
        """Have the step of the handshake taken that the data asks for."""
        assert self._deadline is not None, "a handshake without a deadline"
        now = self._clock.seconds()
        left = self._deadline.getTime() - now
        if left <= 0:
            # Its timer is late.
            self._time_out(f"{self._handshake_timeout:g} s")
            return
        if self._place is None:
            self._place = handshakes.place(self.peer_address)
        self._early = data
        longest = LONGEST_HANDSHAKE * self._handshake_timeout
        patience = f"{longest:g} s, in which it waited for others"
        self._set_deadline(max(0.0, self._handshake_end - now), self._time_out, patience)
        handshakes.add(self, self._place, partial(self._go_on, left))

    def _go_on(self, left: float) -> None:
        """Take the step of the handshake that has waited; the peer has some seconds left."""
        early, self._early = self._early, b""
        if self._closing:
            return
        self._await_peer(max(0.0, min(left, self._handshake_end - self._clock.seconds())))
        self._cork(self._receive, early)
        self._read_on()

    def _receive(self, data: bytes) -> None:
        try:
            messages = self._link.receive_data(data)
        except LinkError as error:
            self.failure = error
            # What TLS has to say about it goes out first.
            self.close(str(error))
            return
        # Until its ALPN has told, a peer may be CloudStack's, which writes a frame's header and record apart and has
        # Nagle hold the second back until the first is acknowledged.
        if self._socket is not None and not self._link.channel.is_cloudlb:
            acknowledge_now(self._socket)
        if self._link.established and not self._established:
            self._established = True
            self._clear_deadline()
            self._tell(self.owner.link_established)
        if self._closing:
            return
        if len(messages) == 1 and not self._takes_turns:
            self._tell(self.owner.message_received, messages[0])
        elif messages:
            self._waiting += messages
            if not self._takes_turns:
                self._hand_over()

    def _hand_over(self) -> None:
        """Tell the messages that wait, and take another turn if they take too long."""
        end = self._clock.seconds() + TURN
        while self._waiting:
            self._tell(self.owner.message_received, self._waiting.pop(0))
            if self._waiting and self._clock.seconds() >= end:
                self._takes_turns = True
                if not self._lost:
                    self.transport.pauseProducing()
                self._clock.callLater(0, self._take_turn)
                return

    def _take_turn(self) -> None:
        self._cork(self._hand_over)
        if self._waiting:
            return
        self._takes_turns = False
        if self._lost:
            self._tell(self.owner.link_lost, self._reason)
        else:
            self._read_on()

    def _read_on(self) -> None:
        """Read, unless there is a reason left not to."""
        stalled = self._stalled and not self._reads_while_stalled
        if not (self._closing or self._takes_turns or self._early or stalled):
            self.transport.resumeProducing()

    def _cork(self, receive: Callable[..., None], *arguments: object) -> None:
        """Have everything that is sent meanwhile leave in one write."""
        self._corked = True
        try:
            receive(*arguments)
        finally:
            self._corked = False
        if not self._closing:
            self._flush()

    def _tell(self, told: Callable[..., None], *arguments: object) -> None:
        try:
            told(self, *arguments)
        except Exception:  # noqa: BLE001 - whatever it is, it must not reach the reactor and other links
            self._log.failure("The link to {peer} is cut for a fault of our own", peer=self.peer_address)
            self.abort("internal error")

    def _flush(self) -> None:
        data = self._link.data_to_send()
        if not data:
            return
        if not self._stalled:
            self.transport.write(data)
            return
        self._unsent.append(data)
        self._unsent_size += len(data)
        if self._unsent_size > self._max_unsent:
            self.abort(f"the peer does not read: {self._unsent_size} bytes wait for it")

    def _set_deadline(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        self._clear_deadline()
        self._deadline = self._clock.callLater(seconds, call, *arguments)

    def _clear_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
