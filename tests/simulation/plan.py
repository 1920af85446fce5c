"""What happens in one history: everything follows from a seed.

A history draws its cluster, how wild it is, and which kinds of faults it has; two histories with all kinds of faults
would be alike. A fault is an episode: it begins, and most have an end of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.settings import (
    DIRECT_AGENT_SCAN_INTERVAL,
    HOST,
    LB_ALGORITHM,
    LB_BAND_AGENTS,
    LB_BAND_SECONDS,
    LB_CHECK_INTERVAL,
    LB_WEIGHTS,
    MAINTENANCE_TIMEOUT,
    MOVE_RATE,
    STOP_TIMEOUT,
)

NORMAL_LAGS = (0.001, 0.005, 0.05)
"""Seconds that a server waits for the database at most, twice."""


@frozen
class Step:
    """Something done at a time; ``action`` names a function of tests.simulation.actions."""

    at: float
    """Seconds from when the cluster had come to rest."""
    action: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.at:9.3f}  {self.action} {' '.join(map(str, self.args))}".rstrip()


@frozen(kw_only=True)
class Plan:
    """A cluster, and what befalls it."""

    seed: int
    servers: int
    agents: int
    """Hosts, of whatever kind."""
    theirs: int
    """How many of them have an agent that behaves as CloudStack's does."""
    direct: int
    """How many have none."""
    algorithm: str
    check_interval: int
    lag: float
    told: bool
    """The database tells the servers of messages, as PostgreSQL does."""
    delay: int
    """Seconds that a command takes on its host."""
    ping_interval: int
    seconds: float
    """How long the faults last."""
    settings: Mapping[str, str]
    stay_dead: frozenset[str]
    """Servers that, once dead, are not started again."""
    uses_all: bool
    """In the end every server is used again that was to be emptied."""
    steps: Sequence[Step] = field(repr=False)

    def __str__(self) -> str:
        told = "a database that tells of messages" if self.told else "a database that is asked for messages"
        return (
            f"seed {self.seed}: {self.servers} servers, {self.agents} hosts ({self.theirs} of CloudStack's kind, "
            f"{self.direct} without an agent), {self.algorithm}, "
            f"check interval {self.check_interval}, {told} within {self.lag} s, commands of {self.delay} s, "
            f"{self.seconds:.0f} s of faults, {len(self.steps)} steps"
        )


