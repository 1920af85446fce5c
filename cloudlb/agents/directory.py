"""Which link speaks for which host on this server, and what the database is told when that changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.domain.models import HostId, HostStatus, Session
from cloudlb.domain.ports import Bus, Store, Transaction
from cloudlb.net.batch import Batch
from cloudlb.net.spawn import spawn

ADMITTED = "host.admitted"
"""Sessions that a server has begun: {"hosts": {host id: session}}."""
REMOVED = "host.removed"
"""A host was deleted: {"host_id"}."""

_BATCH = 200
"""Most status changes in one transaction: a few milliseconds of the writer's time."""


@frozen
class _Change:
    host_id: HostId
    session: Session
    status: HostStatus


class Directory:
    """The attaches that own a host, by host."""

    log = Logger()

    def __init__(self, store: Store, bus: Bus, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self._attaches: dict[HostId, Attache] = {}
        self._changes: Batch[_Change, bool] = Batch(self._write, _BATCH)
        bus.subscribe(ADMITTED, self._admitted_elsewhere)
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
        if attache.admitted and self._attaches.get(attache.host.id) is attache:
            del self._attaches[attache.host.id]

    async def set_status(self, attache: Attache, status: HostStatus) -> bool:
        """Write the host's status if the attache's session is still the latest; say whether it was."""
        return await self._changes.add(_Change(attache.host.id, attache.host.session, status))

    async def dismiss(self, reason: str) -> None:
        """Close every link; their hosts are Disconnected until another server has them."""
        attaches = list(self)
        self._attaches.clear()
        for attache in attaches:
            attache.superseded = True
            attache.close(reason)
        await self._write([_Change(a.host.id, a.host.session, HostStatus.DISCONNECTED) for a in attaches])

    async def _write(self, changes: list[_Change]) -> Sequence[bool]:
        now = self._clock.seconds()

        def work(txn: Transaction) -> list[bool]:
            return [txn.hosts.change_status(c.host_id, c.session, c.status, now) for c in changes]

        return await self._store.run(work)

    def _admitted_elsewhere(self, payload: Mapping[str, Any]) -> None:
        for host_id, session in payload["hosts"].items():
            attache = self._attaches.get(HostId(int(host_id)))
            if attache is not None and attache.host.session < session:
                del self._attaches[attache.host.id]
                attache.supersede()

    def _removed(self, payload: Mapping[str, Any]) -> None:
        attache = self._attaches.pop(HostId(payload["host_id"]), None)
        if attache is not None:
            attache.superseded = True
            attache.close("the host was deleted")

    def disconnected(self, attache: Attache, reason: str) -> None:
        """An attache's link is gone: the host is Disconnected, unless another session has it."""
        owned = attache.admitted and not attache.superseded
        self.leave(attache)
        if owned:
            spawn(self._write_disconnected(attache, reason), self.log, "write a host's status")

    async def _write_disconnected(self, attache: Attache, reason: str) -> None:
        name = attache.host.facts.name
        if await self.set_status(attache, HostStatus.DISCONNECTED):
            self.log.info("host {name} lost its agent: {reason}", name=name, reason=reason)
        else:
            # The newer session's message is still on its way here.
            self.log.info("host {name} has left for a newer session", name=name)
