"""Commands flow without a pause while servers are stopped, killed, suspended and drained in turn, for minutes.

    python -m bench.endurance --minutes 10 --agents 300
    python -m bench.endurance --minutes 10 --agents 300 --postgres

Three servers and real agents, as `cloudlb agents` runs them; half of the commands are queries, half change something
and are journalled. One server at most is out at a time. Every command ends once. While no server dies, however many
agents move, no host may change its status: that is looked up in the events.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field
from sqlalchemy import func, select

from bench.cluster import ask, deployment, links, rows, start_servers
from bench.commands import (
    ANSWERED,
    ENDLESS,
    Callers,
    Ended,
    client_of,
    ends,
    executions,
    faults_of,
    paced,
    print_table,
    record_executions,
    wait_for_ends,
)
from bench.figures import distribution
from bench.postgres import add_database, database
from bench.real_agents import TimedOut, running_agents, settle
from cloudlb.cli.local_cluster import LocalCluster
from cloudlb.domain.settings import PING_INTERVAL
from cloudlb.storage.schema import event
from cloudlb.storage.steps import TRANSITION

COMMANDS_PER_SECOND = 30
CALLERS = 16
PATIENCE = 5
"""Seconds that a server has to take a call: a suspended one takes none."""
PINGS = 5
"""Seconds between pings: within the time for which a server is suspended, some agents leave it."""
SUSPENSION = (5.0, 20.0)
OUTAGE = 10.0
"""Seconds that a server stays away: the others call it Down after 7.5."""
REST = 3.0
"""Seconds between two operations."""
UP_TIMEOUT = 60.0
STOP_TIMEOUT = 60.0
DRAIN_TIMEOUT = 120.0


@define
class Course:
    """What was done, and what it did."""

    cluster: LocalCluster
    agents: int
    rng: random.Random
    operations: Counter[str] = field(factory=Counter)
    moved: Counter[str] = field(factory=Counter)
    """Hosts that changed servers in quiet times, by the occasion."""
    changes: dict[str, str] = field(factory=dict)
    """Changes of status in quiet times: what happened, by the event's uuid."""

    @contextmanager
    def quiet(self, occasion: str) -> Iterator[None]:
        """A time in which agents may move, and no host may change its status."""
        before = rows(self.cluster)
        (last,) = ask(self.cluster, select(func.coalesce(func.max(event.c.id), 0).label("id")))
        yield
        found = ask(self.cluster, select(*event.c).where(event.c.id > last.id, event.c.type == TRANSITION))
        self.changes |= {row.uuid: f"{occasion}: {row.description}" for row in found}
        after = rows(self.cluster)
        self.moved[occasion] += sum(after[name].server != row.server for name, row in before.items())

    def wait_until_up(self, elsewhere_than: str = "") -> None:
        """Wait until each host is Up, with one link, and not on that server."""
        began = time.monotonic()
        while True:
            missing = self.agents - sum(
                row.state == "Up" and row.server != elsewhere_than for row in rows(self.cluster).values()
            )
            linked = sum(count for address, count in links(self.cluster).items() if address != elsewhere_than)
            if not missing and linked == self.agents:
                return
            if time.monotonic() - began > UP_TIMEOUT:
                raise TimedOut(f"{missing} hosts are not Up, and there are {linked} links, after {UP_TIMEOUT:.0f} s")
            time.sleep(0.2)

    def bring_back(self, name: str) -> None:
        """Start a server, and wait until its agents are on it again."""
        with self.quiet("return"):
            self.cluster.servers[name].start()
            self.cluster.wait_for_servers([name])
            settle(self.cluster, self.agents)

    def stop(self, name: str) -> None:
        """SIGTERM: it is drained first."""
        with self.quiet("stop"):
            self.cluster.servers[name].send_signal(signal.SIGTERM)
            if not self.cluster.servers[name].wait(STOP_TIMEOUT):
                raise TimedOut(f"{name} has not ended {STOP_TIMEOUT:.0f} s after SIGTERM")
            self.wait_until_up(elsewhere_than=name)
        self.bring_back(name)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.cluster.servers[name].kill()
        time.sleep(OUTAGE)
        self.wait_until_up(elsewhere_than=name)
        self.bring_back(name)

    def suspend(self, name: str) -> None:
        """SIGSTOP for some seconds."""
        self.cluster.servers[name].send_signal(signal.SIGSTOP)
        try:
            time.sleep(self.rng.uniform(*SUSPENSION))
        finally:
            self.cluster.servers[name].send_signal(signal.SIGCONT)
        self.wait_until_up()
        settle(self.cluster, self.agents)

    def drain(self, name: str) -> None:
        """Into maintenance and back, ordered from another server."""
        client = next(client_of(self.cluster, other, 20) for other in self.cluster.servers if other != name)

        def servers() -> dict[str, Any]:
            return {row["name"]: row for row in client.listManagementServers(fetch_list=True)}

        with self.quiet("drain"):
            server = servers()[name]
            client.prepareForMaintenance(managementserverid=server["id"])
            began = time.monotonic()
            while servers()[name]["state"] != "Maintenance":
                if time.monotonic() - began > DRAIN_TIMEOUT:
                    raise TimedOut(f"{name} is not empty after {DRAIN_TIMEOUT:.0f} s: {servers()[name]}")
                time.sleep(0.5)
            self.wait_until_up(elsewhere_than=name)
        with self.quiet("cancel"):
            client.cancelMaintenance(managementserverid=server["id"])
            settle(self.cluster, self.agents)

    def run(self, seconds: float) -> None:
        """Do one thing after the other to one server after the other until the time is over."""
        operations: dict[str, Callable[[str], None]] = {
            "stop": self.stop,
            "kill": self.kill,
            "suspend": self.suspend,
            "drain": self.drain,
        }
        end = time.monotonic() + seconds
        # Each operation comes to each server.
        turns = list(itertools.product(operations, self.cluster.servers))
        while True:
            self.rng.shuffle(turns)
            for operation, name in turns:
                with self.quiet("rest"):
                    time.sleep(REST)
                if time.monotonic() > end:
                    return
                began = time.monotonic()
                operations[operation](name)
                self.operations[operation] += 1
                print(f"{operation} {name}: all is well again after {time.monotonic() - began:.1f} s")


