"""The attache of a host whose agent is on a link: it answers what the agent asks, pings above all."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cloudlb.agents.attache import Attache
from cloudlb.agents.errors import BadAnswer
from cloudlb.agents.requests import Parcel
from cloudlb.domain.host_list import HostList
from cloudlb.domain.models import ServerId
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.wire import (
    AgentControlAnswer,
    AgentControlCommand,
    Answer,
    BodyError,
    CancelCommand,
    Command,
    CommandInfo,
    Flag,
    Header,
    Opaque,
    PingAnswer,
    PingCommand,
    ShutdownCommand,
    StartupCommand,
    WireError,
    class_named,
    read_body,
    read_content,
    read_contents,
    read_elements,
    read_header,
    response_flags,
    unsupported,
    with_header,
    write_contents,
    write_packet,
)

MAX_REQUEST = 2 * 2**20
"""Bytes of an agent's request, inflated: a ping of a host with thousands of VMs. Answers may be longer."""
LINGER = 2.0
"""Seconds that a superseded link with nothing under way stays open, so that the agent, which has more to say of its
own move, can close it first."""

_OURS = Flag.REQUEST | Flag.FROM_SERVER
_RELAYED = Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE | Flag.COMPRESSED
"""What of another server's flags holds for the host."""
_NO_SEQUENCE = -1
"""Of requests whose answers nobody waits for."""


class LinkAttacheOwner(Protocol):
    """What an attache tells of."""

    def heard(self, attache: LinkAttache) -> None:
        """The agent sent a message, whichever."""
        ...

    def avoid_list(self) -> tuple[str, ...]:
        """Servers that agents had better not try now."""
        ...

    def misbehaved(self, attache: LinkAttache, what: str) -> None:
        """The agent sent what makes no sense."""
        ...

    def pinged(self, attache: LinkAttache, *, gateway: bool, round_trip: object) -> bool:
        """The agent has pinged, and reaches its gateway or not; whether it is to introduce itself again.

        The round trip, in seconds, is that of the ping before, if the agent says it.
        """
        ...

    def started_again(self, attache: LinkAttache, header: Header, startups: Sequence[StartupCommand]) -> None:
        """The agent sent StartupCommands on the link that had been admitted."""
        ...

    def reported(self, attache: LinkAttache, infos: Sequence[CommandInfo]) -> tuple[str, ...]:
        """A ping told of commands, perhaps of another session; the ids of those that the agent may forget."""
        ...

    def lost(self, attache: LinkAttache, reason: str) -> None:
        """The link is gone; told once."""
        ...


