"""Thousands of commands through every server while servers are killed: each ends, and none is carried out twice.

    python -m bench.commands --agents 50 --commands 10000

Three servers and real agents, as `cloudlb agents` runs them. Half of the commands are queries (CheckHealthCommand), and
half change something and are therefore journalled. A caller whose server dies repeats its call on another one, with the
same id. Twice a server is ended by SIGKILL, and started again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import requests
from attrs import frozen
from cs import CloudStack, CloudStackApiException, CloudStackException
from sqlalchemy import select

from bench.cluster import ask, deployment, start_servers
from bench.figures import distribution
from bench.postgres import add_database, database
from bench.real_agents import running_agents, settle
from cloudlb.cli.local_cluster import LocalCluster, site_url
from cloudlb.storage.schema import async_job

QUERY = "com.cloud.agent.api.CheckHealthCommand"
CHANGE = "com.cloud.agent.api.ModifySshKeysCommand"
TIMEOUT = 120
"""Seconds that each command may take."""
END_TIMEOUT = 240.0
"""Seconds after the last call in which every job has to end: its time-out, its margin, and somebody's look at it."""
RETRY_STATUSES = (429, 503, 533)
"""Answers of a server that could not take the call just now."""
RETRY_PAUSE = 0.2
OUTAGE = 12.0
"""Seconds that a killed server stays away: the others call it Down after 7.5."""
ANSWERED, ENDLESS = "answered", "without an end"
NEVER_SENT = ("unavailable", "busy", "not carried out")
"""Kinds of errors that say so."""
KILLS = (0.25, 0.6)
"""Parts of the commands that are sent when a server is killed."""


@frozen
class Ended:
    """A job as the database has it."""

    name: str
    """The command's class."""
    status: int
    """CloudStack's: 0 runs, 1 succeeded, 2 failed."""
    text: str
    seconds: float

    @property
    def kind(self) -> str:
        """How it ended, in a word or two: of an error what stands before the first colon."""
        if self.status == 0:
            return ENDLESS
        return ANSWERED if self.status == 1 else self.text.partition(":")[0]


def paced(numbers: Iterable[int], seconds: float) -> Iterator[int]:
    """Numbers of commands, one in so many seconds if those who take them keep up."""
    began = time.monotonic()
    for count, number in enumerate(numbers):
        time.sleep(max(0.0, began + count * seconds - time.monotonic()))
        yield number


class Callers:
    """Several threads that send commands, each call to whichever server answers."""

    def __init__(
        self, cluster: LocalCluster, hosts: Sequence[str], turns: Iterator[int], *, threads: int = 8, patience: int = 20
    ) -> None:
        """Prepare.

        Args:
            turns: the numbers of the commands, each when it is due.
            threads: calls at the same time.
            patience: seconds that a server has to take a call before the next one is asked.
        """
        self.sent = 0
        self.repeated = 0
        self.jobs: dict[int, str] = {}
        self.done = threading.Event()
        self._cluster = cluster
        self._hosts = hosts
        self._turns = turns
        self._threads = threads
        self._patience = patience
        self._local = threading.local()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Send all."""
        lock = threading.Lock()

        def caller() -> None:
            while True:
                with lock:
                    number = next(self._turns, None)
                if number is None:
                    return
                self._send(number)

        try:
            with ThreadPoolExecutor(self._threads) as pool:
                for running in [pool.submit(caller) for _ in range(self._threads)]:
                    running.result()
        finally:
            self.done.set()

    def _send(self, number: int) -> None:
        clients = self._clients()
        deadline = time.monotonic() + END_TIMEOUT
        for attempt in itertools.count():
            try:
                answer = clients[(number + attempt) % len(clients)].sendCommand(
                    hostid=self._hosts[number % len(self._hosts)],
                    name=QUERY if number % 2 else CHANGE,
                    arguments=json.dumps({} if number % 2 else {"pubKey": f"key-{number}", "prvKey": "x" * 200}),
                    timeout=TIMEOUT,
                    id=f"bench-{number}",
                )
            except (requests.RequestException, CloudStackException) as error:
                again = not isinstance(error, CloudStackApiException) or error.response.status_code in RETRY_STATUSES
                if not again or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_PAUSE)
                continue
            with self._lock:
                self.sent += 1
                self.repeated += attempt > 0
                self.jobs[number] = answer["jobid"]
            return

    def _clients(self) -> list[CloudStack]:
        """Connections of this thread's own to every server."""
        if not hasattr(self._local, "clients"):
            self._local.clients = [
                client_of(self._cluster, name, self._patience) for name in self._cluster.inventory.servers
            ]
        clients: list[CloudStack] = self._local.clients
        return clients


def client_of(cluster: LocalCluster, server: str, patience: int) -> CloudStack:
    """What calls the API of one server, which has so many seconds for an answer."""
    config = cluster.inventory.servers[server]
    return CloudStack(
        endpoint=f"{site_url(config)}client/api",
        key=cluster.inventory.api_key,
        secret=cluster.inventory.secret,
        timeout=patience,
        method="post",
    )


