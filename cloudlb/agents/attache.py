"""One agent's link from its first StartupCommand to its end.

An attache answers what an agent asks (pings, above all), carries requests to it and gives each its answers or one
error. Which attache speaks for a host is the directory's to say: a newer session supersedes an older one, which then
takes no new requests, writes no status and closes when what is under way on it has ended.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cloudlb.domain.host_list import HostList
from cloudlb.domain.models import Host, ServerId
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.wire import (
    AgentControlAnswer,
    AgentControlCommand,
    Answer,
    BodyError,
    Command,
    Exchange,
    Flag,
    Header,
    Opaque,
    PacketError,
    PingAnswer,
    PingCommand,
    ShutdownCommand,
    StartupCommand,
    WireError,
    attache_sequence,
    class_named,
    read_body,
    read_content,
    read_contents,
    read_elements,
    read_header,
    response_flags,
    unsupported,
    write_contents,
    write_packet,
)

Answers = list[Answer | Opaque]

_NO_FLAGS = Flag(0)

MAX_REQUEST = 2 * 2**20
"""Bytes of an agent's request, inflated: a ping of a host with thousands of VMs. Answers may be longer."""
LINGER = 2.0
"""Seconds that a superseded link with nothing under way stays open, so that the agent, which has more to say of its
own move, can close it first."""


class AgentUnavailable(Exception):
    """The host's agent cannot take a request: no link, or not the one that owns the host any more."""


class AgentTimedOut(Exception):
    """The agent did not answer in time."""


class AttacheOwner(Protocol):
    """What an attache tells of."""

    def heard(self, attache: Attache) -> None:
        """The agent sent a message, whichever."""
        ...

    def avoid_list(self) -> tuple[str, ...]:
        """Servers that agents had better not try now."""
        ...

    def misbehaved(self, attache: Attache, what: str) -> None:
        """The agent sent what makes no sense."""
        ...

    def started_again(self, attache: Attache, header: Header, startups: Sequence[StartupCommand]) -> None:
        """The agent sent StartupCommands on the link that had been admitted."""
        ...

    def lost(self, attache: Attache, reason: str) -> None:
        """The link is gone; told once."""
        ...


