"""Commands as asynchronous jobs: taken by any server, carried out by the one that holds the host, ended once.

A job is in the database before anything of it is on a wire. Its row names the server that is to carry it out, and only
that one does, once: it hears of the job by the bus, reads the row, and sends the command if the row still runs and
still names it. A host that has moved in between takes its job with it (``JobRows.assign``), and one that is on its way
is waited for, a number of times at most.

A server that dies leaves its jobs running; see :mod:`cloudlb.cluster.orphans` for who ends them. One that lives, but
may have been taken for dead since it read a row, reads it again: others may have said that the command was never sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import orjson
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from cloudlb.agents.answer_size import fitted
from cloudlb.agents.command_orders import (
    TOPIC,
    Load,
    Order,
    Routes,
    ServerBusy,
    TooManyJobs,
    alive_servers,
    holder_of,
    publish,
    start,
)
from cloudlb.agents.directory import Directory
from cloudlb.agents.errors import CommandCancelled, CommandError
from cloudlb.agents.journalled import is_journalled
from cloudlb.agents.outcomes import Outcome, answered, failed, not_carried_out, unavailable, unknown
from cloudlb.agents.sender import Sender
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId, Job, JobStatus, ServerId
from cloudlb.domain.ports import AmbiguousName, Bus, KeyTaken, NotFound, Store, StoreUnavailable, Transaction
from cloudlb.net.batch import Batch
from cloudlb.net.in_order import InOrder
from cloudlb.net.sparse_log import SparseLog
from cloudlb.net.spawn import spawn
from cloudlb.wire import COMMAND_ID, LOGGING_CONTEXT, BodyError, Command, Opaque, fields_of, read_content

T = TypeVar("T")

MARGIN = 15.0
"""Seconds between the time-out of a command and the deadline of its job, for the ways through bus and database."""
MAX_LOOKS = 30
"""How often a job looks for its host where it is not, before it gives up."""
RETRY_INTERVAL = 1.0
"""Seconds before a host that has just left, or a database that is away, is tried again."""
MAX_WAITING_BYTES = 32 * 2**20
"""Of the commands that a server was asked to send and that are not in the database yet, as JSON."""

_ON_ITS_WAY = frozenset({HostStatus.CONNECTING, HostStatus.REBALANCING})
_BATCH = 200
"""Most jobs of one transaction: some tens of milliseconds of the writer's time."""
_AT_ONCE = 25
"""Most jobs that are read with their arguments at a time: 64 KiB each, and as objects several times that."""


class Standing(Protocol):
    """What the other servers may think of this one."""

    def undoubted_since(self, moment: float) -> bool:
        """Whether they cannot have called it Down at any time since a moment."""
        ...


@frozen
class _Stray:
    """A job whose host is not on the server that was to have it."""

    uuid: str
    host_id: HostId | None
    moves: int