def kill_twice(cluster: LocalCluster, callers: Callers, total: int) -> None:
    """Kill two servers, one after the other, while commands are sent, and start each again."""
    for part, name in zip(KILLS, list(cluster.servers)[1:], strict=True):
        while callers.sent < part * total and not callers.done.is_set():
            time.sleep(0.05)
        cluster.servers[name].kill()
        print(f"{name} killed after {callers.sent} commands")
        time.sleep(OUTAGE)
        cluster.servers[name].start()
        cluster.wait_for_servers([name])
        print(f"{name} listens again after {callers.sent} commands")


def record_executions(cluster: LocalCluster) -> None:
    """Have every agent write down what it carries out."""
    for path in cluster.inventory.agents.values():
        with path.open("a", encoding="utf-8") as file:
            file.write(f"simulator.record={path.parent / 'executed'}\nsimulator.delay=0.2\n")


def executions(cluster: LocalCluster) -> Counter[str]:
    """How often each job's command was carried out."""
    counted: Counter[str] = Counter()
    for path in cluster.inventory.agents.values():
        executed = path.parent / "executed"
        if executed.exists():
            counted.update(line.split()[1] for line in executed.read_text(encoding="utf-8").splitlines())
    return counted


def ends(cluster: LocalCluster) -> dict[str, Ended]:
    """Every job by its uuid, straight from the database."""
    return {
        job.uuid: Ended(
            job.arguments["class"],
            job.status,
            job.result.get("errortext", ""),
            0.0 if job.completed is None else job.completed - job.created,
        )
        for job in ask(cluster, select(*async_job.c).where(async_job.c.command == "sendCommand"))
    }


def wait_for_ends(cluster: LocalCluster) -> float:
    """Wait until no job runs, or for as long as that may take; return the seconds."""
    began = time.monotonic()
    while time.monotonic() - began < END_TIMEOUT:
        if all(end.status for end in ends(cluster).values()):
            break
        time.sleep(1)
    return time.monotonic() - began


def print_table(jobs: Mapping[str, Ended], twice: Collection[str]) -> None:
    """How many ended how."""
    kinds = Counter(end.kind for end in jobs.values())
    errors = sorted(kinds.keys() - {ANSWERED, ENDLESS})
    print("| | journalled | queries | together |\n| --- | --- | --- | --- |")

    def line(label: str, found: Iterable[Ended]) -> None:
        of = Counter(end.name for end in found)
        print(f"| {label} | {of[CHANGE]:,} | {of[QUERY]:,} | {of.total():,} |")

    line("jobs sent", jobs.values())
    for kind in (ANSWERED, *errors, ENDLESS):
        line(kind, (end for end in jobs.values() if end.kind == kind))
    line("carried out twice", (jobs[uuid] for uuid in twice))


def faults_of(jobs: Mapping[str, Ended], executed: Counter[str]) -> list[str]:
    """What was not as it has to be."""
    counts = {
        "jobs have no end": sum(end.kind == ENDLESS for end in jobs.values()),
        "commands were carried out twice": sum(executed[uuid] > 1 for uuid in jobs),
        "commands were carried out, and their jobs say that they never were sent": sum(
            end.kind in NEVER_SENT and executed[uuid] > 0 for uuid, end in jobs.items()
        ),
        "jobs have an answer to what was not carried out": sum(
            end.kind == ANSWERED and executed[uuid] == 0 for uuid, end in jobs.items()
        ),
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


def measure(cluster: LocalCluster, agents: int, total: int, seconds: float) -> list[str]:
    """Send, kill, wait, count."""
    record_executions(cluster)
    start_servers(cluster)
    with running_agents(cluster, agents):
        print(f"{agents} agents on the heads of their lists after {settle(cluster, agents):.1f} s")
        hosts = list(cluster.inventory.agents)[:agents]
        random.Random(1).shuffle(hosts)
        callers = Callers(cluster, hosts, paced(range(total), seconds / total))
        began = time.monotonic()
        calling = threading.Thread(target=callers.run)
        calling.start()
        kill_twice(cluster, callers, total)
        calling.join()
        print(f"{callers.sent} calls in {time.monotonic() - began:.0f} s, {callers.repeated} of them repeated")
        print(f"every job had ended {wait_for_ends(cluster):.0f} s after the last call, or never")
        jobs, executed = ends(cluster), executions(cluster)
        print_table(jobs, [uuid for uuid in jobs if executed[uuid] > 1])
        answered = [end.seconds for end in jobs.values() if end.kind == ANSWERED]
        print(f"from the call to the answer: {distribution(answered)}")
        faults = faults_of(jobs, executed)
        if len(jobs) != total:
            faults.append(f"{total} calls were made and there are {len(jobs)} jobs")
        if len(set(callers.jobs.values())) != total:
            faults.append(f"{total} calls were answered with {len(set(callers.jobs.values()))} different jobs")
        return faults


def main() -> None:
    """Run the command line; fails where a job did not end, or a command was carried out twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--commands", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=90.0, help="that the commands are spread over")
    add_database(parser)
    arguments = parser.parse_args()
    with (
        database(arguments) as url,
        deployment(
            servers=3, agents=arguments.agents, algorithm="roundrobin", check_interval=5, database_url=url
        ) as cluster,
    ):
        faults = measure(cluster, arguments.agents, arguments.commands, arguments.seconds)
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
