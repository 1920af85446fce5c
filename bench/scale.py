"""What a large cluster asks of its servers and its database: reckoned from placement and plans, and timed on rows.

    python -m bench.scale --hosts 100000 --servers 30 --postgres

No server and no agent runs. Every host is placed as its list says, one server dies, another one joins; and the database
gets a row for each host and server, on which that is timed what servers ask of it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from sqlalchemy import insert, select, text

from bench.postgres import add_database, database
from cloudlb.cluster.planning import picture, plan_moves
from cloudlb.domain.balancing import Algorithm, Place, host_list_for
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import Host, HostId, PeerView, ServerId, Session, StatusChange
from cloudlb.domain.ports import Location, Transaction
from cloudlb.domain.rebalancing import Band, PlannedHost, PlannedServer, plan
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.settings import HOST, LB_ALGORITHM
from cloudlb.storage.database import Database
from cloudlb.storage.engine import find_backend
from cloudlb.storage.executor import InlineExecutor
from cloudlb.storage.migrate import upgrade
from cloudlb.storage.schema import host
from tests.contracts.case import admission, now

T = TypeVar("T")

GUID = "6f1c2d3e-{:012d}-LibvirtComputingResource"
BATCH = 5000
REPEATS = 20
HERD_BATCH = 20
"""Admissions in one transaction of a survivor, whose part of a dead server's agents comes within a second."""


def address(number: int) -> str:
    """A server's."""
    return f"10.0.0.{number}"


def orders(algorithm: Algorithm, hosts: int, servers: int) -> list[tuple[str, ...]]:
    """Everybody's list."""
    addresses, rng = [address(number) for number in range(1, servers + 1)], random.Random(0)
    places = (Place(GUID.format(index), index) for index in range(hosts))
    return [host_list_for(algorithm, addresses, place, rng).addresses for place in places]


def spread_of(counted: Counter[str]) -> str:
    """The least and the most of them."""
    return f"{min(counted.values()):,} to {max(counted.values()):,} on {len(counted)}"


def place(hosts: int, servers: int) -> None:
    """Print who has how many, and who gets those of a server that dies."""
    print("| lists | agents of a server | where those of a dead one go |\n| --- | --- | --- |")
    for algorithm in (Algorithm.ROUNDROBIN, Algorithm.RENDEZVOUS):
        lists = orders(algorithm, hosts, servers)
        of_dead = Counter(order[1] for order in lists if order[0] == address(1))
        print(f"| {algorithm.value} | {spread_of(Counter(order[0] for order in lists))} | {spread_of(of_dead)} |")


def join(hosts: int, servers: int) -> None:
    """Print what a plan says when one more server has joined."""
    lists = orders(Algorithm.RENDEZVOUS, hosts, servers)
    planned = [
        PlannedHost(id=HostId(index + 1), place=Place(GUID.format(index), index), server=order[0], up=True)
        for index, order in enumerate(lists)
    ]
    all_servers = [PlannedServer(address=address(number), up=True) for number in range(1, servers + 2)]
    began = time.process_time()
    made = plan(planned, all_servers, Algorithm.RENDEZVOUS, Band())
    seconds = time.process_time() - began
    (new,) = (share for share in made.shares if share.server.address == address(servers + 1))
    sources = Counter(move.source for move in made.moves)
    size = len(json.dumps({"moves": [[move.host_id, move.target] for move in made.moves]}))
    print(
        f"a server joins: {len(made.moves):,} of {new.average:,.0f} moves, {max(sources.values())} from one server at "
        f"most; planned in {seconds:.1f} s of CPU; a message of {size / 1024:.0f} KiB"
    )


def fill(url: str, store: Database, hosts: int, servers: int) -> list[ServerId]:
    """Make rows of servers that live, and of hosts that are Up on the heads of their lists."""

    def begin(txn: Transaction) -> list[ServerId]:
        zone = txn.topology.add_zone("z")
        pod = txn.topology.add_pod("p", zone.id)
        txn.topology.add_cluster("c", pod.id, hypervisor="KVM", arch="x86_64")
        txn.settings.set(HOST, ",".join(address(number) for number in range(1, servers + 1)), None)
        txn.settings.set(LB_ALGORITHM, Algorithm.RENDEZVOUS.value, None)
        ids = []
        for number in range(1, servers + 1):
            name = address(number)
            made = txn.servers.register(name=name, address=name, port=8250, version="1", candidate_id=ServerId(number))
            ids.append(made.id)
        for each in ids:
            views = {peer: PeerView(state=ServerState.UP, run_id=10**12, since=1e9) for peer in ids}
            txn.servers.record_peers(each, views)
        return ids

    ids = now(store.run(begin))
    by_address = dict(zip((address(number) for number in range(1, servers + 1)), ids, strict=True))
    heads = [by_address[order[0]] for order in orders(Algorithm.RENDEZVOUS, hosts, servers)]
    # One is admitted, and the others are like it.
    now(store.run(lambda txn: admit(txn, [0], heads[:1])))
    engine = find_backend(url).open(connections=1, writing=True)
    with engine.begin() as connection:
        like = dict(connection.execute(select(host)).mappings().one())
        rows = [
            {**like, "id": number + 1, "uuid": str(uuid4()), "guid": GUID.format(number), "server_id": heads[number]}
            for number in range(1, hosts)
        ]
        for portion in portions(rows, BATCH):
            connection.execute(insert(host), portion)
        if connection.dialect.name == "postgresql":
            connection.execute(text("ANALYZE"))
    engine.dispose()
    return ids


