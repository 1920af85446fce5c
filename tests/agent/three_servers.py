"""What tests of one agent among several servers start from."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.wire import ReadyCommand
from tests.agent.log_lines import LogLines
from tests.agent.scripted_server import World

A, B, C = "10.0.1.1", "10.0.1.2", "10.0.1.3"


class ThreeServers(SynchronousTestCase):
    """A world of three."""

    def setUp(self) -> None:
        """The agent starts in the test."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.world = World(folder, A, B, C)
        self.log = LogLines()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def ready(self, **fields: object) -> None:
        """Have all servers send this ReadyCommand."""
        for server in self.world.servers.values():
            server.script.ready = ReadyCommand(host_id=7, **fields)  # type: ignore[arg-type]  # a test's own

    def sent(self, address: str, kind: type[object]) -> list[object]:
        """What came on the latest connection to a server, of one class."""
        return [c for _, contents in self.world.connection(address).requests for c in contents if isinstance(c, kind)]
