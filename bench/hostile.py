"""Whether attackers delay an honest agent's admission, and what they leave behind.

    python -m bench.hostile

From 127.0.0.66 come 1,000 connections that never finish their handshake, 100 that send garbage and 100 that finish it
and then declare 4 GiB, each again as soon as it is closed. Meanwhile agents are admitted one by one. The attack comes
in several waves: memory that an allocator keeps after the first one does for the next, too, while a leak grows.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure

from bench.cluster import Usage, deployment, start_servers
from bench.figures import distribution
from bench.fleet import FleetAgent, connect_all, load_fleet
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.config import ServerConfig
from cloudlb.wire import TlsChannel

ATTACKER = "127.0.0.66"
AGAIN_AFTER = 0.05
"""Seconds until a connection that was closed is opened again."""
MOST = 100_000
"""Connections that one mob opens at most, which bounds the run."""
HALF_A_CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""A record whose rest never comes."""
FOUR_GIB = b"\xff\xff\xff\xff"
"""A frame header that declares them."""
QUIET = 35.0
"""Seconds after the attack until what it left is counted: longer than any deadline of the server's."""


class Attacker(Protocol):
    """Sends something and waits to be closed."""

    def __init__(self, mob: Mob) -> None:
        self.mob = mob

    def connectionMade(self) -> None:
        """Strike."""
        assert self.transport is not None
        self.transport.write(self.mob.first())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Come again."""
        self.mob.lost()


class Handshaker(Attacker):
    """Finishes the handshake as an honest agent does, and only then declares 4 GiB."""

    def __init__(self, mob: Mob, channel: TlsChannel) -> None:
        super().__init__(mob)
        self._channel = channel
        self._received = b""

    def connectionMade(self) -> None:
        """Begin the handshake."""
        assert self.transport is not None
        self.transport.write(self._channel.start())

    def dataReceived(self, data: bytes) -> None:
        """Go on with it, record by record."""
        assert self.transport is not None
        self._received += data
        while not self._channel.established and len(self._received) >= 5:
            end = 5 + int.from_bytes(self._received[3:5], "big")
            if len(self._received) < end:
                return
            record, self._received = self._received[:end], self._received[end:]
            self.transport.write(self._channel.handshake(record))
            if self._channel.established:
                self.transport.write(FOUR_GIB + bytes(1000))


@define(eq=False)
class Mob(ClientFactory):
    """Keeps a number of connections open, replacing each that is closed."""

    noisy = False

    reactor: Any
    server: ServerConfig
    first: Callable[[], bytes] = bytes
    channel: Callable[[], TlsChannel] | None = None
    connections: int = 0
    running: bool = True

    def open(self, count: int) -> None:
        """Add so many."""
        for _ in range(count):
            self.connections += 1
            self.reactor.connectTCP(self.server.address, self.server.port, self, bindAddress=(ATTACKER, 0))

    def buildProtocol(self, addr: IAddress | None) -> Attacker:
        """One connection."""
        return Attacker(self) if self.channel is None else Handshaker(self, self.channel())

    def lost(self) -> None:
        """One was closed."""
        if self.running and self.connections < MOST:
            self.reactor.callLater(AGAIN_AFTER, self.open, 1)

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        """One was not even accepted."""
        self.lost()


async def admit_one_by_one(reactor: Any, cluster: LocalCluster, fleet: Sequence[FleetAgent]) -> str:
    """Say how long the admissions took, each from the connection to the answered ReadyCommand."""
    for agent in fleet:
        await connect_all(reactor, cluster, [agent])
        await deferLater(reactor, 0.05, lambda: None)
    return distribution([agent.up_after for agent in fleet])


def gather(reactor: Any, server: ServerConfig, agent: FleetAgent) -> dict[str, Mob]:
    """Three kinds of attackers; those that finish a handshake do it with the certificate of an agent."""
    rng = random.Random(66)
    return {
        "silent": Mob(reactor, server, first=lambda: HALF_A_CLIENT_HELLO),
        "garbage": Mob(reactor, server, first=lambda: rng.randbytes(2000)),
        "4 GiB": Mob(reactor, server, channel=lambda: TlsChannel(agent.context, server_side=False)),
    }


async def attack(reactor: Any, cluster: LocalCluster, fleet: Sequence[FleetAgent]) -> None:
    """Admit agents under attack, let it end, and say what it has left."""
    ((name, daemon),) = cluster.servers.items()
    before = Usage.of(daemon.pid)

    def held() -> int:
        return Usage.of(daemon.pid).descriptors - before.descriptors - len(fleet)

    mobs = gather(reactor, cluster.inventory.servers[name], fleet[0])
    for kind, mob in mobs.items():
        mob.open(1000 if kind == "silent" else 100)
    await deferLater(reactor, 2.0, lambda: None)
    print(f"admission under attack: {await admit_one_by_one(reactor, cluster, fleet)}", flush=True)
    most = held()
    for mob in mobs.values():
        mob.running = False
    await deferLater(reactor, QUIET, lambda: None)
    came = ", ".join(f"{mob.connections} {kind}" for kind, mob in mobs.items())
    grown = (Usage.of(daemon.pid).anonymous - before.anonymous) / 2**20
    print(f"  attackers came: {came}; they held {most} descriptors, and {held()} after {QUIET:.0f} s")
    print(f"  memory {grown:+.1f} MiB, {len(fleet)} more agents among it", flush=True)


async def measure(reactor: Any, cluster: LocalCluster, count: int, waves: int) -> None:
    """Admit agents before the attack and during each of its waves."""
    fleet = load_fleet(cluster, (1 + waves) * count)
    start_servers(cluster)
    print(f"admission in peace: {await admit_one_by_one(reactor, cluster, fleet[:count])}", flush=True)
    for wave in range(1, 1 + waves):
        await attack(reactor, cluster, fleet[wave * count : (wave + 1) * count])
        # Who is silent for two and a half intervals is dropped, and rightly so.
        for agent in fleet[: (wave + 1) * count]:
            agent.ping()
    print(f"honest links lost: {sum(agent.lost is not None for agent in fleet)}")
    for agent in fleet:
        agent.hang_up()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=50, help="honest agents in peace, and in each wave")
    parser.add_argument("--waves", type=int, default=3)
    arguments = parser.parse_args()
    with deployment(servers=1, agents=(1 + arguments.waves) * arguments.agents) as cluster:
        react(lambda reactor: Deferred.fromCoroutine(measure(reactor, cluster, arguments.agents, arguments.waves)))


if __name__ == "__main__":
    main()
