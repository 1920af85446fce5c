#!/usr/bin/env python3
"""Four agents end in four ways, and four different stories are on record: python docs/stories.py, as root.

One agent's machine loses its power, one agent hangs (SIGSTOP), one is killed (kill -9), and one is shut down cleanly.
Each runs in a network namespace of its own, on a bridge in the namespace of a management server; the hosts share a
folder as their storage. It is a real deployment: cloudlb init, and daemons that know nothing of this script. What came
of it is read from the API, shown, and held against what should have come of it, and when. The exit status is 0 only
if every story is as it should be. Nothing is left behind: no process, no namespace, no file.

Takes about a minute. Needs Linux, ip (iproute2), and the Python that cloudlb is installed for.
"""

from __future__ import annotations

import configparser
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

try:
    from cs import CloudStack, CloudStackException
except ImportError:
    sys.exit(f"cloudlb is not installed for {sys.executable}; call this with the Python that has it")

SERVER = "10.98.0.1"
SETTINGS = {"ping.interval": 2, "ha.investigator.timeout": 5, "ha.investigation.timeout": 20}
PING_TIMEOUT = 2 * 2.5
"""Seconds of silence after which an agent is investigated, with ping.timeout's default of 2.5 intervals."""
INVESTIGATION = 20
DETECTION = 1
"""Seconds in which what can be known is to be known."""
MARGIN = 2
"""Seconds for a busy machine, and for looking only every so often."""
HEARTBEAT = 1
"""Seconds between the hosts' signs of life on their storage; three without one, and a neighbour misses it."""
LOOK = 0.2
"""Seconds between looks."""
START = 60
"""Seconds for everything to start."""
PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin:/sbin"


@dataclass
class Story:
    """What befalls an agent, and what is to be on record of it."""

    title: str
    agent: str
    befall: Callable[[], None]
    cause: str
    """What the server notices."""
    verdict: str | None
    """None: nobody is to be asked."""
    investigator: str | None
    event: str
    """What changes the status."""
    status: str
    budget: float
    """Seconds from what befell the agent until the status and the verdict are there."""
    began: float = 0.0
    ended: float | None = None
    investigation: Mapping[str, Any] | None = None
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def flaws(self) -> list[str]:
        """What is not as it should be."""
        found = self.investigation
        seen = (found["cause"], found["verdict"], found.get("investigator")) if found else None
        wanted = (self.cause, self.verdict, self.investigator) if self.verdict else None
        steps = [event["details"] for event in self.events if event["type"] == "HOST.STATUS.TRANSITION"]
        flaws = []
        if self.ended is None:
            flaws.append(f"it was not over within {self.budget:g} s")
        if seen != wanted:
            flaws.append(f"investigated: {seen}, and should be {wanted}")
        if [(step["event"], step["to"]) for step in steps] != [(self.event, self.status)]:
            flaws.append(f"transitions: {steps}, and should be one to {self.status} by {self.event}")
        return flaws


