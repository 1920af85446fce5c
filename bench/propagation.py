"""How long a change of the algorithm takes to reach every agent's file, and then to move the fleet.

    python -m bench.propagation --agents 1000 --before rendezvous --after roundrobin

Three servers and real agents, as `cloudlb agents` runs them. Each file must hold exactly what the algorithm prescribes.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Mapping

from bench.cluster import deployment, rows, start_servers
from bench.figures import distribution
from bench.postgres import add_database, database
from bench.real_agents import TimedOut, is_on, running_agents, settle
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.host_list import HostList
from cloudlb.domain.settings import HOST, LB_ALGORITHM

POLL_INTERVAL = 0.05
LIST_TIMEOUT = 60.0
MOVE_TIMEOUT = 120.0


def prescribed(cluster: LocalCluster, algorithm: Algorithm) -> dict[str, HostList]:
    """Each host's list, of an algorithm without chance in it; hosts count from 0 in the order of their ids."""
    servers = cluster.api.setting(HOST).split(",")
    ordered = sorted(rows(cluster).items(), key=lambda item: item[1].id)
    return {
        name: host_list_for(algorithm, servers, Place(row.guid, index), random.Random())
        for index, (name, row) in enumerate(ordered)
    }


def time_lists(cluster: LocalCluster, wanted: Mapping[str, HostList], began: float) -> list[float]:
    """Seconds until each agent's file holds its list. A file is read when it has changed, which spares the agents."""
    seen: dict[str, int] = {}
    seconds: dict[str, float] = {}
    while len(seconds) < len(wanted):
        now = time.monotonic() - began
        if now > LIST_TIMEOUT:
            raise TimedOut(f"{len(wanted) - len(seconds)} agents do not hold their list after {LIST_TIMEOUT:.0f} s")
        for name in wanted.keys() - seconds.keys():
            changed = cluster.inventory.agents[name].stat().st_mtime_ns
            if seen.get(name) != changed:
                seen[name] = changed
                if cluster.inventory.agent(name).hosts == wanted[name]:
                    seconds[name] = time.monotonic() - began
        time.sleep(POLL_INTERVAL)
    return list(seconds.values())


def time_moves(cluster: LocalCluster, wanted: Mapping[str, HostList], began: float) -> float:
    """Seconds until each agent is Up on the head of its list."""
    while True:
        found = rows(cluster)
        away = [name for name, hosts in wanted.items() if not is_on(hosts.preferred)(name, found[name])]
        if not away:
            return time.monotonic() - began
        if time.monotonic() - began > MOVE_TIMEOUT:
            raise TimedOut(f"{len(away)} agents are not on the head of their list after {MOVE_TIMEOUT:.0f} s")
        time.sleep(POLL_INTERVAL)


def measure(cluster: LocalCluster, count: int, after: Algorithm) -> None:
    """Change the algorithm under a settled fleet."""
    start_servers(cluster)
    with running_agents(cluster, count):
        print(f"{count} agents on the heads of their lists after {settle(cluster, count):.1f} s")
        wanted = prescribed(cluster, after)
        spread = Counter(hosts.preferred for hosts in wanted.values())
        found = rows(cluster)
        leaving = sum(found[name].server != hosts.preferred for name, hosts in wanted.items())
        began = time.monotonic()
        cluster.api.change_setting(LB_ALGORITHM, after.value)
        print(f"the call of the API took {time.monotonic() - began:.3f} s")
        print(f"every agent's file holds its list by {after.value}: {distribution(time_lists(cluster, wanted, began))}")
        print(f"{leaving} agents moved; all on their heads after {time_moves(cluster, wanted, began):.1f} s")
        print(f"spread: {dict(spread)}")


def main() -> None:
    """Run the command line."""
    # A shuffled list is nothing that could be foreseen.
    foreseeable = [algorithm.value for algorithm in Algorithm if algorithm is not Algorithm.SHUFFLE]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--before", choices=[algorithm.value for algorithm in Algorithm], default="rendezvous")
    parser.add_argument("--after", choices=foreseeable, default="roundrobin")
    add_database(parser)
    arguments = parser.parse_args()
    with (
        database(arguments) as url,
        deployment(servers=3, agents=arguments.agents, algorithm=arguments.before, database_url=url) as cluster,
    ):
        measure(cluster, arguments.agents, Algorithm(arguments.after))


if __name__ == "__main__":
    main()
