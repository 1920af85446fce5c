"""Whole clusters on one virtual clock: the daemons' own code, from their composition roots on.

Real are the agents and servers, the wire, Twisted's transports, the database on SQLite and the bus on it, and the
agents' properties files. Not real are the kernel's TCP (tests.support.network), encryption (a plain channel) and
threads (work runs inline, or after a lag on the same clock). Equal seeds and equal calls give equal histories.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred

from cloudlb.domain.models import ClusterId, Host, HostId
from cloudlb.domain.models import Server as ServerRow
from cloudlb.domain.ports import Transaction
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_CHECK_INTERVAL, PING_INTERVAL
from cloudlb.domain.settings_in_force import Settings
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.storage.sqlite import new_database
from tests.support.agent_process import AgentProcess
from tests.support.cloudstack_agent import CloudStackAgent
from tests.support.network import Network
from tests.support.results import result_of
from tests.support.server_process import PORT, ServerProcess
from tests.support.virtual_clock import VirtualClock

T = TypeVar("T")
SETTLE = 5.0
"""Seconds in which a cluster without faults comes to rest after a change."""

_AUDIT = (
    "CREATE TABLE audit (host INTEGER, session INTEGER, before TEXT, status TEXT, owner INTEGER, writer TEXT)",
    """CREATE TRIGGER audit_status AFTER UPDATE ON host WHEN new.session = old.session AND new.status <> old.status
    BEGIN INSERT INTO audit VALUES (new.id, new.session, old.status, new.status, new.server_id, writer()); END""",
)


class Hosted(Protocol):
    """Something that is a host of the cluster, or would be one."""

    @property
    def name(self) -> str: ...
    @property
    def guid(self) -> str: ...

    host_id: HostId | None
    """Once somebody has looked for it."""


@frozen
class Picture:
    """What the database says at one moment."""

    settings: Settings
    servers: Sequence[ServerRow]
    hosts: Mapping[HostId, Host]
    """All that there ever were, also deleted ones."""

    def address_of(self, host: Host) -> str | None:
        """The address of the server that a host's row names."""
        return next((server.address for server in self.servers if server.id == host.server_id), None)


