"""What a large idle fleet costs one server: memory per connection and CPU at a ping a minute.

python -m bench.idle --agents 10000 --interval 60
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react

from bench.fleet import connect_all, load_fleet
from bench.load import ADDRESS, AT_ONCE, PORT
from bench.processes import (
    Usage,
    child,
    make_deployment,
    raise_descriptor_limit,
    server_command,
    wait_until_listening,
)


async def main(reactor: Any) -> None:
    """Connect everyone, spread their pings over the interval, and watch for two intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between an agent's pings")
    arguments = parser.parse_args()
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory() as folder:
        deployment = Path(folder) / "deployment"
        make_deployment(deployment, 1, arguments.agents, "--port", str(PORT))
        fleet = load_fleet(deployment, arguments.agents)
        with child(server_command(deployment, ADDRESS), deployment / "server.log") as process:
            wait_until_listening(ADDRESS, PORT, process)
            empty = Usage.of(process.pid)
            elapsed = await connect_all(reactor, fleet, ADDRESS, PORT, AT_ONCE)
            connected = Usage.of(process.pid)
            print(f"{arguments.agents} agents Up in {elapsed:.1f} s ({arguments.agents / elapsed:.0f} a second)")
            print(f"memory: {(connected.anonymous - empty.anonymous) / arguments.agents / 1024:.1f} KiB per connection")
            turn = iter(range(10**9))
            pings = LoopingCall(lambda: fleet[next(turn) % len(fleet)].ping())
            pings.start(arguments.interval / arguments.agents)
            before, began = Usage.of(process.pid), time.monotonic()
            await deferLater(reactor, 2 * arguments.interval, lambda: None)
            after, elapsed = Usage.of(process.pid), time.monotonic() - began
            pings.stop()
            answered = sum(agent.answered for agent in fleet)
            print(f"idle: {(after.cpu - before.cpu) / elapsed * 100:.1f} % of a core, {answered / elapsed:.0f} pings/s")
            print(f"memory: {(after.anonymous - empty.anonymous) / arguments.agents / 1024:.1f} KiB per connection")
            print(f"links lost: {sum(agent.lost is not None for agent in fleet)}")
            for agent in fleet:
                assert agent.link is not None
                agent.link.abort("done")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
