"""Management servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, has_keyword, listing
from cloudlb.api.drains import show_drain
from cloudlb.api.errors import unknown_entity
from cloudlb.api.host_lists import preferring
from cloudlb.api.schema import Date, Key, Long, as_answer, date, optional, shown
from cloudlb.cluster.server_orders import pending_jobs
from cloudlb.domain.models import Server, ServerId
from cloudlb.domain.ports import Transaction


@frozen(kw_only=True)
class PeerAnswer:
    """A management server as another one sees it."""

    state: str | None = shown("the state in which the management server sees its peer")
    lastupdated: Date | None = shown("when it saw its peer in this state for the first time")
    peerid: str | None = shown("the ID of the peer")
    peername: str | None = shown("the name of the peer")
    peermsid: str | None = shown("the number of the peer")
    peerrunid: str | None = shown("the run ID of the peer, as the management server has seen it")
    peerstate: str | None = shown("the state of the peer now, by its heartbeat")
    peerserviceip: str | None = shown("the address of the peer that agents connect to")
    peerserviceport: str | None = shown("the port of the peer that agents connect to")


@frozen(kw_only=True)
class ServerAnswer:
    """A management server."""

    id: str | None = shown("the ID of the management server")
    name: str | None = shown("the name of the management server")
    state: str | None = shown("the state of the management server")
    version: str | None = shown("the version of the management server")
    msid: Long | None = shown("the number of the management server", extension=True)
    ipaddress: str | None = shown("the address that agents connect to")
    serviceip: str | None = shown("the address that agents connect to")
    lastserverstart: Date | None = shown("the last time this Management Server was started")
    lastserverstop: Date | None = shown("the last time this Management Server was stopped")
    runid: Long | None = shown("grows with each start of the management server", extension=True)
    peers: list[dict[str, Any]] | None = shown("how the management server sees the others, with peers=true")
    agentscount: Long | None = shown("the number of host agents this Management Server is responsible for")
    preferredcount: Long | None = shown(
        "with placement=true: how many of them prefer it, by the list that each should hold", extension=True
    )
    pendingjobscount: Long | None = shown("the number of pending jobs in this Management Server")
    drain: dict[str, Any] | None = shown(
        "its latest emptying: total, moved, left, failed, eta and more", extension=True
    )


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


async def _list_management_servers(call: Call, arguments: ListManagementServers) -> Body:
    def work(txn: Transaction) -> Body:
        one = find_server(txn, arguments.id, "id") if arguments.id is not None else None
        agents, servers = txn.hosts.up_by_server(), txn.servers.all()
        known = {server.id: server for server in servers} if arguments.peers else None
        homes = preferring(txn, servers) if arguments.placement else None
        jobs, drains = pending_jobs(txn), txn.drains.all()
        rows = [
            evolve(
                _show_server(server, agents, known),
                preferredcount=None if homes is None else Long(homes[server.id]),
                pendingjobscount=Long(jobs.get(server.id, 0)),
                drain=show_drain(txn, drains.get(server.id)),
            )
            for server in servers
            if (one is None or server.id == one.id)
            and arguments.name in (None, server.name)
            and arguments.version in (None, server.version)
            and has_keyword(server.name, arguments)
        ]
        return listing("managementserver", rows, arguments)

    return await call.store.read(work)


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
)
