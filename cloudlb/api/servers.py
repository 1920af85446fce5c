"""Management servers."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, has_keyword, listing
from cloudlb.api.errors import unknown_entity
from cloudlb.api.schema import Date, Key, Long, date, optional, shown
from cloudlb.domain.models import Server, ServerId, ServerState
from cloudlb.domain.ports import Transaction


@frozen(kw_only=True)
class ServerAnswer:
    """A management server."""

    id: str | None = shown("the ID of the management server")
    name: str | None = shown("the name of the management server")
    state: str | None = shown("the state of the management server")
    version: str | None = shown("the version of the management server")
    msid: Long | None = shown("the number of the management server")
    ipaddress: str | None = shown("the address that agents connect to")
    serviceip: str | None = shown("the address that agents connect to")
    lastserverstart: Date | None = shown("the last time this Management Server was started")
    lastserverstop: Date | None = shown("the last time this Management Server was stopped")
    agentscount: Long | None = shown("the number of host agents this Management Server is responsible for")


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


async def _list_management_servers(call: Call, arguments: ListManagementServers) -> Body:
    servers = await call.context.membership.servers()

    def work(txn: Transaction) -> Body:
        one = find_server(txn, arguments.id, "id") if arguments.id is not None else None
        agents = txn.hosts.up_by_server()
        rows = [
            _show_server(server, state, agents)
            for server, state in servers
            if (one is None or server.id == one.id)
            and arguments.name in (None, server.name)
            and arguments.version in (None, server.version)
            and has_keyword(server.name, arguments)
        ]
        return listing("managementserver", rows, arguments)

    return await call.store.read(work)


def _show_server(server: Server, state: ServerState, agents: Mapping[ServerId, int]) -> ServerAnswer:
    return ServerAnswer(
        id=server.uuid,
        name=server.name,
        state=state.value,
        version=server.version,
        msid=Long(server.id),
        ipaddress=server.address,
        serviceip=server.address,
        lastserverstart=date(server.started),
        lastserverstop=date(server.stopped),
        agentscount=Long(agents.get(server.id, 0)),
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