class Deployment:
    """A management server and four hosts, each on a machine of its own as far as the network goes."""

    def __init__(self, folder: Path, names: Sequence[str], cleanup: ExitStack) -> None:
        self.folder = folder
        self.management = f"cloudlb-{os.getpid()}"
        self.machines = {name: f"{self.management}-{number}" for number, name in enumerate(names, 1)}
        self._cleanup = cleanup
        self._agents: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Lay the network, make the deployment and start its daemons."""
        self._lay_network()
        agents = len(self.machines)
        run("cloudlb", "init", str(self.folder / "d"), "--server", SERVER, "--agents", str(agents))
        for number in range(1, agents + 1):
            with self._properties(number).open("a") as file:
                file.write(f"simulator.heartbeat.dir={self.folder / 'storage'}\n")
                file.write(f"simulator.heartbeat.interval={HEARTBEAT}\n")
        server = self.folder / "d" / "servers" / SERVER / "mgmt.properties"
        self._spawn("server", ["twistd", "-n", "--pidfile=", "cloudlb-mgmt", "--config", str(server)])
        self.api = self._connect()
        for name, value in SETTINGS.items():
            self.api.updateConfiguration(name=name, value=value)
        for number, (name, machine) in enumerate(self.machines.items(), 1):
            agent = ["twistd", "-n", "--pidfile=", "cloudlb-agent", "--config", str(self._properties(number))]
            self._agents[name] = self._spawn(name, ["ip", "netns", "exec", machine, *agent])
        self.wait(lambda: all(self.status(name) == "Up" for name in self.machines), "every host is Up")
        # Until each host has left signs of life for its neighbours, and has been heard on its own.
        time.sleep(3 * HEARTBEAT)

    def _lay_network(self) -> None:
        for namespace in (self.management, *self.machines.values()):
            run("ip", "netns", "add", namespace)
            self._cleanup.callback(run, "ip", "netns", "delete", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.management, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self.management, "address", "add", f"{SERVER}/24", "dev", "bridge")
        run("ip", "-n", self.management, "link", "set", "bridge", "up")
        for number, machine in enumerate(self.machines.values(), 1):
            port = ["link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", machine]
            run("ip", "-n", self.management, *port)
            run("ip", "-n", self.management, "link", "set", f"port{number}", "master", "bridge", "up")
            run("ip", "-n", machine, "address", "add", f"10.98.0.{10 + number}/24", "dev", "eth0")
            run("ip", "-n", machine, "link", "set", "eth0", "up")
        enter(self.management)

    def _properties(self, number: int) -> Path:
        return self.folder / "d" / "agents" / str(number) / "agent.properties"

    def _spawn(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own programs
                [program(command[0]), *command[1:]],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, "PATH": PROGRAMS},
                start_new_session=True,
            )
        self._cleanup.callback(end, process)
        return process

    def _connect(self) -> CloudStack:
        ini = configparser.ConfigParser(interpolation=None)
        ini.read(self.folder / "d" / "cloudstack.ini")
        found = ini["cloudstack"]
        api = CloudStack(found["endpoint"], found["key"], found["secret"], timeout=10)

        def answers() -> bool:
            try:
                api.listZones()
            except (OSError, CloudStackException):
                return False
            return True

        self.wait(answers, "the API answers")
        return api

    def wait(self, true: Callable[[], bool], what: str) -> None:
        """Wait until something is so, while everything starts."""
        deadline = time.monotonic() + START
        while not true():
            if time.monotonic() > deadline:
                for log in sorted(self.folder.glob("*.log")):
                    print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n")
                raise SystemExit(f"after {START} s it is still not so that {what}")
            time.sleep(LOOK)

    def status(self, name: str) -> str | None:
        """The state of a host as the API shows it; None before it is there."""
        hosts = self.api.listHosts(name=name).get("host", [])
        return hosts[0]["state"] if hosts else None

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to an agent."""
        self._agents[name].send_signal(number)

    def cut_power(self, name: str) -> None:
        """End everything on a machine without a word to anybody."""
        port = list(self.machines).index(name) + 1
        run("ip", "-n", self.management, "link", "set", f"port{port}", "down")
        self.signal(name, signal.SIGKILL)

    def record(self, story: Story) -> bool:
        """Read what is on record of a story; whether it is over."""
        found = self.api.listInvestigations(hostid=story.agent).get("investigation", [])
        story.investigation = found[0] if found else None
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(story.began - 1))
        events = self.api.listEvents(resourceid=story.agent, startdate=since).get("event", [])
        story.events = events[::-1]
        return self.status(story.agent) == story.status and (story.investigation is not None) == bool(story.verdict)


