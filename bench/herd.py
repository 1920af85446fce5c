"""What agents that are connected notice of a herd that comes all at one moment.

    python -m bench.herd --established 200 --herd 1500

Once with hosts that nobody knows yet, then with the server as it is, and then with one that takes every step of a
handshake as it comes. The established agents ping at an even rate, whether or not they have had their answers; the herd
runs in a process of its own.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react

from bench.cluster import Usage, deployment, expect_one_process, start_servers
from bench.figures import percentile
from bench.fleet import FleetAgent, all_up, connect_all, load_fleet
from bench.newcomers import DONE, READY
from bench.postgres import add_database, database
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.cli.processes import Daemon, stop_all, twistd

INTERVAL = 0.2
"""Seconds between two pings of an agent."""
PEACE = 3.0
"""Seconds for which round trips are measured before the herd comes."""
TIMEOUT = 120.0


class Pingers:
    """Established agents, and how long each of their pings took."""

    def __init__(self, fleet: list[FleetAgent]) -> None:
        self.seconds: list[float] = []
        self._fleet = fleet
        self._sent: dict[FleetAgent, deque[float]] = {agent: deque() for agent in fleet}
        self._next = 0
        for agent in fleet:
            agent.pinged = self._pinged
        self._turns = LoopingCall(self._ping_one)
        self._turns.start(INTERVAL / len(fleet), now=False)

    def take(self) -> list[float]:
        """The round trips since the last time."""
        seconds, self.seconds = self.seconds, []
        return seconds

    async def stop(self, reactor: Any) -> None:
        """Send no more, and wait for the answers."""
        self._turns.stop()
        while any(self._sent.values()):
            await deferLater(reactor, 0.01)

    def _ping_one(self) -> None:
        agent = self._fleet[self._next % len(self._fleet)]
        self._next += 1
        self._sent[agent].append(time.monotonic())
        agent.ping()

    def _pinged(self, agent: FleetAgent) -> None:
        self.seconds.append(time.monotonic() - self._sent[agent].popleft())


async def wait_for(reactor: Any, herd: Daemon, word: str) -> str:
    """Wait until the herd says something; return its line."""
    end = time.monotonic() + TIMEOUT
    while True:
        line = next((line for line in herd.log.read_text().splitlines() if line.startswith(word)), None)
        if line is not None:
            return line
        if not herd.running or time.monotonic() > end:
            herd.fail(f"has not said {word!r}")
        await deferLater(reactor, 0.05)


async def measure(reactor: Any, cluster: LocalCluster, title: str, established: int, herd_size: int) -> None:
    """Measure one server, which does not run yet."""
    (server,) = cluster.servers.values()
    start_servers(cluster)
    fleet = load_fleet(cluster, established)
    await connect_all(reactor, cluster, fleet)
    await all_up(reactor, cluster, fleet)
    command = [sys.executable, "-m", "bench.newcomers", str(cluster.inventory.folder), str(established), str(herd_size)]
    herd = Daemon("herd", command, cluster.logs / f"herd-{title}.log")
    try:
        herd.start()
        await wait_for(reactor, herd, READY)
        pingers = Pingers(fleet)
        await deferLater(reactor, PEACE)
        peace, before = pingers.take(), Usage.of(server.pid)
        herd.send_signal(signal.SIGUSR1)
        came = await wait_for(reactor, herd, DONE)
        await pingers.stop(reactor)
        cost = (Usage.of(server.pid).cpu - before.cpu) / herd_size * 1000
        for when, seconds in (("in peace", peace), ("with the herd", pingers.take())):
            print(
                f"| {title} | {when} | {len(seconds)} | "
                + " | ".join(f"{percentile(seconds, part) * 1000:.1f}" for part in (50, 99, 100))
                + " |"
            )
        print(f"| {title} | {came}; server CPU {cost:.2f} ms each, pings included |", flush=True)
    finally:
        stop_all([herd])
        for agent in fleet:
            agent.hang_up()
        stop_all([server])


async def measure_both(reactor: Any, cluster: LocalCluster, established: int, herd: int) -> None:
    """Measure the server as it is, and without its pace."""
    expect_one_process(cluster)
    ((name, config),) = cluster.inventory.server_files.items()
    paced = twistd("cloudlb-mgmt", "--config", str(config))
    print("| handshakes | | pings | median ms | p99 ms | longest ms |\n| --- | --- | --- | --- | --- | --- |")
    for title, command in (
        ("paced, new hosts", paced),
        ("paced", paced),
        ("as they come", [sys.executable, "-m", "bench.unpaced", str(config)]),
    ):
        cluster.servers[name] = Daemon(title, command, Path(cluster.logs, "server.log"))
        await measure(reactor, cluster, title, established, herd)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--established", type=int, default=200)
    parser.add_argument("--herd", type=int, default=1500)
    add_database(parser)
    arguments = parser.parse_args()
    total = arguments.established + arguments.herd
    with database(arguments) as url, deployment(servers=1, agents=total, database_url=url) as cluster:
        react(
            lambda reactor: Deferred.fromCoroutine(
                measure_both(reactor, cluster, arguments.established, arguments.herd)
            )
        )


if __name__ == "__main__":
    main()
