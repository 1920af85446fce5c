"""What agents tell of commands that their servers have lost track of.

An agent of ours keeps what became of a journalled command, and tells it with its pings until it is told that it may
forget (PingCommand.commandInfos, PingAnswer.reconcileCommands). Whoever waits for such a command gets its answer so:
on this server, in the row of a job, or on another server, by the bus. Only what has arrived there may be forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.agents.command_jobs import CommandJobs
from cloudlb.agents.directory import Directory
from cloudlb.agents.outcomes import answered
from cloudlb.agents.sender import Sender
from cloudlb.domain.models import HostId, JobStatus
from cloudlb.domain.ports import Bus, Store, StoreUnavailable, Transaction
from cloudlb.net.batch import Batch
from cloudlb.net.spawn import spawn
from cloudlb.wire import Answer, BodyError, Command, CommandInfo, Opaque, read_content

TOPIC = "commands.reported"
"""Answers that came with a ping, for whoever waits: {"host_id", "answers": {id: [class, JSON of its fields]}}."""
IN_TRANSIT = 5.0
"""Seconds after a server was alive for the last time in which an agent may still read what it had sent."""
MAX_SETTLED = 10_000
"""Ids of which a server remembers that they may be forgotten; one that it does not is looked up once more."""
_BATCH = 200


@frozen
class _Reported:
    """The end of one command, as an agent tells it."""

    id: str
    host_id: HostId
    name: str
    json: str
    answer: Answer | Opaque


@define
class _Session:
    """What the agent of one attache has told so far."""

    told: dict[str, float] = field(factory=dict)
    """When it told of an id last; those that it may forget are left out."""
    complete: float = -inf
    """It has told of everything that it had at this time. An agent with much to tell does so in parts, turn by turn:
    when it tells of a command again, it has told of all that it had when it did so before."""

    def take(self, ids: Collection[str], now: float) -> None:
        """Take a report."""
        self.complete = max([self.complete, *(self.told[id_] for id_ in ids if id_ in self.told)])
        self.told.update(dict.fromkeys(ids, now))


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
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._under_way: set[str] = set()
        self._ends: Batch[_Reported, None] = Batch(self._write, _BATCH)
        bus.subscribe(TOPIC, self._heard)

    def reported(self, attache: Attache, infos: Sequence[CommandInfo]) -> tuple[str, ...]:
        """Take what a ping tells of commands; the ids of those that the agent may forget.

        What has to be written first may be forgotten with a later ping.
        """
        session = self._sessions.get(attache)
        if session is None:
            session = self._sessions[attache] = _Session()
        session.take([info.id for info in infos if info.id], self._clock.seconds())
        settled = tuple(info.id for info in infos if info.id and self._settle(attache, info))
        for id_ in settled:
            session.told.pop(id_, None)
        return settled

    def denies(self, host_id: HostId, command_id: str, died: float) -> bool:
        """Whether a host's agent has told of all it has got since a server died, and not of this command from there.

        Such a command never reached the host, and never will.
        """
        attache = self._attache(host_id)
        if attache is None or not attache.journals:
            return False
        session = self._sessions.get(attache) or _Session()
        complete = max(session.complete, attache.nothing_to_tell)
        return complete > died + IN_TRANSIT and command_id not in session.told

    def is_mute(self, host_id: HostId) -> bool:
        """Whether a host's agent is here, and keeps no journal of which it could tell."""
        attache = self._attache(host_id)
        return attache is not None and not attache.journals

    def _attache(self, host_id: HostId) -> Attache | None:
        attache = self._directory.get(host_id)
        return attache if attache is not None and attache.owns_host else None

    def _settle(self, attache: Attache, info: CommandInfo) -> bool:
        """Bring an answer to who waits for it; whether it has arrived."""
        id_ = info.id or ""
        if id_ in self._settled:
            return True
        if (reported := _read(attache, info)) is None or id_ in self._under_way:
            return False
        if self._sender.reported(id_, reported.answer, reported.host_id) and not self._jobs.holds(id_):
            self._settled_now(id_)
            return True
        self._under_way.add(id_)
        spawn(self._end(reported), self.log, "write a reported answer")
        return False

    async def _end(self, reported: _Reported) -> None:
        try:
            await self._ends.add(reported)
        except StoreUnavailable as error:
            # The agent will tell of it again.
            self.log.warn("a reported answer cannot be written: {error}", error=error)
        finally:
            self._under_way.discard(reported.id)

    def _settled_now(self, id_: str) -> None:
        self._settled[id_] = None
        if len(self._settled) > MAX_SETTLED:
            self._settled.popitem(last=False)

    async def _write(self, ends: list[_Reported]) -> Sequence[None]:
        now = self._clock.seconds()

        def work(txn: Transaction) -> None:
            for_others: dict[HostId, dict[str, list[str]]] = {}
            for end in ends:
                job = txn.jobs.get(end.id)
                if job is None or job.status is JobStatus.RUNNING:
                    # Of a job, too: its own server waits still.
                    for_others.setdefault(end.host_id, {})[end.id] = [end.name, end.json]
                if job is not None and job.host_id == end.host_id:
                    answered(end.answer).write(txn, end.id, now)
            for host_id, answers in for_others.items():
                txn.bus.publish(TOPIC, {"host_id": host_id, "answers": answers}, now)

        await self._store.run(work)
        for end in ends:
            self._settled_now(end.id)
        return [None] * len(ends)

    def _heard(self, payload: Mapping[str, Any]) -> None:
        for id_, (name, json) in payload["answers"].items():
            self._sender.reported(id_, _answer(name, json), HostId(payload["host_id"]))


def _read(attache: Attache, info: CommandInfo) -> _Reported | None:
    """The end of a command; None for one that is still under way."""
    if info.id is None or info.answer_name is None or info.answer is None:
        return None
    answer = _answer(info.answer_name, info.answer)
    return _Reported(info.id, attache.host.id, info.answer_name, info.answer, answer)


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
