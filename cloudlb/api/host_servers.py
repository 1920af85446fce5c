"""The list of servers that a host's agent should hold."""

from __future__ import annotations

import random

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, ListArguments, listing
from cloudlb.api.hosts import find_host
from cloudlb.api.schema import Key, required, shown
from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host
from cloudlb.domain.ports import Transaction
from cloudlb.domain.settings import Settings


@frozen(kw_only=True)
class HostServerAnswer:
    """A server of a host's list."""

    address: str | None = shown("the address, as `host` has it")
    managementserverid: str | None = shown("the ID of the management server, if there is one of the address")
    managementservername: str | None = shown("the name of that management server")
    state: str | None = shown("the state of that management server")
    preferred: bool | None = shown("true for the head of the list, where the host should be")
    connected: bool | None = shown("true where the host is Up")


@frozen(kw_only=True)
class ListHostServers(ListArguments):
    """Whose."""

    id: Key = required("the ID of the host", related="listHosts")


async def _list_host_servers(call: Call, arguments: ListHostServers) -> Body:
    def work(txn: Transaction) -> Body:
        host = find_host(txn, arguments.id)
        addresses, servers = _addresses(txn, host, txn.settings.load()), txn.servers.all()
        rows = []
        for place, address in enumerate(addresses):
            server = next((server for server in servers if server.answers_to(address)), None)
            is_there = server is not None and server.id == host.server_id and host.status is HostStatus.UP
            rows.append(
                HostServerAnswer(
                    address=address,
                    managementserverid=server.uuid if server else None,
                    managementservername=server.name if server else None,
                    state=server.state.value if server else None,
                    preferred=place == 0,
                    connected=is_there,
                )
            )
        return listing("hostserver", rows, arguments)

    return await call.store.read(work)


def _addresses(txn: Transaction, host: Host, settings: Settings) -> tuple[str, ...]:
    algorithm = settings.algorithm
    if host.direct is not None or algorithm is Algorithm.SHUFFLE:
        return ()
    rank = txn.hosts.places(host.zone.id, [host.id])[host.id] if algorithm is Algorithm.ROUNDROBIN else 0
    # Of these algorithms none draws.
    rng = random.Random(0)  # noqa: S311
    return host_list_for(algorithm, settings.servers, Place(host.facts.guid, rank), rng, settings.weights).addresses


COMMANDS = (
    Command(
        name="listHostServers",
        description="Lists the management servers of a host's list, in the order in which its agent tries them. Under "
        "shuffle, and for a host whose resource runs inside of a server, none: nobody knows an order then.",
        arguments=ListHostServers,
        answer=HostServerAnswer,
        run=_list_host_servers,
        extension=True,
    ),
)
