"""What scenarios of moves start from: moves as servers make them, and what became of hosts' statuses meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from cloudlb.agents.moves import MoveEnd, MoveReason
from cloudlb.agents.requests import Answers
from cloudlb.domain.host_list import HostList
from cloudlb.domain.models import Host, HostId
from cloudlb.domain.record_ports import AlertFilter, EventFilter
from cloudlb.storage.steps import TRANSITION
from cloudlb.wire import CheckHealthCommand
from tests.scenarios.case import WorldCase
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.results import result_of
from tests.support.server_process import ServerProcess
from tests.support.world import World

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
PING = 6
ALGORITHM = "shuffle"
"""Under which any order is a right one, so that nobody is sent back to where its list begins."""


class MoveCase(WorldCase):
    """Three servers, and hosts that move."""

    def cloudstack_agent(self, world: World, *hosts: str, number: int = 1) -> CloudStackAgent:
        """Start an agent of CloudStack's kind, and let it come Up on the first of its servers."""
        agent = CloudStackAgent(world.network, number, HostList(hosts or (A, B, C), ALGORITHM))
        agent.start()
        world.advance(1)
        self.assertEqual(agent.server, (hosts or (A,))[0])
        return agent

    def host(self, world: World, name: str) -> Host:
        """A host's row."""
        host = world.read(lambda txn: txn.hosts.find(name))
        assert host is not None
        return host

    def owner(self, world: World, name: str) -> ServerProcess:
        """The one server that believes to have a host; its row names it, and nobody else believes the same."""
        host = self.host(world, name)
        servers = world.read(lambda txn: txn.servers.all())
        (address,) = [server.address for server in servers if server.id == host.server_id]
        believers = [server.address for server in world.servers.values() if server.alive and server.attache(host.id)]
        self.assertEqual(believers, [address])
        return world.servers[address]

    def move(self, world: World, name: str, *targets: str, leave: bool = True) -> Deferred[MoveEnd]:
        """Have the server of a host send it to the first of these that takes it."""
        owner = self.owner(world, name)
        attache = owner.attache(self.host(world, name).id)
        assert attache is not None
        hosts = HostList(tuple(dict.fromkeys((*targets, owner.address, *world.servers))), ALGORITHM)
        avoid = (owner.address,) if leave else ()
        return owner.service.moves.move(attache, hosts, avoid=avoid, reason=MoveReason.LIST, why="a test wants it")

    def end(self, move: Deferred[MoveEnd]) -> MoveEnd:
        """What became of a move that is over."""
        return result_of(move)

    def send(self, world: World, name: str, context: str, *, timeout: float = 30) -> Deferred[Answers]:
        """Send a command from the server that has a host."""
        command = CheckHealthCommand(context_map={"logid": context})
        return self.owner(world, name).service.sender.send(self.host(world, name).id, [command], timeout=timeout)

    def steps(self, world: World, name: str) -> list[str]:
        """The statuses that a host has had since it came Up first, in order."""
        steps = [
            event.details["to"] for event in self._events(world, self.host(world, name).id) if event.type == TRANSITION
        ]
        return steps[steps.index("Up") + 1 :]

    def assert_unnoticed(self, world: World, name: str) -> None:
        """Nobody was alerted, and nobody looked into the host."""
        host_id = self.host(world, name).id
        alerts, _ = world.read(lambda txn: txn.alerts.list(AlertFilter(), 0, None))
        self.assertEqual([alert for alert in alerts if alert.host_id == host_id], [])
        self.assertEqual([event for event in self._events(world, host_id) if "INVESTIGAT" in event.type], [])
        self.assertEqual(world.stale_writes(), [])

    def _events(self, world: World, host_id: HostId) -> Sequence[Any]:
        events, _ = world.read(lambda txn: txn.events.list(EventFilter(host_id=host_id), 0, None))
        return events[::-1]
