"""Links to other servers, by which requests go to the hosts that they have.

A link is opened when something is to go there first, to the port that agents connect to, and kept. It is closed when
the server is Down, or a later life of it is known: what was asked on it will not be answered. After a failure the next
attempt waits, longer and longer; who wants the server meanwhile is told so at once.

Requests go out on a link and responses come back; what the other server asks comes on a link of its own making
(:mod:`.relays`).
"""

from __future__ import annotations

import random
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.agents.errors import AgentBusy, CommandCancelled, LinkLost
from cloudlb.cluster.membership import Membership
from cloudlb.cluster.peer_trust import PeerTrust
from cloudlb.domain.models import Server, ServerId
from cloudlb.domain.server_state import ServerState
from cloudlb.net.certificate_names import CertificateMismatch
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.wire import (
    Answer,
    CancelCommand,
    Flag,
    Link,
    PacketError,
    PeerAnswer,
    PeerCommand,
    WireError,
    attache_sequence,
    read_body,
    read_contents,
    read_header,
    with_header,
    write_contents,
    write_packet,
)

CONNECT_TIMEOUT = 5.0
"""Seconds for the TCP connection, and as many for the introduction."""
USER_TIMEOUT = 15.0
"""Seconds after which the kernel gives up a server that acknowledges nothing."""
MAX_UNDER_WAY = 10_000
"""Requests on one link; the other server takes as many."""
MAX_UNSENT = 8 * 2**20
"""Bytes that wait for a server that does not read; one message may go beyond it."""
MAX_INTRODUCTION = 2**16
"""Bytes of the answer to the introduction."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds at most between two attempts, doubled with each that fails."""

_NO_SEQUENCE = -1


class NotReached(Exception):
    """There is no link to a server, so nothing was sent; the message says why."""


class PeerLink:
    """A link to one life of one server."""

    log = Logger()

    def __init__(self, links: PeerLinks, peer: Server) -> None:
        self.peer = peer
        """The server's row; the run id is that which it has told."""
        self.ready = False
        self.lost: str | None = None
        """Why it is gone."""
        self._links = links
        self._waiting: list[Deferred[PeerLink]] = []
        self._under_way: dict[int, Deferred[bytes]] = {}
        self._sequence = attache_sequence(links.rng)
        self._link: LinkProtocol | None = None
        self._connector: IConnector | None = None
        self._deadline: IDelayedCall | None = None

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._under_way)

    def connect(self) -> None:
        """Begin."""
        peer = self.peer
        self._connector = self._links.reactor.connectTCP(
            peer.address, peer.port, _Connecting(self), timeout=CONNECT_TIMEOUT
        )

    def reached(self) -> Deferred[PeerLink]:
        """Fires with this link when requests may go on it, or fails with NotReached. It may be cancelled."""
        if self.ready:
            return succeed(self)
        waiter: Deferred[PeerLink] = Deferred()
        self._waiting.append(waiter)
        return waiter

    def ask(self, packet: bytes, *, timeout: float) -> Deferred[bytes]:
        """Send a request; who asks sees to the time-out, and cancels.

        Args:
            packet: for a host of that server, of any sequence.
            timeout: seconds that the server is told.

        Returns:
            The response, or an AgentBusy (nothing was sent) or LinkLost. Cancelled, the request is called off.

        Raises:
            NotReached: the link is gone, or going; nothing was sent.
        """
        if self._link is None or self.lost is not None or self._link.closing:
            reason = "there is no link yet" if self._link is None else "the link is about to end"
            raise NotReached(self.lost or reason)
        if len(self._under_way) >= MAX_UNDER_WAY or self._link.unsent > MAX_UNSENT:
            busy = f"server {self.peer.name} is busy: {len(self._under_way)} requests to it are under way, and "
            return fail(AgentBusy(f"{busy}{self._link.unsent} bytes wait for it"))
        sequence = self._next_sequence()
        header = evolve(
            read_header(packet), sequence=sequence, server_id=self._links.server_id, via=max(1, int(timeout * 1000))
        )
        waiter: Deferred[bytes] = Deferred(lambda _: self._cancelled(sequence, header.agent_id))
        self._under_way[sequence] = waiter
        self._link.send(with_header(packet, header))
        return waiter

    def close(self, reason: str) -> None:
        """Give the link up; what is under way fails."""
        if self._link is not None:
            self._link.abort(reason)
        elif self._connector is not None:
            self._connector.disconnect()
        self.end(reason)

    def end(self, reason: str) -> None:
        """Take it that the link is gone."""
        if self.lost is not None:
            return
        self.lost = reason
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._links.ended(self)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(NotReached(f"server {self.peer.name} cannot be reached: {reason}"))
        under_way, self._under_way = self._under_way, {}
        for asked in under_way.values():
            # What one end leads to may have cancelled another.
            if not asked.called:
                asked.errback(LinkLost(f"the link to server {self.peer.name}, which has the host, was lost: {reason}"))

    def protocol(self) -> LinkProtocol:
        """Make the shell of the connection that has come about."""
        links = self._links
        self._link = LinkProtocol(
            Link(links.trust.channel(), MAX_INTRODUCTION),
            self,
            links.reactor,
            handshake_timeout=links.handshake_timeout,
            user_timeout=USER_TIMEOUT,
        )
        return self._link

    # What the link says.

    def link_established(self, link: LinkProtocol) -> None:
        """See who is there, and introduce this server."""
        try:
            self._links.trust.check(link.channel.peer_certificate, self.peer)
        except CertificateMismatch as error:
            link.abort(str(error))
            return
        self._deadline = self._links.reactor.callLater(
            CONNECT_TIMEOUT, link.abort, f"no answer to the introduction within {CONNECT_TIMEOUT:g} s"
        )
        introduction = PeerCommand(
            server_id=self._links.server_id, run_id=self._links.run_id, to_server_id=self.peer.id
        )
        link.send(self._own_packet(introduction, agent_id=-1))

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Take the answer to the introduction, and then responses for who waits."""
        try:
            header = read_header(message)
            if header.is_request:
                raise PacketError("a request where responses were expected")
            if not self.ready:
                self._introduced(link, message)
            elif (waiter := self._under_way.pop(header.sequence, None)) is not None:
                waiter.callback(message)
        except WireError as error:
            link.abort(str(error))

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Fail everything that waits."""
        self.end(reason)

    def _introduced(self, link: LinkProtocol, message: bytes) -> None:
        contents = read_contents(read_body(message, read_header(message), MAX_INTRODUCTION))
        answer = contents[0] if contents else None
        if not isinstance(answer, PeerAnswer) or not answer.result:
            link.abort(f"it refuses: {answer.details if isinstance(answer, Answer) else 'without a reason'}")
            return
        assert self._deadline is not None, "nobody has introduced himself"
        self._deadline.cancel()
        link.max_message = self._links.max_message
        # The row may still have been that of an earlier life.
        self.peer = evolve(self.peer, run_id=answer.run_id)
        self.ready = True
        self._links.introduced(self)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(self)

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _cancelled(self, sequence: int, agent_id: int) -> None:
        waiter = self._under_way.pop(sequence, None)
        if waiter is None or self._link is None:
            return
        self._link.send(self._own_packet(CancelCommand(sequence=sequence, reason="cancelled"), agent_id=agent_id))
        waiter.errback(CommandCancelled("it was cancelled"))

    def _own_packet(self, command: PeerCommand | CancelCommand, *, agent_id: int) -> bytes:
        return write_packet(
            sequence=_NO_SEQUENCE,
            server_id=self._links.server_id,
            agent_id=agent_id,
            via=-1,
            flags=Flag.REQUEST | Flag.FROM_SERVER | Flag.CONTROL,
            body=write_contents([command]),
        )


