"""Commands to hosts that are on other servers, or about to be on one.

The host's row says which server has it. The packet goes there by the link that this server has to that one
(:mod:`.peer_links`), and what comes back is read here. A host that is not where its row said, or between two servers,
is looked for again, for PATIENCE seconds at most; nothing has been sent to it by then. What may have arrived is never
sent a second time: it ends with its answer, or with an error that says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, fail
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import Directory
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
from cloudlb.agents.requests import MAX_REQUESTS, Answers, fitting, shown_seconds
from cloudlb.agents.sender import Commands, refused
from cloudlb.cluster.peer_links import NotReached, PeerLinks
from cloudlb.cluster.relays import NOT_HERE
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostId
from cloudlb.domain.ports import Store, StoreUnavailable
from cloudlb.net.batch import Batch
from cloudlb.net.in_order import InOrder
from cloudlb.wire import Flag, NoAnswer, WireError, read_body, read_contents, read_header, write_contents, write_packet

PATIENCE = 30.0
"""Seconds for which a host that is between two servers is looked for."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two looks, doubled with each."""
MAX_BYTES = 64 * 2**20
"""Of the packets under way: until a request has its answer, its host's server may say that it has to go elsewhere."""
_BATCH = 500
"""Most rows that one query reads."""
_COMES_BACK = frozenset({HostStatus.UP, HostStatus.CONNECTING, HostStatus.REBALANCING})
"""A host in one of these is Up somewhere, or will soon be."""

_ERRORS: dict[str, Callable[[str], CommandError]] = {
    each.__name__: each for each in (AgentBusy, AgentTimedOut, CommandCancelled, BadAnswer)
}


class _Elsewhere(Exception):
    """The host is not where it was looked for; nothing was sent."""


@define(eq=False)
class _Request:
    """One request, until its end."""

    host_id: HostId
    outgoing: Commands
    packet: bytes
    flags: Flag
    timeout: float
    deadline: float
    name: str
    """What messages call the host."""
    sent: bool = False
    """It may have arrived."""
    why: str = "its turn has not come"
    """What it waits for while it has not been sent."""


