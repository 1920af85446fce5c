"""Real agents, many in one process, and where they are."""

from __future__ import annotations

import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cluster import Row, links, rows
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.cli.processes import Daemon, stop_all

SETTLE_TIMEOUT = 180.0


class TimedOut(Exception):
    """Something did not come about; the message says for how many agents."""


@contextmanager
def running_agents(cluster: LocalCluster, count: int) -> Iterator[None]:
    """Run the first agents of a deployment, as `cloudlb agents` does."""
    program = str(Path(sysconfig.get_path("scripts"), "cloudlb"))
    command = [program, "agents", str(cluster.inventory.folder), "--count", str(count)]
    agents = Daemon("agents", command, cluster.logs / "agents.log")
    try:
        agents.start()
        yield
    finally:
        stop_all([agents])


def is_on(server: str) -> Callable[[str, Row], bool]:
    """Whether a host is Up there."""
    return lambda name, row: row.state == "Up" and row.server == server


def settle(cluster: LocalCluster, count: int) -> float:
    """Wait until each agent is Up on the head of the list in its own file; return the seconds that it took."""
    began = time.monotonic()
    names = list(cluster.inventory.agents)[:count]
    while True:
        found = rows(cluster)
        heads = {name: cluster.inventory.agent(name).hosts for name in names}
        lost = [
            name
            for name, hosts in heads.items()
            if not hosts.algorithm or name not in found or not is_on(hosts.preferred)(name, found[name])
        ]
        if not lost and sum(links(cluster).values()) == count:
            return time.monotonic() - began
        if time.monotonic() - began > SETTLE_TIMEOUT:
            raise TimedOut(f"{len(lost)} agents are not on the head of their list after {SETTLE_TIMEOUT:.0f} s")
        time.sleep(0.2)