@frozen
class Draw:
    """What the episodes are drawn from."""

    rng: random.Random
    servers: Sequence[str]
    agents: int
    seconds: float
    lag: float

    def algorithm(self) -> str:
        """One of them."""
        return self.rng.choice([algorithm.value for algorithm in Algorithm])

    def server(self) -> str:
        """One of them."""
        return self.rng.choice(self.servers)

    def agent(self) -> int:
        """One of them."""
        return self.rng.randint(1, self.agents)

    def some_agents(self) -> tuple[int, ...]:
        """A rack of them: a tenth, and neighbours."""
        first, count = self.agent(), max(2, self.agents // 10)
        return tuple(sorted({1 + (first + offset) % self.agents for offset in range(count)}))


Episode = Callable[[Draw, float], Iterator[Step]]


def _server_dies(draw: Draw, at: float) -> Iterator[Step]:
    address = draw.server()
    yield Step(at, draw.rng.choice(["kill_server", "kill_server", "power_off_server"]), (address,))
    yield Step(at + draw.rng.choice([0.0, 0.5, 5.0, 20.0, 60.0]), "start_server", (address,))


def _server_stops(draw: Draw, at: float) -> Iterator[Step]:
    address = draw.server()
    yield Step(at, "stop_server", (address,))
    yield Step(at + draw.rng.choice([3.0, 20.0, 60.0]), "start_server", (address,))


def _server_hangs(draw: Draw, at: float) -> Iterator[Step]:
    address = draw.server()
    yield Step(at, "freeze_server", (address,))
    yield Step(at + draw.rng.choice([0.3, 3.0, 8.0, 20.0, 45.0]), "thaw_server", (address,))


def _server_is_cut_off(draw: Draw, at: float) -> Iterator[Step]:
    address = draw.server()
    way = draw.rng.choice(["both", "in", "out"])
    yield Step(at, "cut_off_server", (address, way))
    yield Step(at + draw.rng.choice([1.0, 6.0, 15.0, 40.0]), "reach_server", (address,))


def _agent_is_cut_off(draw: Draw, at: float) -> Iterator[Step]:
    agents = draw.rng.choice([(draw.agent(),), draw.some_agents()])
    server = draw.server()
    way = draw.rng.choice(["both", "in", "out"])
    yield Step(at, "cut_agents", (server, agents, way))
    yield Step(at + draw.rng.choice([1.0, 6.0, 15.0, 40.0]), "reach_agents", (server, agents))


def _servers_lose_each_other(draw: Draw, at: float) -> Iterator[Step]:
    one, other = draw.rng.sample(draw.servers, 2)
    way = draw.rng.choice(["both", "out"])
    yield Step(at, "cut_servers", (one, other, way))
    yield Step(at + draw.rng.choice([1.0, 10.0, 40.0]), "reach_servers", (one, other))


def _network_is_slow(draw: Draw, at: float) -> Iterator[Step]:
    address = draw.server()
    yield Step(at, "delay_server", (address, draw.rng.choice([0.05, 0.5, 2.0])))
    yield Step(at + draw.rng.choice([5.0, 20.0]), "delay_server", (address, 0.0))


def _database_is_slow(draw: Draw, at: float) -> Iterator[Step]:
    for address in draw.rng.choice([draw.servers, (draw.server(),)]):
        yield Step(at, "slow_database", (address, draw.rng.choice([0.2, 1.0, 3.0])))
        yield Step(at + draw.rng.choice([5.0, 20.0, 40.0]), "slow_database", (address, draw.lag))


def _database_is_away(draw: Draw, at: float) -> Iterator[Step]:
    lasting = draw.rng.choice([1.0, 6.0, 20.0, 50.0])
    for address in draw.rng.choice([draw.servers, (draw.server(),), (draw.server(),)]):
        yield Step(at, "lose_database", (address,))
        yield Step(at + lasting, "find_database", (address,))


def _agent_dies(draw: Draw, at: float) -> Iterator[Step]:
    for agent in draw.rng.choice([(draw.agent(),), draw.some_agents()]):
        yield Step(at, draw.rng.choice(["kill_agent", "power_off_agent"]), (agent,))
        yield Step(at + draw.rng.choice([0.0, 1.0, 15.0, 60.0]), "start_agent", (agent,))


def _agent_hangs(draw: Draw, at: float) -> Iterator[Step]:
    agent = draw.agent()
    yield Step(at, "freeze_agent", (agent,))
    yield Step(at + draw.rng.choice([0.5, 6.0, 20.0, 45.0]), "thaw_agent", (agent,))


def _disk_is_full(draw: Draw, at: float) -> Iterator[Step]:
    agent = draw.agent()
    yield Step(at, "fill_disk", (agent,))
    yield Step(at + 30.0, "free_disk", (agent,))


def _setting_changes(draw: Draw, at: float) -> Iterator[Step]:
    rng = draw.rng
    chosen = rng.sample(draw.servers, rng.choice([len(draw.servers), rng.randint(1, len(draw.servers))]))
    name, value = rng.choice(
        [
            (LB_ALGORITHM, draw.algorithm()),
            (LB_WEIGHTS, f"{draw.server()}={rng.choice([2, 5])}"),
            (LB_CHECK_INTERVAL, str(rng.choice([0, 3, 5]))),
            (HOST, ",".join(chosen)),
        ]
    )
    yield Step(at, "change_setting", (draw.server(), name, value))


def _host_is_deleted(draw: Draw, at: float) -> Iterator[Step]:
    yield Step(at, "delete_host", (draw.server(), draw.agent()))


def _server_joins(draw: Draw, at: float) -> Iterator[Step]:
    address = f"10.0.0.{len(draw.servers) + draw.rng.randint(1, 2)}"
    yield Step(at, "add_server", (address,))
    yield Step(at + 3.0, "change_setting", (draw.server(), HOST, ",".join([*draw.servers, address])))


def _server_is_maintained(draw: Draw, at: float) -> Iterator[Step]:
    address, rng = draw.server(), draw.rng
    order = draw.server(), address, rng.choice([None, None, draw.algorithm()]), rng.random() < 0.3
    yield Step(at, "prepare_for_maintenance", order)
    later = at + rng.choice([0.2, 3.0, 20.0, 60.0])
    if rng.random() < 0.3:
        yield Step(later, "kill_server", (address,))
        yield Step(later + 5.0, "start_server", (address,))
        later += 15.0
    yield Step(later, "cancel_maintenance", (draw.server(), address, rng.random() < 0.7))


def _server_is_shut_down(draw: Draw, at: float) -> Iterator[Step]:
    address, rng = draw.server(), draw.rng
    if rng.random() < 0.7:
        yield Step(at, "prepare_for_shutdown", (draw.server(), address, None, rng.random() < 0.3))
        at += rng.choice([0.5, 5.0, 30.0])
    if rng.random() < 0.3:
        yield Step(at, "cancel_shutdown", (draw.server(), address))
    else:
        yield Step(at, "trigger_shutdown", (draw.server(), address, None, rng.random() < 0.3))
        yield Step(at + rng.choice([10.0, 40.0]), "start_server", (address,))


def _servers_take_turns(draw: Draw, at: float) -> Iterator[Step]:
    """As for an upgrade: each is emptied, ends and comes back."""
    every = draw.rng.choice([4.0, 15.0, 30.0])
    for number, address in enumerate(draw.servers):
        yield Step(at + number * every, "trigger_shutdown", (draw.server(), address, None, False))
        yield Step(at + (number + 0.8) * every, "start_server", (address,))


def _server_is_removed(draw: Draw, at: float) -> Iterator[Step]:
    address = draw.server()
    yield Step(at, "kill_server", (address,))
    for later in (12.0, 30.0):
        yield Step(at + later, "remove_server", (draw.server(), address))
    yield Step(at + 35.0, "start_server", (address,))


def _agents_are_evened_out(draw: Draw, at: float) -> Iterator[Step]:
    yield Step(at, "rebalance", (draw.server(),))


def _agent_reconnects(draw: Draw, at: float) -> Iterator[Step]:
    yield Step(at, "reconnect_host", (draw.server(), draw.agent()))


EPISODES: dict[str, tuple[int, Episode]] = {
    "server dies": (4, _server_dies),
    "server stops": (2, _server_stops),
    "server hangs": (3, _server_hangs),
    "server is cut off": (2, _server_is_cut_off),
    "agent is cut off": (3, _agent_is_cut_off),
    "servers lose each other": (1, _servers_lose_each_other),
    "network is slow": (2, _network_is_slow),
    "database is slow": (2, _database_is_slow),
    "database is away": (2, _database_is_away),
    "agent dies": (4, _agent_dies),
    "agent hangs": (2, _agent_hangs),
    "disk is full": (1, _disk_is_full),
    "setting changes": (2, _setting_changes),
    "host is deleted": (1, _host_is_deleted),
    "server joins": (1, _server_joins),
    "server is maintained": (3, _server_is_maintained),
    "server is shut down": (2, _server_is_shut_down),
    "servers take turns": (1, _servers_take_turns),
    "server is removed": (1, _server_is_removed),
    "agents are evened out": (2, _agents_are_evened_out),
    "agent reconnects": (1, _agent_reconnects),
}
"""Kinds of faults and orders, and how often each is drawn beside the others."""


ORDERS = frozenset(
    {
        "setting changes",
        "server joins",
        "server stops",
        "server is maintained",
        "server is shut down",
        "servers take turns",
        "servers lose each other",
        "agents are evened out",
        "disk is full",
    }
)
"""Those of a history in which hardly a host has a reason to be lost."""


def _commands(draw: Draw) -> Iterator[Step]:
    at, every = 0.0, draw.rng.choice([0.2, 0.5, 2.0])
    while (at := at + draw.rng.expovariate(1 / every)) < draw.seconds:
        server, agent = draw.server(), draw.agent()
        changes = draw.rng.random() < 0.6
        kind = draw.rng.random()
        if kind < 0.6:
            key = draw.rng.choice([None, None, None, f"key-{draw.rng.randint(1, 9)}"])
            yield Step(at, "start_job", (server, agent, changes, key))
        elif kind < 0.85:
            yield Step(at, "send", (server, agent, changes))
        else:
            yield Step(at, "send_in_sequence", (server, agent, 3))


def draw_plan(
    seed: int, *, servers: int | None = None, agents: int | None = None, minutes: float | None = None
) -> Plan:
    """Draw a history.

    Args:
        seed: of everything.
        servers: how many; drawn if None, and so are the others.
        agents: how many.
        minutes: how long the faults last.
    """
    rng = random.Random(seed)
    drawn = rng.randint(3, 5), rng.randint(20, 50), rng.uniform(60, 180)
    count, hosts = servers or drawn[0], agents or drawn[1]
    seconds = drawn[2] if minutes is None else 60 * minutes
    draw = Draw(rng, [f"10.0.0.{number}" for number in range(1, count + 1)], hosts, seconds, rng.choice(NORMAL_LAGS))
    possible = sorted(EPISODES.keys() & ORDERS if rng.random() < 0.25 else EPISODES)
    kinds = rng.sample(possible, rng.randint(3, len(possible)))
    weights = [EPISODES[kind][0] for kind in kinds]
    every = rng.choice([2.0, 5.0, 15.0])
    steps: list[Step] = []
    at = 0.0
    while (at := at + rng.expovariate(1 / every)) < seconds:
        [kind] = rng.choices(kinds, weights)
        steps += [step for step in EPISODES[kind][1](draw, at) if step.at < seconds]
    steps += _commands(draw)
    # One in ten has all but one of them die for good.
    mortal = draw.servers[:-1] if rng.random() < 0.1 else rng.sample(draw.servers, rng.choice([0, 0, 1]))
    theirs, direct = (rng.randint(1, hosts // 3) if rng.random() < 0.4 else 0 for _ in range(2))
    return Plan(
        seed=seed,
        servers=count,
        agents=hosts,
        theirs=theirs,
        direct=direct,
        algorithm=draw.algorithm(),
        check_interval=rng.choice([0, 5]),
        lag=draw.lag,
        told=rng.random() < 0.8,
        delay=rng.choice([0, 1, 13]),
        ping_interval=6 if hosts <= 100 else 20,
        seconds=seconds,
        settings={
            DIRECT_AGENT_SCAN_INTERVAL: str(rng.choice([5, 30])),
            LB_BAND_AGENTS: str(rng.choice([1, 2, 10])),
            LB_BAND_SECONDS: str(rng.choice([0, 5, 60])),
            MOVE_RATE: str(rng.choice([2, 10, 50])),
            MAINTENANCE_TIMEOUT: str(rng.choice([1, 60])),
            STOP_TIMEOUT: str(rng.choice([0, 3, 30])),
        },
        stay_dead=frozenset(mortal),
        uses_all=rng.random() < 0.5,
        steps=tuple(sorted(steps, key=lambda step: step.at)),
    )
