"""Management servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, has_keyword, listing
from cloudlb.api.drains import show_drain
from cloudlb.api.errors import unknown_entity
from cloudlb.api.host_lists import preferring
from cloudlb.api.schema import Key, Long, as_answer, date, optional
from cloudlb.api.server_answer import PeerAnswer, ServerAnswer, ServerMetricsAnswer, show_metrics
from cloudlb.cluster.server_orders import pending_jobs
from cloudlb.domain.models import Server, ServerId
from cloudlb.domain.ports import Transaction


def find_server(txn: Transaction, key: Key, parameter: str = "managementserverid") -> Server:
    """The server of an id, or an error that names the parameter."""
    for server in txn.servers.all():
        if key in (server.uuid, str(server.id)):
            return server
    raise unknown_entity(parameter, key)


@frozen(kw_only=True)
class ListManagementServers(ListArguments):
    """Which servers."""

    id: Key | None = optional("the id of the management server", related="listManagementServers")
    name: str | None = optional("the name of the management server")
    version: str | None = optional("the version of the management server")
    peers: bool | None = optional("whether to show how each management server sees the others")
    placement: bool | None = optional("whether to show preferredcount", extension=True)
    agents: bool | None = optional("false: leave out agents and lastagents, which are long", extension=True)


@frozen(kw_only=True)
class ListManagementServersMetrics(ListManagementServers):
    """Which servers, and how much of each."""

    system: bool | None = optional("false: leave out what the management server tells of its machine")


async def _list_management_servers(call: Call, arguments: ListManagementServers) -> Body:
    def work(txn: Transaction) -> Body:
        return listing("managementserver", [server for server, _ in _servers(txn, arguments)], arguments)

    return await call.store.read(work)


async def _list_metrics(call: Call, arguments: ListManagementServersMetrics) -> Body:
    def work(txn: Transaction) -> Body:
        def show(found: tuple[ServerAnswer, Mapping[str, Any]]) -> ServerMetricsAnswer:
            return show_metrics(*found, with_system=arguments.system is not False)

        return listing("managementserver", list(_servers(txn, arguments)), arguments, show)

    return await call.store.read(work)


def _servers(txn: Transaction, arguments: ListManagementServers) -> Iterator[tuple[ServerAnswer, Mapping[str, Any]]]:
    """The servers that are asked for, each with its report."""
    one = find_server(txn, arguments.id, "id") if arguments.id is not None else None
    agents, servers = txn.hosts.up_by_server(), txn.servers.all()
    known = {server.id: server for server in servers} if arguments.peers else None
    homes = preferring(txn, servers) if arguments.placement else None
    hosts = txn.hosts.uuids_by_server() if arguments.agents is not False else None
    jobs, drains, reports = pending_jobs(txn), txn.drains.all(), txn.servers.reports()
    for server in servers:
        if (
            (one is None or server.id == one.id)
            and arguments.name in (None, server.name)
            and arguments.version in (None, server.version)
            and has_keyword(server.name, arguments)
        ):
            report = reports.get(server.id, {})
            up, others = (None, None) if hosts is None else hosts.get(server.id, ([], []))
            yield (
                evolve(
                    _show_server(server, agents, known),
                    osdistribution=report.get("distribution"),
                    kernelversion=report.get("kernel"),
                    lastboottime=date(report.get("booted")),
                    agents=None if up is None else list(up),
                    lastagents=None if others is None else list(others),
                    preferredcount=None if homes is None else Long(homes[server.id]),
                    pendingjobscount=Long(jobs.get(server.id, 0)),
                    drain=show_drain(txn, drains.get(server.id)),
                ),
                report,
            )


def _show_server(
    server: Server, agents: Mapping[ServerId, int], known: Mapping[ServerId, Server] | None
) -> ServerAnswer:
    return ServerAnswer(
        id=server.uuid,
        name=server.name,
        state=server.state.value,
        version=server.version,
        msid=Long(server.id),
        ipaddress=server.address,
        serviceip=server.address,
        lastserverstart=date(server.started),
        lastserverstop=date(server.stopped),
        runid=Long(server.run_id),
        peers=None if known is None else [as_answer(peer) for peer in _show_peers(server, known)],
        agentscount=Long(agents.get(server.id, 0)),
    )


def _show_peers(server: Server, known: Mapping[ServerId, Server]) -> Iterator[PeerAnswer]:
    for peer_id, view in server.peers.items():
        peer = known.get(peer_id)
        if peer is not None and peer is not server:
            yield PeerAnswer(
                state=view.state.value,
                lastupdated=date(view.since),
                peerid=peer.uuid,
                peername=peer.name,
                peermsid=str(peer.id),
                peerrunid=str(view.run_id),
                peerstate=peer.state.value,
                peerserviceip=peer.address,
                peerserviceport=str(peer.port),
            )


COMMANDS = (
    Command(
        name="listManagementServers",
        description="Lists management servers.",
        arguments=ListManagementServers,
        answer=ServerAnswer,
        run=_list_management_servers,
    ),
    Command(
        name="listManagementServersMetrics",
        description="Lists Management Server metrics, which each of them tells once a minute.",
        arguments=ListManagementServersMetrics,
        answer=ServerMetricsAnswer,
        run=_list_metrics,
    ),
)
