"""What a large idle fleet costs one server: memory per connection, and CPU at a ping a minute.

    python -m bench.idle --agents 10000 --interval 60

The pings are spread evenly over the interval, as those of agents that came at different times are.
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react

from bench.cluster import Usage, deployment, start_servers
from bench.fleet import all_up, connect_all, load_fleet
from bench.loop import GRACE
from cloudlb.cli.local_cluster import LocalCluster


async def measure(reactor: Any, cluster: LocalCluster, count: int, interval: float) -> None:
    """Connect everyone and watch for two intervals."""
    fleet = load_fleet(cluster, count)
    start_servers(cluster)
    (server,) = cluster.servers.values()
    empty = Usage.of(server.pid)

    def memory() -> str:
        return f"{(Usage.of(server.pid).anonymous - empty.anonymous) / count / 1024:.1f} KiB per connection"

    elapsed = await connect_all(reactor, cluster, fleet) + await all_up(reactor, cluster, fleet)
    print(f"{count} agents Up after {elapsed:.1f} s ({count / elapsed:.0f} a second), {memory()}", flush=True)

    turns = itertools.cycle(fleet)
    pings = LoopingCall(lambda: next(turns).ping())
    pings.clock = reactor
    before, began = Usage.of(server.pid), time.monotonic()
    pings.start(interval / count)
    await deferLater(reactor, 2 * interval, lambda: None)
    pings.stop()
    elapsed, after = time.monotonic() - began, Usage.of(server.pid)
    await deferLater(reactor, GRACE, lambda: None)
    sent, answered = sum(agent.sent for agent in fleet), sum(agent.answered for agent in fleet)
    print(
        f"idle: {(after.cpu - before.cpu) / elapsed * 100:.1f} % of a core for {sent / elapsed:.0f} pings/s, {memory()}"
    )
    print(f"pings lost: {sent - answered}, links lost: {sum(agent.lost is not None for agent in fleet)}")
    for agent in fleet:
        agent.hang_up()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between an agent's pings")
    arguments = parser.parse_args()
    with deployment(servers=1, agents=arguments.agents, algorithm="roundrobin") as cluster:
        react(lambda reactor: Deferred.fromCoroutine(measure(reactor, cluster, arguments.agents, arguments.interval)))


if __name__ == "__main__":
    main()
