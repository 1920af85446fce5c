"""A cluster as the demo's story expects one, without processes: it obeys at once, or not, as a test wants it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from cloudlb.cli.local_cluster import HostView
from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.host_list import HostList


class ClusterModel:
    """Three servers and six agents with a clock of their own; every act has its effect after ``delay`` seconds."""

    def __init__(self) -> None:
        self.servers: Sequence[str] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        self.agents = [f"agent-{number}" for number in range(1, 7)]
        self.time = 0.0
        self.delay = 1.0
        self.dead: set[str] = set()
        self.algorithm = Algorithm.ROUNDROBIN
        self.changed = -math.inf
        """When something last happened that agents have to follow."""
        self.stays: dict[str, str] = {}
        """Agents that stay on a server whatever happens."""
        self.state_on_the_way = "Up"
        """What a host is while it follows its list to another server that lives."""
        self.writes_files = True
        self._at: dict[str, str] = {}
        self._held = self._lists()

    def hosts(self) -> Mapping[str, HostView]:
        """Where everybody is."""
        settled = self.time >= self.changed + self.delay
        hosts = {}
        for name, listed in self._lists().items():
            target = next(address for address in listed.addresses if address not in self.dead)
            before = self._at.get(name, target)
            now_at = self.stays.get(name) or (target if settled else before)
            moving = before != target and before not in self.dead
            state = self.state_on_the_way if moving and not settled else "Up"
            if settled:
                self._at[name] = now_at
            hosts[name] = HostView(name, state, now_at)
        return hosts

    def server_states(self) -> Mapping[str, str]:
        """Who lives; a dead server shows after twice the delay."""
        noticed = self.time >= self.changed + 2 * self.delay
        return {server: "Down" if server in self.dead and noticed else "Up" for server in self.servers}

    def lists(self) -> Mapping[str, HostList]:
        """What the agents' files hold."""
        if self.writes_files and self.time >= self.changed + self.delay:
            self._held = self._lists()
        return self._held

    def guids(self) -> Mapping[str, str]:
        """The GUIDs of the wire."""
        return {name: f"guid-of-{name}" for name in self.agents}

    def kill(self, server: str) -> None:
        """It is dead."""
        self.hosts()
        self.dead.add(server)
        self.changed = self.time

    def restart(self, server: str) -> None:
        """It lives."""
        self.hosts()
        self.dead.remove(server)
        self.changed = self.time

    def change_setting(self, name: str, value: str) -> None:
        """Only the algorithm is ever changed."""
        assert name == "indirect.agent.lb.algorithm"
        self.hosts()
        self.algorithm = Algorithm(value)
        self.changed = self.time

    def now(self) -> float:
        """The model's time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """It passes."""
        self.time += seconds

    def _lists(self) -> dict[str, HostList]:
        rng = random.Random(0)
        guids = self.guids()
        return {
            name: host_list_for(self.algorithm, self.servers, Place(guids[name], index), rng)
            for index, name in enumerate(self.agents)
        }
