"""How long the agents of a killed server are nowhere, and how long its return takes to bring them back.

    python -m bench.failover --agents 300 --algorithm roundrobin

Three servers and real agents, as `cloudlb agents` runs them. One server is ended by SIGKILL; later it is started again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping

from agent.hosts import SETTLED_SECONDS
from bench.cluster import Row, Usage, deployment, expect_one_process, links, rows, start_servers
from bench.figures import distribution
from bench.postgres import add_database, database
from bench.real_agents import TimedOut, is_on, running_agents, settle
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.cli.processes import Daemon
from cloudlb.domain.settings import LB_ENABLED, MOVE_RATE

POLL_INTERVAL = 1e-4
"""Seconds between two looks, for each agent: to look costs the more the more there are."""
FAILOVER_TIMEOUT = 60.0
FAILBACK_TIMEOUT = 120.0
GATHER_TIMEOUT = 600.0
SLOW_MOVES = {LB_ENABLED: "false", MOVE_RATE: "1"}
"""Settings that keep agents where they are when their servers come."""
EVEN_FROM = 1000
"""Agents that are enough for chance to spread them evenly."""
UNEVEN = 0.1
"""How far a server may be off the average by then, as a part of it."""

Rows = Mapping[str, Row]


def time_each(
    cluster: LocalCluster, names: set[str], arrived: Callable[[str, Row], bool], timeout: float
) -> tuple[dict[str, float], int]:
    """Seconds from now until each host has arrived, and the most links that were seen at one time."""
    began = time.monotonic()
    seconds: dict[str, float] = {}
    most = 0
    while missing := names - seconds.keys():
        most = max(most, sum(links(cluster).values()))
        found, now = rows(cluster), time.monotonic() - began
        if now > timeout:
            raise TimedOut(f"{len(missing)} of {len(names)} agents have not arrived after {timeout:.0f} s")
        seconds |= {name: now for name in missing if name in found and arrived(name, found[name])}
        time.sleep(POLL_INTERVAL * len(found))
    return seconds, most


def check_once(cluster: LocalCluster, before: Rows, moved: set[str]) -> list[str]:
    """What speaks against every agent being in one place only, and having been admitted there once."""
    after, held = rows(cluster), links(cluster)
    owned = Counter(row.server for row in after.values() if row.state == "Up")
    shown = Counter(host.server for host in cluster.api.hosts().values() if host.state == "Up")
    faults = []
    if not owned == shown == Counter(held):
        faults.append(f"the database has {dict(owned)}, the API {dict(shown)}, the kernel {dict(held)}")
    admissions = Counter(after[name].session - row.session for name, row in before.items() if name in moved)
    if set(admissions) != {1}:
        faults.append(f"admissions of those that moved: {dict(admissions)}")
    if disturbed := [name for name, row in before.items() if name not in moved and after[name] != row]:
        faults.append(f"{len(disturbed)} of the other agents were disturbed")
    return faults


def check_spread(after: Rows, survivors: int) -> list[str]:
    """What speaks against an even spread of all agents."""
    spread, even = Counter(row.server for row in after.values()), len(after) / survivors
    off = max(abs(spread[server] - even) for server in spread) / even
    print(f"spread over the survivors: {dict(spread)}, at most {off:.1%} off the average")
    if len(after) >= EVEN_FROM and (off > UNEVEN or len(spread) < survivors):
        return [f"a server is {off:.1%} off the average"]
    return []


def cpu(cluster: LocalCluster) -> float:
    """Seconds that the servers that run have used up."""
    return sum(Usage.of(server.pid).cpu for server in cluster.servers.values() if server.running)


def kill(cluster: LocalCluster, agents: Daemon, victim: str, before: Rows, *, even: bool) -> list[str]:
    """Kill a server and watch its agents; return what was not as it has to be."""
    stranded = {name for name, row in before.items() if row.server == victim}
    cluster.servers[victim].kill()
    used, used_by_agents = cpu(cluster), Usage.of(agents.pid).cpu
    seconds, most = time_each(
        cluster,
        stranded,
        lambda name, row: row.state == "Up" and row.server != victim and row.session > before[name].session,
        FAILOVER_TIMEOUT,
    )
    used, used_by_agents = cpu(cluster) - used, Usage.of(agents.pid).cpu - used_by_agents
    after = rows(cluster)
    print(f"{victim} killed, its {len(stranded)} agents Up elsewhere: {distribution(list(seconds.values()))}")
    each = 1000 / len(stranded)
    print(f"CPU for each of them: {used * each:.2f} ms of the survivors, {used_by_agents * each:.2f} ms of its agent")
    print(f"links at most: {most}")
    print(f"where they went: {dict(Counter(after[name].server for name in stranded))}")
    faults = check_once(cluster, before, stranded)
    return faults + check_spread(after, len(cluster.servers) - 1) if even else faults


def measure(cluster: LocalCluster, count: int, *, even: bool) -> list[str]:
    """Kill, watch, restart, watch."""
    expect_one_process(cluster)
    start_servers(cluster)
    with running_agents(cluster, count) as agents:
        print(f"{count} agents on the heads of their lists after {settle(cluster, count):.1f} s")
        before, victim = rows(cluster), list(cluster.servers)[1]
        print(f"spread: {dict(Counter(row.server for row in before.values()))}")
        faults, after = kill(cluster, agents, victim, before, even=even), rows(cluster)
        stranded = {name for name, row in before.items() if row.server == victim}
        cluster.servers[victim].start()
        cluster.wait_for_servers([victim])
        seconds, _ = time_each(cluster, stranded, is_on(victim), FAILBACK_TIMEOUT)
        print(f"{victim} listens again, its agents back: {distribution(list(seconds.values()))}")
        settle(cluster, count)
        return faults + check_once(cluster, after, stranded)


def measure_gathered(cluster: LocalCluster, count: int, *, even: bool) -> list[str]:
    """Kill a server that has all of the agents: it ran alone until shortly before."""
    expect_one_process(cluster)
    victim, *others = list(cluster.servers)
    cluster.servers[victim].start()
    cluster.wait_for_servers([victim])
    for name, value in SLOW_MOVES.items():
        cluster.api.change_setting(name, value)
    with running_agents(cluster, count) as agents:
        time_each(cluster, set(list(cluster.inventory.agents)[:count]), is_on(victim), GATHER_TIMEOUT)
        for name in others:
            cluster.servers[name].start()
        cluster.wait_for_servers(others)
        time.sleep(SETTLED_SECONDS)
        return kill(cluster, agents, victim, rows(cluster), even=even)


def main() -> None:
    """Run the command line; fails where an agent was lost or in two places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=300)
    parser.add_argument("--algorithm", default="roundrobin")
    parser.add_argument("--check-interval", type=int, default=5, help="seconds between the checks for a return")
    parser.add_argument("--gathered", action="store_true", help="kill a server that has all agents; no return")
    add_database(parser)
    arguments = parser.parse_args()
    with (
        database(arguments) as url,
        deployment(
            servers=3,
            agents=arguments.agents,
            algorithm=arguments.algorithm,
            # Who is to stay together must not look for the head of its list.
            check_interval=0 if arguments.gathered else arguments.check_interval,
            database_url=url,
        ) as cluster,
    ):
        play = measure_gathered if arguments.gathered else measure
        faults = play(cluster, arguments.agents, even=arguments.algorithm == "rendezvous")
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
