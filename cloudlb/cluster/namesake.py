"""Two processes by one name: the second one does not start while the first one is there."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Factory, Protocol

from cloudlb.domain.models import Server
from cloudlb.domain.ports import Store, Transaction

PATIENCE = 2.0
"""Seconds that a namesake has to accept a connection."""


class NameTaken(Exception):
    """Another process runs as the server that this one is to be; the message says where."""


async def refuse_namesake(store: Store, reactor: Any, name: str) -> None:
    """Make sure that nobody runs as this server.

    Its row may seem alive after a crash, too. So what counts is whether somebody listens where the row says.

    Args:
        reactor: IReactorTCP.

    Raises:
        NameTaken: somebody does.
        StoreUnavailable: the database is away.
    """

    def work(txn: Transaction) -> Server | None:
        return next((server for server in txn.servers.all() if server.name == name and server.alive), None)

    found = await store.read(work)
    if found is not None and await _listens(reactor, found.address, found.port):
        raise NameTaken(
            f"a server named {name} runs at {found.address} port {found.port}, its last heartbeat is {found.age:.1f} s "
            "old: stop it first, or give this one another name in mgmt.properties"
        )


async def _listens(reactor: Any, address: str, port: int) -> bool:
    # It resolves names, and takes addresses of IPv6 as they are.
    endpoint = TCP4ClientEndpoint(reactor, address, port, timeout=PATIENCE)
    try:
        connection: Any = await endpoint.connect(Factory.forProtocol(Protocol))
    except (ConnectError, DNSLookupError):
        return False
    connection.transport.abortConnection()
    return True
