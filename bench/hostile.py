"""Whether attackers delay an honest agent's admission, and what they leave behind.

    python -m bench.hostile

1,000 connections from 127.0.0.66 that never finish their handshake (again and again, as fast as they are closed),
100 that send garbage, and 100 that finish it and then declare 4 GiB; meanwhile agents are admitted one by one.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure

from bench.fleet import FleetAgent, connect_all, load_fleet
from bench.load import ADDRESS, PORT
from bench.processes import (
    Usage,
    child,
    make_deployment,
    raise_descriptor_limit,
    server_command,
    wait_until_listening,
)

ATTACKER = "127.0.0.66"
TLS_CLIENT_HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01"
"""The first bytes of a record whose rest never comes."""


class _Attacker(Protocol):
    def __init__(self, factory: _Attackers) -> None:
        self._factory = factory

    def connectionMade(self) -> None:
        assert self.transport is not None
        if self._factory.first:
            self.transport.write(self._factory.first())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.lost()


class _Attackers(ClientFactory):
    """Keeps a number of connections open, replacing each that is closed."""

    noisy = False

    def __init__(self, reactor: Any, first: Any) -> None:
        self._reactor = reactor
        self.first = first
        self.connections = 0
        self.running = True

    def open(self, count: int) -> None:
        for _ in range(count):
            self.connections += 1
            self._reactor.connectTCP(ADDRESS, PORT, self, bindAddress=(ATTACKER, 0))

    def buildProtocol(self, addr: IAddress) -> Protocol:
        return _Attacker(self)

    def lost(self) -> None:
        if self.running and self.connections < 20_000:
            self._reactor.callLater(0.05, self.open, 1)

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.lost()


async def admit_one_by_one(reactor: Any, fleet: list[FleetAgent]) -> list[float]:
    """Seconds that each admission took."""
    for agent in fleet:
        await connect_all(reactor, [agent], ADDRESS, PORT, 1)
        await deferLater(reactor, 0.05, lambda: None)
    return [agent.up_after for agent in fleet]


def _say(what: str, times: list[float]) -> None:
    print(f"{what}: median {statistics.median(times) * 1000:.0f} ms, longest {max(times) * 1000:.0f} ms")


async def main(reactor: Any) -> None:
    """Admit agents before, during and after the attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100, help="honest agents in each phase")
    arguments = parser.parse_args()
    raise_descriptor_limit()
    rng = random.Random(66)
    with tempfile.TemporaryDirectory() as folder:
        deployment = Path(folder) / "deployment"
        make_deployment(deployment, 1, 2 * arguments.agents, "--port", str(PORT))
        fleet = load_fleet(deployment, 2 * arguments.agents)
        with child(server_command(deployment, ADDRESS), deployment / "server.log") as process:
            wait_until_listening(ADDRESS, PORT, process)
            _say("admission in peace", await admit_one_by_one(reactor, fleet[: arguments.agents]))
            before = Usage.of(process.pid)
            mobs = [
                (1000, _Attackers(reactor, lambda: TLS_CLIENT_HELLO_BEGUN)),
                (100, _Attackers(reactor, lambda: rng.randbytes(2000))),
                (100, _Attackers(reactor, lambda: b"\xff\xff\xff\xff" * 100)),
            ]
            for count, mob in mobs:
                mob.open(count)
            await deferLater(reactor, 2.0, lambda: None)
            _say("admission under attack", await admit_one_by_one(reactor, fleet[arguments.agents :]))
            during = Usage.of(process.pid)
            for _, mob in mobs:
                mob.running = False
            print(f"attackers connected {sum(mob.connections for _, mob in mobs)} times")
            await deferLater(reactor, 30.0, lambda: None)
            after = Usage.of(process.pid)
            grown = after.descriptors - before.descriptors - arguments.agents
            print(f"descriptors left by attackers: {grown} (during: {during.descriptors - before.descriptors})")
            print(f"memory: {(after.anonymous - before.anonymous) / 2**20:+.1f} MiB, agents among it")
            print(f"honest links lost: {sum(agent.lost is not None for agent in fleet)}")
            for agent in fleet:
                assert agent.link is not None
                agent.link.abort("done")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
