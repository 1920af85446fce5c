"""What other servers ask of this one: to take their requests to the hosts that are here.

Of a request only the header is read. It goes to its host as it came, in the order and within the limits of all that go
there, and the response goes back as it is. Where there will be none, a NoAnswer says why; it carries the flag CONTROL,
which no host's response does.

A server whose link is gone waits for nothing any more. What has not been sent to a host by then is not sent; what has
ends as it does, and the host's agent tells of it with its pings (:mod:`cloudlb.agents.reconciliation`).
"""

from __future__ import annotations

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import Directory
from cloudlb.agents.errors import AgentBusy, AgentUnavailable, CommandError, LinkLost
from cloudlb.agents.sender import MAX_TIMEOUT
from cloudlb.cluster.membership import Membership
from cloudlb.cluster.peer_trust import PeerTrust
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId, Server, ServerId
from cloudlb.domain.server_state import ServerState
from cloudlb.net.certificate_names import CertificateMismatch
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.sparse_log import SparseLog
from cloudlb.wire import (
    Answer,
    CancelCommand,
    Flag,
    Header,
    NoAnswer,
    PacketError,
    PeerAnswer,
    PeerCommand,
    WireError,
    read_body,
    read_contents,
    read_header,
    response_flags,
    with_header,
    write_contents,
    write_packet,
)

MAX_UNDER_WAY = 10_000
"""Requests of one server."""
MAX_BYTES = 64 * 2**20
"""Of those requests, as they came: as long as they wait for their turns they are kept."""
MAX_CONTROL = 2**16
"""Bytes of what one server tells another for itself."""
NOT_HERE = AgentUnavailable.__name__
"""The error that says that a host is not here, and that nothing was sent to it: it may be elsewhere."""


@frozen
class _Relay:
    """One request, until its end."""

    attache: Attache
    packet_size: int
    ended: Deferred[bytes]


@define(eq=False)
class Peer:
    """Another server, on the link that it has made."""

    relays: Relays
    server: Server
    """Its row; the run id is that which it has told."""
    link: LinkProtocol
    under_way: dict[int, _Relay] = field(factory=dict)
    """By the other server's sequences."""
    size: int = 0
    """Bytes of their packets."""

    def link_established(self, link: LinkProtocol) -> None:
        """Never: the link was established before the server introduced itself."""
        raise AssertionError("the link of a server that has introduced itself is established")

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Take a request to its host, or call one off."""
        try:
            header = read_header(message)
            if not header.is_request:
                raise PacketError("a response to nothing")
            if Flag.CONTROL in header.flags:
                self._control(header, message)
            elif header.sequence in self.under_way:
                raise PacketError(f"request {header.sequence} is under way already")
            else:
                self._relay(header, message)
        except WireError as error:
            link.abort(str(error))

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Nobody waits any more."""
        self.relays.left(self, reason)
        under_way, self.under_way, self.size = self.under_way, {}, 0
        for relay in under_way.values():
            relay.attache.withdraw(relay.ended)

    def _control(self, header: Header, message: bytes) -> None:
        for command in read_contents(read_body(message, header, MAX_CONTROL)):
            if isinstance(command, CancelCommand) and (relay := self.under_way.get(command.sequence)) is not None:
                relay.ended.cancel()

    def _relay(self, header: Header, message: bytes) -> None:
        host_id = HostId(header.agent_id)
        if self.relays.cut_off:
            why = f"this server may have been called Down: whether host {host_id} is still on it is not known"
            self._fail(header, AgentUnavailable(why), told_later=False)
            return
        attache = self.relays.directory.get(host_id)
        if attache is None or not attache.owns_host:
            self._fail(header, AgentUnavailable(f"host {host_id} is not on this server"), told_later=False)
            return
        if attache.host.status is not HostStatus.UP:
            why = f"host {attache.host.facts.name} is not Up yet: it is {attache.host.status.value}"
            self._fail(header, AgentUnavailable(why), told_later=False)
            return
        if len(self.under_way) >= MAX_UNDER_WAY or self.size + len(message) > MAX_BYTES:
            busy = AgentBusy(f"its server is busy: {len(self.under_way)} requests of {self.server.name} are under way")
            self._fail(header, busy, told_later=False)
            return
        timeout = min(max(header.via, 1) / 1000, float(MAX_TIMEOUT))
        ended = attache.relay(message, header, timeout=timeout)
        self.under_way[header.sequence] = _Relay(attache, len(message), ended)
        self.size += len(message)
        ended.addCallbacks(self._returned, self._failed, (header,), {}, (header, attache.journals), {})

    def _returned(self, response: bytes, request: Header) -> None:
        if not self._forget(request):
            return
        theirs = read_header(response)
        header = evolve(
            theirs, sequence=request.sequence, server_id=request.server_id, flags=theirs.flags & ~Flag.CONTROL
        )
        self.link.send(with_header(response, header))

    def _failed(self, failure: Failure, request: Header, told_later: bool) -> None:
        if not self._forget(request):
            return
        error = failure.value
        if not isinstance(error, CommandError):
            self.relays.log.failure("Failed to relay a request of {name}", failure, name=self.server.name)
            error = LinkLost(f"its server has failed to send it: {error}")
        self._fail(request, error, told_later=told_later)

    def _forget(self, request: Header) -> bool:
        """Take a request to have ended; whether the other server waits for that."""
        relay = self.under_way.pop(request.sequence, None)
        self.size -= relay.packet_size if relay is not None else 0
        return relay is not None

    def _fail(self, request: Header, error: CommandError, *, told_later: bool) -> None:
        # Of those that were not sent the kind does not matter; they may go elsewhere.
        elsewhere = isinstance(error, AgentUnavailable) and not isinstance(error, AgentBusy | LinkLost)
        name = NOT_HERE if elsewhere else type(error).__name__
        said = NoAnswer(result=False, details=str(error), error=name, told_later=told_later)
        self.link.send(_response(request, said))


