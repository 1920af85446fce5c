"""Hosts that are being emptied: what the server that has their agent does about it.

A host in PrepareForMaintenance is told so (MaintainCommand), and its pings are looked into until one reports no VM:
then it is in Maintenance. That is not the work of the server that took the call, nor of a job: whichever server has the
host's agent, now or after the death of another server, finds the state in the row and does all of it again.

An agent that is lost meanwhile is an obstacle (ErrorInPrepareForMaintenance) that goes away when it comes back. A host
that refuses, or still has VMs when the time is over, is one that an operator has to look at (ErrorInMaintenance).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import REMOVED, Directory
from cloudlb.agents.errors import CommandError
from cloudlb.agents.hooks import Hook
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.resource_states import CHANGED, MARGIN, PREPARE, end_preparations, fail, succeed, take_step
from cloudlb.agents.sender import Sender
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, HostId, ServerId
from cloudlb.domain.ports import Bus, Store, StoreUnavailable, Transaction
from cloudlb.domain.records import Level
from cloudlb.domain.resource_state import ResourceEvent, ResourceState
from cloudlb.net.spawn import spawn
from cloudlb.wire import Answer, MaintainCommand, PingCommand, PingRoutingCommand

T = TypeVar("T")

RETRY_INTERVAL = 1.0
"""Seconds before a database that is away is tried again."""

_UNDER_WAY = frozenset({ResourceState.PREPARE_FOR_MAINTENANCE, ResourceState.ERROR_IN_PREPARE_FOR_MAINTENANCE})
_FAILED = 530
"""CloudStack's error code."""


class _GivenUp(Exception):
    """The host cannot be brought into maintenance; the message says why."""


@define(eq=False)
class _Emptying:
    """A host with its agent here that is to become empty."""

    attache: Attache
    left: int | None = None
    """VMs that the last ping told of; None: none has told yet."""
    empty: Deferred[None] = field(factory=Deferred)
    """Fires with the ping that tells of none."""
    work: Deferred[None] | None = None
    timer: IDelayedCall | None = None

    def pinged(self, ping: PingCommand) -> None:
        """Look into a ping."""
        left = count_vms(ping)
        if left is None:
            return
        self.left = left
        if left == 0 and not self.empty.called:
            self.empty.callback(None)

    def stop(self) -> None:
        """Look no more."""
        self.attache.watch_pings(None)
        if self.work is not None:
            self.work.cancel()
        if self.timer is not None and self.timer.active():
            self.timer.cancel()


