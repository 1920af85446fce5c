"""Watches drains: one that ends done has left nobody behind, and says truly how many hosts went."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from cloudlb.agents.attache import Attache
from cloudlb.domain.drains import MOST_FAILED, Drain, DrainEnd
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import HostId, ServerId
from tests.support.machine import Machine
from tests.support.server_process import ServerProcess
from tests.support.world import World


@define(eq=False)
class _Process:
    """What was seen of one process of a server."""

    machine: Machine
    seen: dict[Attache, float] = field(factory=dict)
    """When each attache that is here was seen first."""
    guests: dict[int, set[HostId]] = field(factory=dict)
    """By the number of a drain: hosts that were here before it began, and after."""


class Drains:
    """Looks at every server and at the row of its drain."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._processes: dict[str, _Process] = {}
        self._done: set[tuple[ServerId, int]] = set()
        """Drains that ended done, and were looked at."""

    def look(self) -> Iterator[str]:
        """Say what is wrong with drains that have ended done since the last look; called often."""
        now = self._world.clock.seconds()
        drains = self._world.read(lambda txn: txn.drains.all())
        for server in self._world.servers.values():
            process = self._process(server)
            seen = process.seen if server.alive else {}
            process.seen = {attache: seen.get(attache, now) for attache in server.service.directory}
            own = server.service.membership._own
            drain = None if own is None else drains.get(own.id)
            if drain is None or drain.started is None:
                continue
            if drain.number not in process.guests:
                process.guests[drain.number] = {
                    attache.host.id for attache, since in process.seen.items() if since < drain.started
                }
            if drain.end is DrainEnd.DONE and (drain.server_id, drain.number) not in self._done:
                self._done.add((drain.server_id, drain.number))
                yield from self._check(server, process, drain)

    def _process(self, server: ServerProcess) -> _Process:
        process = self._processes.get(server.address)
        if process is None or process.machine is not server.machine:
            process = self._processes[server.address] = _Process(server.machine)
        return process

    def _check(self, server: ServerProcess, process: _Process, drain: Drain) -> Iterator[str]:
        assert drain.ended is not None
        # Who was here before it ended and is here now was here when it ended: no later look is needed.
        behind = sorted(attache.host.id for attache, since in process.seen.items() if since < drain.ended)
        if behind:
            yield f"the drain of {server.address} is done, and hosts {behind} have not gone: {drain}"
        gone = drain.moved + len(drain.failed)
        if drain.left or drain.jobs or (gone != drain.total and len(drain.failed) < MOST_FAILED):
            yield f"the drain of {server.address} is done, and its figures say that it is not: {drain}"
        rows = self._world.read(lambda txn: txn.hosts.several(sorted(process.guests[drain.number])))
        moved = [row.id for row in rows.values() if row.status is HostStatus.UP and row.server_id != drain.server_id]
        if len(moved) > gone and len(drain.failed) < MOST_FAILED:
            yield f"the drain of {server.address} is done, and hosts {moved} have moved: {drain}"
