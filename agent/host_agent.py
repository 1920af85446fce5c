"""The agent of one host: which session is in charge, and what becomes of it.

At most one session is in charge. While there is none, the factory walks down the list; while it is up, a move may try
other servers, and the session that it brings up takes over. The old one then answers what is under way on it and goes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from agent.config import HOST, SEEN, AgentConfig
from agent.factory import AgentFactory
from agent.hosts import Hosts
from agent.move import CANNOT_MOVE, Move
from agent.packets import NOBODY
from agent.placement import Placement
from agent.preferred import PreferredCheck
from agent.properties import AgentProperties
from agent.session import MAX_MESSAGE, PING_INTERVAL, Session
from agent.session_owner import Phase
from cloudlb import __version__
from cloudlb.domain.host_list import HostList
from cloudlb.net.in_order import InOrder
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.sparse_log import SparseLog
from cloudlb.net.spawn import spawn
from cloudlb.resource.dispatch import Dispatch
from cloudlb.resource.interface import PingCommand, ServerResource, StartupCommand
from cloudlb.resource.journal import Journal
from cloudlb.wire import Answer, Command, Opaque, ShutdownCommand
from cloudlb.wire.link import Channel, Link
from cloudlb.wire.tls_channel import TlsChannel

STOP_TIMEOUT = 5.0
"""Seconds that requests under way have to be answered when the agent stops."""
PATIENCE = 60.0
"""Seconds that a server may be silent before it admits the host; a busy one holds agents back rather than turn them
away."""
SHORT_PATIENCE = 15.0
"""The same, and for the TLS handshake too, while other servers stand by."""
SHORTEST_PATIENCE = 5.0
"""The same in a move, where one ping interval is enough, if it is not shorter than this."""
SIG_KILL = "sig.kill"
"""The reason of a stop on request [ShutdownCommand.Requested]."""

ChannelFactory = Callable[[str, bool], Channel]
"""Makes the client's end of a link, given the server's address and whether it needs TLS 1.2."""


class HostAgent:
    """Owner of the sessions."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: AgentConfig,
        properties: AgentProperties,
        resource: ServerResource,
        dispatch: Dispatch,
        journal: Journal,
        channel_factory: ChannelFactory,
        rng: random.Random,
    ) -> None:
        """Prepare; :meth:`start` begins.

        Args:
            reactor: IReactorTCP and IReactorTime.
            config: from agent.properties.
            properties: the same file, to write lists to.
            resource: configured.
            dispatch: carries requests to it.
            journal: the dispatch's own, of which pings tell.
            channel_factory: TLS, or none in tests.
            rng: for pauses, and for the first pings and checks.
        """
        self.session: Session | None = None
        """The session in charge, which may still be connecting."""
        self._who = f"{config.name} ({config.guid})"
        self._reactor = reactor
        self._config = config
        self._properties = properties
        self._resource = resource
        self._dispatch = dispatch
        self._journal = journal
        self._channel_factory = channel_factory
        self._rng = rng
        self._hosts = Hosts(config.hosts, rng, base=config.backoff, bound=config.max_backoff, seen=config.seen)
        self._preferred = PreferredCheck(reactor, rng, config.check_interval, self.check_preferred)
        self._factory = AgentFactory(reactor, self._hosts, config.port, self._open_in_charge)
        self._host_id = NOBODY
        self._move: Move | None = None
        self._needs_tls12: set[str] = set()
        self._sessions = InOrder[Session]()
        # What a server can have the agent do as often as it likes.
        self._new_lists, self._moves_asked_for, self._moves_in_vain = (SparseLog(reactor, self._log) for _ in range(3))
        self._stopped: Deferred[None] | None = None
        self._stop_deadline: IDelayedCall | None = None

    def start(self) -> None:
        """Look for a server."""
        self._log.info("{who} looks for a server: {hosts}", who=self._who, hosts=str(self._hosts.current))
        self._factory.retry()
        self._recall()

    def stop(self) -> Deferred[None]:
        """Say good-bye; fires when every link is gone, within a bounded time."""
        self._stop_looking()
        if not self._sessions:
            return succeed(None)
        self._stopped = Deferred()
        self._stop_deadline = self._reactor.callLater(STOP_TIMEOUT, self._hurry)
        for session in list(self._sessions):
            if session is self.session:
                session.leave(ShutdownCommand(reason=SIG_KILL))
            elif session.phase is Phase.LEAVING:
                session.leave()
        return self._stopped

    # What sessions tell; see SessionOwner.

    def startups(self, session: Session) -> Sequence[StartupCommand]:
        """What to introduce the host with."""
        config = self._config
        resource_name = type(self._resource).__name__
        return [
            evolve(
                command,
                guid=f"{config.guid}-{resource_name}",
                resource_name=resource_name,
                name=config.name,
                data_center=config.zone,
                pod=config.pod,
                cluster=config.cluster,
                version=__version__,
                host_id=None if session.host_id == NOBODY else session.host_id,
                private_ip_address=command.private_ip_address or session.local_address,
                ms_host_list=str(self._hosts.current),
                connection_transferred=session.transferred,
            )
            for command in self._resource.startup()
        ]

    def ping(self, session: Session) -> PingCommand:
        """The next ping: the resource's, or a bare one, since the agent is alive even if the resource is not well.

        To the server in charge, if it is one of ours, it tells what the journal holds, and how long the ping before
        took; CloudStack's would only look for commands of its own in the former.
        """
        try:
            ping = self._resource.ping(session.host_id)
        except Exception:  # noqa: BLE001 - a resource must not cost the host its server
            self._log.failure("The resource of {name} cannot say how the host is", name=self._config.name)
            ping = PingCommand(host_type="Routing", host_id=session.host_id)
        if self._journal.unread:
            self._recall()
        if session is not self.session or not session.is_cloudlb:
            return ping
        return evolve(ping, command_infos=self._journal.infos(), round_trip=session.take_round_trip())

    def execute(
        self,
        contents: Sequence[Command | Answer | Opaque],
        *,
        sequence: int,
        in_sequence: bool,
        stop_on_error: bool,
    ) -> Deferred[list[Answer]]:
        """Carry out a request."""
        return self._dispatch.execute(contents, sequence=sequence, in_sequence=in_sequence, stop_on_error=stop_on_error)

    def unanswered(self) -> None:
        """Tell the server of the moment what became of commands of another session."""
        session = self._movable()
        if session is not None and session.is_cloudlb and self._journal.untold:
            session.tell()

    def acknowledged(self, session: Session, ids: Sequence[str]) -> None:
        """Forget what a server of ours has heard; CloudStack's means other things by it."""
        if session.is_cloudlb:
            self._journal.acknowledge(ids)

    def session_up(self, session: Session) -> None:
        """Take the host there, and let go of the server that it was on."""
        if self._move is not None and session is self._move.session:
            self._move = None
            left, self.session = self.session, session
            if left is not None:
                self._log.info("{who} moves from {old} to {new}", who=self._who, old=left.address, new=session.address)
                left.give_up()
        self._host_id = session.host_id
        self._hosts.worked(session.address)
        self._log.info(
            "{who} is up as host {host_id} on {server}",
            who=self._who,
            host_id=session.host_id,
            server=session.address,
        )
        self._preferred.start()
        self._recall()

    def placed(self, session: Session, placement: Placement) -> None:
        """Remember what a server has said."""
        now = self._reactor.seconds()
        if placement.hosts is not None:
            self._take_list(session, placement.hosts)
        if placement.avoid is not None:
            self._hosts.avoid(placement.avoid, now)
        if placement.hosts is not None or placement.check_interval is not None:
            self._preferred.configure(placement.check_interval, self._hosts.current.algorithm)

    def check_preferred(self) -> None:
        """Move to a server that stands higher in the list than the one we are on, if one takes us."""
        session = self._movable()
        if session is not None and self._move is None:
            self._begin_move(session, self._hosts.better_than(session.address, self._reactor.seconds()))

    def leave_server(self, session: Session) -> None:
        """Move to another server of the list, because this one wants to be rid of us."""
        if session is not self._movable():
            return
        others = self._hosts.others(session.address, self._reactor.seconds())
        self._moves_asked_for.info("{server} asks {who} to move", who=self._who, server=session.address)
        if self._move is None:
            self._begin_move(session, others)
        else:
            self._move.redirect(others)

    def session_busy(self, session: Session, seconds: int, servers: Sequence[str]) -> None:
        """Try the others, and come back later."""
        if session is self.session:
            self._hosts.busy(seconds)
            self._hosts.know(servers)

    def session_refused(self, session: Session, reason: str) -> None:
        """Keep asking, but not soon."""
        self._log.error("{server} refuses {who}: {reason}", who=self._who, server=session.address, reason=reason)
        if session is self.session:
            self._hosts.refused()

    def stopped_by_server(self, session: Session, reason: str) -> None:
        """Look for no server any more: a deleted host that came back would only be in the way."""
        if session is not self.session:
            return
        self._log.error(
            "{server} has sent {who} away: {reason}. It stays away until the agent is restarted",
            who=self._who,
            server=session.address,
            reason=reason,
        )
        self._stop_looking()

    def session_over(self, session: Session, reason: str) -> None:
        """Go on without the session."""
        self._sessions.discard(session)
        channel = session.link.channel
        if isinstance(channel, TlsChannel) and channel.version == "TLSv1.3" and not channel.is_cloudlb:
            # CloudStack's server: its TLS 1.3 breaks the framing.
            self._needs_tls12.add(session.address)
            reason = "it needs TLS 1.2, which it is offered from now on"
            again = True
        else:
            again = False
        if self._move is not None and session is self._move.session:
            self._moves_in_vain.info(CANNOT_MOVE, server=session.address, reason=reason)
            if again:
                self._move.again()
            else:
                self._move.next()
        elif session is self.session:
            self.session = None
            self._lost(session, reason, again=again)
        if self._stopped is not None and not self._sessions:
            self._all_gone(self._stopped)

    # Our own.

    def _recall(self) -> None:
        recalled = spawn(self._journal.recall(), self._log, "read the journal")
        recalled.addCallback(lambda _: None if self._journal.unread else self.unanswered())

    def _open(self, address: str, *, patience: float, transferred: bool) -> Session:
        session = Session(
            address,
            self,
            self._reactor,
            self._rng,
            host_id=self._host_id,
            patience=patience,
            ping_retries=self._config.ping_retries,
            transferred=transferred,
        )
        session.link = LinkProtocol(
            Link(self._channel_factory(address, address in self._needs_tls12), MAX_MESSAGE),
            session,
            self._reactor,
            handshake_timeout=min(self._config.handshake_timeout, patience),
            user_timeout=PING_INTERVAL,
        )
        self._sessions.add(session)
        return session

    def _open_in_charge(self, address: str) -> LinkProtocol:
        patience = SHORT_PATIENCE if self._hosts.others_left else PATIENCE
        self.session = self._open(address, patience=patience, transferred=False)
        return self.session.link

    def _movable(self) -> Session | None:
        session = self.session
        return session if session is not None and session.phase is Phase.UP else None

    def _begin_move(self, session: Session, candidates: Sequence[str]) -> None:
        if candidates:
            # Should the old link die meanwhile, this is how long the host may be without a server.
            patience = min(SHORT_PATIENCE, max(SHORTEST_PATIENCE, session.ping_interval))
            self._move = Move(
                self._reactor,
                self._config.port,
                candidates,
                lambda address: self._open(address, patience=patience, transferred=True),
                self._move_failed,
                self._moves_in_vain,
            )
            self._move.next()

    def _move_failed(self) -> None:
        self._move = None

    def _lost(self, session: Session, reason: str, *, again: bool) -> None:
        if session.phase is Phase.LEAVING:
            self._log.info("{who} has left {server}", who=self._who, server=session.address)
        elif session.phase is Phase.UP:
            self._log.warn("{who} has lost {server}: {reason}", who=self._who, server=session.address, reason=reason)
            self._hosts.lost(session.address, self._reactor.seconds() - session.up_since)
            self._preferred.stop()
        else:
            self._log.info("No session with {server}: {reason}", server=session.address, reason=reason)
        if again:
            self._hosts.again(session.address)
        move, self._move = self._move, None
        if move is not None and move.session is not None and move.session.phase is Phase.STARTING:
            # The other server has our StartupCommands already: it is as good as any attempt to come.
            self.session = move.session
            return
        if move is not None:
            move.cancel()
        self._factory.retry()

    def _take_list(self, session: Session, hosts: HostList) -> None:
        if hosts == self._hosts.current:
            return
        self._hosts.replace(hosts, session.address)
        # One bad list must not strand the agent, not even if it is restarted.
        self._properties.set({HOST: str(hosts), SEEN: ",".join(self._hosts.seen)})
        self._new_lists.info("{who} has a new list of servers: {hosts}", who=self._who, hosts=str(hosts))

    def _stop_looking(self) -> None:
        self._factory.stopTrying()  # type: ignore[no-untyped-call]  # Twisted has no types there
        self._preferred.stop()
        move, self._move = self._move, None
        if move is not None:
            move.cancel()

    def _hurry(self) -> None:
        for session in list(self._sessions):
            session.finish()

    def _all_gone(self, stopped: Deferred[None]) -> None:
        self._stopped = None
        if self._stop_deadline is not None and self._stop_deadline.active():
            self._stop_deadline.cancel()
        stopped.callback(None)