class Relays:
    """The servers that have links to this one."""

    log = Logger()

    def __init__(
        self,
        membership: Membership,
        directory: Directory,
        trust: PeerTrust,
        clock: IReactorTime,
        *,
        max_message: int,
    ) -> None:
        self.directory = directory
        self._membership = membership
        self._trust = trust
        self._max_message = max_message
        self._sparse_log = SparseLog(clock, self.log)
        self._peers: dict[ServerId, Peer] = {}
        membership.observe(self._look)

    def __len__(self) -> int:
        """How many servers have a link to this one."""
        return len(self._peers)

    @property
    def cut_off(self) -> bool:
        """Whether hosts of this server may be elsewhere, and have got there what was asked for after what is read now.

        A server that stood still reads what was sent to it meanwhile before it learns anything else.
        """
        return self._membership.cut_off

    def begin(self, link: LinkProtocol, header: Header, command: PeerCommand) -> None:
        """Take over a link whose other end says that it is a server, if it is."""
        server_id = ServerId(command.server_id)
        try:
            server = self._server(link, command)
        except CertificateMismatch as error:
            self._sparse_log.info(
                "{peer} says that it is server {id}, and is refused: {error}",
                peer=link.peer_address,
                id=server_id,
                error=error,
            )
            link.send(_response(header, PeerAnswer(result=False, details=str(error))))
            link.close(str(error))
            return
        if (before := self._peers.get(server_id)) is not None:
            before.link.abort("the server has made a newer link")
        link.max_message = self._max_message
        link.owner = self._peers[server_id] = Peer(self, server, link)
        link.send(_response(header, PeerAnswer(run_id=self._membership.own.run_id)))
        self.log.info("Server {name} has a link to this one", name=server.name)

    def stop(self) -> None:
        """Close all links, once what they were told has been written."""
        for peer in list(self._peers.values()):
            peer.link.close("the server is stopping")

    def left(self, peer: Peer, reason: str) -> None:
        """The link of a server is gone."""
        if self._peers.get(peer.server.id) is peer:
            del self._peers[peer.server.id]
            self.log.info("Server {name} has lost its link to this one: {reason}", name=peer.server.name, reason=reason)

    def _server(self, link: LinkProtocol, command: PeerCommand) -> Server:
        """Whom the other end has shown to be; CertificateMismatch says why it is not who it says."""
        own = self._membership.own
        if command.to_server_id != own.id:
            raise CertificateMismatch(f"server {command.to_server_id} is meant, and this is {own.id}")
        server = self._membership.peer(ServerId(command.server_id))
        if server is None or server.id == own.id:
            raise CertificateMismatch("this server knows of no such other server, or not yet")
        if command.run_id < server.run_id:
            raise CertificateMismatch("it has been started again since")
        self._trust.check(link.channel.peer_certificate, server)
        return evolve(server, run_id=command.run_id)

    def _look(self) -> None:
        """Somebody came up, went down, or was started again."""
        for server_id, peer in list(self._peers.items()):
            row = self._membership.peer(server_id)
            if row is None or (row.state is ServerState.DOWN and row.run_id >= peer.server.run_id):
                peer.link.abort(f"server {peer.server.name} is Down")
            elif row.run_id > peer.server.run_id:
                peer.link.abort(f"server {peer.server.name} was started again")


def _response(request: Header, answer: Answer) -> bytes:
    return write_packet(
        sequence=request.sequence,
        server_id=request.server_id,
        agent_id=request.agent_id,
        via=-1,
        flags=response_flags(request) | Flag.CONTROL,
        body=write_contents([answer]),
    )