class LinkAttache(Attache):
    """The link owner of an agent that introduced itself."""

    def __init__(
        self,
        link: LinkProtocol,
        owner: LinkAttacheOwner,
        clock: IReactorTime,
        rng: random.Random,
        *,
        server_id: ServerId,
        guid: str,
        ping_interval: int,
        held: HostList | None,
        max_message: int,
    ) -> None:
        super().__init__(clock, rng, guid=guid, ping_interval=ping_interval)
        self.link = link
        self.journals = link.channel.is_cloudlb
        self.held = held
        """The list that the agent holds, as far as it has told or acknowledged."""
        self.check_interval: int | None = None
        """The preferred-host interval that the agent was told last."""
        self.move_due = False
        """The agent got a list whose head was down; it is sent there when the server comes up."""
        self.avoided: tuple[str, ...] = ()
        """The servers that the agent was told to avoid last."""
        self.certificate_end: float | None = None
        """When the certificate that the agent showed ends; None: it showed none."""
        self._lingering: IDelayedCall | None = None
        """The end of a superseded session."""
        self._owner = owner
        self._server_id = server_id
        self._max_message = max_message

    def __repr__(self) -> str:
        """Name where the agent is, too."""
        return f"{super().__repr__()[:-1]} from {self.link.peer_address}>"

    def close(self, reason: str) -> None:
        """End the link now; what is under way fails."""
        self.parting = self.parting or reason
        self.link.abort(reason)

    def send_away(self, reason: str) -> None:
        """Tell the agent to stay away, and end the link [ShutdownCommand]."""
        self.parting = reason
        self._tell(ShutdownCommand(reason=reason))
        self.link.close()

    def answer(self, header: Header, answers: Sequence[Answer]) -> None:
        """Send the response to a request of the agent's."""
        self._send(header.sequence, response_flags(header), header.agent_id, header.via, write_contents(answers))

    def relay(self, packet: bytes, header: Header, *, timeout: float) -> Deferred[bytes]:
        """Send another server's request; neither it nor the response is looked into."""
        flags = header.flags & _RELAYED
        addressed = evolve(
            header, server_id=self._server_id, agent_id=self.host.id, via=self.host.id, flags=_OURS | flags
        )
        return self._requests.relay(Parcel((), flags, packet=with_header(packet, addressed)), timeout)

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
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        self._requests.lost(f"its link was lost: {reason}")
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
            self._pinged(header, elements[0])
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

    def _pinged(self, header: Header, element: Opaque) -> None:
        """Quote the ping back; it is looked into only if it tells of commands, or somebody watches.

        What it tells of commands is not quoted: it may be long, and agents do not look at the quote.
        """
        if self._watcher is not None and isinstance(watched := read_content(element), PingCommand):
            self._watcher(watched)
        self.avoided = self._owner.avoid_list()
        settled = self._settled(element)
        # What makes no sense there is as good as true.
        fields = element.fields
        gateway = fields.get("_gatewayAccessible") is not False
        restart = self._owner.pinged(self, gateway=gateway, round_trip=fields.get("roundTrip"))
        ping = PingAnswer(
            command={**fields, "commandInfos": []} if fields.get("commandInfos") else fields,
            send_startup=restart,
            avoid_ms_list=self.avoided,
            reconcile_commands=settled,
        )
        self.answer(header, [ping])

    def _settled(self, element: Opaque) -> tuple[str, ...]:
        if self._host is None:
            return ()
        if not element.fields.get("commandInfos"):
            # That there is nothing to tell is word, too, and when it was said matters: what a dead server sent last may
            # arrive after the first ping of the next session.
            if self.journals:
                self.nothing_to_tell = self._clock.seconds()
            return ()
        ping = read_content(element)
        return self._owner.reported(self, ping.command_infos) if isinstance(ping, PingCommand) else ()

    def _answered(self, header: Header, message: bytes) -> None:
        sequence = header.sequence
        if sequence not in self._requests:
            self.log.debug("{attache}: nobody waits for answer {sequence}", attache=self, sequence=sequence)
            return
        if self._requests.is_relayed(sequence):
            self._requests.returned(sequence, message)
            return
        try:
            contents = read_contents(read_body(message, header, self._max_message))
        except WireError as error:
            what = "does not parse" if isinstance(error, BodyError) else "broke the protocol"
            self._requests.failed(sequence, BadAnswer(f"the answer of {self._requests.host} {what}: {error}"))
            if not isinstance(error, BodyError):
                raise
        else:
            self._requests.answered(sequence, contents)

    # What carries the requests.

    def _pack(self, commands: Sequence[Command | Opaque], flags: Flag) -> Parcel:
        return Parcel(commands, flags, write_contents(commands))

    @property
    def unsent(self) -> int:
        """Bytes that the agent has not begun to read."""
        return self.link.unsent

    def carry(self, sequence: int, parcel: Parcel) -> None:
        """Send a packet."""
        if parcel.packet:
            self.link.send(with_header(parcel.packet, evolve(read_header(parcel.packet), sequence=sequence)))
            return
        self._send(sequence, _OURS | parcel.flags, self.host.id, self.host.id, parcel.body)

    def call_off(self, sequence: int, reason: str) -> None:
        """Send a CancelCommand, which nobody waits for [CancelCommand]."""
        self._tell(CancelCommand(sequence=sequence, reason=reason))

    def idle(self) -> None:
        """Close a superseded link, a little later."""
        if self.superseded and self.connected and self._lingering is None:
            self._lingering = self._clock.callLater(LINGER, self.link.close)

    def _tell(self, command: Command) -> None:
        self._send(_NO_SEQUENCE, _OURS, self.host.id, self.host.id, write_contents([command]))

    def _send(self, sequence: int, flags: Flag, agent_id: int, via: int, body: bytes) -> None:
        self.link.send(
            write_packet(
                sequence=sequence, server_id=self._server_id, agent_id=agent_id, via=via, flags=flags, body=body
            )
        )


def _reply(element: Opaque) -> Answer:
    """Answer what no part of the server asked for."""
    if issubclass(class_named(element.wire_name) or Opaque, AgentControlCommand):
        return AgentControlAnswer(result=False, details=f"nothing here listens for {element.wire_name}")
    return unsupported(element)
