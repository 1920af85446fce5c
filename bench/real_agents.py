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
from cloudlb.domain.host_list import HostList

SETTLE_TIMEOUT = 120.0
"""Seconds until a fleet has come to rest, and one more for every ten agents."""


class TimedOut(Exception):
    """Something did not come about; the message says for how many agents."""


@contextmanager
def running_agents(cluster: LocalCluster, count: int) -> Iterator[Daemon]:
    """Run the first agents of a deployment, as `cloudlb agents` does."""
    program = str(Path(sysconfig.get_path("scripts"), "cloudlb"))
    command = [program, "agents", str(cluster.inventory.folder), "--count", str(count)]
    agents = Daemon("agents", command, cluster.logs / "agents.log")
    try:
        agents.start()
        yield agents
    finally:
        stop_all([agents])


def is_on(server: str) -> Callable[[str, Row], bool]:
    """Whether a host is Up there."""
    return lambda name, row: row.state == "Up" and row.server == server


def settle(cluster: LocalCluster, count: int) -> float:
    """Wait until each agent is Up on the head of the list in its own file; return the seconds that it took."""
    began = time.monotonic()
    timeout = SETTLE_TIMEOUT + count / 10
    names = list(cluster.inventory.agents)[:count]
    heads: dict[str, HostList] = {}
    read: dict[str, int] = {}
    while True:
        found = rows(cluster)
        for name in names:
            changed = cluster.inventory.agents[name].stat().st_mtime_ns
            if read.get(name) != changed:
                heads[name], read[name] = cluster.inventory.agent(name).hosts, changed
        lost = [
            name
            for name, hosts in heads.items()
            if not hosts.algorithm or name not in found or not is_on(hosts.preferred)(name, found[name])
        ]
        if not lost and sum(links(cluster).values()) == count:
            return time.monotonic() - began
        if time.monotonic() - began > timeout:
            raise TimedOut(f"{len(lost)} agents are not on the head of their list after {timeout:.0f} s")
        time.sleep(0.2 + count / 2000)
