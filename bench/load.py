"""What connections, admissions and pings cost a server as the fleet grows, beside bare links in the same run.

    python -m bench.load --agents 100 500 1000 2000 --seconds 5

For each size a server is started anew. The rates share the machine with the load; CPU is the server's own.
"""

from __future__ import annotations

import argparse
from typing import Any

from attrs import frozen
from rich.console import Console
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench.bare import Bare, measure_bare
from bench.cluster import Usage, deployment, start_servers
from bench.fleet import all_up, connect_all, load_fleet
from bench.loop import Loop, ping_loop
from bench.postgres import add_database, database
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.cli.processes import stop_all


@frozen
class Result:
    """One fleet size."""

    agents: int
    bare: Bare
    admissions: float
    """Per second, until all were Up in the database."""
    admission_cpu: float
    """Milliseconds of the server's for one."""
    pings: Loop
    lost: int
    """Pings without an answer."""
    memory: float
    """KiB of anonymous memory per connection, after the pings."""


async def measure(reactor: Any, cluster: LocalCluster, count: int, seconds: float) -> Result:
    """Measure one fleet size."""
    fleet = load_fleet(cluster, count)
    bare = await measure_bare(reactor, cluster, fleet, seconds)
    start_servers(cluster)
    (server,) = cluster.servers.values()
    empty = Usage.of(server.pid)
    elapsed = await connect_all(reactor, cluster, fleet) + await all_up(reactor, cluster, fleet)
    admitted = Usage.of(server.pid)
    pings, lost = await ping_loop(reactor, server.pid, fleet, seconds)
    full = Usage.of(server.pid)
    for agent in fleet:
        agent.hang_up()
    stop_all([server])
    return Result(
        agents=count,
        bare=bare,
        admissions=count / elapsed,
        admission_cpu=(admitted.cpu - empty.cpu) / count * 1000,
        pings=pings,
        lost=lost,
        memory=(full.anonymous - empty.anonymous) / count / 1024,
    )


def as_table(results: list[Result]) -> Table:
    """A row for each fleet size."""
    table = Table(title="One management server", caption="CPU: of the server; bare: echo on a link without packets")
    for heading in (
        "agents",
        "bare\nconnects/s",
        "CPU ms\neach",
        "admissions\n/s",
        "CPU ms\neach",
        "bare\nechoes/s",
        "CPU s per\n10,000",
        "pings/s",
        "CPU s per\n10,000",
        "ratio\nto bare",
        "pings\nlost",
        "KiB per\nconnection",
    ):
        table.add_column(heading, justify="right")
    for result in results:
        echoes, pings = result.bare.echoes, result.pings
        table.add_row(
            f"{result.agents:,}",
            f"{result.bare.connects:,.0f}",
            f"{result.bare.connect_cpu:.2f}",
            f"{result.admissions:,.0f}",
            f"{result.admission_cpu:.2f}",
            f"{echoes.rate:,.0f}",
            f"{echoes.cpu_per_10000:.3f}",
            f"{pings.rate:,.0f}",
            f"{pings.cpu_per_10000:.3f}",
            f"{pings.cpu_per_10000 / echoes.cpu_per_10000:.2f}",
            f"{result.lost}",
            f"{result.memory:.1f}",
        )
    return table


async def measure_all(reactor: Any, cluster: LocalCluster, sizes: list[int], seconds: float) -> None:
    """Measure all sizes and print the table."""
    results = [await measure(reactor, cluster, count, seconds) for count in sizes]
    Console(width=150).print(as_table(results))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="+", default=[50, 500], help="fleet sizes")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each closed loop")
    parser.add_argument("--algorithm", default="roundrobin", help="how the agents' lists are ordered")
    add_database(parser)
    arguments = parser.parse_args()
    with (
        database(arguments) as url,
        deployment(servers=1, agents=max(arguments.agents), algorithm=arguments.algorithm, database_url=url) as cluster,
    ):
        react(
            lambda reactor: Deferred.fromCoroutine(measure_all(reactor, cluster, arguments.agents, arguments.seconds))
        )


if __name__ == "__main__":
    main()