class CommandJobs:
    """This server's part in the jobs that send commands."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        bus: Bus,
        directory: Directory,
        sender: Sender,
        standing: Standing,
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._standing = standing
        self._directory = directory
        self._sender = sender
        self._clock = clock
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        self._waiting_bytes = 0
        self._held: set[str] = set()
        self._tasks = InOrder[Deferred[None]]()
        self._waits = InOrder[Deferred[Any]]()
        self._stopping = False
        self._outages = SparseLog(clock, self.log)
        """Thousands of jobs may wait, and each looks every second."""
        self._orders: Batch[Order, Job | Exception] = Batch(self._record, _BATCH)
        self._strays: Batch[_Stray, bool] = Batch(self._follow, _BATCH)
        self._ends: Batch[tuple[str, Outcome], bool] = Batch(self._write, _BATCH)
        bus.subscribe(TOPIC, self._arrived)

    def holds(self, uuid: str) -> bool:
        """Whether a job is this server's to end, and it will."""
        return uuid in self._held

    async def start(self, order: Order) -> Job:
        """Record the job of a command; it goes on by itself.

        A host that is Up nowhere has its job ended at once.

        Raises:
            NotFound: there is no such host.
            AmbiguousName: there are several of this name.
            KeyTaken: the account has used the key for another command or host.
            TooManyJobs: nothing was recorded.
        """
        size = len(orjson.dumps(fields_of(order.command)))
        if self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise ServerBusy(
                f"{self._waiting_bytes} bytes of commands wait for the database on this server, and with {size} more "
                f"they would be over the limit of {MAX_WAITING_BYTES}; try again later"
            )
        self._waiting_bytes += size
        try:
            recorded = await self._orders.add(order)
        finally:
            self._waiting_bytes -= size
        if isinstance(recorded, Exception):
            raise recorded
        return recorded

    async def stop(self) -> None:
        """Write the ends that are known; what still waits for an answer is left to the other servers."""
        self._stopping = True
        for wait in list(self._waits):
            wait.cancel()
        for task in list(self._tasks):
            await task

    # Into the database.

    async def _record(self, orders: list[Order]) -> Sequence[Job | Exception]:
        now, own = self._clock.seconds(), self.server_id
        times = [self._sender.seconds([order.command], order.timeout) + MARGIN for order in orders]

        def work(txn: Transaction) -> list[Job | Exception]:
            began, alive, load, routes = txn.time(), alive_servers(txn), Load(), Routes(list)
            for server_id, account_id, number in txn.jobs.under_way():
                load.add(server_id, account_id, number)
            recorded: list[Job | Exception] = []
            for order, seconds in zip(orders, times, strict=True):
                try:
                    recorded.append(start(txn, order, own, alive, load, routes, now=now, deadline=began + seconds))
                except (NotFound, AmbiguousName, KeyTaken, TooManyJobs) as error:
                    recorded.append(error)
            publish(txn, routes, now)
            return recorded

        return await self._store.run(work)

    async def _follow(self, strays: list[_Stray]) -> Sequence[bool]:
        """Send jobs after their hosts; True for those whose hosts should be here, or soon are somewhere."""
        now, own = self._clock.seconds(), self.server_id

        def work(txn: Transaction) -> list[bool]:
            alive, routes = alive_servers(txn), Routes(list)
            here = []
            for stray in strays:
                host = txn.hosts.get(stray.host_id) if stray.host_id is not None else None
                holder = holder_of(host, alive)
                waits = holder == own or (host is not None and host.removed is None and host.status in _ON_ITS_WAY)
                lost = (holder is None and not waits) or stray.moves >= MAX_LOOKS
                if lost:
                    name = f"host {host.facts.name}" if host is not None else "the host"
                    unavailable(f"{name} has no agent connected").write(txn, stray.uuid, now)
                elif holder is not None and holder != own and txn.jobs.assign(stray.uuid, own, holder):
                    routes[holder, stray.moves + 1].append(stray.uuid)
                here.append(waits and not lost)
            publish(txn, routes, now)
            return here

        return await self._store.run(work)

    async def _write(self, ends: list[tuple[str, Outcome]]) -> Sequence[bool]:
        now = self._clock.seconds()
        return await self._store.run(lambda txn: [outcome.write(txn, uuid, now) for uuid, outcome in ends])

    # Out of the database, and to the host.

    def _arrived(self, payload: Mapping[str, Any]) -> None:
        if payload["server_id"] == self.server_id and not self._stopping:
            # The bus may deliver twice.
            fresh = [uuid for uuid in payload["jobs"] if uuid not in self._held]
            self._held.update(fresh)
            self._spawn(self._take(fresh, payload["moves"]))

    async def _take(self, uuids: Sequence[str], moves: int) -> None:
        left = list(uuids)
        try:
            while left:
                await self._take_some(left[:_AT_ONCE], moves)
                del left[:_AT_ONCE]
        finally:
            self._held.difference_update(left)

    async def _take_some(self, uuids: Sequence[str], moves: int) -> None:
        jobs, now = await self._read(uuids)
        for uuid, job in zip(uuids, jobs, strict=True):
            if job is None or job.status is not JobStatus.RUNNING or job.server_id != self.server_id:
                self._held.discard(uuid)
            elif self._is_here(job.host_id):
                self._spawn(self._finish(uuid, self._sent(job, now)))
            else:
                self._spawn(self._follow_up(_Stray(uuid, job.host_id, moves)))

    async def _read(self, uuids: Sequence[str]) -> tuple[Sequence[Job | None], float]:
        """The rows of jobs, as they still are unless this server changes them itself, and the database's time."""

        def work(txn: Transaction) -> tuple[Sequence[Job | None], float]:
            return [txn.jobs.get(uuid) for uuid in uuids], txn.time()

        while True:
            asked = self._clock.seconds()
            found = await self._insist(lambda: self._store.read(work))
            if self._standing.undoubted_since(asked):
                return found
            await self._sleep()

    async def _follow_up(self, stray: _Stray) -> None:
        """Send a job after its host, or wait here for the host; meanwhile nothing else of the job is kept."""
        try:
            if not await self._insist(lambda: self._strays.add(stray)):
                self._held.discard(stray.uuid)
                return
            await self._sleep()
        except BaseException:
            self._held.discard(stray.uuid)
            raise
        await self._take([stray.uuid], stray.moves + 1)

    async def _finish(self, uuid: str, ended: Deferred[Outcome]) -> None:
        """Wait for the end of a job whose command was sent, and write it."""
        try:
            outcome = await self._wait(ended)
            await self._insist(lambda: self._ends.add((uuid, outcome)))
        finally:
            self._held.discard(uuid)

    def _is_here(self, host_id: HostId | None) -> bool:
        # Otherwise the sender would look for it, and might find it when the row of the job has another end.
        attache = self._directory.get(host_id) if host_id is not None else None
        return attache is not None and attache.owns_host and attache.host.status is HostStatus.UP

    def _sent(self, job: Job, now: float) -> Deferred[Outcome]:
        """Send a job's command; fires with the end of the job, and holds nothing of the command.

        Args:
            job: as it was read.
            now: when, by the clock of the database.
        """
        assert job.host_id is not None and job.deadline is not None, f"{job.uuid} is no job of a command"
        remaining = job.deadline - MARGIN - now
        if remaining <= 0:
            return succeed(not_carried_out("its time was over before the server of the host had it"))
        try:
            command = _command(job)
        except BodyError as error:
            return succeed(not_carried_out(str(error)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has to end
            self.log.failure("Failed to read the command of job {uuid}", uuid=job.uuid)
            return succeed(not_carried_out(f"its command cannot be read: {error}"))
        try:
            sent = self._sender.send(job.host_id, [command], timeout=remaining)
        except Exception as error:  # noqa: BLE001 - as above; it may have left
            self.log.failure("Failed to send the command of job {uuid}", uuid=job.uuid)
            return succeed(unknown(f"its server failed to send it: {error}"))
        return sent.addCallbacks(lambda answers: answered(fitted(answers[0])), self._failed)

    def _failed(self, failure: Failure) -> Outcome:
        error = failure.value
        if self._stopping and isinstance(error, CommandCancelled):
            raise CancelledError from error
        if isinstance(error, CommandError):
            return failed(error)
        self.log.failure("Failed to send the command of a job", failure)
        return unknown(f"its server failed to send it: {error}")

    # Waiting, which a stop ends.

    def _spawn(self, coroutine: Coroutine[Deferred[Any], Any, None]) -> None:
        task = spawn(coroutine, self.log, "carry out a job")
        self._tasks.add(task)
        task.addCallback(lambda _: self._tasks.discard(task))

    async def _wait(self, deferred: Deferred[T]) -> T:
        self._waits.add(deferred)
        try:
            return await deferred
        finally:
            self._waits.discard(deferred)

    async def _sleep(self) -> None:
        if self._stopping:
            raise CancelledError
        await self._wait(deferLater(self._clock, RETRY_INTERVAL))

    async def _insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Do what the database refuses while it is away when it is back."""
        while True:
            try:
                return await attempt()
            except StoreUnavailable as error:
                self._outages.warn("jobs wait for the database: {error}", error=error)
                await self._sleep()


def _command(job: Job) -> Command | Opaque:
    """The command of a job, with the job's uuid as its id; BodyError if this program cannot read it."""
    name, fields = job.arguments["class"], job.arguments["fields"]
    context = {**(fields.get("contextMap") or {}), LOGGING_CONTEXT: job.uuid}
    if is_journalled(name):
        context[COMMAND_ID] = job.uuid
    return read_content(Opaque(name, {**fields, "contextMap": context}))  # type: ignore[return-value]
