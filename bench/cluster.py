"""A deployment of its own for each run, in a temporary folder and on free ports, and what there is to see of it."""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from attrs import frozen
from sqlalchemy import Engine, Executable, func, select
from sqlalchemy import Row as DatabaseRow

from cloudlb.cli.deployment import Request, deploy
from cloudlb.cli.local_cluster import Inventory, LocalCluster
from cloudlb.cli.processes import PortInUse, check_free, interrupted_by_signals
from cloudlb.net.descriptors import raise_descriptor_limit
from cloudlb.storage.engine import find_backend
from cloudlb.storage.schema import host, management_server

_PORTS = range(10_000, 30_000)
"""Below those that the kernel gives to outgoing connections, or one of them may take the port of a killed server."""
_TICKS = os.sysconf("SC_CLK_TCK")
_ESTABLISHED = "01"
_ROWS = (
    select(
        host.c.name,
        host.c.id,
        host.c.guid,
        host.c.status,
        func.coalesce(management_server.c.name, "").label("server"),
        host.c.session,
    )
    .select_from(host)
    .outerjoin(management_server, management_server.c.id == host.c.server_id)
    .order_by(host.c.id)
)


@frozen
class Usage:
    """What a process has used up."""

    cpu: float
    """Seconds, user and system."""
    anonymous: int
    """Bytes of anonymous memory."""
    descriptors: int

    @classmethod
    def of(cls, pid: int | None) -> Usage:
        """Read /proc."""
        proc = Path(f"/proc/{pid}")
        after_name = (proc / "stat").read_text().rpartition(")")[2].split()
        cpu = (int(after_name[11]) + int(after_name[12])) / _TICKS
        rollup = (proc / "smaps_rollup").read_text().splitlines()
        anonymous = next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Anonymous:"))
        return cls(cpu, anonymous, len(list((proc / "fd").iterdir())))


@frozen
class Row:
    """A host in the database."""

    id: int
    guid: str
    state: str
    server: str
    """The server that admitted it last, by name."""
    session: int
    """Counts its admissions."""


@contextmanager
def deployment(
    *,
    servers: int,
    agents: int,
    algorithm: str | None = None,
    check_interval: int | None = None,
    database_url: str | None = None,
) -> Iterator[LocalCluster]:
    """Make a deployment of servers on 127.0.0.1, .2 and so on; none of it runs yet, and none does afterwards.

    Its database is a file of SQLite in the folder, or the empty one of a URL.
    """
    raise_descriptor_limit()
    addresses = tuple(f"127.0.0.{number}" for number in range(1, servers + 1))
    with interrupted_by_signals(), tempfile.TemporaryDirectory(prefix="cloudlb-bench-") as folder:
        port, api_port = free_port(addresses), free_port(addresses)
        deployed = deploy(
            Request(
                folder=Path(folder) / "deployment",
                servers=addresses,
                agents=agents,
                database_url=database_url,
                port=port,
                api_port=api_port,
                algorithm=algorithm,
                check_interval=check_interval,
            )
        )
        with LocalCluster(Inventory.read(deployed.folder)) as cluster:
            yield cluster


def free_port(addresses: tuple[str, ...]) -> int:
    """A port on which nobody listens, at none of the addresses."""
    for port in random.sample(_PORTS, 100):
        try:
            check_free((address, port) for address in addresses)
        except PortInUse:
            continue
        return port
    raise PortInUse("no free port was found")


def expect_one_process(cluster: LocalCluster) -> None:
    """Have the servers bear with agents that do not have a machine each, but an address and a process for all.

    The process may take many seconds for the handshakes of thousands.
    """
    for path in cluster.inventory.server_files.values():
        with path.open("a", encoding="utf-8") as file:
            file.write("agent.max.half.open.per.address=4096\nagent.ssl.handshake.timeout=60\n")


def start_servers(cluster: LocalCluster) -> None:
    """Start every server and wait until all of them listen."""
    for server in cluster.servers.values():
        server.start()
    cluster.wait_for_servers(cluster.servers)


def ask(cluster: LocalCluster, statement: Executable) -> Sequence[DatabaseRow[Any]]:
    """Read the database itself: asking the API 20 times a second would be load, too."""
    (url,) = {server.database_url for server in cluster.inventory.servers.values()}
    with _engine(url).connect() as connection:
        return connection.execute(statement).fetchall()


@cache
def _engine(url: str) -> Engine:
    return find_backend(url).open(connections=4, writing=False)


def rows(cluster: LocalCluster) -> dict[str, Row]:
    """Every host by name."""
    return {row.name: Row(row.id, row.guid, row.status, row.server, row.session) for row in ask(cluster, _ROWS)}


def links(cluster: LocalCluster) -> Mapping[str, int]:
    """Connections of agents that each server's kernel holds established; not those of servers among each other."""
    sockets = {inode for server in cluster.servers.values() for inode in _sockets(server.pid)}
    return count_established(Path("/proc/net/tcp").read_text(), _agent_port(cluster), sockets)


def count_established(table: str, port: int, apart_from: Collection[str] = ()) -> Counter[str]:
    """Count connections accepted at a port in a text like /proc/net/tcp, by the local address.

    Args:
        apart_from: sockets, by their inodes: connections that were made with one of them do not count.
    """
    fields = [line.split() for line in table.splitlines()[1:]]
    left_out = {local for _, local, _, _, _, _, _, _, _, inode, *_ in fields if inode in apart_from}
    counted: Counter[str] = Counter()
    for _, local, remote, state, *_ in fields:
        address, _, local_port = local.partition(":")
        if state == _ESTABLISHED and int(local_port, 16) == port and remote not in left_out:
            counted[str(IPv4Address(int.from_bytes(bytes.fromhex(address), "little")))] += 1
    return counted


def _sockets(pid: int | None) -> Iterator[str]:
    """The inodes of a process's sockets."""
    for descriptor in Path(f"/proc/{pid}/fd").glob("*") if pid is not None else ():
        # It may have been closed since.
        with suppress(OSError):
            kind, _, inode = str(descriptor.readlink()).partition(":")
            if kind == "socket":
                yield inode.strip("[]")


def _agent_port(cluster: LocalCluster) -> int:
    return next(iter(cluster.inventory.servers.values())).port
