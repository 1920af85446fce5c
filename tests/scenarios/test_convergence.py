"""After any history of faults and changes, once the faults stop, the cluster is as it should be.

Hypothesis makes up histories and, when one ends badly, prints the shortest that it finds. More of them than a test run
has time for: CLOUDLB_HISTORIES=1000 python -m twisted.trial tests.scenarios.test_convergence
"""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import AgentTimedOut, AgentUnavailable
from cloudlb.domain.balancing import Algorithm, Place, host_list_for, is_current
from cloudlb.domain.host_list import HostList
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_CHECK_INTERVAL, InvalidSetting
from cloudlb.wire import CheckHealthCommand
from tests.scenarios.histories import WorldHistory, run_histories
from tests.support.agent_process import AgentProcess
from tests.support.server_process import ServerProcess
from tests.support.world import World

SERVERS, AGENTS, MOST_AGENTS = 3, 4, 6
PING = 6
BUS_LATENCY = 1.0
"""Seconds in which a server hears from another one through the database: its polling interval, and lags."""
CONVERGENCE = 180.0
"""Seconds after which everything has found its place: the longest time-outs (60 s) and what follows from them."""

servers = st.integers(1, SERVERS).map(lambda number: f"10.0.0.{number}")
agents = st.integers(1, MOST_AGENTS)
algorithms = st.sampled_from([algorithm.value for algorithm in Algorithm])
moments = st.sampled_from([0.0, 0.001, 0.02, 0.3, 2.0, 7.0, 20.0])


