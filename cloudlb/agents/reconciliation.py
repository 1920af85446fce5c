"""What agents tell of commands that their servers have lost track of.

An agent of ours keeps what became of a journalled command, and tells it with its pings until it is told that it may
forget (PingCommand.commandInfos, PingAnswer.reconcileCommands). Whoever waits for such a command gets its answer so:
on this server, in the row of a job, or on another server, by the bus. Only what has arrived there may be forgotten.

Agents are not trusted with more than their own hosts: what one tells of another host's job changes nothing, and what it
tells beyond the limits below is passed over, to be told again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.answer_size import fitted
from cloudlb.agents.attache import Attache
from cloudlb.agents.command_jobs import CommandJobs
from cloudlb.agents.command_orders import COMMAND
from cloudlb.agents.directory import Directory
from cloudlb.agents.outcomes import answered
from cloudlb.agents.sender import Sender
from cloudlb.domain.models import HostId, JobStatus, ServerId
from cloudlb.domain.ports import Bus, Store, StoreUnavailable, Transaction
from cloudlb.net.batch import Batch
from cloudlb.net.sparse_log import SparseLog
from cloudlb.net.spawn import spawn
from cloudlb.wire import Answer, BodyError, Command, CommandInfo, Opaque, fields_of, read_content, wire_name

TOPIC = "commands.reported"
"""Answers that came with a ping, for whoever waits: {"host_id", "answers": {id: [class, JSON of its fields]}}."""
IN_TRANSIT = 5.0
"""Seconds after a server sent something for the last time in which an agent may still read it."""
MAX_SETTLED = 10_000
"""Ids of which a server remembers that they may be forgotten; one that it does not is looked up once more."""
MAX_ID = 64
"""Characters of an id; agents of ours carry out none that is longer."""
MAX_TOLD = 12_000
"""Ids of one session that are remembered: an agent's journal has 10,000, and some wait for their turns."""
MAX_PENDING = 1000
"""Ends of one session that are being written at a time."""
MAX_PENDING_BYTES = 2 * 2**20
"""Of their answers: as much as a ping can bring."""
BURST = 512 * 2**10
"""Bytes that one host may put on the bus for servers of which nobody knows whether they wait, and that nobody has asked
for: enough for 1000 ends, or for the largest answer."""
RATE = 4 * 2**10
"""Bytes a second by which that grows again."""
_BATCH = 200
_MESSAGE = 256
"""Bytes of a message of the bus, besides its texts."""

_Key = tuple[HostId, str]
"""Whose command, and its id: an id is only worth something together with the host that tells it."""


@frozen
class _Reported:
    """The end of one command, as an agent tells it."""

    id: str
    host_id: HostId
    name: str
    json: str
    answer: Answer | Opaque

    @property
    def key(self) -> _Key:
        """Whose it is."""
        return self.host_id, self.id

    @property
    def cost(self) -> int:
        """Bytes that it takes on the bus."""
        return _MESSAGE + len(self.id) + len(self.name) + len(self.json)


class _End(Enum):
    """What became of a report."""

    SETTLED = auto()
    """It has arrived, and the agent may forget it."""
    SENT = auto()
    """The same, for whoever on other servers waits."""
    IGNORED = auto()
    """It is none of the host's, or there is too much of it for now."""


@define
class _Allowance:
    """What one host may put on the bus."""

    left: float
    at: float

    def grow(self, now: float) -> None:
        """Take it that time has passed."""
        self.left, self.at = min(float(BURST), self.left + RATE * (now - self.at)), now


@define
class _Session:
    """What the agent of one attache has told so far."""

    told: dict[str, float] = field(factory=dict)
    """When it told of an id last; those that it may forget are left out."""
    complete: float = -inf
    """It has told of everything that it had at this time. An agent with much to tell does so in parts, turn by turn:
    when it tells of a command again, it has told of all that it had when it did so before."""
    overflown: bool = False
    """It has told of more than is remembered, so nobody knows what it has not told of."""
    pending: int = 0
    """Ends that are being written."""
    pending_bytes: int = 0

    def take(self, ids: Collection[str], now: float) -> None:
        """Take a report."""
        self.complete = max([self.complete, *(self.told[id_] for id_ in ids if id_ in self.told)])
        for id_ in ids:
            if id_ in self.told or len(self.told) < MAX_TOLD:
                self.told[id_] = now
            else:
                self.overflown = True

    def has_room(self, size: int) -> bool:
        """Whether one more end of so many bytes may be written now."""
        return self.pending < MAX_PENDING and self.pending_bytes + size <= MAX_PENDING_BYTES


