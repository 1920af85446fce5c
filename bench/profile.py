"""Where a server's time goes, for admissions and for pings.

    python -m bench.profile --agents 500 --seconds 5

The server runs under cProfile, each thread with its own CPU clock. A profiler makes every call cost more, small
functions most of all: take shares from it, not rates, and those of Python code as upper bounds. Needs Python 3.11:
later ones take one profiler in a process, not one in a thread.
"""

from __future__ import annotations

import argparse
import pstats
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench.cluster import deployment, start_servers
from bench.fleet import all_up, connect_all, load_fleet
from bench.loop import ping_loop
from bench.postgres import add_database, database
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.cli.processes import Daemon, stop_all

AREAS = (
    ("do_handshake", "TLS handshake (OpenSSL)"),
    ("_ssl.", "TLS records (OpenSSL)"),
    ("sqlite3.", "SQLite"),
    ("psycopg", "psycopg"),
    ("_socket.", "sockets (kernel)"),
    ("epoll", "sockets (kernel)"),
    ("posix.", "sockets (kernel)"),
    ("orjson", "JSON"),
    ("cattrs", "JSON"),
    ("/cloudlb/wire/converter", "JSON"),
    ("/cloudlb/wire/vocabulary", "JSON"),
    ("/cloudlb/wire/packet", "packets"),
    ("/cloudlb/wire/", "link: framing and TLS, in Python"),
    ("/cloudlb/net/certificate", "certificates"),
    ("x509", "certificates"),
    ("/cryptography/", "certificates"),
    ("/cloudlb/net/", "link: framing and TLS, in Python"),
    ("/cloudlb/agents/", "agents: admission, attache, liveness"),
    ("/cloudlb/storage/", "storage"),
    ("/sqlalchemy/", "SQLAlchemy"),
    ("/twisted/logger/", "logging"),
    ("/twisted/", "Twisted"),
)
"""Parts of a function's file or name, and what it is counted as; the first that fits."""

Function = tuple[str, int, str]


def area_of(function: Function) -> str | None:
    """What a function is counted as; None for what belongs to its callers, as built-in functions do."""
    path, _, name = function
    text = f"{path} {name}"
    return next((area for part, area in AREAS if part in text), None)


def by_area(stats: pstats.Stats) -> Counter[str]:
    """Seconds of each area."""
    seconds: Counter[str] = Counter()
    raw: dict[Function, Any] = stats.stats  # type: ignore[attr-defined]  # which every reader of profiles uses
    for function, (_, _, own, _, callers) in raw.items():
        area = area_of(function)
        if "_thread.lock" in function[2]:
            # A thread that waits for work, whose clock the profiler misread at the end.
            continue
        if area is not None or not callers:
            seconds[area or "other"] += own
            continue
        for caller, (_, _, own_there, _) in callers.items():
            seconds[area_of(caller) or "other"] += own_there
    return seconds


async def profile(reactor: Any, cluster: LocalCluster, count: int, seconds: float | None, folder: Path) -> int:
    """Admit a fleet under the profiler, or if ``seconds`` are given have it ping; return how much was done."""
    ((name, config),) = cluster.inventory.server_files.items()
    command = [sys.executable, "-m", "bench.profiled", str(folder), str(config)]
    server = cluster.servers[name] = Daemon("profiled", command, cluster.logs / "profiled.log")
    fleet = load_fleet(cluster, count)
    start_servers(cluster)
    if seconds is None:
        server.send_signal(signal.SIGUSR1)
    await connect_all(reactor, cluster, fleet)
    await all_up(reactor, cluster, fleet)
    done = count
    if seconds is not None:
        server.send_signal(signal.SIGUSR1)
        loop, _ = await ping_loop(reactor, server.pid, fleet, seconds)
        done = loop.round_trips
    stop_all([server])
    for agent in fleet:
        agent.hang_up()
    return done


def show(title: str, done: int, folder: Path, threads: str, console: Console) -> None:
    """Print what each kind of thread has spent where."""
    areas: dict[str, Counter[str]] = {}
    for path in sorted(folder.glob(f"{threads}.stats")):
        kind = path.stem.removeprefix("PoolThread-").rpartition("-")[0] or "reactor"
        areas[kind] = areas.get(kind, Counter()) + by_area(pstats.Stats(str(path)))
    table = Table(title=f"{title}: microseconds of CPU for each of {done:,}")
    table.add_column("where")
    for kind in areas:
        table.add_column(kind, justify="right")
    for area, _ in sum(areas.values(), Counter[str]()).most_common():
        table.add_row(area, *(f"{spent[area] / done * 1e6:,.0f}" for spent in areas.values()))
    table.add_section()
    table.add_row("all", *(f"{sum(spent.values()) / done * 1e6:,.0f}" for spent in areas.values()))
    console.print(table)


async def profile_both(reactor: Any, cluster: LocalCluster, arguments: argparse.Namespace) -> None:
    """Profile admissions, and then pings, which the reactor's thread alone answers."""
    console = Console(width=110)
    for title, seconds, threads in (("Admissions", None, "*"), ("Pings", arguments.seconds, "MainThread")):
        with tempfile.TemporaryDirectory(prefix="cloudlb-profile-") as folder:
            done = await profile(reactor, cluster, arguments.agents, seconds, Path(folder))
            show(title, done, Path(folder), threads, console)
            if arguments.functions:
                stats = pstats.Stats(str(Path(folder) / "MainThread.stats"))
                stats.sort_stats("tottime").print_stats(arguments.functions)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the closed loop of pings")
    parser.add_argument("--functions", type=int, default=0, help="also list so many functions of the reactor's thread")
    add_database(parser)
    arguments = parser.parse_args()
    with (
        database(arguments) as url,
        deployment(servers=1, agents=arguments.agents, algorithm="roundrobin", database_url=url) as cluster,
    ):
        react(lambda reactor: Deferred.fromCoroutine(profile_both(reactor, cluster, arguments)))


if __name__ == "__main__":
    main()
