"""What a server's parts know of themselves, asked for when Prometheus looks. Nobody asks the database for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cloudlb.agents.admission import Admission
from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import Directory
from cloudlb.agents.disconnection import Disconnection
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.agents.listener import Listener
from cloudlb.agents.lists import Lists
from cloudlb.agents.moves import Moves
from cloudlb.bus.database_bus import DatabaseBus
from cloudlb.cluster.census import Census
from cloudlb.cluster.draining import Draining
from cloudlb.cluster.membership import Membership
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.server_state import ServerState


class Gauges(Collector):
    """Reads the parts of one server."""

    def __init__(
        self,
        membership: Membership,
        bus: DatabaseBus,
        directory: Directory,
        listener: Listener,
        admission: Admission,
        lists: Lists,
        moves: Moves,
        disconnection: Disconnection,
        draining: Draining,
        census: Census,
    ) -> None:
        self._membership = membership
        self._bus = bus
        self._directory = directory
        self._listener = listener
        self._admission = admission
        self._lists = lists
        self._moves = moves
        self._disconnection = disconnection
        self._draining = draining
        self._census = census

    def collect(self) -> Iterable[Metric]:
        """All of them; a family without a sample where there is nothing to tell."""
        yield from self._servers()
        yield self._hosts()
        yield from self._agents()
        yield self._queues()
        yield from self._delays()
        yield self._drain()

    def _servers(self) -> Iterable[Metric]:
        own = self._membership.own if self._membership.joined else None
        info = GaugeMetricFamily(
            "cloudlb_server_info", "This server: its name, its msid and its version", labels=["name", "msid", "version"]
        )
        state = GaugeMetricFamily("cloudlb_server_state", "1 for the state that this server is in", labels=["state"])
        if own is not None:
            info.add_metric([own.name, str(own.id), own.version], 1)
            for each in ServerState:
                state.add_metric([each.value], each is self._membership.state)
        servers = GaugeMetricFamily(
            "cloudlb_servers", "Servers of the cluster by their states, as this one sees them", labels=["state"]
        )
        seen = Counter(self._membership.states.values())
        for each in ServerState:
            servers.add_metric([each.value], seen[each])
        yield from (info, state, servers)

    def _hosts(self) -> Metric:
        hosts = GaugeMetricFamily(
            "cloudlb_hosts",
            "Hosts of the whole cloud by status and resource state, as of the last 30 s; the same on every server, and "
            "nothing while the database is away",
            labels=["status", "resource_state"],
        )
        for (status, state), count in self._census.hosts.items():
            hosts.add_metric([status.value, state.value], count)
        return hosts

    def _agents(self) -> Iterable[Metric]:
        agents = GaugeMetricFamily(
            "cloudlb_agents",
            "Hosts that this server has, by status and by whether the list of the agent begins with this server (yes, "
            "no; none: a host without an agent)",
            labels=["status", "preferred"],
        )
        found = Counter((attache.host.status, self._preferred(attache)) for attache in self._directory)
        for status, preferred in {(HostStatus.UP, "yes"), (HostStatus.UP, "no"), *found}:
            agents.add_metric([status.value, preferred], found[status, preferred])
        yield agents
        yield GaugeMetricFamily(
            "cloudlb_links",
            "Links of agents, also of those that are being admitted, and of those that have moved and end soon",
            value=self._admission.links,
        )
        yield GaugeMetricFamily(
            "cloudlb_half_open_connections",
            "Connections that have not said which host they are, or wait for room or a refusal",
            value=len(self._listener.half_open),
        )
        yield GaugeMetricFamily(
            "cloudlb_requests_under_way",
            "Requests to hosts of this server that have not ended, its own and those of other servers",
            value=sum(attache.under_way for attache in self._directory),
        )

    def _preferred(self, attache: Attache) -> str:
        if not isinstance(attache, LinkAttache):
            return "none"
        return "yes" if self._lists.is_home(attache.held) else "no"

    def _queues(self) -> Metric:
        queues = GaugeMetricFamily(
            "cloudlb_queue_length",
            "What waits: steps of handshakes, admissions (for room or the database), lists (agents to be looked at "
            "after a change), moves (hosts that are to leave, at the rate), losses (lost hosts to be written)",
            labels=["queue"],
        )
        queues.add_metric(["handshakes"], self._listener.waiting)
        queues.add_metric(["admissions"], self._admission.waiting)
        queues.add_metric(["lists"], self._lists.waiting)
        queues.add_metric(["moves"], self._moves.waiting)
        queues.add_metric(["losses"], self._disconnection.unwritten)
        return queues

    def _delays(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "cloudlb_propagation_age_seconds",
            "How old the oldest change of the lists is that an agent of this server has not confirmed; 0: all have",
            value=self._lists.age,
        )
        yield GaugeMetricFamily(
            "cloudlb_bus_lag_seconds",
            "How old news of other servers may be that this one has not read. Between two looks it grows: to 0.25 s on "
            "SQLite, to 5 s on PostgreSQL, which tells of news besides",
            value=self._bus.lag,
        )
        yield GaugeMetricFamily(
            "cloudlb_heartbeat_age_seconds",
            "Time since this server has written its heartbeat into the database",
            value=self._membership.heartbeat_age if self._membership.joined else 0.0,
        )

    def _drain(self) -> Metric:
        hosts = GaugeMetricFamily(
            "cloudlb_drain_hosts",
            "Of a drain that is under way: hosts that are left, that have moved, and that were asked in vain (of these "
            "100 at most)",
            labels=["state"],
        )
        if (drain := self._draining.under_way) is not None:
            hosts.add_metric(["left"], drain.left)
            hosts.add_metric(["moved"], drain.moved)
            hosts.add_metric(["failed"], len(drain.failed))
        return hosts
