"""What agents notice while the API is asked for the fleet, again and again.

    python -m bench.listings --hosts 10000 --rate 200

The server has all hosts in its database and some of them connected, which ping at an even rate: first in peace, then
while another process calls listHosts, page after page of 500.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from bench.cluster import Usage, deployment, start_servers
from bench.figures import percentile
from bench.fleet import all_up, connect_all, load_fleet
from bench.herd import Pingers, wait_for
from bench.postgres import add_database, database
from bench.scale import open_store, portions
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.cli.processes import Daemon, stop_all
from cloudlb.domain.models import ServerId
from cloudlb.domain.ports import Location
from tests.contracts.case import admission, now

AT_ONCE = 1000
PEACE = 10.0
"""Seconds for which round trips are measured first."""


def fill(cluster: LocalCluster, hosts: int) -> None:
    """Have the database know hosts that are on no server."""
    (config,) = cluster.inventory.servers.values()
    store = open_store(config.database_url)
    for portion in portions(range(hosts), AT_ONCE):
        admissions = [
            admission(
                f"row-{number}",
                Location(zone="1", pod="1", cluster="1"),
                name=f"row-{number}",
                ip_address=f"10.9.{number // 250}.{number % 250}",
                details={},
                server_id=ServerId(1),
            )
            for number in portion
        ]
        now(store.run(lambda txn: txn.hosts.admit(admissions, 0.0)))  # noqa: B023 - run at once
    now(Deferred.fromCoroutine(store.stop()))


async def measure(reactor: Any, cluster: LocalCluster, arguments: argparse.Namespace) -> None:
    """Measure in peace and under the calls."""
    fill(cluster, arguments.hosts - arguments.established)
    start_servers(cluster)
    (server,) = cluster.servers.values()
    fleet = load_fleet(cluster, arguments.established)
    await connect_all(reactor, cluster, fleet)
    await all_up(reactor, cluster, fleet)
    call = [
        "bench.calls",
        str(cluster.inventory.folder),
        *(str(arguments.__dict__[name]) for name in ("hosts", "rate")),
    ]
    calls = Daemon("calls", [sys.executable, "-m", *call, str(arguments.seconds)], cluster.logs / "calls.log")
    try:
        pingers = Pingers(fleet)
        print("| | pings | median ms | p99 ms | longest ms | server CPU |\n| --- | --- | --- | --- | --- | --- |")
        for when in ("in peace", "with the calls"):
            before, told = Usage.of(server.pid).cpu, ""
            if when == "in peace":
                await deferLater(reactor, PEACE)
            else:
                calls.start()
                told = await wait_for(reactor, calls, str(int(arguments.rate * arguments.seconds)))
            seconds, cpu = pingers.take(), Usage.of(server.pid).cpu - before
            figures = " | ".join(f"{percentile(seconds, part) * 1000:.1f}" for part in (50, 99, 100))
            print(f"| {when} | {len(seconds)} | {figures} | {cpu:.1f} s |", flush=True)
        print(told)
        await pingers.stop(reactor)
    finally:
        stop_all([calls])
        for agent in fleet:
            agent.hang_up()
        stop_all([server])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--established", type=int, default=200)
    parser.add_argument("--rate", type=float, default=200.0, help="calls per second")
    parser.add_argument("--seconds", type=float, default=20.0)
    add_database(parser)
    arguments = parser.parse_args()
    with database(arguments) as url, deployment(servers=1, agents=arguments.established, database_url=url) as cluster:
        react(lambda reactor: Deferred.fromCoroutine(measure(reactor, cluster, arguments)))


if __name__ == "__main__":
    main()
