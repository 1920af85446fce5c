"""What an operator may do to one host, from any server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.directory import REMOVED, Directory
from cloudlb.agents.hooks import Hooks
from cloudlb.agents.registration import DIRECT
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostId, Job, JobStatus, ServerId
from cloudlb.domain.ports import Bus, NotFound, Store, StoreUnavailable, Transaction
from cloudlb.net.spawn import spawn

RECONNECT = "host.reconnect"
"""An operator wants a host's agent to connect anew: {"host_id", "server_id", "job"}."""
RECONNECT_DEADLINE = 60.0
"""Seconds that the server which has the agent has for it: a message of the bus and a transaction."""


class Operations:
    """The calls of the API that concern one host, and this server's part in those that others took."""

    log = Logger()

    def __init__(self, store: Store, bus: Bus, directory: Directory, hooks: Hooks, clock: IReactorTime) -> None:
        self._store = store
        self._directory = directory
        self._hooks = hooks
        self._clock = clock
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        bus.subscribe(RECONNECT, self._reconnect_here)

    async def reconnect_host(self, host_id: HostId, account_id: int) -> Job:
        """Have a host's agent drop its link and come back, as a job that the server which holds the link ends.

        Raises:
            NotFound: there is no such host.
        """
        now = self._clock.seconds()

        def work(txn: Transaction) -> Job:
            host = txn.hosts.get(host_id)
            if host is None or host.removed is not None:
                raise NotFound(f"there is no host {host_id}")
            up = host.status is HostStatus.UP and _is_up(txn, host)
            job, _ = txn.jobs.start(
                command="reconnectHost",
                account_id=account_id,
                # Who is to do it: if that one dies, others end the job.
                server_id=host.server_id if up and host.server_id is not None else self.server_id,
                host_id=host_id,
                now=now,
                deadline=txn.time() + RECONNECT_DEADLINE,
            )
            txn.events.add(
                "HOST.RECONNECT",
                f"The agent of host {host.facts.name} is to connect anew",
                now=now,
                account_id=account_id,
                server_id=self.server_id,
                host_id=host_id,
            )
            if up:
                payload = {"host_id": host_id, "server_id": host.server_id, "job": job.uuid}
                txn.bus.publish(RECONNECT, payload, now)
            else:
                self._end(txn, job.uuid, f"host {host.facts.name} has no agent connected", now)
            return job

        return await self._store.run(work)

    async def delete_host(self, host_id: HostId, account_id: int) -> bool:
        """Remove a host: its link is closed, and its GUID is refused from now on. False if it was gone already."""
        now = self._clock.seconds()
        host = await self._store.read(lambda txn: txn.hosts.get(host_id))
        if host is None or host.removed is not None:
            return False
        self._hooks.tell(lambda hook: hook.about_to_be_removed(host))

        def work(txn: Transaction) -> Host | None:
            if not txn.hosts.remove(host_id, self.server_id, account_id, now):
                return None
            txn.bus.publish(REMOVED, {"host_id": host_id}, now)
            return txn.hosts.get(host_id)

        removed = await self._store.run(work)
        if removed is None:
            return False
        self._hooks.tell(lambda hook: hook.removed(removed))
        return True

    async def restore_host(self, host_id: HostId, account_id: int) -> bool:
        """Lift the tombstone of a deleted host: its agent is admitted again. False if the host is not deleted."""
        now = self._clock.seconds()

        def work(txn: Transaction) -> bool:
            restored = txn.hosts.restore(host_id, self.server_id, account_id, now)
            if restored:
                # Nobody but the servers brings a direct host back.
                txn.bus.publish(DIRECT, {"host_id": host_id}, now)
            return restored

        return await self._store.run(work)

    def _reconnect_here(self, payload: Mapping[str, Any]) -> None:
        if payload["server_id"] == self.server_id:
            spawn(self._reconnect(HostId(payload["host_id"]), payload["job"]), self.log, "reconnect a host")

    async def _reconnect(self, host_id: HostId, job: str) -> None:
        attache = self._directory.get(host_id)
        now = self._clock.seconds()
        if attache is not None:
            attache.close("an operator asked for a new connection")

        def work(txn: Transaction) -> None:
            if attache is None:
                self._end(txn, job, "its agent left before it could be told", now)
            else:
                txn.jobs.finish(job, JobStatus.SUCCEEDED, 0, {"host_id": host_id}, now)
                txn.bus.publish(DIRECT, {"host_id": host_id}, now)

        try:
            await self._store.run(work)
        except StoreUnavailable as error:
            # Whoever looks for jobs past their deadline ends it.
            self.log.warn("job {job} has to wait for its deadline: {error}", job=job, error=error)

    @staticmethod
    def _end(txn: Transaction, job: str, reason: str, now: float) -> None:
        # 534 is CloudStack's "resource unavailable".
        txn.jobs.finish(job, JobStatus.FAILED, 534, {"errorcode": 534, "errortext": reason}, now)


def _is_up(txn: Transaction, host: Host) -> bool:
    return any(s.id == host.server_id and s.alive for s in txn.servers.all())
