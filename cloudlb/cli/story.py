"""The story of `cloudlb demo`: what is done to a cluster, and what has to come of it, each within a time.

Nothing here is taken on trust: a step ends when the API and the agents' own files say that it has happened, and
:class:`StepFailed` says what was still missing when its time was up.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from cloudlb.cli.local_cluster import HostView
from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.host_list import HostList
from cloudlb.domain.settings import LB_ALGORITHM

POLL_INTERVAL = 0.1
"""Seconds between two looks; the times of the summary are as exact as that."""
SETTLE_TIMEOUT = 45.0
"""Seconds from the start of the agents until each is on the head of its list."""
FAILOVER_TIMEOUT = 10.0
"""Seconds from the death of a server until its agents are Up elsewhere."""
DOWN_TIMEOUT = 20.0
"""Seconds from the death of a server until the others call it Down."""
MAX_CHECK_INTERVAL = 15
"""Seconds between an agent's looks for a better server, at most: nobody waits longer for a story to go on."""
RETURN_TIMEOUT = MAX_CHECK_INTERVAL + 10.0
"""Seconds from the return of a server until its agents are back."""
CHANGE_TIMEOUT = 20.0
"""Seconds from the change of a setting until the agents hold and follow their new lists."""


class StepFailed(Exception):
    """A step did not come about in its time, or not in the way it has to; the message says what was seen."""


class World(Protocol):
    """The cluster, and the time in it."""

    @property
    def servers(self) -> Sequence[str]:
        """The servers, in the order of the setting `host`."""
        ...

    def hosts(self) -> Mapping[str, HostView]:
        """Every host by name."""
        ...

    def server_states(self) -> Mapping[str, str]:
        """Up or Down of every server."""
        ...

    def lists(self) -> Mapping[str, HostList]:
        """The list in every agent's properties file."""
        ...

    def guids(self) -> Mapping[str, str]:
        """Every agent's GUID as the wire carries it."""
        ...

    def kill(self, server: str) -> None:
        """kill -9."""
        ...

    def restart(self, server: str) -> None:
        """Start a server again and wait until it listens."""
        ...

    def change_setting(self, name: str, value: str) -> None: ...
    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


@frozen
class Move:
    """One agent's way from one server to another."""

    agent: str
    source: str
    target: str
    seconds: float


@frozen
class Spread:
    """How many agents each server has."""

    agents: Mapping[str, int]
    seconds: float


@frozen
class Failover:
    """A server killed."""

    server: str
    moves: Sequence[Move]
    down_after: float


@frozen
class Failback:
    """It came back."""

    server: str
    moves: Sequence[Move]


@frozen
class Change:
    """Another algorithm."""

    lists: Mapping[str, HostList]
    listed_after: float
    followed_after: float


@frozen
class Story:
    """What came of every step."""

    balance: Spread
    failover: Failover
    failback: Failback
    change: Change