class Maintenance(Hook):
    """The hosts with their agents here that are being emptied."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        bus: Bus,
        settings: LiveSettings,
        directory: Directory,
        sender: Sender,
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._settings = settings
        self._directory = directory
        self._sender = sender
        self._clock = clock
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        self._hosts: dict[HostId, _Emptying] = {}
        self._stopping = False
        bus.subscribe(CHANGED, self._changed)
        bus.subscribe(REMOVED, self._removed)

    def stop(self) -> None:
        """Leave the hosts as they are; the servers that their agents go to go on with them."""
        self._stopping = True
        for host_id in list(self._hosts):
            self._leave(host_id)

    # What is heard of hosts.

    def connected(self, host: Host) -> None:
        """A host's agent is here; it may have been asked into maintenance while it was elsewhere or nowhere."""
        if host.resource_state in _UNDER_WAY:
            self._begin(host.id)

    def disconnected(self, host: Host, status: HostStatus) -> None:
        """A host's agent is lost."""
        if host.resource_state in _UNDER_WAY and not self._stopping:
            self._leave(host.id)
            reason = f"its agent was lost while it was being emptied: the host is {status.value}"
            spawn(self._note(host, ResourceEvent.UNABLE_TO_MIGRATE, reason), self.log, "note a lost agent")

    def _changed(self, payload: Mapping[str, Any]) -> None:
        host_id = HostId(payload["host_id"])
        if payload["state"] == ResourceState.PREPARE_FOR_MAINTENANCE.value:
            self._begin(host_id)
        else:
            self._leave(host_id)

    def _removed(self, payload: Mapping[str, Any]) -> None:
        host_id, now = HostId(payload["host_id"]), self._clock.seconds()
        if host_id in self._hosts:
            self._leave(host_id)

            def work(txn: Transaction) -> None:
                end_preparations(txn, host_id, lambda uuid: fail(txn, uuid, _FAILED, "the host was deleted", now))

            spawn(self._insist(work), self.log, "end the jobs of a deleted host")

    def _begin(self, host_id: HostId) -> None:
        attache, emptying = self._directory.get(host_id), self._hosts.get(host_id)
        if attache is None or attache.host.status is not HostStatus.UP or self._stopping:
            # Elsewhere; or on its way here, and then it is begun when its agent is connected.
            return
        if emptying is not None and emptying.attache is attache:
            # Under way: the bus may tell twice, and tells of our own steps.
            return
        self._leave(host_id)
        self._hosts[host_id] = emptying = _Emptying(attache)
        emptying.work = spawn(self._empty(emptying), self.log, "bring a host into maintenance")
        emptying.work.addBoth(lambda _: self._ended(host_id, emptying))

    def _leave(self, host_id: HostId) -> None:
        emptying = self._hosts.pop(host_id, None)
        if emptying is not None:
            emptying.stop()

    def _ended(self, host_id: HostId, emptying: _Emptying) -> None:
        if self._hosts.get(host_id) is emptying:
            self._leave(host_id)

    # What is done for one.

    async def _empty(self, emptying: _Emptying) -> None:
        host = emptying.attache.host
        until = await self._adopt(host)
        if until is None:
            return
        try:
            await self._tell(emptying, until)
            await self._wait(emptying, until)
        except _GivenUp as why:
            # Otherwise it is given up because nobody wants it any more, or its agent is lost or has moved, which leads
            # to something else.
            if self._hosts.get(host.id) is emptying and emptying.attache.owns_host:
                await self._note(host, ResourceEvent.UNABLE_TO_MAINTAIN, str(why))
        else:
            await self._note(host, ResourceEvent.INTERNAL_ENTER_MAINTENANCE, "no VM is left on it")

    async def _adopt(self, host: Host) -> float | None:
        """Take the jobs that wait for a host over from whoever had it; until when it may take. None: nothing to do."""
        now, limit = self._clock.seconds(), self._clock.seconds() + self._settings.current.wait

        def work(txn: Transaction) -> float | None:
            if not self._is_under_way(txn, host):
                return None
            # Of a host that was in PrepareForMaintenance all along this changes nothing.
            self._step(txn, host.id, ResourceEvent.ERRORS_CORRECTED, "its agent is back", now)
            jobs = [job for job in txn.jobs.running_on(host.id) if job.command == PREPARE]
            for job in jobs:
                txn.jobs.assign(job.uuid, job.server_id, self.server_id)
            ahead = txn.time() - now
            return max((job.deadline - MARGIN - ahead for job in jobs if job.deadline is not None), default=limit)

        return await self._insist(work)

    async def _tell(self, emptying: _Emptying, until: float) -> None:
        """Tell the host; only what its pings say from then on counts."""
        remaining = max(1.0, until - self._clock.seconds())
        try:
            answers = await self._sender.send(emptying.attache.host.id, [MaintainCommand()], timeout=remaining)
        except CommandError as error:
            raise _GivenUp(str(error)) from error
        answer = answers[0]
        if not (isinstance(answer, Answer) and answer.result):
            details = answer.details if isinstance(answer, Answer) else None
            raise _GivenUp(f"it refuses maintenance: {details or 'no reason given'}")

    async def _wait(self, emptying: _Emptying, until: float) -> None:
        emptying.attache.watch_pings(emptying.pinged)
        remaining = max(0.0, until - self._clock.seconds())
        timer = emptying.timer = self._clock.callLater(remaining, emptying.empty.cancel)
        try:
            await emptying.empty
        except CancelledError as error:
            if timer.active():
                # Not by the timer: nobody wants the host in maintenance any more.
                raise
            left = "it has not told of its VMs" if emptying.left is None else f"{emptying.left} VMs are left on it"
            raise _GivenUp(f"the time is over: {left}") from error

    async def _note(self, host: Host, event: ResourceEvent, reason: str) -> None:
        """Take a step for the session that it is about, and end the jobs if it is the last one.

        Nothing of it is true any more if the host has another session, or its operator wants something else.
        """
        now = self._clock.seconds()

        def work(txn: Transaction) -> ResourceState | None:
            if not self._is_under_way(txn, host):
                return None
            after = self._step(txn, host.id, event, reason, now)
            if after is ResourceState.MAINTENANCE:
                end_preparations(txn, host.id, lambda uuid: succeed(txn, uuid, host.id, now))
                self._event(txn, host, f"host {host.facts.name} is in maintenance", Level.INFO, now)
            elif after is ResourceState.ERROR_IN_MAINTENANCE:
                text = f"host {host.facts.name} cannot go into maintenance: {reason}"
                end_preparations(txn, host.id, lambda uuid: fail(txn, uuid, _FAILED, text, now))
                self._event(txn, host, text, Level.ERROR, now)
            return after

        after = await self._insist(work)
        if after is not None:
            self.log.info("host {name} is in {state}: {reason}", name=host.facts.name, state=after.value, reason=reason)

    @staticmethod
    def _is_under_way(txn: Transaction, host: Host) -> bool:
        row = txn.hosts.get(host.id)
        return row is not None and row.session == host.session and row.resource_state in _UNDER_WAY

    def _step(
        self, txn: Transaction, host_id: HostId, event: ResourceEvent, reason: str, now: float
    ) -> ResourceState | None:
        return take_step(txn, host_id, event, server_id=self.server_id, account_id=None, reason=reason, now=now)

    def _event(self, txn: Transaction, host: Host, text: str, level: Level, now: float) -> None:
        txn.events.add("MAINT.PREPARE", text, level=level, now=now, server_id=self.server_id, host_id=host.id)

    async def _insist(self, work: Callable[[Transaction], T]) -> T:
        """Do what the database refuses while it is away when it is back."""
        while True:
            try:
                return await self._store.run(work)
            except StoreUnavailable as error:
                self.log.warn("a host's maintenance waits for the database: {error}", error=error)
                await deferLater(self._clock, RETRY_INTERVAL)


def count_vms(ping: PingCommand) -> int | None:
    """How many VMs a host reports that are not off; None if it reports nothing of them.

    A host without a hypervisor has none, and no report either.
    """
    if not isinstance(ping, PingRoutingCommand):
        return 0
    report = ping.host_vm_state_report
    return None if report is None else sum(vm.state != "PowerOff" for vm in report.values())
