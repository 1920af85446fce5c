"""Whether attackers delay an honest agent's admission, and what they leave behind.

    python -m bench.hostile

From 127.0.0.66 come 1,000 connections that never finish their handshake, 100 that send garbage and 100 that finish it
and then declare 4 GiB, each again as soon as it is closed. Meanwhile agents are admitted one by one.
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
MOST = 20_000
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


async def measure(reactor: Any, cluster: LocalCluster, count: int) -> None:
    """Admit agents before and during the attack."""
    fleet = load_fleet(cluster, 2 * count)
    peaceful, attacked = fleet[:count], fleet[count:]
    start_servers(cluster)
    ((name, daemon),) = cluster.servers.items()
    server = cluster.inventory.servers[name]
    print(f"admission in peace: {await admit_one_by_one(reactor, cluster, peaceful)}", flush=True)
    before = Usage.of(daemon.pid)
    rng = random.Random(66)
    context = fleet[0].context
    unfinished = Mob(reactor, server, first=lambda: HALF_A_CLIENT_HELLO)
    garbage = Mob(reactor, server, first=lambda: rng.randbytes(2000))
    oversized = Mob(reactor, server, channel=lambda: TlsChannel(context, server_side=False))
    unfinished.open(1000)
    garbage.open(100)
    oversized.open(100)
    await deferLater(reactor, 2.0, lambda: None)
    print(f"admission under attack: {await admit_one_by_one(reactor, cluster, attacked)}", flush=True)
    during = Usage.of(daemon.pid)
    for mob in (unfinished, garbage, oversized):
        mob.running = False
    print(
        f"attackers came {unfinished.connections} times to stay silent, {garbage.connections} with garbage and "
        f"{oversized.connections} with 4 GiB, and held {during.descriptors - before.descriptors - count} descriptors"
    )
    await deferLater(reactor, QUIET, lambda: None)
    after = Usage.of(daemon.pid)
    print(f"{QUIET:.0f} s later they hold {after.descriptors - before.descriptors - count} descriptors;")
    print(f"memory {(after.anonymous - before.anonymous) / 2**20:+.1f} MiB, {count} more agents among it")
    print(f"honest links lost: {sum(agent.lost is not None for agent in fleet)}")
    for agent in fleet:
        agent.hang_up()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100, help="honest agents in each phase")
    arguments = parser.parse_args()
    with deployment(servers=1, agents=2 * arguments.agents) as cluster:
        react(lambda reactor: Deferred.fromCoroutine(measure(reactor, cluster, arguments.agents)))


if __name__ == "__main__":
    main()