class Attache:
    """The link owner of an agent that introduced itself."""

    log = Logger()

    def __init__(
        self,
        link: LinkProtocol,
        owner: AttacheOwner,
        clock: IReactorTime,
        rng: random.Random,
        *,
        server_id: ServerId,
        guid: str,
        ping_interval: int,
        held: HostList | None,
        max_message: int,
    ) -> None:
        self.link = link
        self.guid = guid
        self.ping_interval = ping_interval
        """Seconds, as the agent was told."""
        self.held = held
        """The list that the agent holds, as far as it has told or acknowledged."""
        self.check_interval: int | None = None
        """The preferred-host interval that the agent was told last."""
        self.move_due = False
        """The agent got a list whose head was down; it is sent there when the server comes up."""
        self.avoided: tuple[str, ...] = ()
        """The servers that the agent was told to avoid last."""
        self.superseded = False
        self.connected = True
        self.admitting = True
        """An admission is under way, the first one or that of a host that starts over."""
        self.rank = 0
        """The host's place in its zone, as far as the algorithm asks for it."""
        self.parting: str | None = None
        """Why this end or the agent, by a ShutdownCommand, has ended the link."""
        self._claimed = False
        self._host: Host | None = None
        self._owner = owner
        self._clock = clock
        self._server_id = server_id
        self._max_message = max_message
        self._exchange: Exchange[Deferred[Answers]] = Exchange(attache_sequence(rng))
        self._timeout: IDelayedCall | None = None

    def __repr__(self) -> str:
        """Name the host and the session."""
        session = self._host.session if self._host else "new"
        return f"<Attache {self.guid} session {session} from {self.link.peer_address}>"

    @property
    def host(self) -> Host:
        """The host's row as the admission of this session left it."""
        assert self._host is not None, f"{self.guid} is not admitted yet"
        return self._host

    @property
    def claimed(self) -> bool:
        """Whether a session of the host was begun for this link and no newer one is known."""
        return self._claimed and not self.superseded

    @property
    def owns_host(self) -> bool:
        """Whether this link speaks for the host."""
        return self.claimed and self.connected

    def expect(self, host: Host, rank: int) -> None:
        """Take the row of a host that moves here, and is another server's until its agent is ready."""
        self._host, self.rank = host, rank

    def admit(self, host: Host, rank: int) -> None:
        """Take the row that an admission made."""
        self._host, self.rank = host, rank
        self._claimed = True
        self.admitting = False

    def send(
        self, commands: Sequence[Command | Opaque], *, timeout: float, flags: Flag = _NO_FLAGS
    ) -> Deferred[Answers]:
        """Send one request.

        Args:
            timeout: seconds until the answer is overdue.
            flags: stop_on_error and in_sequence as wanted; request and from_server are added.

        Returns:
            The answers, or a failure: AgentUnavailable, AgentTimedOut, or CancelledError.
        """
        waiter: Deferred[Answers] = Deferred()
        if not self.connected or self.superseded:
            waiter.errback(AgentUnavailable(f"{self.guid} is not connected here"))
            return waiter
        sequence = self._exchange.open(waiter, self._clock.seconds() + timeout)
        self._send(
            sequence, Flag.REQUEST | Flag.FROM_SERVER | flags, self.host.id, self.host.id, write_contents(commands)
        )
        self._arm()
        return waiter

    def supersede(self) -> None:
        """Give way to a newer session of the host."""
        if not self.superseded:
            self.superseded = True
            self.log.info("{attache} gives way to a newer session", attache=self)
            self._close_if_idle()

    def close(self, reason: str) -> None:
        """End the link now; what is under way fails."""
        self.parting = self.parting or reason
        self.link.abort(reason)

    def send_away(self, reason: str) -> None:
        """Tell the agent to stay away, and end the link [ShutdownCommand]."""
        self.parting = reason
        flags = Flag.REQUEST | Flag.FROM_SERVER
        self._send(-1, flags, self.host.id, self.host.id, write_contents([ShutdownCommand(reason=reason)]))
        self.link.close()

    # What the link says.

    def link_established(self, link: LinkProtocol) -> None:
        """Never: a link was established before it had an attache."""
        raise AssertionError("the link of an attache is established")

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Answer a request, or hand an answer to who waits for it."""
        self._owner.heard(self)
        try:
            header = read_header(message)
            if header.is_request:
                self._requested(header, read_body(message, header, min(MAX_REQUEST, self._max_message)))
            else:
                self._answered(header, message)
        except WireError as error:
            link.abort(str(error))

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Fail everything that waits, then tell the owner."""
        self.connected = False
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
        for waiter in self._exchange.drain():
            waiter.errback(AgentUnavailable(f"the link to {self.guid} was lost: {reason}"))
        self._owner.lost(self, self.parting or reason)

    def _requested(self, header: Header, body: bytes) -> None:
        try:
            elements = read_elements(body)
            self._take_request(header, elements, class_named(elements[0].wire_name) if elements else None)
        except BodyError as error:
            self._owner.misbehaved(self, f"a request that does not parse: {error}")
            self.answer(header, [Answer(result=False, details=str(error))])

    def _take_request(self, header: Header, elements: Sequence[Opaque], first: type[Command | Answer] | None) -> None:
        """Do what the class of the first element asks for; only fields that matter are read."""
        if first is not None and issubclass(first, PingCommand):
            # A ping is quoted back, not looked into.
            self.avoided = self._owner.avoid_list()
            self.answer(header, [PingAnswer(command=elements[0].fields, avoid_ms_list=self.avoided)])
        elif first is not None and issubclass(first, StartupCommand):
            contents = [read_content(element) for element in elements]
            self._owner.started_again(
                self, header, [content for content in contents if isinstance(content, StartupCommand)]
            )
        elif first is ShutdownCommand:
            # It gets no answer [AgentManagerImpl.AgentHandler].
            reason = getattr(read_content(elements[0]), "reason", None)
            self.parting = f"the agent shut down ({reason or 'no reason given'})"
            self.link.close()
        else:
            self.answer(header, [_reply(element) for element in elements])

    def answer(self, header: Header, answers: Sequence[Answer]) -> None:
        """Send the response to a request of the agent's."""
        self._send(header.sequence, response_flags(header), header.agent_id, header.via, write_contents(answers))

    def _answered(self, header: Header, message: bytes) -> None:
        waiter = self._exchange.close(header.sequence)
        if waiter is None:
            self.log.debug("{attache}: nobody waits for answer {sequence}", attache=self, sequence=header.sequence)
            return
        try:
            contents = read_contents(read_body(message, header, self._max_message))
            answers: Answers = [content for content in contents if isinstance(content, Answer | Opaque)]
        except BodyError as error:
            answers = [Answer(result=False, details=f"the agent's answer does not parse: {error}")]
        except PacketError as error:
            waiter.errback(AgentUnavailable(f"the answer of {self.guid} broke the protocol: {error}"))
            raise
        waiter.callback(answers)
        self._close_if_idle()

    def _send(self, sequence: int, flags: Flag, agent_id: int, via: int, body: bytes) -> None:
        self.link.send(
            write_packet(
                sequence=sequence, server_id=self._server_id, agent_id=agent_id, via=via, flags=flags, body=body
            )
        )

    def _arm(self) -> None:
        """Keep one timer for the earliest deadline."""
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
        deadline = self._exchange.next_deadline()
        if deadline is not None:
            self._timeout = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._expire)

    def _expire(self) -> None:
        self._timeout = None
        for waiter in self._exchange.expire(self._clock.seconds()):
            waiter.errback(AgentTimedOut(f"{self.guid} did not answer in time"))
        self._arm()
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self.superseded and self.connected and not self._exchange:
            self._clock.callLater(LINGER, self._end)

    def _end(self) -> None:
        if self.connected:
            self.link.close()


def _reply(element: Opaque) -> Answer:
    """Answer what no part of the server asked for."""
    if issubclass(class_named(element.wire_name) or Opaque, AgentControlCommand):
        return AgentControlAnswer(result=False, details=f"nothing here listens for {element.wire_name}")
    return unsupported(element)
