"""The requests to one host, however they travel: their order, their deadlines, their limits, and one end for each.

A request is sent at once, but for those in sequence: they go one after another, each when the one before it has ended,
whichever way. The time of a request runs from the moment that it was asked for, and one whose time is up before its
turn came is never sent. What was sent and has timed out or was cancelled is called off on the host.

    send --> waiting --> sent --> answered
               |          |
               |          +--> AgentTimedOut, CommandCancelled (and called off), BadAnswer, LinkLost
               +--> AgentTimedOut, CommandCancelled, AgentUnavailable (and never sent)

An answer that nobody waits for is late, repeated or forged, and changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Protocol, TypeGuard

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cloudlb.agents.errors import (
    AgentBusy,
    AgentTimedOut,
    AgentUnavailable,
    BadAnswer,
    CommandCancelled,
    CommandError,
    LinkLost,
    NotSent,
)
from cloudlb.wire import Answer, Command, Exchange, Flag, Opaque, attache_sequence

Answers = list[Answer | Opaque]
Contents = Sequence[Command | Answer | Opaque]

MAX_REQUESTS = 1000
"""Requests to one host that are under way or wait. An agent of ours takes about as many before it refuses some."""
MAX_UNSENT = 8 * 2**20
"""Bytes for one host that are not on their way yet. Agents refuse a message of twice as many."""
OWN_ROOM = 50
"""Requests of the server's own, lists and health checks, beyond MAX_REQUESTS: a busy host must neither seem dead nor be
left with an old list. They are small, so MAX_UNSENT is not for them."""


@frozen
class Parcel:
    """A request as it travels."""

    commands: Sequence[Command | Opaque]
    flags: Flag
    """In sequence, stop on error."""
    body: bytes = b""
    """The commands as they stand in the packet, where they travel in one."""
    packet: bytes = b""
    """Instead of both, a whole packet that another server has made; what is in it is not looked into."""

    @property
    def weight(self) -> int:
        """Bytes that it takes while it waits."""
        return len(self.body) + len(self.packet)


class Carrier(Protocol):
    """What takes requests to the host."""

    @property
    def unsent(self) -> int:
        """Bytes that it has taken and that are not on their way yet."""
        ...

    def carry(self, sequence: int, parcel: Parcel) -> None:
        """Take a request to the host."""
        ...

    def call_off(self, sequence: int, reason: str) -> None:
        """Tell the host that nobody waits for the answer to a request any more."""
        ...

    def idle(self) -> None:
        """No request is under way any more, for now."""
        ...


@define(eq=False)
class _Request:
    """One request, until its end."""

    parcel: Parcel | None
    """None once it has been sent: the waiter may outlive its commands by half an hour."""
    size: int | None
    """How many answers it must have; None: the packet that comes back is taken as it is."""
    in_sequence: bool
    timeout: float
    sequence: int = field(init=False)
    waiter: Deferred[Any] = field(init=False)

    def end(self, outcome: Answers | bytes | CommandError) -> None:
        """Tell who waits; nothing if that is who has cancelled it while others of the same fate were told."""
        if self.waiter.called:
            return
        if isinstance(outcome, CommandError):
            self.waiter.errback(outcome)
        else:
            self.waiter.callback(outcome)


class Requests:
    """Those to one host in one session."""

    def __init__(self, carrier: Carrier, clock: IReactorTime, rng: random.Random, host: str) -> None:
        self.host = host
        """What messages call the host."""
        self._carrier = carrier
        self._clock = clock
        self._exchange: Exchange[_Request] = Exchange(attache_sequence(rng))
        self._waiting: dict[int, _Request] = {}
        """By sequence, in the order in which they go."""
        self._waiting_bytes = 0
        self._running: _Request | None = None
        """The one in sequence that was sent."""
        self._going_on = False
        self._timer: IDelayedCall | None = None
        self._closed: str | None = None

    def __len__(self) -> int:
        """How many are under way or wait."""
        return len(self._exchange)

    def __contains__(self, sequence: int) -> bool:
        """Whether a request of this sequence was sent, and somebody waits for its answer."""
        return sequence in self._exchange and sequence not in self._waiting

    def is_relayed(self, sequence: int) -> bool:
        """Whether the packet that comes back for a request is wanted as it is."""
        request = self._exchange.get(sequence)
        return request is not None and request.size is None

    def send(self, parcel: Parcel, timeout: float, *, own: bool) -> Deferred[Answers]:
        """Send a request, or have it wait for its turn.

        Args:
            parcel: the request.
            timeout: seconds until the answers are overdue.
            own: it is the server's own; see OWN_ROOM.

        Returns:
            One answer per command, or a failure, always a CommandError. It may be cancelled.
        """
        return self._take(parcel, len(parcel.commands), timeout, own=own)

    def relay(self, parcel: Parcel, timeout: float) -> Deferred[bytes]:
        """Send another server's packet as :meth:`send` does; fires with the packet that comes back."""
        return self._take(parcel, None, timeout, own=False)

    def withdraw(self, waiter: Deferred[Any]) -> None:
        """Do not send a request any more whose turn has not come; one that was sent is left to its end."""
        if any(request.waiter is waiter for request in self._waiting.values()):
            waiter.cancel()

    def answered(self, sequence: int, contents: Contents) -> None:
        """Take what came back for a request."""
        if (request := self._end(sequence)) is None:
            return
        assert request.size is not None, "the answer to a relayed request was looked into"
        try:
            request.end(fitting(self.host, contents, request.size))
        except BadAnswer as error:
            request.end(error)

    def returned(self, sequence: int, packet: bytes) -> None:
        """Take the packet that came back for a relayed request."""
        if request := self._end(sequence):
            request.end(packet)

    def failed(self, sequence: int, error: CommandError) -> None:
        """End a request whose answer cannot be taken."""
        if request := self._end(sequence):
            request.end(error)

    def close(self, why: str) -> None:
        """Take no more: what waits is not sent, what is under way ends as it does."""
        self._closed = self._closed or why
        waiting = list(self._waiting.values())
        self._waiting.clear()
        self._waiting_bytes = 0
        for request in waiting:
            self._exchange.close(request.sequence)
        self._arm()
        for request in waiting:
            request.end(self._not_sent(request, why))
        if not self._exchange:
            self._carrier.idle()

    def lost(self, why: str) -> None:
        """Fail everything: there is no way to the host any more."""
        self._closed = why
        requests, waiting = self._exchange.drain(), set(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._running = None
        self._arm()
        for request in requests:
            if request.sequence in waiting:
                request.end(self._not_sent(request, why))
            else:
                request.end(LinkLost(f"{self.host} has not answered: {why}"))

    def _take(self, parcel: Parcel, size: int | None, timeout: float, *, own: bool) -> Deferred[Any]:
        if refusal := self._refusal(parcel, own):
            return fail(refusal)
        in_sequence = Flag.IN_SEQUENCE in parcel.flags
        request = _Request(parcel, size, in_sequence, timeout)
        waiter: Deferred[Any] = Deferred(lambda _: self._cancelled(request))
        request.waiter = waiter
        request.sequence = self._exchange.open(request, self._clock.seconds() + timeout)
        if in_sequence and (self._running is not None or self._waiting):
            self._waiting[request.sequence] = request
            self._waiting_bytes += parcel.weight
            self._arm()
        else:
            self._depart(request, parcel)
            self._go_on()
        return waiter

    def _not_sent(self, request: _Request, why: str) -> NotSent:
        assert request.parcel is not None, "it was sent"
        return NotSent(f"{self.host} was not sent it: {why}", request.parcel.commands)

    def _refusal(self, parcel: Parcel, own: bool) -> CommandError | None:
        if self._closed is not None:
            return AgentUnavailable(f"{self.host} is not connected here: {self._closed}")
        if len(self._exchange) >= MAX_REQUESTS + (OWN_ROOM if own else 0):
            return AgentBusy(f"{self.host} is busy: {len(self._exchange)} requests are under way or wait")
        unsent = self._waiting_bytes + self._carrier.unsent
        if not own and unsent + parcel.weight > MAX_UNSENT:
            return AgentBusy(
                f"{self.host} is busy: {unsent} bytes wait for it, and with {parcel.weight} more they would be over "
                f"the limit of {MAX_UNSENT}"
            )
        return None

    def _depart(self, request: _Request, parcel: Parcel) -> None:
        request.parcel = None
        if request.in_sequence:
            self._running = request
        self._carrier.carry(request.sequence, parcel)

    def _end(self, sequence: int) -> _Request | None:
        """Take a request that was sent out of everything, and let the next one go; None if nobody waits for it."""
        if sequence in self._waiting or (request := self._exchange.close(sequence)) is None:
            return None
        self._leave(request)
        self._go_on()
        return request

    def _leave(self, request: _Request) -> bool:
        """Take a request that has left the exchange out of the order; whether it had been sent."""
        if request.parcel is not None:
            del self._waiting[request.sequence]
            self._waiting_bytes -= request.parcel.weight
            return False
        if self._running is request:
            self._running = None
        return True

    def _go_on(self) -> None:
        """Send the next in sequence, if it is its turn."""
        # A host that answers at once gets here again from below; were it let in, a long queue would be a deep stack.
        if self._going_on:
            return
        self._going_on = True
        try:
            while self._running is None and self._waiting:
                request = self._waiting.pop(next(iter(self._waiting)))
                assert request.parcel is not None
                self._waiting_bytes -= request.parcel.weight
                self._depart(request, request.parcel)
        finally:
            self._going_on = False
        self._arm()
        if not self._exchange:
            self._carrier.idle()

    def _arm(self) -> None:
        """Keep one timer, which goes off at the earliest deadline or before it."""
        deadline = self._exchange.next_deadline()
        if self._timer is not None and (deadline is None or deadline < self._timer.getTime()):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and deadline is not None:
            self._timer = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        expired = self._exchange.expire(self._clock.seconds())
        errors = [self._overdue(request) for request in expired]
        self._go_on()
        for request, error in zip(expired, errors, strict=True):
            request.end(error)

    def _overdue(self, request: _Request) -> AgentTimedOut:
        if not self._leave(request):
            return AgentTimedOut(
                f"{self.host} was not sent it within {shown_seconds(request.timeout)}: an earlier one in sequence was "
                "under way"
            )
        self._carrier.call_off(request.sequence, "timed out")
        return AgentTimedOut(f"{self.host} did not answer in time, which was {shown_seconds(request.timeout)}")

    def _cancelled(self, request: _Request) -> None:
        if self._exchange.close(request.sequence):
            if self._leave(request):
                self._carrier.call_off(request.sequence, "cancelled")
            self._go_on()
        request.end(CommandCancelled(f"what was for {self.host} was cancelled"))


def shown_seconds(seconds: float) -> str:
    """A time-out as people read it: of that of a job the way to the host's server is taken off, in microseconds."""
    return f"{round(seconds, 1):g} s" if seconds >= 0.1 else "less than 0.1 s"


def _is_answer(content: Command | Answer | Opaque) -> TypeGuard[Answer | Opaque]:
    """Whether it may answer a command. The name is all that is known of a class that is not registered."""
    return isinstance(content, Answer) or (isinstance(content, Opaque) and not content.wire_name.endswith("Command"))


def fitting(host: str, contents: Contents, expected: int) -> Answers:
    """Take what came back for a request as its answers; BadAnswer if it is not one for each command."""
    answers: Answers = [content for content in contents if _is_answer(content)]
    if len(answers) == expected == len(contents):
        return answers
    raise BadAnswer(_misfit(host, answers, expected))


def _misfit(host: str, answers: Answers, expected: int) -> str:
    # An agent that could not read the request says so once, however many commands it had.
    details = next((f": {a.details[:200]}" for a in answers if isinstance(a, Answer) and a.details), "")
    return f"{host} sent {len(answers)} answers to {expected} commands{details}"
