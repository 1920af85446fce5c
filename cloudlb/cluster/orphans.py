"""Jobs whose server is gone are ended by another one, so that every job ends.

What is known of a job decides how:

- A journalled command is kept by its agent, which tells the server that it goes to what became of it. The job waits
  for that until its deadline. An agent that tells of its commands and not of this one never got it.
- Of everything else nobody can know more than that its server died while it was under way.

Every server looks after all orphans, since a job ends once, whoever ends it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.command_jobs import CommandJobs
from cloudlb.agents.command_orders import COMMAND, alive_servers
from cloudlb.agents.journalled import is_journalled
from cloudlb.agents.outcomes import Outcome, not_carried_out, unknown
from cloudlb.agents.reconciliation import Reconciliation
from cloudlb.cluster.membership import Membership
from cloudlb.domain.models import Job, Server, ServerId
from cloudlb.domain.ports import Store, Transaction
from cloudlb.net.periodic import Periodic

INTERVAL = 5.0
"""Seconds between looks at the jobs of other servers."""
OWN_INTERVAL = 15.0
"""Seconds between looks at this server's own jobs, most of which are well. One that it does not know of for so long is
lost: a message of the bus takes no such time."""
_AT_ONCE = 10_000
"""Most jobs of one look, for each server that is gone: as many commands as it may have under way. The oldest come
first, so more of them that wait for their agents may keep later ones from an end until a deadline."""


@frozen
class _Orphan:
    """A job without a server."""

    job: Job
    died: float
    """When the server can have sent something for the last time."""
    why: str


class Orphans:
    """Looks after the jobs of servers that are gone."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        membership: Membership,
        jobs: CommandJobs,
        reconciliation: Reconciliation,
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._membership = membership
        self._jobs = jobs
        self._reconciliation = reconciliation
        self._clock = clock
        self._unclaimed: Collection[str] = ()
        self._looks = Periodic(clock, "look for orphaned jobs", self.look)
        self._looks_at_own = Periodic(clock, "look for lost jobs", self.look_at_own)

    def start(self) -> None:
        """Begin to look."""
        self._looks.start(INTERVAL)
        self._looks_at_own.start(OWN_INTERVAL)

    def stop(self) -> None:
        """Look no more."""
        self._looks.stop()
        self._looks_at_own.stop()

    async def look(self) -> None:
        """End the jobs of servers that are down, and those that are past their deadline."""
        own, steady = self._membership.own, self._membership.steady

        def find(txn: Transaction) -> tuple[dict[ServerId, Server], Sequence[Job], Sequence[Job]]:
            down = {s.id: s for s in txn.servers.all() if steady and not s.alive and s.id != own.id}
            running = txn.jobs.running(down, _AT_ONCE * len(down)) if down else []
            return down, running, txn.jobs.overdue(txn.time(), _AT_ONCE)

        down, running, overdue = await self._store.read(find)
        late = unknown("its server did not end it in time")
        ends = {job.uuid: late for job in overdue if not self._jobs.holds(job.uuid)}
        now = self._clock.seconds()
        orphans = self._ends([_of_other(job, down[job.server_id], now) for job in running])
        await self._end(ends | orphans, {job.uuid: job.server_id for job in running if job.uuid in orphans})

    async def look_at_own(self) -> None:
        """End jobs that this server took before it started, and those that it never heard of."""
        own, started = self._membership.own, self._membership.started
        running = await self._store.read(lambda txn: txn.jobs.running([own.id], _AT_ONCE))
        commands = [job for job in running if job.command == COMMAND and not self._jobs.holds(job.uuid)]
        lost = [job for job in commands if job.uuid in self._unclaimed]
        lost += [job for job in running if job.command != COMMAND and job.created < started]
        self._unclaimed = {job.uuid for job in commands}
        await self._end(self._ends([_of_own(job, own, started) for job in lost]))

    def _ends(self, orphans: Sequence[_Orphan]) -> dict[str, Outcome]:
        ends: dict[str, Outcome] = {}
        for orphan in orphans:
            job = orphan.job
            if job.command != COMMAND or job.host_id is None or not is_journalled(job.arguments["class"]):
                ends[job.uuid] = unknown(orphan.why)
            elif self._reconciliation.denies(job.host_id, job.uuid, orphan.died):
                ends[job.uuid] = not_carried_out(f"{orphan.why} before it had sent the command")
            elif self._reconciliation.is_mute(job.host_id):
                ends[job.uuid] = unknown(orphan.why)
        return ends

    async def _end(self, ends: Mapping[str, Outcome], servers: Mapping[str, ServerId] = MappingProxyType({})) -> None:
        """Write ends; those of jobs of ``servers`` only if these are still gone."""
        if not ends:
            return
        now = self._clock.seconds()

        def work(txn: Transaction) -> int:
            for server_id in sorted(set(servers.values())):
                txn.servers.hold(server_id)
            alive = alive_servers(txn)
            return sum(outcome.write(txn, id_, now) for id_, outcome in ends.items() if servers.get(id_) not in alive)

        self.log.info("ended {count} jobs of servers that are gone", count=await self._store.run(work))


def _of_other(job: Job, server: Server, now: float) -> _Orphan:
    # By this server's clock, which what it hears from agents is stamped with.
    heartbeat = now - server.age
    # One that lives after all sends nothing from when others may have taken it for dead.
    died = heartbeat + (server.threshold if server.stopped is None else server.stopped - server.heartbeat)
    return _Orphan(job, died, f"server {server.name} died")


def _of_own(job: Job, own: Server, started: float) -> _Orphan:
    if job.created < started:
        return _Orphan(job, started, f"server {own.name} died, and has started again")
    return _Orphan(job, job.created, f"server {own.name} has lost it")
