"""What tests of the conversation with one server start from."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SynchronousTestCase

from agent.resources.simulator import SimulatorResource
from cloudlb.resource.interface import Answer, Command, Opaque, PingCommand
from cloudlb.wire import CheckHealthCommand, Flag
from tests.agent.scripted_server import SERVER_REQUEST, Connection, World


class PickyResource(SimulatorResource):
    """Knows one command, which ends when the test says so, and is not always well."""

    def configure(self, properties: Mapping[str, str], clock: IReactorTime) -> None:
        """Prepare."""
        super().configure(properties, clock)
        self.running: list[Deferred[Answer]] = []
        self.well = True

    def ping(self, host_id: int) -> PingCommand:
        """Fail when not well."""
        if not self.well:
            raise RuntimeError("not well")
        return super().ping(host_id)

    def execute(self, command: Command | Opaque) -> Answer | Awaitable[Answer] | None:  # type: ignore[override]  # the simulator knows all
        """Run until told otherwise."""
        if not isinstance(command, CheckHealthCommand):
            return None
        self.running.append(Deferred())
        return self.running[-1]


class SessionCase(SynchronousTestCase):
    """One agent on one server."""

    def setUp(self) -> None:
        """A server; the agent starts in the test."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.world = World(folder, "10.0.1.1")
        self.script = self.world.servers["10.0.1.1"].script

    @property
    def connection(self) -> Connection:
        """The latest link."""
        return self.world.connection("10.0.1.1")

    def ask(self, *commands: Command | Opaque, flags: Flag = SERVER_REQUEST) -> Sequence[object]:
        """Send a request and wait for its answers."""
        sequence = self.connection.send(*commands, flags=flags)
        self.world.advance(0.1)
        return self.connection.answers[sequence]