class History(WorldHistory):
    """What befalls a cluster, and what must hold all the while and in the end."""

    @initialize(
        algorithm=algorithms,
        interval=st.sampled_from([0, 5]),
        lag=st.sampled_from([0.0, 0.002, 0.05]),
        seed=st.integers(0, 2**32),
    )
    def begin(self, algorithm: str, interval: int, lag: float, seed: int) -> None:
        """Start a cluster."""
        self.watch()
        self.stay_dead: set[str] = set()
        self.world = World(
            Path(self.folder, "world"),
            servers=SERVERS,
            agents=AGENTS,
            seed=seed,
            algorithm=algorithm,
            check_interval=interval,
            ping_interval=PING,
            database_lag=lag,
            properties="backoff.seconds=1\nbackoff.max.seconds=5\nsimulator.delay=1\n",
        )

    def agent(self, number: int) -> AgentProcess:
        """An agent, whatever the number."""
        present = list(self.world.agents.values())
        return present[number % len(present)]

    # What passes.

    @rule(seconds=moments)
    def wait(self, seconds: float) -> None:
        """Time."""
        self.world.advance(seconds)

    @rule(server=servers, stays_dead=st.booleans())
    def kill_server(self, server: str, stays_dead: bool) -> None:
        """A server dies, for good or until the end of the faults."""
        self.world.kill_server(self.world.servers[server])
        if stays_dead:
            self.stay_dead.add(server)

    @rule(server=servers)
    def restart_server(self, server: str) -> None:
        """A server starts anew."""
        self.world.restart_server(self.world.servers[server])
        self.stay_dead.discard(server)

    @rule(server=servers)
    def power_off_server(self, server: str) -> None:
        """A server's machine loses power: no FIN, no RST."""
        self.world.power_off(self.world.servers[server])

    @rule(server=servers)
    def freeze_server(self, server: str) -> None:
        """A server hangs."""
        self.world.freeze(self.world.servers[server])

    @rule(server=servers)
    def thaw_server(self, server: str) -> None:
        """A server that hung goes on."""
        self.world.thaw(self.world.servers[server])

    @rule(server=servers)
    def cut_off_server(self, server: str) -> None:
        """Nobody reaches a server any more, but it reaches the database."""
        self.world.cut_off(self.world.servers[server])

    @rule(server=servers, agent=agents)
    def lose_sight(self, server: str, agent: int) -> None:
        """One agent and one server do not reach each other for so long that the agent has left, if it was there."""
        self.world.network.cut(server, self.agent(agent).address)
        self.world.advance(2 * PING + 0.5)

    @rule(server=servers, agent=agents, hears=st.booleans(), is_heard=st.booleans())
    def cut(self, server: str, agent: int, hears: bool, is_heard: bool) -> None:
        """One agent and one server lose each other, in one direction or both."""
        if not hears:
            self.world.network.cut(server, self.agent(agent).address, one_way=True)
        if not is_heard:
            self.world.network.cut(self.agent(agent).address, server, one_way=True)

    @rule(server=servers, seconds=st.sampled_from([0.1, 1.0, 4.0]))
    def delay(self, server: str, seconds: float) -> None:
        """A server becomes hard to reach."""
        self.world.network.delay(self.world.servers[server].machine, seconds)

    @rule()
    def heal(self) -> None:
        """The network is well."""
        self.world.network.heal()

    @precondition(lambda self: len(self.world.agents) < MOST_AGENTS)
    @rule()
    def add_agent(self) -> None:
        """Another host joins the fleet."""
        self.world.add_agent()

    @rule(agent=agents, stays_dead=st.booleans())
    def kill_agent(self, agent: int, stays_dead: bool) -> None:
        """An agent dies, for good or until the end of the faults."""
        self.world.kill_agent(self.agent(agent))
        if stays_dead:
            self.stay_dead.add(self.agent(agent).address)

    @rule(agent=agents, restarted=st.booleans())
    def power_off_agent(self, agent: int, restarted: bool) -> None:
        """A host loses power, and perhaps gets it back at once."""
        self.world.power_off(self.agent(agent))
        if restarted:
            self.restart_agent(agent)

    @rule(agent=agents)
    def restart_agent(self, agent: int) -> None:
        """An agent starts anew."""
        self.world.restart_agent(self.agent(agent))
        self.stay_dead.discard(self.agent(agent).address)

    @rule(agent=agents)
    def freeze_agent(self, agent: int) -> None:
        """An agent hangs."""
        self.world.freeze(self.agent(agent))

    @rule(agent=agents)
    def thaw_agent(self, agent: int) -> None:
        """An agent that hung goes on."""
        self.world.thaw(self.agent(agent))

    @rule(agent=agents, full=st.booleans())
    def fill_disk(self, agent: int, full: bool) -> None:
        """An agent's disk is full, or has room again."""
        self.agent(agent).disk_full = full

    @precondition(lambda self: self.world.running_servers)
    @rule(agent=agents)
    def delete_host(self, agent: int) -> None:
        """A host is deleted, if it has ever been there."""
        chosen = self.agent(agent)
        if self.world.host_id(chosen) is not None:
            self.world.delete_host(chosen)

    @precondition(lambda self: self.world.running_servers)
    @rule(algorithm=algorithms)
    def change_algorithm(self, algorithm: str) -> None:
        """Another algorithm."""
        self.world.change_setting(LB_ALGORITHM, algorithm)

    @precondition(lambda self: self.world.running_servers)
    @rule(interval=st.sampled_from([0, 3, 5]))
    def change_interval(self, interval: int) -> None:
        """Another interval of the preferred-host check."""
        self.world.change_setting(LB_CHECK_INTERVAL, str(interval))

    @precondition(lambda self: self.world.running_servers)
    @rule(chosen=st.lists(servers, min_size=1, max_size=SERVERS, unique=True))
    def change_host(self, chosen: list[str]) -> None:
        """Other servers, or another order; a list of dead ones alone is refused."""
        try:
            self.world.change_setting(HOST, ",".join(chosen))
        except InvalidSetting as refusal:
            assert "no live management server" in str(refusal), refusal

    @rule(agent=agents)
    def send_command(self, agent: int) -> None:
        """Every server that holds an agent sends it something; what comes of it is an answer or an error."""
        host_id = self.world.host_id(self.agent(agent))
        for server in self.world.running_servers:
            attache = server.attache(host_id or 0)
            if attache is not None:
                sent = attache.send([CheckHealthCommand()], timeout=10)
                sent.addErrback(lambda failure: failure.trap(AgentTimedOut, AgentUnavailable))

    # What holds all the while.

    @invariant()
    def nothing_is_broken(self) -> None:
        """No defect is logged, and no server writes the status of a host that is another's."""
        assert self.failures == []
        assert self.world.stale_writes() == []

    @invariant()
    def one_owner(self) -> None:
        """Two servers do not believe for long that an agent is theirs."""
        doubted = [agent for agent in self.world.agents.values() if len(self.owners(agent)) > 1]
        if doubted:
            watched = self.world.running_servers
            self.world.advance(BUS_LATENCY)
            for agent in doubted:
                owners = [server.address for server in self.owners(agent) if server in watched]
                assert len(owners) <= 1, f"{agent.name} is believed to be on {owners}"

    def owners(self, agent: AgentProcess) -> list[ServerProcess]:
        """The running servers that believe an agent to be theirs."""
        host_id = self.world.host_id(agent)
        return [server for server in self.world.running_servers if server.attache(host_id or 0) is not None]

    # What holds in the end.

    def teardown(self) -> None:
        """Stop the faults, let time pass, and look."""
        if not hasattr(self, "world"):
            return
        try:
            self.end_faults()
            self.world.advance(CONVERGENCE)
            self.nothing_is_broken()
            for agent in self.world.agents.values():
                self.look_at(agent)
        finally:
            self.let_go()

    def end_faults(self) -> None:
        """Everything is well again but for who stays dead, as long as there is a server that the agents know."""
        world = self.world
        world.network.heal()
        listed = world.read(lambda txn: txn.settings.load()).servers
        if self.stay_dead.issuperset(listed):
            self.stay_dead.difference_update(listed)
        for server in world.servers.values():
            if server.frozen:
                world.thaw(server)
            if not server.alive and server.address not in self.stay_dead:
                world.restart_server(server)
        for agent in world.agents.values():
            agent.disk_full = False
            if agent.frozen:
                world.thaw(agent)
            if not agent.alive and agent.address not in self.stay_dead:
                world.restart_agent(agent)

    def look_at(self, agent: AgentProcess) -> None:
        """An agent is where it should be and holds what it should hold; a dead or deleted one is nowhere."""
        world = self.world
        if not agent.alive:
            assert world.host_id(agent) is None or world.believers(agent) == [], agent.name
            return
        row = world.row(agent)
        if row.removed is not None:
            assert (agent.server, world.believers(agent), row.status.value) == (None, [], "Removed"), agent.name
            return
        problems = list(world.problems(agent))
        assert problems == [], problems
        current = world.read(lambda txn: txn.settings.load())
        algorithm = current.algorithm
        held = HostList.parse(agent.host_property)
        place = world.read(lambda txn: txn.hosts.ids_in_zone(row.zone.id)).index(row.id)
        wanted = host_list_for(algorithm, current.servers, Place(row.facts.guid, place), random.Random(0))
        if algorithm is Algorithm.ROUNDROBIN and any(other.deleted for other in world.agents.values()):
            # A deleted host moves the places of others, who learn of it when they next get a list.
            assert set(held.addresses) == set(wanted.addresses), f"{agent.name} holds {held}, should {wanted}"
            assert held.algorithm == wanted.algorithm, f"{agent.name} holds {held}, should {wanted}"
        else:
            assert is_current(algorithm, wanted, held), f"{agent.name} holds {held}, should {wanted}"
        if current.check_interval(None) > 0 and algorithm is not Algorithm.SHUFFLE:
            first = next(address for address in held.addresses if address not in self.stay_dead)
            assert agent.server == first, f"{agent.name} holds {held} and is on {agent.server}"


class ConvergenceTests(SynchronousTestCase):
    """Histories that Hypothesis makes up."""

    def test_histories(self) -> None:
        """Whatever happens, it holds all the while, and in the end everyone is where they should be."""
        run_histories(History)
