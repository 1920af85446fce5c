"""A herd: agents that connect all at one moment, in a process of their own: python -m bench.newcomers DIR FIRST COUNT.

It says when it is ready, connects at SIGUSR1, and says how long that took.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from bench.figures import distribution
from bench.fleet import connect_all, load_fleet
from cloudlb.cli.local_cluster import Inventory, LocalCluster
from cloudlb.net.descriptors import raise_descriptor_limit

READY, DONE = "ready", "admitted: "


async def run(reactor: Any, folder: Path, first: int, count: int) -> None:
    """Connect at the signal, and stay until the process is ended."""
    cluster = LocalCluster(Inventory.read(folder))
    fleet = load_fleet(cluster, first + count)[first:]
    told: Deferred[None] = Deferred()
    signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(told.callback, None))
    print(READY, flush=True)
    await told
    lost: list[Failure] = []
    for agent in fleet:
        agent.ready.addErrback(lost.append)
    seconds = await connect_all(reactor, cluster, fleet, places=count)
    admitted = [agent.up_after for agent in fleet if agent.up_after]
    print(f"{DONE}{len(admitted)} in {seconds:.1f} s, {len(lost)} not; {distribution(admitted)}", flush=True)
    await Deferred()


def main() -> None:
    """Run the command line."""
    raise_descriptor_limit()
    # Who measures round trips meanwhile shall not wait for this.
    os.nice(5)
    folder, first, count = sys.argv[1:]
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, Path(folder), int(first), int(count))))


if __name__ == "__main__":
    main()
