"""A host of the test world: a machine, the agent that runs on it, and its properties file."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import maybeDeferred

from agent.properties import read_properties
from agent.service import AgentService, build
from agent.session_owner import Phase
from cloudlb.domain.models import HostId
from cloudlb.net.atomic_file import write_atomically
from cloudlb.wire import Answer, Command, Opaque, PacketError, PingAnswer, read_body, read_contents, read_header
from tests.support.inline_threads import InlineThreads
from tests.support.machine import Machine
from tests.support.memory_file import MemoryFile
from tests.support.plain_channel import PlainChannel

if TYPE_CHECKING:
    from tests.support.world import World

C = TypeVar("C", bound=Command)


class AgentProcess:
    """One host's machine, its properties file and the agent that runs on it."""

    def __init__(self, world: World, number: int) -> None:
        self.number = number
        self.name = f"agent-{number}"
        self.guid = f"guid-{number}-SimulatorResource"
        """As it introduces itself."""
        self.address = f"10.0.{1 + (number - 1) // 250}.{1 + (number - 1) % 250}"
        self.path = world.folder / f"agent-{number}.properties"
        self.disk_full = False
        self.journal = MemoryFile()
        self.received: list[Command | Answer | Opaque] = []
        """What servers sent, but for the answers to pings."""
        self.frozen = False
        self.deleted = False
        self.host_id: HostId | None = None
        """Once somebody has looked for it."""
        self._world = world

    def start(self) -> None:
        """Run the daemon."""
        world = self._world
        self.machine: Machine = world.network.machine(self.address)
        self.service: AgentService = build(
            self.machine,
            self.path,
            random.Random(world.rng.random()),
            channel_factory=lambda address, tls12: PlainChannel(server_side=False, opened=self._opened()),
            run_blocking=maybeDeferred,
            threads=lambda name, size: InlineThreads(),
            write=self._write,
            journal_file=self.journal,
        )
        self.machine.callLater(0, self.service.startService)

    @property
    def alive(self) -> bool:
        """Whether it has not been killed or stopped."""
        return self.machine.alive

    @property
    def server(self) -> str | None:
        """The server that the agent is Up on, as it sees it."""
        session = self.service.agent.session
        return session.address if session is not None and session.phase is Phase.UP else None

    @property
    def sessions(self) -> int:
        """Links that the agent has, in whatever state."""
        return len(self.service.agent._sessions)

    @property
    def host_property(self) -> str:
        """The list of servers in the agent's file."""
        return read_properties(self.path)["host"]

    def take(self, kind: type[C]) -> list[C]:
        """What servers sent of one kind since the last time; the rest is forgotten."""
        taken = [content for content in self.received if isinstance(content, kind)]
        self.received.clear()
        return taken

    def _opened(self) -> Callable[[bytes], None]:
        """What reads the messages of one link, some of which need several records."""
        held = bytearray()

        def opened(plaintext: bytes) -> None:
            held.extend(plaintext)
            message = bytes(held)
            header = read_header(message)
            try:
                body = read_body(message, header, 2**20)
            except PacketError:
                # The rest is to come.
                return
            held.clear()
            self.received += [content for content in read_contents(body) if not isinstance(content, PingAnswer)]

        return opened

    def _write(self, path: Path, content: bytes, mode: int) -> None:
        if self.disk_full:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_atomically(path, content, mode)
