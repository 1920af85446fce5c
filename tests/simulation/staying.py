"""Watches that hosts keep their place: whatever is ordered, only faults make them leave Up."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from attrs import frozen

from cloudlb.domain.drains import DrainEnd
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId
from cloudlb.domain.record_ports import EventFilter
from cloudlb.storage.steps import TRANSITION
from tests.simulation.faults import Faults
from tests.simulation.fleet import Fleet
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.world import World

_UP = HostStatus.UP.value
_OF_A_MOVE = {
    (HostStatus.UP.value, HostStatus.REBALANCING.value),
    (HostStatus.REBALANCING.value, HostStatus.CONNECTING.value),
    (HostStatus.CONNECTING.value, HostStatus.UP.value),
}
"""Steps of a host whose agent breaks its link before it makes the next one, and that is not lost."""
_KEPT = {before for before, _ in _OF_A_MOVE}


@frozen
class _Step:
    """A change of a host's status."""

    host_id: HostId
    before: str
    after: str
    owner: str
    """The server that had the host."""


class Staying:
    """Looks at every step of a host's status, at every investigation and every alert.

    Of ours, and of hosts without an agent, none leaves Up; those of CloudStack's kind are Rebalancing and Connecting on
    their way. What else happens to a host has to follow from a fault of its agent, or of the server that had it; an
    agent that is on its way, and has no link, needs every server that it may come to. Who was lost for a reason may
    stay away for as long as an agent of CloudStack's kind believes in a server without power, and is looked into all
    the while.
    """

    def __init__(self, world: World, fleet: Fleet, faults: Faults) -> None:
        """Begin now."""
        self._world = world
        self._faults = faults
        self._hosts = {number: host for host in fleet if (number := world.host_id(host)) is not None}
        self._ending: dict[str, float] = {}
        """Servers that were told to end, and when."""
        self._back: dict[HostId, float] = {}
        """Hosts that were lost for a reason, and when they were Up again."""
        self._seen = {"audit": 0, "event": 0, "alert": 0}
        list(self.look())

    def ends(self, address: str) -> None:
        """A server was told to stop in good order: who was not moved by then is disconnected."""
        self._ending[address] = self._world.clock.seconds()

    def look(self) -> Iterator[str]:
        """Say who was lost since the last look without a reason; called often."""
        for host_id, before, after, owner in self._new("audit", "host, before, status, owner"):
            step = _Step(host_id, before, after, self._address(owner))
            if after == _UP and host_id in self._back:
                self._back[host_id] = self._world.clock.seconds()
            if self._is_loss(step):
                if self._explained(step):
                    self._back[host_id] = inf
                else:
                    yield f"{self._hosts[step.host_id].name} was lost without a fault: {self._told(step)}"
        for host_id, by, kind, description in self._new("event", "host_id, server_id, type, description"):
            # Begun by a server that had the host then.
            if kind == "HOST.INVESTIGATION" and not self._is_explained_now(host_id, self._address(by)):
                yield f"{self._hosts[host_id].name} was looked into without a fault: {description}"
        for host_id, subject in self._new("alert", "host_id, subject"):
            if host_id in self._hosts and not self._is_explained_now(host_id):
                yield f"there is an alert of {self._hosts[host_id].name} without a fault: {subject}"

    def _new(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        """Rows since the last look."""
        query = f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid"  # noqa: S608 - constants
        with self._world._own._read_engine.begin() as connection:
            rows = [tuple(row) for row in connection.exec_driver_sql(query, (self._seen[table],))]
        if rows:
            self._seen[table] = rows[-1][0]
        return [row[1:] for row in rows]

    def _is_loss(self, step: _Step) -> bool:
        if step.after == HostStatus.REMOVED.value or step.host_id not in self._hosts:
            return False
        if isinstance(self._hosts[step.host_id], CloudStackAgent):
            return step.before in _KEPT and (step.before, step.after) not in _OF_A_MOVE
        return step.before == _UP

    def _explained(self, step: _Step) -> bool:
        host = self._hosts[step.host_id]
        servers = [step.owner] if step.before == _UP else list(self._world.servers)
        return self._faults.explain([host.name, *servers]) or any(map(self._was_not_emptied, servers))

    def _is_explained_now(self, host_id: HostId, *servers: str) -> bool:
        """Whether a host is lost for a reason, or a fault of it, of its row's server, or of one of these, is felt."""
        back = self._back.get(host_id, 0.0)
        if back == inf or self._faults.is_felt(back):
            return True
        host = self._hosts[host_id]
        servers = (self._world.row_address(host) or "", *servers)
        return self._faults.explain([host.name, *servers]) or any(map(self._was_not_emptied, servers))

    def _was_not_emptied(self, address: str) -> bool:
        """Whether a server ends, or closes links, because not all of its hosts were moved in the time that it had."""
        rows = self._world.read(lambda txn: txn.servers.all())
        drains = self._world.read(lambda txn: txn.drains.all())
        drain = next((drains.get(row.id) for row in rows if row.address == address), None)
        started = 0.0 if drain is None else drain.started or 0.0
        if drain is not None and drain.forced and self._faults.is_felt(started + drain.timeout):
            return True
        told = self._ending.get(address, 0.0)
        emptied = drain is not None and drain.end is DrainEnd.DONE and started >= told
        return self._faults.is_felt(told) and not emptied

    def _address(self, server_id: int) -> str:
        rows = self._world.read(lambda txn: txn.servers.all())
        return next((row.address for row in rows if row.id == server_id), "no server")

    def _told(self, step: _Step) -> str:
        """A step, with what the host's events say of it."""
        which = EventFilter(event_type=TRANSITION, host_id=step.host_id)
        events, _ = self._world.read(lambda txn: txn.events.list(which, 0, None))
        why = next((event.description for event in events if event.details["to"] == step.after), "no event tells why")
        return f"{step.before} -> {step.after} on {step.owner}; {why}"
