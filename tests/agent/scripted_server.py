"""A management server that does what a test says, on the in-memory network, without TLS."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory

from agent.properties import Write
from agent.service import AgentService, build
from cloudlb.net.atomic_file import write_atomically
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.wire import (
    Answer,
    Command,
    Flag,
    Header,
    Opaque,
    PingAnswer,
    PingCommand,
    ReadyCommand,
    StartupAnswer,
    StartupCommand,
    read_body,
    read_contents,
    read_header,
    response_flags,
    write_contents,
    write_packet,
)
from cloudlb.wire.link import Channel, Link
from tests.support.machine import Machine
from tests.support.network import Network
from tests.support.virtual_clock import VirtualClock

PORT = 8250
SERVER_REQUEST = Flag.REQUEST | Flag.STOP_ON_ERROR | Flag.FROM_SERVER


class PlainChannel:
    """No TLS: one record each way for a handshake, then plaintext."""

    _RECORD = b"\x16\x03\x03\x00\x01x"

    def __init__(self, *, server_side: bool) -> None:
        self.established = False
        self.peer_certificate: bytes | None = None
        self.is_cloudlb = True
        self._server_side = server_side

    def start(self) -> bytes:
        """The client's hello."""
        return b"" if self._server_side else self._RECORD

    def handshake(self, record: bytes) -> bytes:
        """The other's hello."""
        self.established = True
        return self._RECORD if self._server_side else b""

    def open(self, records: bytes) -> bytes:
        """As it came."""
        return bytes(records)

    def seal(self, chunk: bytes | memoryview) -> bytes:
        """As it is."""
        return bytes(chunk)

    def last_words(self) -> bytes:
        """None."""
        return b""


class Connection:
    """One agent's link, seen from the server."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.requests: list[tuple[Header, list[Command | Answer | Opaque]]] = []
        self.answers: dict[int, list[Command | Answer | Opaque]] = {}
        self.lost: str | None = None
        self.link: LinkProtocol
        self._sequences = count(100)

    @property
    def startups(self) -> list[StartupCommand]:
        """Every StartupCommand that came."""
        return [c for _, contents in self.requests for c in contents if isinstance(c, StartupCommand)]

    @property
    def pings(self) -> list[PingCommand]:
        """Every ping that came."""
        return [c for _, contents in self.requests for c in contents if isinstance(c, PingCommand)]

    def send(self, *commands: Command | Opaque, flags: Flag = SERVER_REQUEST, sequence: int | None = None) -> int:
        """Send a request."""
        sequence = next(self._sequences) if sequence is None else sequence
        self.send_body(write_contents(commands), flags, sequence)
        return sequence

    def send_body(self, body: bytes, flags: Flag, sequence: int, agent_id: int = 7) -> None:
        """Send any bytes as a packet."""
        self.link.send(
            write_packet(sequence=sequence, server_id=1, agent_id=agent_id, via=agent_id, flags=flags, body=body)
        )

    def link_established(self, link: LinkProtocol) -> None:
        """Wait: the agent speaks first."""

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Note it."""
        self.lost = reason

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Note it, and follow the script."""
        header = read_header(message)
        contents = read_contents(read_body(message, header, 2**24))
        if not header.is_request:
            self.answers[header.sequence] = contents
            return
        self.requests.append((header, contents))
        script = self.server.script
        if isinstance(contents[0], StartupCommand):
            if script.startup_answer is not None:
                self._answer(header, [script.startup_answer])
            if script.ready is not None:
                self.send(script.ready)
        elif isinstance(contents[0], PingCommand) and script.ping_answer is not None:
            self._answer(header, [script.ping_answer])

    def _answer(self, request: Header, answers: Sequence[Answer]) -> None:
        self.send_body(write_contents(answers), response_flags(request), request.sequence)


@define
class Script:
    """What a server does; None: nothing."""

    startup_answer: Answer | None = field(factory=lambda: StartupAnswer(ping_interval=60))
    ready: ReadyCommand | None = field(factory=lambda: ReadyCommand(host_id=7, lb_check_interval=0))
    ping_answer: Answer | None = field(factory=PingAnswer)


class ScriptedServer(Factory):
    """Listens, and keeps every connection."""

    noisy = False

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.channel: Callable[[], Channel] = partial(PlainChannel, server_side=True)
        self.script = Script()
        self.connections: list[Connection] = []
        self.port: IListeningPort = machine.listenTCP(PORT, self, interface=machine.address)

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        """A connection came."""
        connection = Connection(self)
        connection.link = LinkProtocol(Link(self.channel()), connection, self.machine, handshake_timeout=10)
        self.connections.append(connection)
        return connection.link

    @property
    def open(self) -> list[Connection]:
        """The connections that are there."""
        return [connection for connection in self.connections if connection.lost is None]


class World:
    """A few servers and one agent on one clock."""

    def __init__(self, folder: Path, *addresses: str, seed: int = 1) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock, random.Random(seed))
        self.servers = {address: ScriptedServer(self.network.machine(address)) for address in addresses}
        self.folder = folder
        self.machine = self.network.machine("10.0.0.1")
        self.seed = seed

    def agent(
        self,
        text: str = "",
        resource: Any = None,
        write: Write = write_atomically,
        start_for: float = 0.1,
        tls: bool = False,
    ) -> AgentService:
        """Start an agent whose list has all servers, unless the text has another one."""
        self.path = self.folder / "agent.properties"
        host = "" if "host=" in text else f"host={','.join(self.servers)}@static\n"
        self.path.write_text(f"guid=g1\nname=host-1\nzone=1\npod=1\ncluster=1\n{host}{text}\n")
        self.service = build(
            self.machine,
            self.path,
            random.Random(self.seed),
            resource=resource,
            channel_factory=None if tls else _plain,
            run_blocking=_inline,
            write=write,
        )
        self.service.startService()
        self.advance(start_for)
        return self.service

    def advance(self, seconds: float) -> None:
        """Pass time."""
        self.clock.advance(seconds)

    def restart(self, address: str) -> ScriptedServer:
        """Have a killed server back."""
        self.servers[address] = ScriptedServer(self.network.machine(address))
        return self.servers[address]

    def kill(self, address: str) -> None:
        """End a server's process."""
        self.network.kill(self.servers[address].machine)
        self.advance(0.01)

    @property
    def on(self) -> str | None:
        """The server on which the agent is up."""
        session = self.service.agent.session
        return session.address if session is not None and session.phase.name == "UP" else None

    def connection(self, address: str) -> Connection:
        """The latest connection to a server."""
        return self.servers[address].connections[-1]


def _plain(address: str, tls12: bool) -> Channel:
    return PlainChannel(server_side=False)


def _inline(work: Any) -> Deferred[None]:
    return maybeDeferred(work)
