"""One session: what the agent and one server say to each other on one link.

The agent introduces its host (StartupCommands), the server answers with the ping interval and, once it has admitted the
host, sends ReadyCommand: the session is up. From then on the agent pings, and the server sends requests; their answers
go out on the link that the requests came on, also while the session is being left for another one.

A session decides nothing about servers: it tells its owner.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from attrs import evolve
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from agent.packets import NO_SEQUENCE, answer_packet, request_packet
from agent.pings import Pings
from agent.placement import read_placement, valid_addresses
from agent.session_owner import Phase, SessionOwner
from cloudlb.domain.host_list import InvalidHostList
from cloudlb.net.certificate_names import CertificateMismatch, check_server_name
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.net.socket_options import set_user_timeout, socket_of
from cloudlb.net.sparse_log import SparseLog
from cloudlb.wire import (
    Answer,
    BodyError,
    Command,
    Flag,
    Header,
    MigrateAgentConnectionAnswer,
    MigrateAgentConnectionCommand,
    Opaque,
    PacketError,
    PingAnswer,
    ReadyAnswer,
    ReadyCommand,
    SetupMSListAnswer,
    SetupMSListCommand,
    ShutdownCommand,
    StartupAnswer,
    read_body,
    read_contents,
    read_header,
)
from cloudlb.wire.tls_channel import TlsChannel

PING_INTERVAL = 60
"""Seconds between pings where the server names no interval [Agent.DEFAULT_PING_INTERVAL]."""
MAX_PING_INTERVAL = 86400
"""Seconds; a server that names more has made a mistake."""
CLOSES_WITHIN = 60.0
"""Seconds that the server which the host has left has to hear of that and close the link, before the agent does: a
claim of the new one may wait long for a database that is slow, or away for a while."""
MAX_TEXT = 500
"""Characters of what a server wrote that reach the log, or go back to it in an answer."""
MAX_MESSAGE = 16 * 2**20
"""Bytes of one message, inflated."""


class Session:
    """The owner of one link, from connection to end."""

    _log = Logger()
    link: LinkProtocol
    """Set right after construction, since the two need each other."""

    def __init__(
        self,
        address: str,
        owner: SessionOwner,
        clock: IReactorTime,
        rng: random.Random,
        *,
        host_id: int,
        patience: float,
        ping_retries: int,
        transferred: bool,
    ) -> None:
        """Prepare.

        Args:
            address: of the server, as it stands in the list; its certificate must be for it.
            owner: is told what happens.
            clock: for pings and deadlines.
            rng: spreads the first pings of a fleet that lost its server at one moment.
            host_id: what servers have called the host so far; NOBODY before the first registration.
            patience: seconds that the server may be silent between StartupCommands and ReadyCommand.
            ping_retries: unanswered pings that mean lost.
            transferred: the host is up on another server, and comes from there.
        """
        self.address = address
        self.host_id = host_id
        """What this server calls the host, once it has said so."""
        self.transferred = transferred
        self.phase = Phase.CONNECTING
        self.up_since = 0.0
        self.ping_interval = PING_INTERVAL
        """Seconds."""
        self._owner = owner
        self._clock = clock
        self._rng = rng
        self._ping_retries = ping_retries
        self._mistakes = SparseLog(clock, self._log)
        """Of the server, which can repeat them at will."""
        self._sequence = 0
        self._startup_sequence = NO_SEQUENCE
        self._patience = patience
        self._pings: Pings | None = None
        self._telling = NO_SEQUENCE
        """The ping beside the interval that is not answered yet."""
        self._more_to_tell = False
        """Whether something has happened since it was sent."""
        self._timer: IDelayedCall | None = None
        """The deadline of the start, later the next ping."""
        self._kept: IDelayedCall | None = None
        """When the agent closes the link itself that the server is to close."""
        self._under_way = 0
        self._farewell: ShutdownCommand | None = None

    @property
    def local_address(self) -> str | None:
        """Our own address on the link."""
        return getattr(self.link.transport.getHost(), "host", None)

    @property
    def is_cloudlb(self) -> bool:
        """Whether the server is one of ours."""
        return self.link.channel.is_cloudlb

    # What the owner asks for.

    def leave(self, farewell: ShutdownCommand | None = None) -> None:
        """Close the link when every request on it is answered, with a last word if the host goes away altogether."""
        if self.phase not in (Phase.STARTING, Phase.UP, Phase.LEAVING):
            self.link.abort("left")
            return
        self._stop_timers()
        self.phase = Phase.LEAVING
        self._farewell = farewell
        if self._under_way == 0:
            self.finish()

    def give_up(self) -> None:
        """Have the server close the link, when it has heard that another one has the host; CloudStack's is just left.

        Closed before, it would take the host for lost: the other server's claim may still wait for the database. So it
        would without pings, which go on.
        """
        if not self.is_cloudlb or self.phase is not Phase.UP:
            self.leave()
            return
        self.phase = Phase.LEAVING
        self._kept = self._clock.callLater(CLOSES_WITHIN, self._not_closed)

    def _not_closed(self) -> None:
        self._kept = None
        if self._under_way == 0:
            self.finish()

    def finish(self) -> None:
        """Close a link that is being left, whatever is still under way."""
        self._stop_timers()
        if self._farewell is not None:
            flags = Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE
            self.link.send(request_packet(NO_SEQUENCE, self.host_id, [self._farewell], flags))
        self.link.close("left")

    def take_round_trip(self) -> float | None:
        """Seconds from a ping to its answer, to be told once; None: nothing new is known."""
        return self._pings.take_round_trip() if self._pings is not None else None

    def tell(self) -> None:
        """Ping beside the interval; while such a ping is not answered, once more after its answer."""
        if self._telling == NO_SEQUENCE:
            self._telling = self._request([evolve(self._owner.ping(self), out_of_band=True)], Flag.STOP_ON_ERROR)
        else:
            self._more_to_tell = True

    # What the link tells.

    def link_established(self, link: LinkProtocol) -> None:
        """Introduce the host, to the right server."""
        if isinstance(link.channel, TlsChannel):
            try:
                check_server_name(link.channel.peer_certificate or b"", self.address)
            except CertificateMismatch as error:
                link.abort(str(error))
                return
        self.phase = Phase.STARTING
        self._timer = self._clock.callLater(
            self._patience, link.abort, f"not a word from the server for {self._patience:g} s while the host is not up"
        )
        self._introduce()

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Take an answer or a request; what cannot be read is answered if it is a request."""
        if self.phase is Phase.STARTING and self._timer is not None:
            # CloudStack's server connects the host's storage, by commands to it, before it sends ReadyCommand.
            self._timer.reset(self._patience)
        try:
            header = read_header(message)
            body = read_body(message, header, MAX_MESSAGE)
        except PacketError as error:
            link.close(f"the server broke the protocol: {error}")
            return
        try:
            contents = read_contents(body)
        except BodyError as error:
            reason = str(error)[:MAX_TEXT]
            self._mistakes.info("A message of {server} cannot be read: {reason}", server=self.address, reason=reason)
            if header.is_request:
                self._answer(header, [Answer(result=False, details=f"The request cannot be read: {reason}")])
            return
        if header.is_request:
            self._requested(header, contents)
        else:
            self._answered(header.sequence, contents)

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Stop."""
        self._stop_timers()
        if self._under_way:
            self._log.warn(
                "{count} requests of {server} are under way and cannot be answered there any more",
                count=self._under_way,
                server=self.address,
            )
        # The owner sees how far the session had come.
        self._owner.session_over(self, reason)
        self.phase = Phase.OVER

    # Requests of the server.

    def _requested(self, header: Header, contents: Sequence[Command | Answer | Opaque]) -> None:
        match contents:
            case [ReadyCommand() as command]:
                self._ready(header, command)
            case [SetupMSListCommand() as command]:
                details = self._placed(
                    command.ms_list, command.lb_algorithm, command.lb_check_interval, command.avoid_ms_list
                )
                self._answer(header, [SetupMSListAnswer(result=details is None, details=details)])
                if command.trigger_host_lb and details is None:
                    self._owner.check_preferred()
            case [MigrateAgentConnectionCommand() as command]:
                details = self._placed(
                    command.ms_list, command.lb_algorithm, command.lb_check_interval, command.avoid_ms_list
                )
                self._answer(header, [MigrateAgentConnectionAnswer(result=details is None, details=details)])
                if details is None:
                    self._owner.leave_server(self)
            case [ShutdownCommand() as command]:
                self._answer(header, [Answer()])
                self._owner.stopped_by_server(self, (command.reason or "no reason given")[:MAX_TEXT])
                self.link.close("stopped by the server")
            case _:
                self._carry_out(header, contents)

    def _ready(self, header: Header, ready: ReadyCommand) -> None:
        if ready.details is not None:
            self._refused(ready.details)
            return
        if ready.host_id is not None:
            self.host_id = ready.host_id
        details = self._placed(
            ready.ms_host_list, ready.lb_algorithm, ready.lb_check_interval, ready.avoid_ms_host_list
        )
        # A mistake in a list is the server's, and the host is ready all the same; but who has no list at all, or has
        # been left for another server, must not take the host for its own.
        result = ready.ms_host_list != () and self.phase is not Phase.LEAVING
        self._answer(header, [ReadyAnswer(result=result, details=details)])
        if result and self.phase is Phase.STARTING:
            self._stop_timer()
            self.phase = Phase.UP
            self.up_since = self._clock.seconds()
            self._begin_pings()
            self._owner.session_up(self)

    def _placed(
        self,
        servers: tuple[str, ...] | None,
        algorithm: str | None,
        check_interval: int | None,
        avoid: tuple[str, ...] | None,
    ) -> str | None:
        """Say what is wrong with what the server said, if anything is."""
        if self.phase is Phase.LEAVING:
            return "The host is on another server"
        try:
            placement = read_placement(servers, algorithm, check_interval, avoid)
        except InvalidHostList as error:
            reason = str(error)[:MAX_TEXT]
            self._mistakes.info("{server} sent a bad list: {reason}", server=self.address, reason=reason)
            return reason
        self._owner.placed(self, placement)
        return None

    def _carry_out(self, header: Header, contents: Sequence[Command | Answer | Opaque]) -> None:
        self._under_way += 1
        self._owner.execute(
            contents,
            sequence=header.sequence,
            in_sequence=header.in_sequence,
            stop_on_error=header.stop_on_error,
        ).addCallback(lambda answers: self._carried_out(header, answers)).addErrback(
            lambda failure: self._log.failure("Failed to answer {server}", failure, server=self.address)
        )

    def _carried_out(self, header: Header, answers: Sequence[Answer]) -> None:
        self._under_way -= 1
        if self.phase is Phase.OVER:
            self._owner.unanswered()
            return
        self._answer(header, answers)
        if self.phase is Phase.LEAVING and self._under_way == 0 and self._kept is None:
            self.finish()

    # Answers of the server.

    def _answered(self, sequence: int, contents: Sequence[Command | Answer | Opaque]) -> None:
        if sequence == self._startup_sequence:
            for content in contents:
                if isinstance(content, StartupAnswer):
                    self._introduced(content)
        elif sequence == self._telling:
            self._telling = NO_SEQUENCE
            self._pinged(contents)
            if self._more_to_tell and self.phase is Phase.UP:
                self._more_to_tell = False
                self.tell()
        elif self._pings is not None and self._pings.answered(sequence, self._clock.seconds()):
            if self._timer is not None and self._timer.active():
                self._timer.reset(max(0.0, self._pings.next_at - self._clock.seconds()))
            self._pinged(contents)

    def _pinged(self, contents: Sequence[Command | Answer | Opaque]) -> None:
        match contents:
            case [PingAnswer() as answer]:
                self._owner.acknowledged(self, answer.reconcile_commands)
                if self.phase is Phase.UP:
                    self._placed(None, None, None, answer.avoid_ms_list)
                    if answer.send_startup:
                        self._introduce()

    def _introduced(self, answer: StartupAnswer) -> None:
        if not answer.result and answer.retry_after is not None:
            if answer.avoid_ms_list:
                self._placed(None, None, None, answer.avoid_ms_list)
            self._owner.session_busy(self, answer.retry_after, valid_addresses(answer.ms_list or ()))
            self.link.close("it is busy")
            return
        if not answer.result:
            self._refused(answer.details or "no reason given")
            return
        if answer.host_id:
            self.host_id = answer.host_id
        if answer.ping_interval > 0:
            self.ping_interval = min(answer.ping_interval, MAX_PING_INTERVAL)
        if answer.ping_interval != self.ping_interval:
            self._mistakes.info(
                "{server} names a ping interval of {named} s; the agent pings every {seconds} s",
                server=self.address,
                named=answer.ping_interval,
                seconds=self.ping_interval,
            )
        if self.phase is Phase.UP and self._pings is not None and self._pings.interval != self.ping_interval:
            self._stop_timer()
            self._begin_pings()

    def _refused(self, reason: str) -> None:
        self._owner.session_refused(self, reason[:MAX_TEXT])
        self.link.close("refused")

    # What the agent sends.

    def _introduce(self) -> None:
        startups = self._owner.startups(self)
        # Once up the host comes from nowhere else.
        self.transferred = False
        self._startup_sequence = self._request(startups, Flag(0))

    def _begin_pings(self) -> None:
        now = self._clock.seconds()
        interval = float(self.ping_interval)
        self._pings = Pings(interval, self._ping_retries, now + self._rng.uniform(0, interval))
        self._timer = self._clock.callLater(self._pings.next_at - now, self._ping, self._pings)
        socket = socket_of(self.link.transport)
        if socket is not None:
            set_user_timeout(socket, interval)

    def _ping(self, pings: Pings) -> None:
        if pings.lost:
            self.link.abort(f"{self._ping_retries} pings in a row were not answered")
            return
        now = self._clock.seconds()
        pings.sent(self._request([self._owner.ping(self)], Flag.STOP_ON_ERROR), now)
        self._timer = self._clock.callLater(pings.next_at - now, self._ping, pings)

    def _request(self, commands: Sequence[Command], flags: Flag) -> int:
        sequence = self._sequence
        self._sequence += 1
        self.link.send(request_packet(sequence, self.host_id, commands, flags))
        return sequence

    def _answer(self, request: Header, answers: Sequence[Answer]) -> None:
        self.link.send(answer_packet(request, answers))

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _stop_timers(self) -> None:
        self._stop_timer()
        kept, self._kept = self._kept, None
        if kept is not None and kept.active():
            kept.cancel()
