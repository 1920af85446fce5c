"""Which link speaks for which host on this server, and what the database is told when that changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId, ServerId, Session
from cloudlb.domain.ports import Bus, Store, StoreUnavailable, Transaction
from cloudlb.net.batch import Batch
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

ADMITTED = "host.admitted"
"""Sessions that a server has begun: {"server_id", "hosts": {host id: session}}."""
REMOVED = "host.removed"
"""A host was deleted: {"host_id"}."""

_BATCH = 200
"""Most status changes in one transaction: a few milliseconds of the writer's time."""


GRACE = 1.0
"""Seconds that a lost link has to turn out as one that its agent has left for another server, whose claim of the host
is on its way to the database. Ends that were announced need none."""
TURN = 0.5
"""Seconds between looks for what is due."""


@frozen
class _Change:
    host_id: HostId
    session: Session
    status: HostStatus


@frozen
class _Loss:
    """A host whose link is gone, until that is written."""

    change: _Change
    name: str
    reason: str
    due: float


class Directory:
    """The attaches that own a host, by host."""

    log = Logger()

    def __init__(self, store: Store, bus: Bus, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self._attaches: dict[HostId, Attache] = {}
        self.server_id = ServerId(0)
        """Set when the server has joined its cluster."""
        self._changes: Batch[_Change, bool] = Batch(self._write, _BATCH)
        self._losses: list[_Loss] = []
        self._writing: Deferred[None] | None = None
        self._turns = Periodic(clock, "write lost hosts", self.write_losses)
        bus.subscribe(ADMITTED, self._admitted)
        bus.subscribe(REMOVED, self._removed)

    def __len__(self) -> int:
        """How many hosts have their agent here."""
        return len(self._attaches)

    def __iter__(self) -> Iterator[Attache]:
        """The attaches of this moment: what happens while one iterates does not matter."""
        return iter(list(self._attaches.values()))

    def get(self, host_id: HostId) -> Attache | None:
        """The attache that owns a host, if its agent is here."""
        return self._attaches.get(host_id)

    def enter(self, attache: Attache) -> bool:
        """Make an admitted attache the one that speaks for its host, unless a newer session does already."""
        older = self._attaches.get(attache.host.id)
        if older is not None and older.host.session > attache.host.session:
            attache.supersede()
            return False
        self._attaches[attache.host.id] = attache
        if older is not None and older is not attache:
            older.supersede()
        return True

    def leave(self, attache: Attache) -> None:
        """Forget an attache whose link is gone."""
        if attache.claimed and self._attaches.get(attache.host.id) is attache:
            del self._attaches[attache.host.id]

    async def set_status(self, attache: Attache, status: HostStatus) -> bool:
        """Write the host's status if the attache's session is still the latest; say whether it was."""
        return await self._changes.add(_Change(attache.host.id, attache.host.session, status))

    async def _write(self, changes: list[_Change]) -> Sequence[bool]:
        now = self._clock.seconds()

        def work(txn: Transaction) -> list[bool]:
            return [txn.hosts.change_status(c.host_id, c.session, c.status, now) for c in changes]

        return await self._store.run(work)

    def _admitted(self, payload: Mapping[str, Any]) -> None:
        if payload["server_id"] == self.server_id:
            # Entered by the admission itself, which may not have heard of its own commit yet.
            return
        for host_id, session in payload["hosts"].items():
            attache = self._attaches.get(HostId(int(host_id)))
            if attache is not None and attache.host.session < session:
                del self._attaches[attache.host.id]
                attache.supersede()

    def _removed(self, payload: Mapping[str, Any]) -> None:
        attache = self._attaches.pop(HostId(payload["host_id"]), None)
        if attache is not None:
            attache.superseded = True
            attache.send_away("deleteHost")

    def disconnected(self, attache: Attache, reason: str) -> None:
        """An attache's link is gone: the host is Disconnected, unless another session has it."""
        owned = attache.claimed
        self.leave(attache)
        if not owned:
            return
        host, now = attache.host, self._clock.seconds()
        change = _Change(host.id, host.session, HostStatus.DISCONNECTED)
        due = now if attache.parting else now + GRACE
        self._losses.append(_Loss(change, host.facts.name, reason, due))
        if attache.parting:
            self.write_losses()

    def write_losses(self) -> None:
        """Write what is due, unless that is being done: it goes on until nothing more is due."""
        if self._writing is None and any(loss.due <= self._clock.seconds() for loss in self._losses):
            self._writing = spawn(self._write_due(), self.log, "write lost hosts")
            self._writing.addBoth(self._written)

    def _written(self, _: object) -> None:
        self._writing = None

    async def _write_due(self) -> None:
        while due := self._take_due():
            if unwritten := await self._write_some(due):
                # For the next turn.
                self._losses += unwritten
                return

    def _take_due(self) -> list[_Loss]:
        now = self._clock.seconds()
        due = [loss for loss in self._losses if loss.due <= now]
        self._losses = [loss for loss in self._losses if loss.due > now]
        return due

    async def _write_some(self, losses: Sequence[_Loss]) -> list[_Loss]:
        """Write losses; those that the database did not take."""
        # Through the same batches as every status, behind what was written of these sessions before.
        writes = [self._changes.add(loss.change) for loss in losses]
        unwritten = []
        for loss, write in zip(losses, writes, strict=True):
            try:
                written = await write
            except StoreUnavailable:
                unwritten.append(loss)
            except Exception:  # noqa: BLE001 - whatever it is, the others are to be written
                self.log.failure("Failed to write that host {name} is lost", name=loss.name)
            else:
                outcome = "lost its agent: {reason}" if written else "has left for a newer session"
                self.log.info("host {name} " + outcome, name=loss.name, reason=loss.reason)
        return unwritten

    def start(self) -> None:
        """Begin to write what is due."""
        self._turns.start(TURN)

    async def stop(self) -> None:
        """Write everything that is left, once."""
        self._turns.stop()
        while self._writing is not None:
            await _fired(self._writing)
        self._losses = [evolve(loss, due=self._clock.seconds()) for loss in self._losses]
        self.write_losses()
        if self._writing is not None:
            await _fired(self._writing)
        if self._losses:
            self.log.error(
                "{count} hosts that lost their agents stay as they are in the database", count=len(self._losses)
            )


def _fired(deferred: Deferred[None]) -> Deferred[None]:
    """Wait for a Deferred that others have callbacks on, too."""
    waiter: Deferred[None] = Deferred()
    deferred.addBoth(lambda _: waiter.callback(None))
    return waiter
