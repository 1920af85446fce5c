"""What an operator may have a host do, from any server: maintenance, Enable and Disable, Degraded, Unmanaged.

A change is one transaction: the step of the resource table, its event, the jobs that it ends and the message that
tells every server. What a host in PrepareForMaintenance still needs is the business of the server that has its agent:
see :mod:`.maintenance`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime

from cloudlb.agents.directory import Directory
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostId, Job, JobStatus, ServerId
from cloudlb.domain.ports import Bus, NotFound, Store, Transaction
from cloudlb.domain.resource_state import RESOURCE_TABLE, ResourceEvent, ResourceState

CHANGED = "host.resource_state"
"""A host's resource state has changed: {"host_id", "state"}."""

PREPARE = "prepareHostForMaintenance"
CANCEL = "cancelHostMaintenance"
DECLARE_DEGRADED = "declareHostAsDegraded"
CANCEL_DEGRADED = "cancelHostAsDegraded"

MARGIN = 15.0
"""Seconds between the end of the time that a host has to become empty and the deadline of its job."""

# CloudStack's ApiErrorCode.
_INTERNAL, _UNAVAILABLE = 530, 534

CALLS: Mapping[ResourceEvent, str] = {
    ResourceEvent.ENABLE: "updateHost allocationstate=Enable",
    ResourceEvent.DISABLE: "updateHost allocationstate=Disable",
    ResourceEvent.ADMIN_ASK_MAINTENANCE: PREPARE,
    ResourceEvent.ADMIN_CANCEL_MAINTENANCE: CANCEL,
    ResourceEvent.DECLARE_HOST_DEGRADED: DECLARE_DEGRADED,
    ResourceEvent.ENABLE_DEGRADED_HOST: CANCEL_DEGRADED,
    ResourceEvent.UNMANAGE: "updateHost managedstate=Unmanaged",
    ResourceEvent.MANAGE: "updateHost managedstate=Managed",
}
"""How an operator asks for each event."""

_WITHOUT_AGENT = frozenset({HostStatus.DISCONNECTED, HostStatus.ALERT, HostStatus.DOWN})
"""Where a host may be declared Degraded; in CloudStack not where it is Down."""


class NotPossible(Exception):
    """What is asked is not possible in the state of a host or server; nothing was changed. The message says what is."""


class ResourceStates:
    """The calls of the API that change a host's resource state, and this server's knowledge of it."""

    def __init__(
        self, store: Store, bus: Bus, settings: LiveSettings, directory: Directory, clock: IReactorTime
    ) -> None:
        self._store = store
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        bus.subscribe(CHANGED, self._changed)

    async def change(self, host_id: HostId, event: ResourceEvent, account_id: int) -> Host:
        """Enable, Disable, Unmanage or Manage a host; how it is then.

        Raises:
            NotFound: there is no such host.
            NotPossible: the table has no such step.
        """

        def work(txn: Transaction) -> Host:
            host = _host(txn, host_id)
            self._step(txn, host, event, account_id)
            return _host(txn, host_id)

        return await self._store.run(work)

    async def prepare_for_maintenance(self, host_id: HostId, account_id: int) -> Job:
        """Have a host emptied, as a job that ends when no VM is left on it, or when that has failed.

        A host without an agent stays as it is, and the job fails at once. A Degraded one has nothing to be emptied of.

        Raises:
            NotFound, NotPossible: as for :meth:`change`.
        """
        now, wait = self._clock.seconds(), self._settings.current.wait

        def work(txn: Transaction) -> Job:
            host = _host(txn, host_id)
            _check(host, ResourceEvent.ADMIN_ASK_MAINTENANCE)
            holder = _holder(txn, host)
            job, _ = txn.jobs.start(
                command=PREPARE,
                account_id=account_id,
                server_id=holder or self.server_id,
                host_id=host_id,
                now=now,
                deadline=txn.time() + wait + MARGIN,
            )
            if holder is None and host.resource_state is not ResourceState.DEGRADED:
                fail(txn, job.uuid, _UNAVAILABLE, f"{_name(host)} is {host.status.value} and has no agent to ask", now)
                return job
            after = self._step(txn, host, ResourceEvent.ADMIN_ASK_MAINTENANCE, account_id)
            self._tell(txn, "MAINT.PREPARE", f"{_name(host)} is to go into maintenance", host, account_id)
            if after is ResourceState.MAINTENANCE:
                succeed(txn, job.uuid, host_id, now)
            return job

        return await self._store.run(work)

    async def cancel_maintenance(self, host_id: HostId, account_id: int) -> Job:
        """Take a host back into use, also while it is being emptied; needs no agent. Raises as :meth:`change`."""

        def also(txn: Transaction, host: Host) -> None:
            end_preparations(
                txn,
                host_id,
                lambda uuid: fail(txn, uuid, _INTERNAL, f"{_name(host)}: cancelled", self._clock.seconds()),
            )

        return await self._job(
            host_id,
            ResourceEvent.ADMIN_CANCEL_MAINTENANCE,
            account_id,
            "MAINT.CANCEL",
            "is taken out of maintenance",
            also,
        )

    async def declare_degraded(self, host_id: HostId, account_id: int) -> Job:
        """Say that a host that has lost its agent cannot be relied on. Raises as :meth:`change`."""

        def unless_it_has_an_agent(_: Transaction, host: Host) -> None:
            if host.status not in _WITHOUT_AGENT:
                raise NotPossible(
                    f"{_name(host)} is {host.status.value}: only a host without an agent (Disconnected, Alert or Down) "
                    "can be declared Degraded"
                )

        return await self._job(
            host_id,
            ResourceEvent.DECLARE_HOST_DEGRADED,
            account_id,
            "HOST.DECLARE.DEGRADED",
            "is declared Degraded",
            unless_it_has_an_agent,
        )

    async def cancel_degraded(self, host_id: HostId, account_id: int) -> Job:
        """Rely on a host again that was declared Degraded. Raises as :meth:`change`."""
        return await self._job(
            host_id,
            ResourceEvent.ENABLE_DEGRADED_HOST,
            account_id,
            "HOST.CANCEL.DEGRADED",
            "is no longer Degraded",
        )

    async def _job(
        self,
        host_id: HostId,
        event: ResourceEvent,
        account_id: int,
        event_type: str,
        what: str,
        also: Callable[[Transaction, Host], None] = lambda txn, host: None,
    ) -> Job:
        """Take a step that needs nobody else, as a job that has ended already."""
        now = self._clock.seconds()

        def work(txn: Transaction) -> Job:
            host = _host(txn, host_id)
            _check(host, event)
            also(txn, host)
            self._step(txn, host, event, account_id)
            self._tell(txn, event_type, f"{_name(host)} {what}", host, account_id)
            job, _ = txn.jobs.start(
                command=CALLS[event], account_id=account_id, server_id=self.server_id, host_id=host_id, now=now
            )
            succeed(txn, job.uuid, host_id, now)
            return job

        return await self._store.run(work)

    def _step(self, txn: Transaction, host: Host, event: ResourceEvent, account_id: int) -> ResourceState:
        _check(host, event)
        after = take_step(
            txn,
            host.id,
            event,
            server_id=self.server_id,
            account_id=account_id,
            reason=f"an operator called {CALLS[event]}",
            now=self._clock.seconds(),
        )
        assert after is not None, f"{_name(host)} changed within a transaction"
        return after

    def _tell(self, txn: Transaction, event_type: str, text: str, host: Host, account_id: int) -> None:
        txn.events.add(
            event_type,
            text,
            now=self._clock.seconds(),
            account_id=account_id,
            server_id=self.server_id,
            host_id=host.id,
        )

    def _changed(self, payload: Mapping[str, Any]) -> None:
        attache = self._directory.get(HostId(payload["host_id"]))
        if attache is not None:
            attache.take_state(ResourceState(payload["state"]))