class _Connecting(ClientFactory):
    """One attempt at a connection."""

    noisy = False

    def __init__(self, link: PeerLink) -> None:
        self._link = link

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        """Make the protocol of the connection that has come about."""
        return self._link.protocol()

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """Nobody is there."""
        self._link.end(reason.getErrorMessage())


@define
class _Failures:
    """Attempts at one server that came to nothing, in a row."""

    pause: float
    until: float
    reason: str


class PeerLinks:
    """This server's links to the others."""

    log = Logger()

    def __init__(
        self,
        membership: Membership,
        trust: PeerTrust,
        reactor: Any,
        rng: random.Random,
        *,
        handshake_timeout: float,
        max_message: int,
    ) -> None:
        """Prepare.

        Args:
            membership: knows where servers are, and which live.
            trust: makes the links, and checks who is there.
            reactor: IReactorTCP and IReactorTime.
            rng: spreads attempts, and begins sequences.
            handshake_timeout: seconds.
            max_message: bytes of a response.
        """
        self.trust = trust
        self.reactor = reactor
        self.rng = rng
        self.handshake_timeout = handshake_timeout
        self.max_message = max_message
        self._membership = membership
        self._links: dict[ServerId, PeerLink] = {}
        self._failures: dict[ServerId, _Failures] = {}
        membership.observe(self._look)

    def __len__(self) -> int:
        """How many links there are, and attempts at one."""
        return len(self._links)

    @property
    def server_id(self) -> ServerId:
        """This server."""
        return self._membership.own.id

    @property
    def run_id(self) -> int:
        """Which of its lives this is."""
        return self._membership.own.run_id

    def reach(self, server_id: ServerId) -> Deferred[PeerLink]:
        """Find or open the link to a server; fails with NotReached. It may be cancelled."""
        peer = self._membership.peer(server_id)
        if peer is None:
            return fail(NotReached(f"no server has the id {server_id}, or it has come just now"))
        if peer.state is ServerState.DOWN:
            return fail(NotReached(f"server {peer.name} is Down"))
        link = self._links.get(server_id)
        if link is None:
            failures = self._failures.get(server_id)
            if failures is not None and self.reactor.seconds() < failures.until:
                return fail(NotReached(f"server {peer.name} cannot be reached: {failures.reason}"))
            link = self._links[server_id] = PeerLink(self, peer)
            reached = link.reached()
            link.connect()
            return reached
        return link.reached()

    def stop(self) -> None:
        """Close them all."""
        for link in list(self._links.values()):
            link.close("the server is stopping")

    # What a link tells.

    def introduced(self, link: PeerLink) -> None:
        """The other server has taken the introduction."""
        self._failures.pop(link.peer.id, None)
        self.log.info("There is a link to server {name}", name=link.peer.name)

    def ended(self, link: PeerLink) -> None:
        """A link is gone, or did not come about."""
        del self._links[link.peer.id]
        before = self._failures.get(link.peer.id)
        pause = FIRST_PAUSE if before is None else min(2 * before.pause, LONGEST_PAUSE)
        until = self.reactor.seconds() + self.rng.uniform(pause / 2, pause)
        self._failures[link.peer.id] = _Failures(pause, until, link.lost or "")
        self.log.info("The link to server {name} is gone: {reason}", name=link.peer.name, reason=link.lost)

    def _look(self) -> None:
        """Somebody came up, went down, or was started again."""
        for server_id, link in list(self._links.items()):
            peer = self._membership.peer(server_id)
            if peer is None or peer.state is ServerState.DOWN:
                link.close(f"server {link.peer.name} is Down")
            elif link.ready and peer.run_id > link.peer.run_id:
                link.close(f"server {link.peer.name} was started again")
                self._failures.pop(server_id, None)
