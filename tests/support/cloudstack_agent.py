"""An agent that behaves as CloudStack's does on the wire, as far as servers notice: it breaks its link before it makes
the next one, and journals nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from agent.packets import answer_packet, request_packet
from cloudlb.domain.host_list import HostList, parse_addresses
from cloudlb.domain.models import HostId
from cloudlb.net.link_protocol import LinkProtocol
from cloudlb.wire import (
    COMMAND_ID,
    LOGGING_CONTEXT,
    Answer,
    Command,
    Flag,
    Header,
    MigrateAgentConnectionAnswer,
    MigrateAgentConnectionCommand,
    Opaque,
    PingRoutingCommand,
    ReadyAnswer,
    ReadyCommand,
    SetupMSListAnswer,
    SetupMSListCommand,
    ShutdownCommand,
    StartupAnswer,
    StartupRoutingCommand,
    read_body,
    read_contents,
    read_header,
)
from cloudlb.wire.link import Link
from tests.support.machine import Machine
from tests.support.network import Network
from tests.support.plain_channel import PlainChannel

PORT = 8250
MAX_MESSAGE = 2**20
BEFORE_MOVE = 3.0
"""Seconds between the answer to MigrateAgentConnectionCommand and the end of the link."""
BACKOFF = 5.0
"""Seconds after a link was lost, or could not be made, until the next attempt."""
STARTUP_WAIT = 180.0
"""Seconds that it waits for an answer to StartupCommand [Agent]. Of pings it expects none."""


class CloudStackAgent(ClientFactory):
    """One host's machine and the agent that runs on it."""

    noisy = False

    def __init__(self, network: Network, number: int, hosts: HostList) -> None:
        """Prepare; :meth:`start` begins.

        Args:
            network: the world's.
            number: of the host, whose GUID and name have it.
            hosts: the list in its file.
        """
        self.number = number
        self.name = f"cloudstack-{number}"
        self.guid = f"guid-{number}-LibvirtComputingResource"
        self.address = f"10.1.{number // 250}.{1 + number % 250}"
        self.hosts = hosts
        self.delay = 0.0
        """Seconds that a command takes."""
        self.refuses = False
        """Whether it says no when it is to move."""
        self.mute = False
        """Whether it does not answer when it is to move, and stays."""
        self.carried_out: list[str] = []
        """The ids of commands, else their logging contexts, as they end."""
        self.unanswered = 0
        """Commands whose link had gone when they ended."""
        self.exited: str | None = None
        """Why it has exited, as the real one does where it is refused."""
        self.frozen = False
        self.host_id: HostId | None = None
        """Once somebody has looked for it."""
        self.links: list[str] = []
        """Every server that it has introduced itself to, in order."""
        self.transferred: list[bool] = []
        """What it said to them: whether it came from another one."""
        self._network = network
        self._avoid: tuple[str, ...] = ()
        self._link: LinkProtocol | None = None
        self._answered = False
        self._ready_on: str | None = None
        self._target = ""
        self._position = 0
        self._moves = False
        self._sequences = count()
        self._host_id = -1

    def start(self) -> None:
        """Run the agent."""
        self.machine: Machine = self._network.machine(self.address)
        self.exited, self._ready_on, self._link = None, None, None
        self._position, self._moves = 0, False
        self._connect(self.hosts.addresses[0])

    def kill(self) -> None:
        """SIGKILL."""
        self._network.kill(self.machine)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.machine.alive

    @property
    def server(self) -> str | None:
        """The server that it is ready on."""
        return self._ready_on if self.alive else None

    # Connecting.

    def _connect(self, server: str) -> None:
        if self.exited is None:
            self._target = server
            self.machine.connectTCP(server, PORT, self, timeout=BACKOFF)

    def _connect_next(self) -> None:
        addresses = self.hosts.addresses
        self._position = (self._position + 1) % len(addresses)
        self._connect(addresses[self._position])

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        """Make the one of a connection."""
        channel = PlainChannel(server_side=False, cloudlb=False)
        self._link = LinkProtocol(Link(channel, MAX_MESSAGE), self, self.machine, handshake_timeout=30)
        return self._link

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """Try the next server."""
        self.machine.callLater(BACKOFF, self._connect_next)

    def link_established(self, link: LinkProtocol) -> None:
        """Introduce the host."""
        self.links.append(self._target)
        self.transferred.append(self._moves)
        startup = StartupRoutingCommand(
            guid=self.guid,
            name=self.name,
            data_center="1",
            pod="1",
            cluster="1",
            resource_name="LibvirtComputingResource",
            hypervisor_type="KVM",
            arch="x86_64",
            version="4.23.0.0",
            ms_host_list=str(self.hosts),
            connection_transferred=self._moves,
            host_id=None if self._host_id == -1 else self._host_id,
        )
        self._moves, self._answered = False, False
        link.send(request_packet(next(self._sequences), self._host_id, [startup], Flag(0)))
        self.machine.callLater(STARTUP_WAIT, self._give_up, link)

    def _give_up(self, link: LinkProtocol) -> None:
        if link is self._link and not self._answered:
            link.abort("no answer to StartupCommand")

    def link_lost(self, link: LinkProtocol, reason: str) -> None:
        """Look for a server, from the head of the list."""
        if link is self._link:
            self._ready_on, self._link, self._position = None, None, -1
            self.machine.callLater(BACKOFF, self._connect_next)

    # What servers say.

    def message_received(self, link: LinkProtocol, message: bytes) -> None:
        """Take an answer or a request."""
        header = read_header(message)
        contents = read_contents(read_body(message, header, MAX_MESSAGE))
        if header.is_request:
            self._requested(link, header, contents)
        elif isinstance(contents[0], StartupAnswer):
            self._answered = True
            if contents[0].result:
                self.machine.callLater(contents[0].ping_interval, self._ping, link, contents[0].ping_interval)
            else:
                self._exit(contents[0].details or "refused")

    def _requested(self, link: LinkProtocol, header: Header, contents: Sequence[Any]) -> None:
        match contents:
            case [ReadyCommand() as ready]:
                self._ready(link, header, ready)
            case [MigrateAgentConnectionCommand() as command]:
                if not self.mute:
                    self._asked(link, header, command, MigrateAgentConnectionAnswer, moves=True)
            case [SetupMSListCommand() as command]:
                moves = command.trigger_host_lb and command.ms_list[0] != self.server
                self._asked(link, header, command, SetupMSListAnswer, moves=moves)
            case [ShutdownCommand() as command]:
                self._exit(command.reason or "told to")
            case _:
                self.machine.callLater(self.delay, self._carried_out, link, header, contents)

    def _ready(self, link: LinkProtocol, header: Header, ready: ReadyCommand) -> None:
        if ready.details is not None:
            self._exit(ready.details)
            return
        self._host_id = ready.host_id or -1
        self._take(ready.ms_host_list, ready.lb_algorithm, ready.avoid_ms_host_list)
        self._ready_on = self._target
        link.send(answer_packet(header, [ReadyAnswer()]))

    def _take(self, servers: Sequence[str] | None, algorithm: str | None, avoid: Sequence[str] | None) -> None:
        if servers:
            self.hosts = HostList(parse_addresses(",".join(servers)), algorithm or "")
        self._avoid = tuple(avoid or ())

    def _asked(
        self,
        link: LinkProtocol,
        header: Header,
        command: MigrateAgentConnectionCommand | SetupMSListCommand,
        answer: Callable[..., Answer],
        *,
        moves: bool,
    ) -> None:
        self._take(command.ms_list, command.lb_algorithm, command.avoid_ms_list)
        targets = [address for address in self.hosts.addresses if address not in self._avoid]
        refused = self.refuses or (moves and not targets)
        link.send(answer_packet(header, [answer(result=not refused, details="no" if refused else None)]))
        if moves and not refused:
            self.machine.callLater(BEFORE_MOVE, self._move, link, targets[0])

    def _move(self, link: LinkProtocol, server: str) -> None:
        if link is self._link and server != self.server:
            self._link, self._ready_on, self._moves = None, None, True
            link.close()
            addresses = self.hosts.addresses
            # It may have got another list meanwhile, and then goes on from the head of that.
            self._position = addresses.index(server) if server in addresses else -1
            self._connect(server)

    def _exit(self, why: str) -> None:
        self.exited = why
        self.kill()

    def _carried_out(self, link: LinkProtocol, header: Header, contents: Sequence[Command | Opaque]) -> None:
        self.carried_out += [_context(content) for content in contents]
        if link is self._link:
            link.send(answer_packet(header, [Answer() for _ in contents]))
        else:
            self.unanswered += 1

    def _ping(self, link: LinkProtocol, interval: float) -> None:
        if link is self._link:
            ping = PingRoutingCommand(host_type="Routing", host_id=self._host_id)
            link.send(request_packet(next(self._sequences), self._host_id, [ping], Flag.STOP_ON_ERROR))
            self.machine.callLater(interval, self._ping, link, interval)


def _context(content: Command | Opaque) -> str:
    context = content.fields.get("contextMap", {}) if isinstance(content, Opaque) else content.context_map
    return str(context.get(COMMAND_ID) or context.get(LOGGING_CONTEXT) or "-")