def take_step(
    txn: Transaction,
    host_id: HostId,
    event: ResourceEvent,
    *,
    server_id: ServerId,
    account_id: int | None,
    reason: str,
    now: float,
) -> ResourceState | None:
    """Take a step of the resource table and tell every server; None, and nothing is changed, if there is none."""
    after = txn.hosts.change_resource_state(
        host_id, event, server_id=server_id, account_id=account_id, reason=reason, now=now
    )
    if after is not None:
        txn.bus.publish(CHANGED, {"host_id": host_id, "state": after.value}, now)
    return after


def end_preparations(txn: Transaction, host_id: HostId, end: Callable[[str], object]) -> None:
    """End the jobs that wait for a host to be in maintenance, by their uuids."""
    for job in txn.jobs.running_on(host_id):
        if job.command == PREPARE:
            end(job.uuid)


def succeed(txn: Transaction, uuid: str, host_id: HostId, now: float) -> None:
    """End a job whose result is the host as it is whenever somebody asks."""
    txn.jobs.finish(uuid, JobStatus.SUCCEEDED, 0, {"host_id": host_id}, now)


def fail(txn: Transaction, uuid: str, code: int, why: str, now: float) -> None:
    """End a job that has failed."""
    txn.jobs.finish(uuid, JobStatus.FAILED, code, {"errorcode": code, "errortext": why}, now)


def _host(txn: Transaction, host_id: HostId) -> Host:
    host = txn.hosts.get(host_id)
    if host is None or host.removed is not None:
        raise NotFound(f"there is no host {host_id}")
    return host


def _check(host: Host, event: ResourceEvent) -> None:
    """Raise NotPossible, with what is possible, if the table has no such step."""
    state = host.resource_state
    if (state, event) in RESOURCE_TABLE:
        return
    possible = [
        call for other, call in CALLS.items() if (after := RESOURCE_TABLE.get((state, other))) and after is not state
    ]
    raise NotPossible(
        f"{_name(host)} is in the resource state {state.value}, where {CALLS[event]} is not possible; possible "
        f"{'is' if len(possible) == 1 else 'are'}: {', '.join(possible) or 'nothing'}"
    )


def _holder(txn: Transaction, host: Host) -> ServerId | None:
    """The server that has the host's agent, None if it has no agent."""
    alive = {server.id for server in txn.servers.all() if server.alive}
    return host.server_id if host.status is HostStatus.UP and host.server_id in alive else None


def _name(host: Host) -> str:
    return f"host {host.facts.name}"