class Forwarding:
    """Takes commands to hosts wherever they are; see :class:`cloudlb.agents.sender.Router`."""

    log = Logger()

    def __init__(
        self, store: Store, directory: Directory, links: PeerLinks, clock: IReactorTime, *, max_message: int
    ) -> None:
        self._store = store
        self._directory = directory
        self._links = links
        self._clock = clock
        self._max_message = max_message
        self._rows: Batch[HostId, Host | None] = Batch(self._read, _BATCH)
        self._under_way: Counter[HostId] = Counter()
        self._bytes = 0
        self._waits = InOrder[Deferred[Answers]]()
        self._stopping = False
        self._turns: dict[HostId, DeferredLock] = {}
        """Of requests in sequence."""

    def __len__(self) -> int:
        """How many requests are under way, or wait."""
        return self._under_way.total()

    def send(
        self, host_id: HostId, outgoing: Commands, *, timeout: float, flags: Flag, behind: Deferred[Any] | None = None
    ) -> Deferred[Answers]:
        """See Router."""
        name = f"host {host_id}"
        packet = write_packet(
            sequence=0,
            server_id=self._directory.server_id,
            agent_id=host_id,
            via=host_id,
            flags=Flag.REQUEST | Flag.FROM_SERVER | flags,
            body=write_contents(outgoing),
        )
        if self._stopping or not self._directory.server_id:
            return fail(AgentUnavailable(f"{name} cannot be looked for: the server is starting or stopping"))
        if self._under_way[host_id] >= MAX_REQUESTS:
            return fail(AgentBusy(f"{name} is busy: {self._under_way[host_id]} requests are under way or wait"))
        if self._bytes + len(packet) > MAX_BYTES:
            return fail(AgentBusy(f"this server is busy: {self._bytes} bytes are under way to hosts of others"))
        deadline = self._clock.seconds() + timeout
        request = _Request(host_id, outgoing, packet, flags, timeout, deadline, name)
        self._under_way[host_id] += 1
        self._bytes += len(packet)
        in_sequence = Flag.IN_SEQUENCE in flags
        sent = self._in_turn(request, behind) if in_sequence else Deferred.fromCoroutine(self._route(request))
        sent.addTimeout(timeout, self._clock, onTimeoutCancel=partial(_overdue, request))
        sent.addErrback(self._definite, request)
        self._waits.add(sent)
        return sent.addBoth(self._ended, sent, request)

    def in_turn(self, host_id: HostId) -> bool:
        """See Router."""
        return host_id in self._turns

    def stop(self) -> None:
        """End everything: the server stops."""
        self._stopping = True
        for sent in list(self._waits):
            sent.cancel()

    # One request.

    def _in_turn(self, request: _Request, behind: Deferred[Any] | None) -> Deferred[Answers]:
        """Begin when those in sequence before it have ended."""
        turn = self._turns.setdefault(request.host_id, DeferredLock())
        return turn.run(lambda: Deferred.fromCoroutine(self._route_behind(request, behind)))

    async def _route_behind(self, request: _Request, behind: Deferred[Any] | None) -> Answers:
        if behind is not None:
            await behind
        return await self._route(request)

    def _ended(self, outcome: Any, sent: Deferred[Answers], request: _Request) -> Any:
        self._waits.discard(sent)
        self._bytes -= len(request.packet)
        self._under_way[request.host_id] -= 1
        if not self._under_way[request.host_id]:
            del self._under_way[request.host_id]
            self._turns.pop(request.host_id, None)
        return outcome

    async def _route(self, request: _Request) -> Answers:
        """Look for the host until it has got the request."""
        end = min(request.deadline, self._clock.seconds() + PATIENCE)
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._attempt(request)
            except (_Elsewhere, NotReached, NotSent) as error:
                request.why = str(error)
            if self._clock.seconds() + pause > end:
                raise AgentUnavailable(f"{request.name} cannot be reached: {request.why}")
            await deferLater(self._clock, pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _attempt(self, request: _Request) -> Answers:
        attache = self._directory.get(request.host_id)
        if attache is not None and attache.owns_host and attache.host.status is HostStatus.UP:
            return await self._send_here(request, attache)
        host = await self._rows.add(request.host_id)
        if host is None or host.removed is not None:
            raise AgentUnavailable(f"there is no host {request.host_id}")
        request.name = f"host {host.facts.name}"
        if host.status not in _COMES_BACK:
            raise AgentUnavailable(f"{request.name} has no agent connected: it is {host.status.value}")
        _check(request, host)
        if host.status is not HostStatus.UP:
            raise _Elsewhere(f"it is {host.status.value}")
        if host.server_id is None or host.server_id == self._links.server_id:
            raise _Elsewhere("its agent is on its way")
        link = await self._links.reach(host.server_id)
        asked = link.ask(request.packet, timeout=self._left(request))
        if not asked.called:
            request.sent = True
        return self._answers(request, await asked)

    async def _send_here(self, request: _Request, attache: Attache) -> Answers:
        _check(request, attache.host)
        sent = attache.send(request.outgoing, timeout=self._left(request), flags=request.flags, own=False)
        if not sent.called:
            request.sent = True
        try:
            return await sent
        except NotSent:
            request.sent = False
            raise
        except LinkLost as error:
            raise LinkLost(str(error), told_later=attache.journals) from error

    def _answers(self, request: _Request, response: bytes) -> Answers:
        """Read what has come back."""
        header = read_header(response)
        try:
            contents = read_contents(read_body(response, header, self._max_message))
        except WireError as error:
            raise BadAnswer(f"the answer of {request.name} does not parse: {error}") from error
        if Flag.CONTROL not in header.flags:
            return fitting(request.name, contents, len(request.outgoing))
        said = contents[0] if contents else None
        if not isinstance(said, NoAnswer):
            raise LinkLost(f"the server of {request.name} does not say what became of it")
        details = said.details or said.error
        if said.error == NOT_HERE:
            request.sent = False
            raise _Elsewhere(details)
        if said.error == LinkLost.__name__:
            raise LinkLost(details, told_later=said.told_later)
        raise _ERRORS[said.error](details) if said.error in _ERRORS else LinkLost(details)

    def _left(self, request: _Request) -> float:
        return max(0.001, request.deadline - self._clock.seconds())

    def _definite(self, failure: Failure, request: _Request) -> Any:
        """Whatever went wrong, who waits gets a CommandError."""
        error = failure.value
        if isinstance(error, CommandError):
            return failure
        if isinstance(error, CancelledError):
            raise CommandCancelled(f"what was for {request.name} was cancelled")
        if isinstance(error, StoreUnavailable):
            raise AgentUnavailable(f"{request.name} cannot be looked for: {error}")
        self.log.failure("Failed to forward a request for {name}", failure, name=request.name)
        if request.sent:
            raise LinkLost(f"{request.name} may have been sent it, and its answer is lost: {error}")
        raise AgentUnavailable(f"{request.name} was not sent it: {error}")

    async def _read(self, ids: list[HostId]) -> Sequence[Host | None]:
        found = await self._store.read(lambda txn: txn.hosts.several(set(ids)))
        return [found.get(host_id) for host_id in ids]


def _check(request: _Request, host: Host) -> None:
    if why := refused(host, request.outgoing):
        raise AgentUnavailable(why)


def _overdue(request: _Request, *_: object) -> Answers:
    seconds = shown_seconds(request.timeout)
    if request.sent:
        raise AgentTimedOut(f"{request.name} did not answer in time, which was {seconds}")
    raise AgentTimedOut(f"{request.name} was not sent it within {seconds}: {request.why}")