class World:
    """A cluster, its fleet, and what can befall them."""

    def __init__(
        self,
        folder: Path,
        *,
        servers: int = 3,
        agents: int = 6,
        seed: int = 0,
        algorithm: str = "roundrobin",
        check_interval: int = 0,
        ping_interval: int = 60,
        database_lag: float = 0.0,
        told: bool = False,
        settings: Mapping[str, str] | None = None,
        properties: str = "",
        ready: Callable[[Network], object] = lambda network: None,
    ) -> None:
        """Start everything, server after server, and let it come to rest.

        Args:
            folder: does not exist yet; holds the database and the agents' files.
            servers: how many, at 10.0.0.1 and on.
            agents: how many, named agent-1 and on.
            seed: of all that is random.
            algorithm: of the lists.
            check_interval: seconds between preferred-host checks, 0 for none.
            ping_interval: seconds.
            database_lag: seconds at most that a server waits for the database, twice; 0 runs all work inline.
            told: the database tells the servers of messages, as PostgreSQL does; otherwise they look for them.
            settings: others of the cluster, by name.
            properties: more lines for every agent's file.
            ready: called with the network before anything starts.
        """
        folder.mkdir(parents=True)
        self.folder = folder
        self.rng = random.Random(seed)
        self.clock = VirtualClock()
        self.network = Network(self.clock, random.Random(self.rng.random()))
        ready(self.network)
        self.database_url = new_database(folder / "cloudlb.sqlite")
        self._own = Database(
            self.database_url, writer=InlineExecutor(), reader=InlineExecutor(), clock=self.clock.seconds
        )
        self._properties = properties
        self.database_lag = database_lag
        self.told = told
        addresses = [f"10.0.0.{number}" for number in range(1, servers + 1)]

        def found(txn: Transaction) -> None:
            zone = txn.topology.add_zone("zone-1")
            pod = txn.topology.add_pod("pod-1", zone.id)
            txn.topology.add_cluster("cluster-1", pod.id, hypervisor="KVM", arch="x86_64")
            txn.settings.set(HOST, ",".join(addresses), None)
            txn.settings.set(LB_ALGORITHM, algorithm, None)
            txn.settings.set(LB_CHECK_INTERVAL, str(check_interval), None)
            txn.settings.set(PING_INTERVAL, str(ping_interval), None)
            for name, value in (settings or {}).items():
                txn.settings.set(name, value, None)

        result_of(self._own.run(found))
        with self._own._write_engine.begin() as connection:
            for statement in _AUDIT:
                connection.exec_driver_sql(statement)
        self.servers: dict[str, ServerProcess] = {}
        self.agents: dict[int, AgentProcess] = {}
        for address in addresses:
            self.add_server(address)
        # Until each has seen the others.
        self.advance(3)
        for _ in range(agents):
            self.add_agent()
            # One after the other, so that their order in the zone is their numbers'.
            self.advance(min(0.1, 20 / agents))
        self.settle()

    def close(self) -> None:
        """Let go of the database."""
        for server in self.servers.values():
            server.end()
        result_of(Deferred.fromCoroutine(self._own.stop()))

    # Time.

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def settle(self) -> None:
        """Let the cluster come to rest."""
        self.advance(SETTLE)

    def wait_for(self, deferred: Deferred[T]) -> T:
        """Let time pass until something has ended, which should be soon."""
        for _ in range(1000):
            if deferred.called:
                break
            self.advance(0.01)
        return result_of(deferred)

    # What an operator does.

    def add_server(self, address: str, name: str | None = None) -> ServerProcess:
        """Start a server on a new machine, named like its address unless given."""
        self.servers[address] = server = ServerProcess(self, address, name)
        return server

    def add_agent(self) -> AgentProcess:
        """Start an agent on a new machine, with every server of ``host`` in its file."""
        agent = AgentProcess(self, len(self.agents) + 1)
        servers = self.read(lambda txn: txn.settings.load()).value(HOST)
        agent.path.write_text(
            f"# agent {agent.number}\nguid=guid-{agent.number}\nname={agent.name}\nhost={servers}\nport={PORT}\n"
            f"zone=1\npod=1\ncluster=1\nresource=agent.resources.simulator.SimulatorResource\n{self._properties}"
        )
        self.agents[agent.number] = agent
        agent.start()
        return agent

    def change_setting(self, name: str, value: str, cluster_id: int | None = None, *, forced: bool = False) -> None:
        """Change a setting on one of the running servers; raises InvalidSetting."""
        settings = self.running_servers[0].service.settings
        cluster = None if cluster_id is None else ClusterId(cluster_id)
        self.wait_for(Deferred.fromCoroutine(settings.change(name, value, cluster, forced)))

    def delete_host(self, agent: AgentProcess) -> bool:
        """Delete an agent's host on one of the running servers."""
        agent.deleted = True
        operations = self.running_servers[0].service.operations
        return self.wait_for(Deferred.fromCoroutine(operations.delete_host(self.row(agent).id, 1)))

    def stop_agent(self, agent: AgentProcess) -> None:
        """Stop an agent's daemon cleanly."""
        self._stop(agent)

    def stop_server(self, server: ServerProcess) -> None:
        """Stop a server's daemon cleanly."""
        self._stop(server)

    def _stop(self, process: ServerProcess | AgentProcess) -> None:
        stopping = maybeDeferred(process.service.stopService)
        self.advance(10)
        while not stopping.called and process.machine.getDelayedCalls():
            # A server is emptied first.
            self.advance(1)
        result_of(stopping)
        assert not process.machine.getDelayedCalls(), process.machine.getDelayedCalls()
        self.network.kill(process.machine)

    # What befalls them.

    def kill_server(self, server: ServerProcess) -> None:
        """SIGKILL."""
        server.end()

    def restart_server(self, server: ServerProcess) -> None:
        """Kill it if it runs, and start it again."""
        if server.alive:
            server.end()
        server.start()

    def kill_agent(self, agent: AgentProcess | CloudStackAgent) -> None:
        """SIGKILL."""
        self.network.kill(agent.machine)
        agent.frozen = False

    def power_off(self, process: ServerProcess | AgentProcess | CloudStackAgent) -> None:
        """Have a machine end without a word; it is restarted like one that was killed."""
        if isinstance(process, ServerProcess):
            process.end(silently=True)
        else:
            self.network.power_off(process.machine)
            process.frozen = False

    def restart_agent(self, agent: AgentProcess | CloudStackAgent) -> None:
        """Kill it if it runs, and start it again."""
        if agent.alive:
            self.kill_agent(agent)
        agent.start()

    def freeze(self, process: ServerProcess | AgentProcess | CloudStackAgent) -> None:
        """SIGSTOP."""
        process.frozen = True
        self.network.freeze(process.machine)

    def thaw(self, process: ServerProcess | AgentProcess | CloudStackAgent) -> None:
        """SIGCONT."""
        process.frozen = False
        self.network.thaw(process.machine)

    def cut_off(self, process: ServerProcess | AgentProcess) -> None:
        """Have every packet from and to a machine vanish; the database is not reached over this network."""
        others: list[ServerProcess | AgentProcess] = [*self.servers.values(), *self.agents.values()]
        for other in others:
            if other is not process:
                self.network.cut(process.address, other.address)

    # What one can ask.

    @property
    def running_servers(self) -> list[ServerProcess]:
        """Servers that are alive and not frozen."""
        return [server for server in self.servers.values() if server.running]

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Look into the database."""
        return result_of(self._own.read(work))

    def host_id(self, agent: Hosted) -> HostId | None:
        """The number of an agent's host, also of a deleted one; None before it was first admitted."""
        if agent.host_id is None:
            with self._own._read_engine.begin() as connection:
                found = connection.exec_driver_sql("SELECT id FROM host WHERE guid = ?", (agent.guid,))
                agent.host_id = found.scalar()
        return agent.host_id

    def row(self, agent: Hosted) -> Host:
        """The row of an agent's host, also of a deleted one."""
        host_id = self.host_id(agent)
        assert host_id is not None, f"{agent.name} has never been admitted"
        host = self.read(lambda txn: txn.hosts.get(host_id))
        assert host is not None
        return host

    def picture(self) -> Picture:
        """What the database says of everything, at one moment."""
        with self._own._read_engine.begin() as connection:
            numbers = list(connection.exec_driver_sql("SELECT id FROM host ORDER BY id").scalars())

        def look(txn: Transaction) -> Picture:
            return Picture(txn.settings.load(), list(txn.servers.all()), txn.hosts.several(numbers))

        return self.read(look)

    def row_address(self, agent: Hosted) -> str | None:
        """The address of the server that an agent's row names."""
        return self.picture().address_of(self.row(agent))

    def believers(self, agent: Hosted) -> list[str]:
        """The servers that believe an agent to be theirs."""
        host_id = self.host_id(agent)
        assert host_id is not None, f"{agent.name} has never been admitted"
        return [server.address for server in self.servers.values() if server.alive and server.attache(host_id)]

    def spread(self) -> dict[str, list[int]]:
        """The numbers of the agents on each server, as the agents see it."""
        spread: dict[str, list[int]] = {address: [] for address in self.servers}
        for agent in self.agents.values():
            if agent.alive and agent.server is not None:
                spread[agent.server].append(agent.number)
        return spread

    def stale_writes(self) -> list[tuple[object, ...]]:
        """Changes of a host's status by another server than the one that the row names.

        But for what any server may say: that a host has waited too long for its agent, that its server is dead, and
        what it finds when it looks again into what another one has lost.
        """
        with self._own._read_engine.begin() as connection:
            rows = connection.exec_driver_sql(
                "SELECT audit.* FROM audit JOIN management_server ON management_server.id = audit.owner "
                "WHERE management_server.address <> audit.writer AND NOT EXISTS ("
                "SELECT * FROM event WHERE host_id = host AND json_extract(details, '$.to') = status "
                "AND json_extract(details, '$.session') = CAST(session AS TEXT) "
                "AND (json_extract(details, '$.event') = 'WaitedTooLong' "
                "OR description LIKE '%management server is dead%' OR description LIKE '%was looked into again%'))"
            )
            return [tuple(row) for row in rows]

    def problems(self, agent: AgentProcess, picture: Picture | None = None) -> Iterator[str]:
        """What keeps an agent from being Up exactly once; ``picture``: if somebody has taken one."""
        picture = picture or self.picture()
        row, believers = (
            picture.hosts[self.row(agent).id if agent.host_id is None else agent.host_id],
            self.believers(agent),
        )
        address = picture.address_of(row)
        if agent.server is None:
            yield f"{agent.name} is up nowhere"
        if agent.sessions != 1:
            yield f"{agent.name} has {agent.sessions} sessions"
        if believers != [agent.server]:
            yield f"{agent.name} sees itself on {agent.server}, and {believers} see it on themselves"
        if row.status.value != "Up" or address != agent.server:
            yield f"{agent.name} is on {agent.server}, its row says {row.status.value} on {address}"
        for server in self.servers.values():
            attache = server.attache(row.id) if server.alive else None
            if attache is not None and attache.host.session != row.session:
                yield f"{agent.name} has session {row.session} and {server.address} holds {attache.host.session}"

    def tell_of_messages(self) -> None:
        """The database tells every server that listens of new messages."""
        for server in self.servers.values():
            server.hear_of_messages()

    def new_uuid(self) -> UUID:
        """A uuid that depends on the seed."""
        return UUID(int=self.rng.getrandbits(128), version=4)