def calling(cluster: LocalCluster, agents: int, stopped: threading.Event) -> Callers:
    """Who sends commands to every host, through every server, until it is stopped."""
    hosts = list(cluster.inventory.agents)[:agents]
    random.Random(1).shuffle(hosts)
    numbers = itertools.takewhile(lambda _: not stopped.is_set(), itertools.count())
    return Callers(cluster, hosts, paced(numbers, 1 / COMMANDS_PER_SECOND), threads=CALLERS, patience=PATIENCE)


def measure(cluster: LocalCluster, agents: int, minutes: float, seed: int) -> list[str]:
    """Run it all, print the tables, and return what was not as it has to be."""
    record_executions(cluster)
    start_servers(cluster)
    cluster.api.change_setting(PING_INTERVAL, str(PINGS))
    faults = []
    with running_agents(cluster, agents), ThreadPoolExecutor(1) as pool:
        print(f"{agents} agents on the heads of their lists after {settle(cluster, agents):.1f} s; seed {seed}")
        course, stopped = Course(cluster, agents, random.Random(seed)), threading.Event()
        callers = calling(cluster, agents, stopped)
        running = pool.submit(callers.run)
        began = time.monotonic()
        try:
            course.run(minutes * 60)
        except TimedOut as error:
            faults.append(str(error))
        finally:
            stopped.set()
        running.result()
        print(f"{callers.sent} calls in {time.monotonic() - began:.0f} s, {callers.repeated} of them repeated")
        print(f"every job had ended {wait_for_ends(cluster):.0f} s after the last call, or never")
        jobs, executed = ends(cluster), executions(cluster)
        report(course, callers, jobs, executed)
        faults += faults_of(jobs, executed)
        if len(set(callers.jobs.values()) & jobs.keys()) != callers.sent:
            faults.append(f"{callers.sent} calls were made and there are {len(jobs)} jobs")
        if course.changes:
            faults.append(f"{len(course.changes)} hosts changed their status while agents only moved")
        try:
            settle(cluster, agents)
        except TimedOut as error:
            faults.append(f"at the end {error}")
    return faults


def report(course: Course, callers: Callers, jobs: dict[str, Ended], executed: Counter[str]) -> None:
    """Print what was done and what came of it."""
    for change in itertools.islice(course.changes.values(), 20):
        print(f"changed: {change}")
    print(f"operations: {dict(course.operations)}; moves of agents: {dict(course.moved)}")
    print_table(jobs, [uuid for uuid in jobs if executed[uuid] > 1])
    answered = [end.seconds for end in jobs.values() if end.kind == ANSWERED]
    if answered:
        print(f"from the call to the answer: {distribution(answered)}")
    kinds = Counter(end.kind for end in jobs.values())
    figures = {
        "commands sent": callers.sent,
        "answered": kinds[ANSWERED],
        "definite errors": kinds.total() - kinds[ANSWERED] - kinds[ENDLESS],
        "lost": kinds[ENDLESS] + callers.sent - len(set(callers.jobs.values()) & jobs.keys()),
        "executed twice": sum(executed[uuid] > 1 for uuid in jobs),
        "moves": course.moved.total(),
        "status changes of hosts that only moved": len(course.changes),
    }
    print(f"| {' | '.join(figures)} |\n|{' --- |' * len(figures)}")
    print(f"| {' | '.join(f'{figure:,}' for figure in figures.values())} |")


def main() -> None:
    """Run the command line; fails where a command was lost or carried out twice, or a move was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the order of the operations")
    add_database(parser)
    parser.add_argument("--logs", type=Path, help="a folder that the daemons' logs are copied to at the end")
    arguments = parser.parse_args()
    with (
        database(arguments) as url,
        deployment(
            servers=3, agents=arguments.agents, algorithm="roundrobin", check_interval=5, database_url=url
        ) as cluster,
    ):
        try:
            faults = measure(cluster, arguments.agents, arguments.minutes, arguments.seed)
        finally:
            if arguments.logs is not None:
                shutil.copytree(cluster.logs, arguments.logs, dirs_exist_ok=True)
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
