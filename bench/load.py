"""What admissions, ping round trips and connections cost a server, beside a bare link in the same run.

    python -m bench.load --agents 50 500 --seconds 5

Prints for each fleet size: admissions per second and CPU of one, ping round trips per second and CPU of 10,000, the
same for the bare link, the ratio of the two, and anonymous memory per connection.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from attrs import frozen
from rich.console import Console
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory
from twisted.internet.task import deferLater, react

from bench.fleet import FleetAgent, connect_all, load_fleet
from bench.processes import (
    Usage,
    child,
    make_deployment,
    raise_descriptor_limit,
    server_command,
    wait_until_listening,
)
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.wire import Link, TlsChannel

ADDRESS = "127.0.0.1"
PORT = 18250
BARE_PORT = 18251
AT_ONCE = 100
MESSAGE = bytes(202)
"""As long as the golden ping packet of CloudStack's."""


@frozen
class Loop:
    """A closed loop: everyone sends again as soon as they have their answer."""

    round_trips: int
    seconds: float
    cpu: float
    """Seconds of the server's."""

    @property
    def rate(self) -> float:
        return self.round_trips / self.seconds

    @property
    def cpu_per_10000(self) -> float:
        return self.cpu / self.round_trips * 10_000


@frozen
class Result:
    """One fleet size."""

    agents: int
    admissions: float
    """Per second."""
    admission_cpu: float
    """Milliseconds of the server's."""
    pings: Loop
    bare: Loop
    lost: int
    memory: float
    """KiB of anonymous memory per connection, after the pings."""


class _EchoClient:
    """The bare link's counterpart of an agent."""

    def __init__(self) -> None:
        self.up: Deferred[None] = Deferred()
        self.echoed = 0
        self.running = False
        self.link: LinkProtocol | None = None

    def link_established(self, link: LinkProtocol) -> None:
        self.link = link
        self.up.callback(None)

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        self.echoed += 1
        if self.running:
            link.send(MESSAGE)

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        if not self.up.called:
            self.up.errback(ConnectionError(reason))


class _EchoFactory(ClientFactory):
    noisy = False

    def __init__(self, reactor: Any, agent: FleetAgent, client: _EchoClient) -> None:
        self._reactor, self._agent, self._client = reactor, agent, client

    def buildProtocol(self, addr: IAddress) -> LinkProtocol:
        link = Link(TlsChannel(self._agent.context, server_side=False))
        return LinkProtocol(link, self._client, self._reactor, handshake_timeout=60)


async def bare_loop(reactor: Any, deployment: Path, fleet: list[FleetAgent], seconds: float) -> Loop:
    """Measure the baseline with the fleet's certificates."""
    config = deployment / "servers" / ADDRESS / "mgmt.properties"
    command = [sys.executable, "-m", "bench.bare", str(config), ADDRESS, str(BARE_PORT)]
    with child(command, deployment / "bare.log") as process:
        wait_until_listening(ADDRESS, BARE_PORT, process)
        clients = [_EchoClient() for _ in fleet]
        for agent, client in zip(fleet, clients, strict=True):
            reactor.connectTCP(ADDRESS, BARE_PORT, _EchoFactory(reactor, agent, client), bindAddress=(agent.source, 0))
            await client.up
        before, began = Usage.of(process.pid), time.monotonic()
        for client in clients:
            assert client.link is not None
            client.running = True
            client.link.send(MESSAGE)
        await deferLater(reactor, seconds, lambda: None)
        elapsed, after = time.monotonic() - began, Usage.of(process.pid)
        echoed = sum(client.echoed for client in clients)
        for client in clients:
            client.running = False
            assert client.link is not None
            client.link.abort("done")
        return Loop(echoed, elapsed, after.cpu - before.cpu)


async def ping_loop(reactor: Any, pid: int, fleet: list[FleetAgent], seconds: float) -> tuple[Loop, int]:
    """Have every agent ping as fast as it gets answers; the second value is how many pings got none."""
    running = True

    def again(agent: FleetAgent) -> None:
        if running:
            agent.ping()

    before, began = Usage.of(pid), time.monotonic()
    answered_before = sum(agent.answered for agent in fleet)
    for agent in fleet:
        agent.pinged = again
        agent.ping()
    await deferLater(reactor, seconds, lambda: None)
    elapsed, after = time.monotonic() - began, Usage.of(pid)
    answered = sum(agent.answered for agent in fleet) - answered_before
    running = False
    await deferLater(reactor, 1.0, lambda: None)
    lost = sum(agent.sent - agent.answered for agent in fleet)
    return Loop(answered, elapsed, after.cpu - before.cpu), lost


async def measure(reactor: Any, deployment: Path, count: int, seconds: float) -> Result:
    """Measure one fleet size on a server started for it."""
    fleet = load_fleet(deployment, count)
    bare = await bare_loop(reactor, deployment, fleet, seconds)
    with child(server_command(deployment, ADDRESS), deployment / "server.log") as process:
        wait_until_listening(ADDRESS, PORT, process)
        empty = Usage.of(process.pid)
        elapsed = await connect_all(reactor, fleet, ADDRESS, PORT, AT_ONCE)
        admitted = Usage.of(process.pid)
        pings, lost = await ping_loop(reactor, process.pid, fleet, seconds)
        full = Usage.of(process.pid)
        for agent in fleet:
            assert agent.link is not None
            agent.link.abort("done")
    return Result(
        agents=count,
        admissions=count / elapsed,
        admission_cpu=(admitted.cpu - empty.cpu) / count * 1000,
        pings=pings,
        bare=bare,
        lost=lost,
        memory=(full.anonymous - empty.anonymous) / count / 1024,
    )


def show(results: list[Result]) -> None:
    """Print a table."""
    table = Table(title="One management server")
    for heading in (
        "agents",
        "admissions/s",
        "CPU ms each",
        "pings/s",
        "CPU s/10,000",
        "bare/s",
        "CPU s/10,000",
        "ratio",
        "lost",
        "KiB/connection",
    ):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(
            f"{result.agents:,}",
            f"{result.admissions:,.0f}",
            f"{result.admission_cpu:.2f}",
            f"{result.pings.rate:,.0f}",
            f"{result.pings.cpu_per_10000:.3f}",
            f"{result.bare.rate:,.0f}",
            f"{result.bare.cpu_per_10000:.3f}",
            f"{result.pings.cpu_per_10000 / result.bare.cpu_per_10000:.2f}",
            f"{result.lost}",
            f"{result.memory:.1f}",
        )
    Console(width=130).print(table)


async def main(reactor: Any) -> None:
    """Run all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each ping loop")
    arguments = parser.parse_args()
    raise_descriptor_limit()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        deployment = Path(folder) / "deployment"
        make_deployment(deployment, 1, max(arguments.agents), "--port", str(PORT))
        for count in arguments.agents:
            results.append(await measure(reactor, deployment, count, arguments.seconds))
    show(results)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
