"""What a ping costs a server as the fleet grows: in memory, without TLS and sockets, and on real TLS sockets.

    python -m bench.pings --memory 100 1000 10000 --sockets 100 500 1000 2000

In memory a real server on a virtual clock is handed the messages of its agents, in random order, and all sizes take
turns, so that a machine that slows down slows all of them. Every figure is CPU of the server, and each ratio is to the
smallest fleet of the same run.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from rich.console import Console
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench.bare import measure_bare
from bench.cluster import deployment, start_servers
from bench.fleet import all_up, connect_all, load_fleet
from bench.loop import Loop, ping_loop
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.cli.processes import stop_all
from cloudlb.wire import Flag, PingRoutingCommand, ReadyAnswer, write_contents, write_packet
from tests.agents.server import FakeLink, ServerFixture

ROUNDS = 5
PINGS = 10_000
"""Of one round, whatever the size of the fleet."""
FEW = 100


@define
class Fleet:
    """A server in memory with its agents."""

    agents: int
    fixture: ServerFixture
    links: list[tuple[FakeLink, bytes]] = field(factory=list)
    ping: list[float] = field(factory=list)
    """Microseconds for one ping, of each round."""
    few: list[float] = field(factory=list)
    """The same where only FEW of the agents ping: what is left of the difference is the processor's caches."""
    check: list[float] = field(factory=list)
    """Microseconds for one look for late agents."""
    flush: list[float] = field(factory=list)
    """Microseconds for one agent's stamp to be written."""

    def start(self) -> None:
        """Admit everyone."""
        for number in range(self.agents):
            link = self.fixture.startup(number)
            header, _ = link.take()[-1]
            link.receive([ReadyAnswer()], sequence=header.sequence, flags=Flag(0))
            ping = PingRoutingCommand(host_type="Routing", host_id=header.agent_id, host_vm_state_report={})
            packet = write_packet(
                sequence=1,
                server_id=-1,
                agent_id=header.agent_id,
                via=header.agent_id,
                flags=Flag.REQUEST | Flag.STOP_ON_ERROR,
                body=write_contents([ping]),
            )
            self.links.append((link, packet))

    def round(self, rng: random.Random) -> None:
        """Measure once."""
        self.few.append(self._ping(rng.choices(self.links[:FEW], k=PINGS)))
        chosen = rng.choices(self.links, k=PINGS)
        self.ping.append(self._ping(chosen))
        liveness = self.fixture.server.disconnection.liveness
        self.check.append(_microseconds(liveness.check))
        stamps = len({id(link) for link, _ in chosen})
        self.flush.append(_microseconds(lambda: Deferred.fromCoroutine(liveness.flush())) / stamps)

    def _ping(self, chosen: list[tuple[FakeLink, bytes]]) -> float:
        """Microseconds for each ping of some agents."""

        def ping_all() -> None:
            for link, packet in chosen:
                link.owner.message_received(link, packet)  # type: ignore[attr-defined]

        spent = _microseconds(ping_all)
        answers = sum(len(link.take()) for link, _ in self.links)
        if answers != PINGS:
            raise RuntimeError(f"{PINGS} pings had {answers} answers")
        return spent / PINGS


def _microseconds(work: Callable[[], object]) -> float:
    """CPU that something takes."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e6


def measure_in_memory(sizes: list[int], folder: Path) -> Table:
    """Measure all sizes, taking turns."""
    fleets = []
    for size in sizes:
        own = folder / str(size)
        own.mkdir()
        fleets.append(Fleet(size, ServerFixture(own)))
    for fleet in fleets:
        fleet.start()
        print(f"{fleet.agents:,} agents are Up in memory", flush=True)
    rng = random.Random(1)
    for _ in range(ROUNDS):
        for fleet in fleets:
            fleet.round(rng)
    table = Table(title="In memory, without TLS", caption=f"CPU; the median of {ROUNDS} rounds of {PINGS:,} pings")
    for heading in (
        "agents",
        "one ping\nµs",
        "ratio",
        f"one ping\nof {FEW} µs",
        "ratio",
        "a look for\nlate agents µs",
        "one stamp\nwritten µs",
    ):
        table.add_column(heading, justify="right")
    least, least_of_few = statistics.median(fleets[0].ping), statistics.median(fleets[0].few)
    for fleet in fleets:
        ping, few = statistics.median(fleet.ping), statistics.median(fleet.few)
        table.add_row(
            f"{fleet.agents:,}",
            f"{ping:.1f}",
            f"{ping / least:.2f}",
            f"{few:.1f}",
            f"{few / least_of_few:.2f}",
            f"{statistics.median(fleet.check):.1f}",
            f"{statistics.median(fleet.flush):.1f}",
        )
        fleet.fixture.stop()
    return table


@frozen
class OnSockets:
    """One size of a fleet of TLS connections."""

    agents: int
    pings: Loop
    lost: int
    echoes: Loop
    """Of links with nothing on top, as long as the pings: what more connections cost anyhow."""


async def measure_on_sockets(reactor: Any, cluster: LocalCluster, count: int, seconds: float) -> OnSockets:
    """Measure one size."""
    fleet = load_fleet(cluster, count)
    bare = await measure_bare(reactor, cluster, fleet, seconds)
    start_servers(cluster)
    (server,) = cluster.servers.values()
    await connect_all(reactor, cluster, fleet)
    await all_up(reactor, cluster, fleet)
    pings, lost = await ping_loop(reactor, server.pid, fleet, seconds)
    for agent in fleet:
        agent.hang_up()
    stop_all([server])
    return OnSockets(count, pings, lost, bare.echoes)


async def measure_all_on_sockets(reactor: Any, cluster: LocalCluster, sizes: list[int], seconds: float) -> None:
    """Measure all sizes and print the table."""
    results = [await measure_on_sockets(reactor, cluster, size, seconds) for size in sizes]
    table = Table(title="On TLS sockets, agents that ping without pause", caption="CPU: of the server")
    headings = (
        "agents",
        "pings/s",
        "CPU s per\n10,000",
        "ratio",
        "pings\nlost",
        "bare echoes\nCPU s per 10,000",
        "ratio",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for result in results:
        pings, echoes = result.pings, result.echoes
        table.add_row(
            f"{result.agents:,}",
            f"{pings.rate:,.0f}",
            f"{pings.cpu_per_10000:.3f}",
            f"{pings.cpu_per_10000 / results[0].pings.cpu_per_10000:.2f}",
            f"{result.lost}",
            f"{echoes.cpu_per_10000:.3f}",
            f"{echoes.cpu_per_10000 / results[0].echoes.cpu_per_10000:.2f}",
        )
    Console(width=120).print(table)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, nargs="*", default=[100, 1_000, 10_000], help="fleet sizes in memory")
    parser.add_argument("--sockets", type=int, nargs="*", default=[100, 500, 1_000, 2_000], help="and on sockets")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each closed loop on sockets")
    arguments = parser.parse_args()
    if arguments.memory:
        with tempfile.TemporaryDirectory(prefix="cloudlb-bench-") as folder:
            Console(width=120).print(measure_in_memory(arguments.memory, Path(folder)))
    if arguments.sockets:
        with deployment(servers=1, agents=max(arguments.sockets), algorithm="roundrobin") as cluster:
            react(
                lambda reactor: Deferred.fromCoroutine(
                    measure_all_on_sockets(reactor, cluster, arguments.sockets, arguments.seconds)
                )
            )


if __name__ == "__main__":
    main()