def stories(deployment: Deployment) -> list[Story]:
    """The four of them; the first is told while the others' hosts can be asked as neighbours."""

    def send(name: str, number: signal.Signals) -> Callable[[], None]:
        return lambda: deployment.signal(name, number)

    silent = PING_TIMEOUT + DETECTION + INVESTIGATION + MARGIN
    power, hung, killed, stopped = deployment.machines
    return [
        Story(
            title="its machine loses power",
            agent=power,
            befall=lambda: deployment.cut_power(power),
            cause="PingTimeout",
            verdict="Down",
            investigator="KVMInvestigator",
            event="HostDown",
            status="Down",
            budget=silent,
        ),
        Story(
            title="it hangs (SIGSTOP)",
            agent=hung,
            befall=send(hung, signal.SIGSTOP),
            cause="PingTimeout",
            verdict="Up",
            investigator="IcmpInvestigator",
            event="PingTimeout",
            status="Disconnected",
            budget=silent,
        ),
        Story(
            title="it is killed (kill -9)",
            agent=killed,
            befall=send(killed, signal.SIGKILL),
            cause="AgentDisconnected",
            verdict="Up",
            investigator="IcmpInvestigator",
            event="AgentDisconnected",
            status="Disconnected",
            budget=DETECTION + INVESTIGATION + MARGIN,
        ),
        Story(
            title="it is shut down",
            agent=stopped,
            befall=send(stopped, signal.SIGTERM),
            cause="ShutdownRequested",
            verdict=None,
            investigator=None,
            event="ShutdownRequested",
            status="Disconnected",
            budget=DETECTION + MARGIN,
        ),
    ]


def play(deployment: Deployment, story: Story) -> None:
    """Have a story happen, and read it until it is over or should be."""
    print(f"{story.agent}: {story.title} ...", flush=True)
    story.began = time.time()
    story.befall()
    while time.time() <= story.began + story.budget:
        if deployment.record(story):
            story.ended = time.time()
            break
        time.sleep(LOOK)
    # What should not be there comes late, if it comes.
    time.sleep(DETECTION + MARGIN)
    deployment.record(story)


def tell(told: Sequence[Story]) -> bool:
    """Show the stories and what is wrong with them; whether nothing is."""
    rows = [("what befell the agent", "cause", "decided by", "verdict", "asked for", "status", "after", "budget", "")]
    for story in told:
        found = story.investigation
        rows.append(
            (
                story.title,
                found["cause"] if found else story.cause,
                (found.get("investigator") or "nobody knew") if found else "nobody was asked",
                found["verdict"] if found else "-",
                f"{found['duration'] / 1000:.1f} s" if found else "-",
                story.status if story.ended else "?",
                f"{story.ended - story.began:.1f} s" if story.ended else "never",
                f"{story.budget:g} s",
                "as it should be" if not story.flaws() else "WRONG",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for story in told:
        print(f"\n{story.agent}, {story.title}; on record:")
        for event in story.events:
            print(f"  {event['created'][11:19]} {event['type']}: {event['description']}")
        for finding in (story.investigation or {}).get("findings", []):
            took = f"{finding['duration'] / 1000:.1f} s"
            print(f"    {finding['investigator']}: {finding['verdict']} after {took}: {finding['reason']}")
        for flaw in story.flaws():
            print(f"  WRONG: {flaw}")
    return not any(story.flaws() for story in told)


def program(name: str) -> str:
    """The path of a program: beside our Python, or in PATH."""
    found = shutil.which(name, path=PROGRAMS)
    if found is None:
        raise SystemExit(f"there is no {name} beside {sys.executable} or in PATH")
    return found


def run(*command: str) -> None:
    """Run a program to its end, which must be a good one."""
    done = subprocess.run([program(command[0]), *command[1:]], capture_output=True, text=True, check=False)  # noqa: S603 - as above
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours, also one that is stopped."""
    process.kill()
    process.wait()


def enter(namespace: str) -> None:
    """Move this process, and all that it starts from now on, into a network namespace [setns(2)]."""
    with Path("/run/netns", namespace).open() as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {namespace}")


@contextmanager
def signals_end_it() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end us as Ctrl-C does: with everything cleared away."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    yield


def main() -> int:
    """Play the stories and tell them."""
    if sys.platform != "linux" or os.geteuid() != 0:
        print("this needs Linux and root: it makes network namespaces", file=sys.stderr)
        return 2
    with signals_end_it(), ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="cloudlb-stories-")))
        deployment = Deployment(folder, [f"agent-{number}" for number in range(1, 5)], cleanup)
        print("Starting a management server and four agents ...", flush=True)
        deployment.start()
        told = stories(deployment)
        for story in told:
            play(deployment, story)
        return 0 if tell(told) else 1


if __name__ == "__main__":
    sys.exit(main())
