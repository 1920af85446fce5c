"""A management server without sockets or threads, and agents that are nothing but what they say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from cloudlb.config import ServerConfig
from cloudlb.domain.models import Host
from cloudlb.domain.ports import Transaction
from cloudlb.service import Server
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from cloudlb.wire import (
    Answer,
    Channel,
    Command,
    Flag,
    Header,
    Opaque,
    StartupCommand,
    StartupRoutingCommand,
    read_body,
    read_contents,
    read_header,
    write_contents,
    write_packet,
)
from tests.storage.sqlite import new_database
from tests.support.inline_threads import InlineThreads
from tests.support.plain_channel import PlainTrust

MAX_MESSAGE = 2**20


@frozen
class FakeChannel:
    """A channel whose TLS has happened already."""

    peer_certificate: bytes | None = None
    is_cloudlb: bool = True


class _Newcomer:
    """Owns a link until admission does."""

    def link_lost(self, link: FakeLink, reason: str) -> None:
        """Let it go."""


@define(eq=False)
class FakeLink:
    """What an attache sees of a link: it keeps what was sent."""

    channel: FakeChannel = field(factory=FakeChannel)
    peer_address: str = "127.0.0.9"
    max_message: int = MAX_MESSAGE
    sent: list[bytes] = field(factory=list)
    unsent: int = 0
    ended: str | None = None
    """Why the server closed it."""
    lost: bool = False
    """Whether its owner was told that it is gone."""
    owner: object = field(factory=_Newcomer)

    def send(self, message: bytes) -> None:
        assert self.ended is None, "sent on a closed link"
        self.sent.append(message)

    def close(self, reason: str = "closed") -> None:
        self.ended = reason

    def abort(self, reason: str) -> None:
        self.ended = reason

    def take(self) -> list[tuple[Header, Command | Answer | Opaque]]:
        """What was sent since the last time."""
        packets, self.sent = self.sent, []
        result = []
        for packet in packets:
            header = read_header(packet)
            result += [(header, content) for content in read_contents(read_body(packet, header, MAX_MESSAGE))]
        return result

    def receive(self, contents: Sequence[Command | Answer], *, sequence: int, flags: Flag = Flag.REQUEST) -> None:
        """Have the agent say something."""
        packet = write_packet(
            sequence=sequence, server_id=-1, agent_id=-1, via=-1, flags=flags, body=write_contents(contents)
        )
        self.owner.message_received(self, packet)  # type: ignore[attr-defined]

    def lose(self, reason: str = "closed by the peer") -> None:
        """Have the connection end."""
        self.lost = True
        self.owner.link_lost(self, reason)  # type: ignore[attr-defined]


def config(address: str, database: Path) -> ServerConfig:
    """A configuration of which only the names matter."""
    return ServerConfig(
        name=address,
        address=address,
        bind_address=address,
        api_address=address,
        database_url=f"sqlite:///{database}",
        ca_certificate=Path("ca"),
        certificate=Path("certificate"),
        private_key=Path("key"),
    )


def _no_channel() -> Channel:
    raise AssertionError("nobody connects in these tests")


class Secluded(MemoryReactorClock):
    """One whose server reaches nobody: every connection is refused."""

    def connectTCP(  # noqa: N802 - Twisted's name
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: N803
    ) -> Any:
        """Refuse it."""
        connector = super().connectTCP(host, port, factory, timeout, bindAddress)
        self.callLater(0, factory.clientConnectionFailed, connector, Failure(error.ConnectionRefusedError()))
        return connector


class ServerFixture:
    """One running server on a database of its own, with zone, pod and cluster 1."""

    def __init__(self, folder: Path, address: str = "127.0.0.1", **settings: str) -> None:
        self.folder = folder
        file = folder / "cloudlb.sqlite"
        new = not file.exists()
        if new:
            new_database(file)
        self.links: list[FakeLink] = []
        self.reactor = Secluded()
        self.reactor.advance(1_000_000)
        self.database = Database(
            f"sqlite:///{file}",
            writer=InlineExecutor(),
            reader=InlineExecutor(),
            clock=self.reactor.seconds,
        )
        if new:
            self.database.run(_found)
        for name, value in settings.items():
            self.set(name.replace("__", "."), value)
        self.server = Server(
            self.reactor,
            config(address, file),
            self.database,
            random.Random(address),
            channel_factory=_no_channel,
            trust=PlainTrust(),
            threads=lambda name: InlineThreads(),
        )
        self.server.startService()
        self.advance(0)

    def set(self, name: str, value: str) -> None:
        """Write a setting past all checks."""
        self.database.run(lambda txn: txn.settings.set(name, value, None))

    def advance(self, seconds: float) -> None:
        """Let time pass in small steps."""
        steps = max(1, int(seconds / 0.05))
        for _ in range(steps):
            self.reactor.advance(seconds / steps)

    def startup(self, number: int, link: FakeLink | None = None, **values: Any) -> FakeLink:
        """Have an agent introduce itself."""
        link = link or FakeLink()
        self.links.append(link)
        startup = StartupRoutingCommand(
            **{
                "guid": f"guid-{number}-SimulatorResource",
                "name": f"host-{number}",
                "data_center": "1",
                "pod": "1",
                "cluster": "1",
                "resource_name": "SimulatorResource",
                "ms_host_list": "127.0.0.1@static",
                **values,
            }
        )
        self.begin(link, [startup])
        return link

    def begin(self, link: FakeLink, startups: Sequence[StartupCommand]) -> None:
        """Hand StartupCommands to admission, as the listener does."""
        header = Header(sequence=0, server_id=-1, agent_id=-1, via=-1, flags=Flag.REQUEST, size=0)
        self.server.admission.begin(link, header, startups)  # type: ignore[arg-type]

    def host(self, number: int) -> Host:
        """The row of an agent's host."""
        found: list[Host | None] = []
        work: Deferred[Host | None] = self.database.read(lambda txn: txn.hosts.find(f"host-{number}"))
        work.addCallback(found.append)
        assert found and found[0] is not None
        return found[0]

    def stop(self) -> None:
        """Stop the server; nothing may be left on the clock."""
        if self.server.running:
            self.server.stopService()
            self.server.hurry()
        for link in self.links:
            if link.ended is not None and not link.lost:
                link.lose(link.ended)
        self.advance(4)


def _found(txn: Transaction) -> None:
    topology = txn.topology
    zone = topology.add_zone("zone-1")
    pod = topology.add_pod("pod-1", zone.id)
    topology.add_cluster("cluster-1", pod.id, hypervisor="KVM", arch="x86_64")
