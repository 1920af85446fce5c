"""Commands that somebody wants sent, until each is a job in the database with a server that is to carry it out.

Everything here runs inside a transaction of the store.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection

import orjson
from attrs import field, frozen

from cloudlb.agents.outcomes import unavailable
from cloudlb.domain.host_status import HostStatus
from cloudlb.domain.models import Host, Job, ServerId
from cloudlb.domain.ports import NotFound, Transaction
from cloudlb.wire import Command, Opaque, fields_of, simple_name, wire_name

TOPIC = "host.command"
"""Jobs for the server that holds their hosts: {"server_id", "jobs": [uuid], "moves"}."""
COMMAND = "sendCommand"
"""The command of these jobs, as the API calls it."""
EVENT = "COMMAND.SEND"

MAX_PER_SERVER = 10_000
"""Jobs under way that one server has at most: a few KiB of its memory each, since their arguments are there only while
they are sent."""
MAX_PER_ACCOUNT = 10_000


class TooManyJobs(Exception):
    """A limit is reached and nothing was done; the message says which."""


class ServerBusy(TooManyJobs):
    """The server that holds the host has all the jobs that it can have."""


@frozen(kw_only=True)
class Order:
    """A command that somebody wants sent."""

    host: str
    """An id, a uuid or a name."""
    command: Command | Opaque
    timeout: int | None
    """Seconds; None: the command's own wait, or the default."""
    key: str | None
    """The caller's name for the job: the same one again is the same job."""
    account_id: int


@frozen
class Load:
    """Jobs under way, as one transaction sees them."""

    servers: Counter[ServerId] = field(factory=Counter)
    accounts: Counter[int] = field(factory=Counter)

    def add(self, server_id: ServerId, account_id: int, number: int = 1) -> None:
        """There are more of them."""
        self.servers[server_id] += number
        self.accounts[account_id] += number

    def check(self, server_id: ServerId, account_id: int) -> None:
        """Raise TooManyJobs if one more is too many."""
        if self.servers[server_id] >= MAX_PER_SERVER:
            raise ServerBusy(f"the server of the host has {MAX_PER_SERVER} jobs under way; try again later")
        if self.accounts[account_id] >= MAX_PER_ACCOUNT:
            raise TooManyJobs(f"the account has {MAX_PER_ACCOUNT} jobs under way; wait for some of them to end")


Routes = defaultdict[tuple[ServerId, int], list[str]]
"""Uuids by the server that is to have the jobs, and by how often they have moved."""


def start(
    txn: Transaction,
    order: Order,
    own: ServerId,
    alive: Collection[ServerId],
    load: Load,
    routes: Routes,
    *,
    now: float,
    deadline: float,
) -> Job:
    """Record one order as a job, or find the one that it was recorded as; new ones are added to load and routes.

    Raises:
        NotFound, AmbiguousName: no host, or several, of that name.
        KeyTaken: the key is another job's.
        TooManyJobs: a limit is reached.
    """
    known = txn.jobs.of_key(order.account_id, order.key) if order.key is not None else None
    host = txn.hosts.get(known.host_id) if known is not None and known.host_id is not None else None
    if host is None or order.host not in (str(host.id), host.uuid, host.facts.name):
        host = txn.hosts.find(order.host)
    if host is None:
        raise NotFound(f"there is no host {order.host!r}")
    holder = holder_of(host, alive)
    if known is None:
        load.check(holder or own, order.account_id)
    name = wire_name(order.command)
    job, new = txn.jobs.start(
        command=COMMAND,
        account_id=order.account_id,
        server_id=holder or own,
        host_id=host.id,
        now=now,
        key=order.key,
        deadline=deadline,
        # As it will be read again, for the comparison with another call of the same key.
        arguments={"class": name, "fields": orjson.loads(orjson.dumps(fields_of(order.command)))},
    )
    if not new:
        return job
    txn.events.add(
        EVENT,
        f"{simple_name(name)} is sent to host {host.facts.name}",
        now=now,
        account_id=order.account_id,
        server_id=own,
        host_id=host.id,
        details={"job": job.uuid, "class": name},
    )
    if holder is None:
        unavailable(f"host {host.facts.name} is {host.status.value} and has no agent connected").write(
            txn, job.uuid, now
        )
    else:
        load.add(holder, order.account_id)
        routes[holder, 0].append(job.uuid)
    return job


def alive_servers(txn: Transaction) -> frozenset[ServerId]:
    """Who can have a host."""
    return frozenset(server.id for server in txn.servers.all() if server.alive)


def holder_of(host: Host | None, alive: Collection[ServerId]) -> ServerId | None:
    """The server that has a host's agent, None if it has no agent."""
    if host is None or host.removed is not None or host.status is not HostStatus.UP:
        return None
    return host.server_id if host.server_id in alive else None


def publish(txn: Transaction, routes: Routes, now: float) -> None:
    """Tell the servers of their jobs, with the transaction."""
    for (server_id, moves), uuids in routes.items():
        txn.bus.publish(TOPIC, {"server_id": server_id, "jobs": uuids, "moves": moves}, now)
