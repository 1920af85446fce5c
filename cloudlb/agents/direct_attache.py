"""The attache of a host without an agent of its own: its resource runs in this server.

Requests go the way of all others, but for the last step: they are carried out here, by a dispatch as agents have it,
with workers and a queue of this host alone. A resource that may block is called on threads of its own, one of which is
kept free for pings, so that it holds up nobody else, and lives as long as an agent of the same behaviour would.

It pings itself. A ping that has not returned is followed by no other, so a mute resource is silent as a mute agent is,
and is found by the same time-out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from cloudlb.agents.attache import Attache
from cloudlb.agents.direct_resources import Loaded
from cloudlb.agents.requests import Parcel
from cloudlb.domain.models import Host
from cloudlb.net.sparse_log import SparseLog
from cloudlb.resource.dispatch import Dispatch
from cloudlb.wire import (
    Answer,
    CancelCommand,
    Command,
    Flag,
    Header,
    Opaque,
    PingCommand,
    PingRoutingCommand,
    WireError,
    read_body,
    read_contents,
    response_flags,
    write_contents,
    write_packet,
)
from cloudlb.wire.link import MAX_MESSAGE

WORKERS = 5
"""Requests of one host that are carried out at the same time, as agents have by default."""
THREADS = WORKERS + 1
"""Of a resource that may block: those, and one for pings."""
_NO_SEQUENCE = -1


class DirectAttacheOwner(Protocol):
    """What the attache of a direct host tells of."""

    def pinged(self, attache: Attache, *, gateway: bool) -> None:
        """The host has pinged, and reaches its gateway or not."""
        ...

    def lost(self, attache: Attache, reason: str) -> None:
        """The attache has ended, and closed the resource; told once."""
        ...


class DirectAttache(Attache):
    """One session of a direct host, from its admission until its resource is let go."""

    def __init__(
        self,
        loaded: Loaded,
        owner: DirectAttacheOwner,
        clock: IReactorTime,
        rng: random.Random,
        *,
        guid: str,
        ping_interval: int,
    ) -> None:
        """Prepare; pings begin with the admission.

        Args:
            loaded: the resource, and its threads if it may block; closed at the end.
            owner: is told what happens.
            clock: for pings and time-outs.
            rng: spreads the pings of hosts that are loaded together.
            guid: the host's.
            ping_interval: seconds.
        """
        super().__init__(clock, rng, guid=guid, ping_interval=ping_interval)
        self._loaded = loaded
        self._owner = owner
        self._rng = rng
        threads = loaded.threads
        self._dispatch = Dispatch(
            loaded.resource, clock, workers=WORKERS, in_thread=None if threads is None else threads.run
        )
        self._carried: set[int] = set()
        """Sequences of what the dispatch has not answered."""
        self._next_ping: IDelayedCall | None = None
        self._pinging = False
        self._faults = SparseLog(clock, self.log)

    def admit(self, host: Host, rank: int) -> None:
        """Take the row that an admission made, and begin to ping."""
        super().admit(host, rank)
        if self._next_ping is None:
            self._ping_in(self._rng.uniform(0, self.ping_interval))

    def close(self, reason: str) -> None:
        """End the session and let go of the resource; what is under way fails."""
        if not self.connected:
            return
        self.connected = False
        self.parting = self.parting or reason
        if self._next_ping is not None:
            self._next_ping.cancel()
        self._requests.lost(f"its resource was let go: {reason}")
        for sequence in list(self._carried):
            self.call_off(sequence, reason)
        self._loaded.close()
        self._owner.lost(self, self.parting)

    def send_away(self, reason: str) -> None:
        """Nobody is there who could come back: the same as close."""
        self.close(reason)

    def relay(self, packet: bytes, header: Header, *, timeout: float) -> Deferred[bytes]:
        """Have another server's request carried out here, which it has to be read for."""
        try:
            contents = read_contents(read_body(packet, header, MAX_MESSAGE))
        except WireError as error:
            # As an agent would.
            return succeed(_response(header, [Answer(result=False, details=str(error))]))
        commands = [content for content in contents if not isinstance(content, Answer)]
        flags = header.flags & (Flag.STOP_ON_ERROR | Flag.IN_SEQUENCE)
        sent: Deferred[Any] = self._requests.send(Parcel(commands, flags), timeout, own=False)
        return sent.addCallback(partial(_response, header))

    # Pings.

    def _ping_in(self, seconds: float) -> None:
        self._next_ping = self._clock.callLater(seconds, self._ping)

    def _ping(self) -> None:
        self._ping_in(self.ping_interval)
        if self._pinging:
            return
        self._pinging = True
        self._asked().addCallbacks(self._pinged, self._failed_to_ping)

    def _asked(self) -> Deferred[PingCommand]:
        resource, host_id = self._loaded.resource, self.host.id
        if self._loaded.threads is None:
            return maybeDeferred(resource.ping, host_id)
        return self._loaded.threads.run(lambda: resource.ping(host_id))

    def _pinged(self, ping: object) -> None:
        self._pinging = False
        if not self.connected:
            return
        if not isinstance(ping, PingCommand):
            self._faults.info("{attache} pings with a {kind}", attache=self, kind=type(ping).__qualname__)
            return
        self._owner.pinged(
            self, gateway=not isinstance(ping, PingRoutingCommand) or ping.gateway_accessible is not False
        )
        if self._watcher is not None:
            self._watcher(ping)

    def _failed_to_ping(self, failure: Failure) -> None:
        self._pinging = False
        self._faults.info("{attache} cannot ping: {error!r}", attache=self, error=failure.value)

    # What carries the requests.

    def _pack(self, commands: Sequence[Command | Opaque], flags: Flag) -> Parcel:
        return Parcel(commands, flags)

    @property
    def unsent(self) -> int:
        """Nothing travels."""
        return 0

    def carry(self, sequence: int, parcel: Parcel) -> None:
        """Have a request carried out here."""
        self._carried.add(sequence)
        answers = self._dispatch.execute(
            parcel.commands,
            sequence=sequence,
            in_sequence=Flag.IN_SEQUENCE in parcel.flags,
            stop_on_error=Flag.STOP_ON_ERROR in parcel.flags,
        )
        answers.addCallback(lambda answers: self._answered(sequence, answers))

    def _answered(self, sequence: int, answers: Sequence[Answer]) -> None:
        self._carried.discard(sequence)
        self._requests.answered(sequence, answers)

    def call_off(self, sequence: int, reason: str) -> None:
        """Have the dispatch stop a request, if it can."""
        cancel = CancelCommand(sequence=sequence, reason=reason)
        self._dispatch.execute([cancel], sequence=_NO_SEQUENCE, in_sequence=False, stop_on_error=False)

    def idle(self) -> None:
        """End a superseded session."""
        if self.superseded:
            self.close("a newer session has the host")


def _response(request: Header, answers: Sequence[Answer | Opaque]) -> bytes:
    return write_packet(
        sequence=request.sequence,
        server_id=request.server_id,
        agent_id=request.agent_id,
        via=-1,
        flags=response_flags(request),
        body=write_contents(answers),
    )
