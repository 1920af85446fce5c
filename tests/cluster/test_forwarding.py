"""Commands to hosts of other servers, in whole clusters on the virtual clock."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.requests import Answers
from cloudlb.wire import CheckHealthAnswer, CheckHealthCommand, Command, Opaque
from tests.support.agent_process import AgentProcess
from tests.support.server_process import ServerProcess
from tests.support.world import World

UNKNOWN = Opaque("com.example.Unheard-ofCommand", {"vm": {"name": "v1"}})


class ForwardingCase(SynchronousTestCase):
    """A world of three servers and three hosts, one on each."""

    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()), servers=3, agents=3)
        self.addCleanup(self.world.close)

    def send(
        self, server: ServerProcess, agent: AgentProcess, *commands: Command | Opaque, timeout: float = 20.0
    ) -> Deferred[Answers]:
        """Send commands to an agent's host."""
        return server.service.sender.send(self.world.row(agent).id, commands or [CheckHealthCommand()], timeout=timeout)

    def answers(self, sent: Deferred[Answers]) -> Answers:
        """What comes back soon."""
        return self.world.wait_for(sent)


class ForwardingTests(ForwardingCase):
    """From every server to every host."""

    def test_everywhere(self) -> None:
        """Each server reaches each host, and has a link to each other one then."""
        for server in self.world.servers.values():
            for agent in self.world.agents.values():
                self.assertEqual(self.answers(self.send(server, agent)), [CheckHealthAnswer()])
        for server in self.world.servers.values():
            self.assertEqual((len(server.service.peer_links), len(server.service.relays)), (2, 2))
            self.assertEqual(len(server.service.forwarding), 0)