def play(world: World, tell: Callable[[str], None]) -> Story:
    """Play every step, and announce each.

    Raises:
        StepFailed: one did not hold; those after it were not played.
    """
    tell("Waiting for the agents to spread ...")
    spread = balance(world)
    server = world.servers[len(world.servers) // 2]
    tell(f"Killing {server} with kill -9 ...")
    failover = fail_over(world, server)
    tell(f"Starting {server} again ...")
    failback = fail_back(world, failover)
    tell(f"Changing the algorithm to {Algorithm.RENDEZVOUS.value} ...")
    return Story(spread, failover, failback, change_algorithm(world))


def balance(world: World) -> Spread:
    """Wait until the agents have spread by roundrobin: all Up on their heads, as many here as there."""
    start = world.now()
    rotations = {tuple(_rotated(world.servers, turn)) for turn in range(len(world.servers))}

    def missing() -> str:
        lists = world.lists()
        if wrong := [
            f"{name} holds {hosts}"
            for name, hosts in lists.items()
            if hosts.addresses not in rotations or hosts.algorithm != Algorithm.ROUNDROBIN.value
        ]:
            return ", ".join(wrong)
        return _not_on_head(world, lists)

    _wait(world, SETTLE_TIMEOUT, "spread the agents by roundrobin", missing)
    spread = _spread(world)
    if max(spread.values()) - min(spread.values()) > 1:
        raise StepFailed(f"roundrobin has left the servers with {spread}: more than one agent apart")
    return Spread(spread, world.now() - start)


def fail_over(world: World, server: str) -> Failover:
    """Kill a server and time each of its agents until it is Up elsewhere, on the next server of its list."""
    lists = world.lists()
    stranded = [name for name, host in world.hosts().items() if host.server == server]
    start = world.now()
    world.kill(server)
    targets = {name: next(a for a in lists[name].addresses if a != server) for name in stranded}
    moves = _time_moves(world, {name: (server, targets[name]) for name in stranded}, start, FAILOVER_TIMEOUT)

    def missing() -> str:
        state = world.server_states().get(server)
        return "" if state == "Down" else f"{server} is {state}"

    _wait(world, DOWN_TIMEOUT, f"notice that {server} is down", missing)
    return Failover(server, moves, world.now() - start)


def fail_back(world: World, failover: Failover) -> Failback:
    """Start the server again and time its agents' return; they must be Up all the while."""
    server = failover.server
    world.restart(server)
    ways = {move.agent: (move.target, server) for move in failover.moves}
    moves = _time_moves(world, ways, world.now(), RETURN_TIMEOUT, always_up=True)
    return Failback(server, moves)


def change_algorithm(world: World) -> Change:
    """Set rendezvous, and wait until each agent's file has exactly its new list and each is on its new head."""
    start = world.now()
    world.change_setting(LB_ALGORITHM, Algorithm.RENDEZVOUS.value)
    wanted = {name: _by_rendezvous(world.servers, guid) for name, guid in world.guids().items()}

    def not_listed() -> str:
        held = world.lists()
        return ", ".join(
            f"{name} holds {held[name]}, not {hosts}" for name, hosts in wanted.items() if held[name] != hosts
        )

    _wait(world, CHANGE_TIMEOUT, "bring every agent its list by rendezvous", not_listed)
    listed = world.now() - start
    _wait(world, CHANGE_TIMEOUT, "see the agents follow their lists", lambda: _not_on_head(world, wanted))
    return Change(wanted, listed, world.now() - start)


def _time_moves(
    world: World, ways: Mapping[str, tuple[str, str]], start: float, timeout: float, *, always_up: bool = False
) -> list[Move]:
    arrived: dict[str, Move] = {}

    def missing() -> str:
        hosts = world.hosts()
        for name, (source, target) in ways.items():
            host = hosts[name]
            if always_up and host.state != "Up":
                raise StepFailed(f"{name} was {host.state} on its way from {source} to {target}, and has to stay Up")
            if host.is_up_on(target) and name not in arrived:
                arrived[name] = Move(name, source, target, world.now() - start)
        return ", ".join(
            f"{name} is {hosts[name].state} on {hosts[name].server}" for name in ways if name not in arrived
        )

    if not ways:
        raise StepFailed("no agent is on the server of this step")
    targets = " and ".join(sorted({target for _, target in ways.values()}))
    _wait(world, timeout, f"move {len(ways)} agents to {targets}", missing)
    return [arrived[name] for name in ways]


def _wait(world: World, timeout: float, what: str, missing: Callable[[], str]) -> None:
    deadline = world.now() + timeout
    while left := missing():
        if world.now() >= deadline:
            raise StepFailed(f"could not {what} within {timeout:g} s: {left}")
        world.sleep(POLL_INTERVAL)


def _not_on_head(world: World, lists: Mapping[str, HostList]) -> str:
    hosts = world.hosts()
    return ", ".join(
        f"{name} is {hosts[name].state} on {hosts[name].server}" if name in hosts else f"{name} is unknown"
        for name, listed in lists.items()
        if name not in hosts or not hosts[name].is_up_on(listed.preferred)
    )


def _spread(world: World) -> dict[str, int]:
    counted = Counter(host.server for host in world.hosts().values() if host.state == "Up")
    return {server: counted[server] for server in world.servers}


def _rotated(servers: Sequence[str], turn: int) -> list[str]:
    return [*servers[turn:], *servers[:turn]]


def _by_rendezvous(servers: Sequence[str], guid: str) -> HostList:
    # Rendezvous takes neither the host's place nor chance into account.
    return host_list_for(Algorithm.RENDEZVOUS, servers, Place(guid, 0), random.Random())  # noqa: S311 - unused
