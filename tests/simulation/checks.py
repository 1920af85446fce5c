"""What must hold all the while, and what must hold in the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from cloudlb.cluster.planning import picture, plan_moves
from cloudlb.domain.models import HostId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.rebalancing import Plan
from cloudlb.domain.server_state import ServerState
from tests.simulation.fleet import Fleet
from tests.simulation.places import left_running, misplaced, misplaced_direct, misplaced_theirs
from tests.simulation.traffic import Traffic
from tests.support.lagging_executor import PATIENCE
from tests.support.machine import Machine
from tests.support.server_process import ServerProcess
from tests.support.world import World

BUS_LATENCY = 1.0
"""Seconds in which a server hears of a session on another one, where the database answers at once."""
LAGS = 5
"""Times that it waits for the database meanwhile: a read that is under way and one more, each there and back."""
SHOWN_MOVES = 5
"""Moves of a plan that are told."""
TIMERS, TIMERS_PER_AGENT = 60, 6
"""Most timers of a server at rest."""


class Ownership:
    """Watches that no two servers own a host for longer than news take."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._able_since: dict[Machine, float] = {}
        self._lags: dict[Machine, tuple[float, float]] = {}
        self._doubted: dict[tuple[HostId, frozenset[Machine]], float] = {}

    def look(self) -> Iterator[str]:
        """Say who has been two for too long; called often."""
        now = self._world.clock.seconds()
        able = self._able(now)
        for server in able:
            self._lag(server, now)
        owners: defaultdict[HostId, list[ServerProcess]] = defaultdict(list)
        for server in able:
            for attache in server.service.directory:
                if attache.owns_host:
                    owners[attache.host.id].append(server)
        doubted = {}
        for host_id, servers in owners.items():
            if len(servers) > 1:
                key = host_id, frozenset(server.machine for server in servers)
                since = doubted[key] = self._doubted.get(key, now)
                patience = BUS_LATENCY + LAGS * max(self._lag(server, now) for server in servers)
                # What was asked for just before the database came back still fails.
                able_since = max(self._able_since[server.machine] for server in servers) + PATIENCE
                if now - max(since, able_since) > patience:
                    names = ", ".join(server.address for server in servers)
                    yield f"host {host_id} is owned by {names}, and has been for {now - since:.1f} s"
        self._doubted = doubted

    def _lag(self, server: ServerProcess, now: float) -> float:
        """How slow its database was when the oldest work that may be under way was begun."""
        slowest, until = self._lags.get(server.machine, (0.0, now))
        if server.database_lag >= slowest or now > until:
            slowest, until = server.database_lag, now + LAGS * server.database_lag
        self._lags[server.machine] = slowest, until
        return slowest

    def _able(self, now: float) -> list[ServerProcess]:
        """Servers that run and reach their database, and so should hear of others' sessions."""
        able = [server for server in self._world.running_servers if not server.database_away]
        self._able_since = {server.machine: self._able_since.get(server.machine, now) for server in able}
        return able


def broken(world: World, traffic: Traffic) -> Iterator[str]:
    """What must not be at any time."""
    for row in world.stale_writes():
        yield f"a server wrote the status of a host that was another's: {row}"
    yield from traffic.broken()


def unsettled(world: World, fleet: Fleet, traffic: Traffic) -> Iterator[str]:
    """What must not be any more once the faults have been over for a while."""
    picture = world.picture()
    in_zone = [host.id for host in sorted(picture.hosts.values(), key=lambda host: host.id) if host.removed is None]
    places = {host_id: number for number, host_id in enumerate(in_zone)}
    states = {row.address: row.state for row in picture.servers}
    closed = {address for address in world.servers if states.get(address) is not ServerState.UP}
    for agent in fleet.ours.values():
        yield from misplaced(world, agent, picture, places, closed)
        # An agent whose host was deleted stays away, and has nobody to tell.
        row = picture.hosts.get(world.host_id(agent) or HostId(0))
        if agent.alive and row is not None and row.removed is None and agent.service.agent._journal.untold:
            yield f"{agent.name} still tells of ends that were written long ago"
    for theirs in fleet.theirs.values():
        yield from misplaced_theirs(world, theirs, picture, places)
    for direct in fleet.direct.values():
        yield from misplaced_direct(world, direct, picture)
    yield from left_running(world, fleet)
    yield from traffic.open()
    yield from undrained(world)


def undrained(world: World) -> Iterator[str]:
    """Drains that have not ended, and agents of servers that are empty."""
    drains = world.read(lambda txn: txn.drains.all())
    takers = [row.address for row in world.read(lambda txn: txn.servers.all()) if row.state is ServerState.UP]
    listed = world.read(lambda txn: txn.settings.load()).servers
    for server in world.running_servers:
        own, state = server.service.membership.own.id, server.service.membership.state
        if own in drains and drains[own].ended is None:
            yield f"the drain of {server.address} has not ended: {drains[own]}"
        is_empty = state in (ServerState.MAINTENANCE, ServerState.READY_TO_SHUTDOWN)
        if is_empty and len(server.service.directory) and set(takers) & set(listed):
            yield f"{server.address} is {state.value}, and has {len(server.service.directory)} agents"


def uneven(world: World) -> Iterator[str]:
    """Hosts that a plan would move, and servers that are off the average though the plan does not say why."""

    def look(txn: Transaction) -> tuple[Plan, list[str]]:
        seen = picture(txn.servers.all(), txn.settings.load())
        return plan_moves(txn, seen), seen.off(txn.hosts.up_by_server())

    planned, off = world.read(look)
    if planned.moves:
        yield f"hosts are not where a plan has them: {list(planned.moves[:SHOWN_MOVES])}"
    elif off and not planned.notes:
        yield f"{off} are off the average, and the plan does not say why they stay so"


def leaks(world: World) -> Iterator[str]:
    """What grows, at rest."""
    for server in world.running_servers:
        most = TIMERS + TIMERS_PER_AGENT * len(server.service.directory)
        timers = len(server.machine.getDelayedCalls())
        if timers > most:
            yield f"{server.address} has {timers} timers, and {len(server.service.directory)} agents"