def admit(txn: Transaction, numbers: Sequence[int], owners: Sequence[ServerId]) -> None:
    """Admit hosts and have them Up, as a server does in two transactions."""
    location = Location(zone="z", pod="p", cluster="c")
    rows = [
        admission(GUID.format(number), location, server_id=owner) for number, owner in zip(numbers, owners, strict=True)
    ]
    found = [each for each in txn.hosts.admit(rows, time.time()) if isinstance(each, Host)]
    sessions = {str(each.id): each.session for each in found}
    txn.bus.publish("host.admitted", {"server_id": owners[0], "hosts": sessions}, time.time())
    txn.hosts.transition([step(each, HostEvent.READY) for each in found], time.time())


def step(of: Host, event: HostEvent) -> StatusChange:
    """A step of a host."""
    assert of.server_id is not None
    return StatusChange(host_id=of.id, session=Session(of.session), event=event, server_id=of.server_id, reason="bench")


def portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Parts of a sequence."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def time_rows(store: Database, ids: Sequence[ServerId], hosts: int) -> None:
    """Print how long it takes what servers ask."""
    of_one = [HostId(number) for number in range(1, hosts // len(ids) + 1)]

    def beat(txn: Transaction) -> None:
        txn.servers.heartbeat(ids[0])
        txn.servers.all()
        txn.settings.load()

    reads: dict[str, Callable[[Transaction], object]] = {
        "a look at the bus": lambda txn: txn.bus.after(10**12, 100),
        "how many hosts are Up on each server": lambda txn: txn.hosts.up_by_server(),
        "what a plan needs of every host": lambda txn: txn.hosts.standings(),
        "a plan, with all that": lambda txn: plan_moves(txn, picture(txn.servers.all(), txn.settings.load())),
    }
    writes: dict[str, Callable[[Transaction], object]] = {
        "a heartbeat": beat,
        f"times of {len(of_one) // 6:,} hosts that were heard": lambda txn: txn.hosts.touch(
            dict.fromkeys(of_one[: len(of_one) // 6], time.time())
        ),
    }
    print("| transaction | shortest | median |\n| --- | --- | --- |")
    for kinds, run in ((reads, store.read), (writes, store.run)):
        for label, work in kinds.items():
            times = []
            for _ in range(REPEATS):
                began = time.perf_counter()
                now(run(work))
                times.append(time.perf_counter() - began)
                if sum(times) > REPEATS:
                    break
            print(f"| {label} | {min(times) * 1000:,.1f} ms | {statistics.median(times) * 1000:,.1f} ms |")


def herd(url: str, ids: Sequence[ServerId], hosts: int) -> None:
    """Print how fast the survivors admit a dead server's agents, all of them at the same time."""
    numbers = range(hosts // len(ids))
    survivors = ids[1:]
    stores = [open_store(url) for _ in survivors]

    def survive(part: tuple[Database, ServerId, Sequence[int]]) -> None:
        store, own, mine = part
        for portion in portions(mine, HERD_BATCH):
            now(store.run(lambda txn: admit(txn, portion, [own] * len(portion))))  # noqa: B023 - run at once

    parts = [
        (store, own, numbers[place :: len(survivors)])
        for place, (store, own) in enumerate(zip(stores, survivors, strict=True))
    ]
    began = time.perf_counter()
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(survive, parts))
    seconds = time.perf_counter() - began
    print(
        f"{len(numbers):,} admissions by {len(parts)} servers at once: {seconds:.1f} s, {len(numbers) / seconds:.0f}/s"
    )
    for store in stores:
        now(store.stop())


def open_store(url: str) -> Database:
    """A server's, that works where it is asked."""
    store = Database(url, writer=InlineExecutor(), reader=InlineExecutor())
    now(store.start())
    return store


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--servers", type=int, default=30)
    add_database(parser)
    arguments = parser.parse_args()
    place(arguments.hosts, arguments.servers)
    join(arguments.hosts, arguments.servers)
    with tempfile.TemporaryDirectory() as folder, database(arguments) as given:
        url = given or f"sqlite:///{Path(folder).absolute()}/scale.sqlite"
        upgrade(url)
        store = open_store(url)
        began = time.perf_counter()
        ids = fill(url, store, arguments.hosts, arguments.servers)
        print(f"{arguments.hosts:,} rows of hosts in {time.perf_counter() - began:.0f} s")
        time_rows(store, ids, arguments.hosts)
        herd(url, ids, arguments.hosts)
        now(store.stop())


if __name__ == "__main__":
    main()
