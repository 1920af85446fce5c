"""The hosts of a history, by their numbers: agents of ours first, then those of CloudStack's kind, then direct ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import define
from twisted.internet.defer import Deferred

from cloudlb.agents.registration import NewHost
from cloudlb.domain.host_list import HostList
from cloudlb.domain.models import HostId
from cloudlb.resource.loading import SIMULATOR
from tests.support.agent_process import AgentProcess
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.world import Hosted, World

BETWEEN = 0.1
"""Seconds between the starts of two of them."""


@define(eq=False)
class DirectHost:
    """A host without an agent."""

    name: str
    guid: str
    host_id: HostId | None


class Fleet:
    """All of them."""

    def __init__(self, world: World, *, theirs: int, direct: int, delay: int, record: Path) -> None:
        """Start those that the world has not, and let them come Up.

        Args:
            world: with all agents of ours.
            theirs: agents of CloudStack's kind.
            direct: hosts without an agent.
            delay: seconds that a command takes on them.
            record: what direct hosts write (simulator.record).
        """
        self._world = world
        self.ours: Mapping[int, AgentProcess] = world.agents
        first = len(world.agents) + 1
        self.theirs = {number: self._their_agent(number, delay) for number in range(first, first + theirs)}
        first += theirs
        self.direct = {number: self._direct_host(number, delay, record) for number in range(first, first + direct)}
        world.settle()

    @property
    def agents(self) -> dict[int, AgentProcess | CloudStackAgent]:
        """All that have a machine of their own."""
        return {**self.ours, **self.theirs}

    def __getitem__(self, number: int) -> Hosted:
        agent = self.agents.get(number)
        return self.direct[number] if agent is None else agent

    def __iter__(self) -> Iterator[Hosted]:
        yield from self.agents.values()
        yield from self.direct.values()

    def __len__(self) -> int:
        return len(self.agents) + len(self.direct)

    def _their_agent(self, number: int, delay: int) -> CloudStackAgent:
        settings = self._world.read(lambda txn: txn.settings.load())
        agent = CloudStackAgent(self._world.network, number, HostList(settings.servers, settings.algorithm.value))
        agent.delay = delay
        agent.start()
        self._world.advance(BETWEEN)
        return agent

    def _direct_host(self, number: int, delay: int, record: Path) -> DirectHost:
        world = self._world
        (cluster,) = world.read(lambda txn: txn.topology.clusters())
        properties = {"simulator.delay": str(delay), "simulator.record": str(record)}
        new = NewHost(name=f"direct-{number}", cluster=cluster, resource=SIMULATOR, direct=properties)
        registration = world.running_servers[0].service.registration
        host, _ = world.wait_for(Deferred.fromCoroutine(registration.add(new, 1)))
        return DirectHost(host.facts.name, host.facts.guid, host.id)
