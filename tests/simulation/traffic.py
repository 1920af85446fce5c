"""Commands that are under way all the time, and what became of each."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from cloudlb.agents.command_orders import Order, TooManyJobs
from cloudlb.agents.errors import AgentUnavailable, CommandError, LinkLost
from cloudlb.domain.ports import KeyTaken, NotFound, StoreUnavailable
from cloudlb.wire import COMMAND_ID, LOGGING_CONTEXT, CheckHealthCommand, Command, MaintainCommand
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.machine import Machine
from tests.support.marks import is_mark
from tests.support.server_process import ServerProcess
from tests.support.world import Hosted, World

TIMEOUT = 20
"""Seconds that a command has."""
NEVER_SENT = ("unavailable", "busy", "not carried out")
"""Kinds of ends of jobs that say that the command was not carried out."""


@define(eq=False)
class Sent:
    """A command that code of a server sent."""

    mark: str
    machine: Machine = field(repr=False)
    """Of the process that sent it: what becomes of it after that has died nobody learns."""
    ends: int = 0
    end: object = None


@frozen
class JobRow:
    """A job as the database has it."""

    uuid: str
    status: int
    result: str

    @property
    def kind(self) -> str:
        """Of an error what stands before the first colon."""
        return str((json.loads(self.result) or {}).get("errortext", "")).partition(":")[0]


class Traffic:
    """Sends, and remembers."""

    def __init__(self, world: World, record: Path, theirs: Sequence[CloudStackAgent] = ()) -> None:
        """Prepare.

        Args:
            world: with the servers.
            record: what the simulated hosts write (simulator.record).
            theirs: agents that do not.
        """
        self._world = world
        self._record = record
        self._theirs = theirs
        self._sent: list[Sent] = []
        self._processes: dict[Machine, int] = {}

    # What is sent.

    def start_job(self, server: ServerProcess, host: Hosted, *, changes: bool, key: str | None) -> None:
        """Have a running server take a command for a host as a job."""
        command: Command = MaintainCommand() if changes else CheckHealthCommand()
        wanted = Order(host=host.name, command=command, timeout=TIMEOUT, key=key, account_id=1)
        jobs = server.service.command_jobs

        def begin() -> None:
            started = Deferred.fromCoroutine(jobs.start(wanted))
            started.addErrback(lambda failure: failure.trap(NotFound, KeyTaken, StoreUnavailable, TooManyJobs))

        if serves(server):
            server.machine.callLater(0, begin)

    def send(self, server: ServerProcess, host: Hosted, *, changes: bool, line: str = "") -> None:
        """Have code of a running server send a command to a host; ``line`` names a sequence."""
        host_id = self._world.host_id(host)
        if host_id is None or not serves(server):
            return
        sent = Sent(f"{line or 'sent'}/{len(self._sent)}", server.machine)
        self._sent.append(sent)
        context = {COMMAND_ID if changes else LOGGING_CONTEXT: sent.mark}
        command = (MaintainCommand if changes else CheckHealthCommand)(context_map=context)
        sender = server.service.sender

        def begin() -> None:
            sender.send(host_id, [command], timeout=TIMEOUT, in_sequence=bool(line)).addBoth(self._ended, sent)

        server.machine.callLater(0, begin)

    def send_in_sequence(self, server: ServerProcess, host: Hosted, count: int) -> None:
        """Have code of a running server send queries that are to be carried out one after the other."""
        process = self._processes.setdefault(server.machine, len(self._processes))
        for _ in range(count):
            self.send(server, host, changes=False, line=f"{server.address}-{process}-{host.name}")

    def _ended(self, end: object, sent: Sent) -> None:
        sent.ends += 1
        sent.end = end.value if isinstance(end, Failure) else end

    # What must hold.

    def broken(self) -> Iterator[str]:
        """What must never be, whenever one looks."""
        executed = self._executed()
        counted = Counter(executed)
        for mark, count in counted.items():
            if count > 1:
                yield f"command {mark} was carried out {count} times"
        for sent in self._sent:
            if sent.ends > 1:
                yield f"{sent} has ended {sent.ends} times"
            if isinstance(sent.end, BaseException) and not isinstance(sent.end, CommandError):
                yield f"{sent} failed with what is no CommandError"
            if isinstance(sent.end, AgentUnavailable) and not isinstance(sent.end, LinkLost) and counted[sent.mark]:
                yield f"{sent} is said not to have been sent and was carried out"
        for row in self.jobs():
            if row.status and row.kind in NEVER_SENT and counted[row.uuid]:
                yield f"{row} was carried out"
        lines = defaultdict(list)
        for mark in executed:
            line, slash, number = mark.partition("/")
            if slash and line != "sent":
                lines[line].append(int(number))
        for line, numbers in lines.items():
            if numbers != sorted(numbers):
                yield f"commands in sequence were carried out in the order {numbers} on {line}"

    def open(self) -> Iterator[str]:
        """What must end."""
        for row in self.jobs():
            if not row.status:
                yield f"job {row.uuid} has not ended"
        for sent in self._sent:
            if not sent.ends and sent.machine.alive:
                yield f"{sent} has not ended"

    def counts(self) -> Counter[str]:
        """How many commands were sent, and how many ended in which way."""
        counts = Counter({"sent": len(self._sent), "carried out": len(self._executed())})
        for row in self.jobs():
            counts["jobs"] += 1
            counts[f"job {row.kind or 'answered'}"] += 1
        for sent in self._sent:
            counts[f"end {type(sent.end).__name__}"] += sent.ends
        return counts

    def jobs(self) -> Sequence[JobRow]:
        """Every job."""
        with self._world._own._read_engine.begin() as connection:
            rows = connection.exec_driver_sql("SELECT uuid, status, result FROM async_job ORDER BY id")
            return [JobRow(*row) for row in rows]

    def _executed(self) -> list[str]:
        """What was carried out, in order, by the marks of the commands; what servers ask by themselves has none."""
        lines = self._record.read_text(encoding="utf-8").splitlines() if self._record.exists() else []
        marks = [line.split()[1] for line in lines]
        marks += [mark for agent in self._theirs for mark in agent.carried_out]
        return [mark for mark in marks if is_mark(mark)]


def serves(server: ServerProcess) -> bool:
    """Whether it runs and has joined its cluster."""
    return server.running and server.service.command_jobs.server_id != 0