class Reconciliation:
    """This server's part in it."""

    log = Logger()

    def __init__(
        self, store: Store, bus: Bus, directory: Directory, sender: Sender, jobs: CommandJobs, clock: IReactorTime
    ) -> None:
        self._store = store
        self._directory = directory
        self._sender = sender
        self._jobs = jobs
        self._clock = clock
        self._sessions: WeakKeyDictionary[Attache, _Session] = WeakKeyDictionary()
        self._settled: OrderedDict[_Key, None] = OrderedDict()
        self._under_way: set[_Key] = set()
        self._allowances: dict[HostId, _Allowance] = {}
        self._outages = SparseLog(clock, self.log)
        self._ends: Batch[_Reported, _End] = Batch(self._write, _BATCH)
        bus.subscribe(TOPIC, self._heard)

    def reported(self, attache: Attache, infos: Sequence[CommandInfo]) -> tuple[str, ...]:
        """Take what a ping tells of commands; the ids of those that the agent may forget.

        What has to be written first may be forgotten with a later ping.
        """
        session = self._sessions.get(attache)
        if session is None:
            session = self._sessions[attache] = _Session()
        known = [(info.id, info) for info in infos if info.id and len(info.id) <= MAX_ID]
        session.take([id_ for id_, _ in known], self._clock.seconds())
        settled = tuple(id_ for id_, info in known if self._settle(attache, session, id_, info))
        for id_ in settled:
            session.told.pop(id_, None)
        return settled

    def denies(self, host_id: HostId, command_id: str, died: float) -> bool:
        """Whether a host's agent has told of all it has got since a server died, and not of this command from there.

        Such a command never reached the host, and never will, if that server has sent nothing after ``died``.
        """
        attache = self._attache(host_id)
        if attache is None or not attache.journals:
            return False
        session = self._sessions.get(attache) or _Session()
        complete = max(session.complete, attache.nothing_to_tell)
        return complete > died + IN_TRANSIT and command_id not in session.told and not session.overflown

    def is_mute(self, host_id: HostId) -> bool:
        """Whether a host's agent is here, and keeps no journal of which it could tell."""
        attache = self._attache(host_id)
        return attache is not None and not attache.journals

    def _attache(self, host_id: HostId) -> Attache | None:
        attache = self._directory.get(host_id)
        return attache if attache is not None and attache.owns_host else None

    def _settle(self, attache: Attache, session: _Session, id_: str, info: CommandInfo) -> bool:
        """Bring an answer to who waits for it; whether it has arrived."""
        key = attache.host.id, id_
        if key in self._settled:
            return True
        if key in self._under_way or (reported := _read(attache.host.id, id_, info)) is None:
            return False
        if self._sender.reported(id_, reported.answer, reported.host_id) and not self._jobs.holds(id_):
            self._settled_now(key)
            return True
        if session.has_room(reported.cost):
            self._under_way.add(key)
            spawn(self._end(session, reported), self.log, "write a reported answer")
        return False

    async def _end(self, session: _Session, reported: _Reported) -> None:
        session.pending += 1
        session.pending_bytes += reported.cost
        try:
            if await self._ends.add(reported) is not _End.IGNORED:
                self._settled_now(reported.key)
        except StoreUnavailable as error:
            # The agent will tell of it again.
            self._outages.info("a reported answer cannot be written: {error}", error=error)
        finally:
            session.pending -= 1
            session.pending_bytes -= reported.cost
            self._under_way.discard(reported.key)

    def _settled_now(self, key: _Key) -> None:
        self._settled[key] = None
        if len(self._settled) > MAX_SETTLED:
            self._settled.popitem(last=False)

    async def _write(self, ends: list[_Reported]) -> Sequence[_End]:
        now, own = self._clock.seconds(), self._jobs.server_id
        affordable = self._affordable(ends, now)

        def work(txn: Transaction) -> list[_End]:
            for_others: dict[HostId, dict[str, list[str]]] = {}
            became = []
            for end in ends:
                verdict, tell = _take(txn, end, own, now)
                if verdict is _End.SENT and end.key not in affordable:
                    verdict, tell = _End.IGNORED, False
                if tell:
                    for_others.setdefault(end.host_id, {})[end.id] = [end.name, end.json]
                became.append(verdict)
            for host_id, answers in for_others.items():
                txn.bus.publish(TOPIC, {"host_id": host_id, "answers": answers}, now)
            return became

        became = await self._store.run(work)
        for end, verdict in zip(ends, became, strict=True):
            if verdict is _End.SENT:
                self._allowances[end.host_id].left -= end.cost
        return became

    def _affordable(self, ends: Sequence[_Reported], now: float) -> frozenset[_Key]:
        """Those that their hosts may put on the bus now, should they be for others."""
        left: dict[HostId, float] = {}
        affordable = set()
        for end in ends:
            if end.host_id not in left:
                allowance = self._allowances.setdefault(end.host_id, _Allowance(BURST, now))
                allowance.grow(now)
                left[end.host_id] = allowance.left
            if end.cost <= left[end.host_id]:
                left[end.host_id] -= end.cost
                affordable.add(end.key)
        return frozenset(affordable)

    def _heard(self, payload: Mapping[str, Any]) -> None:
        for id_, (name, json) in payload["answers"].items():
            self._sender.reported(id_, _answer(name, json), HostId(payload["host_id"]))


def _take(txn: Transaction, end: _Reported, own: ServerId, now: float) -> tuple[_End, bool]:
    """End the job of a report, if there is one; what becomes of the report, and whether other servers are to hear."""
    job = txn.jobs.get(end.id)
    if job is None:
        return _End.SENT, True
    if job.host_id != end.host_id or job.command != COMMAND:
        return _End.IGNORED, False
    # Its own server waits still, and is told once.
    waits = job.status is JobStatus.RUNNING and job.server_id != own
    answered(end.answer).write(txn, end.id, now)
    return _End.SETTLED, waits


def _read(host_id: HostId, id_: str, info: CommandInfo) -> _Reported | None:
    """The end of a command; None for one that is still under way."""
    name, json = info.answer_name, info.answer
    if name is None or json is None:
        return None
    answer = _answer(name, json)
    if (kept := fitted(answer)) is not answer:
        name, json = wire_name(kept), orjson.dumps(fields_of(kept)).decode()
    return _Reported(id_, host_id, name, json, kept)


def _answer(name: str, json: str) -> Answer | Opaque:
    try:
        fields = orjson.loads(json)
        content = read_content(Opaque(name, fields)) if isinstance(fields, dict) else None
    except (orjson.JSONDecodeError, BodyError):
        content = None
    if content is None or isinstance(content, Command):
        # It would be told again and again.
        return Answer(result=False, details="the agent's answer does not parse")
    return content
