"""`cloudlb agents`: many agents in one process, each with its own properties file and its own link."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import click
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import globalLogBeginner, textFileLogObserver

from agent.config import InvalidConfiguration
from agent.service import build
from cloudlb.cli.tables import counted
from cloudlb.net.descriptors import raise_descriptor_limit

STARTS_PER_SECOND = 100
"""Agents that look for a server in one second: 300 handshakes in one instant would time each other out."""


class Fleet(Service):
    """Starts agents one after the other, and stops them together."""

    def __init__(self, clock: IReactorTime, agents: Sequence[Service]) -> None:
        """Prepare; the agents are built, not started."""
        self._clock = clock
        self._waiting = deque(agents)
        self._started: list[Service] = []
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        """Start the first agent now, and the others at their pace."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no types there
        self._start_one()

    def stopService(self) -> Deferred[list[tuple[bool, object]]]:
        """Stop those that were started; fires when each has taken its leave, or failed to."""
        super().stopService()  # type: ignore[no-untyped-call]  # as above
        if self._next is not None:
            self._next.cancel()
            self._next = None
        return DeferredList([maybeDeferred(agent.stopService) for agent in self._started])

    def _start_one(self) -> None:
        self._next = None
        if self._waiting:
            agent = self._waiting.popleft()
            self._started.append(agent)
            agent.startService()  # type: ignore[no-untyped-call]  # as above
        if self._waiting:
            self._next = self._clock.callLater(1 / STARTS_PER_SECOND, self._start_one)


def agent_files(folder: Path) -> list[Path]:
    """The agents' properties files of a deployment, in the order of their numbers."""
    return sorted(folder.glob("agents/[0-9]*/agent.properties"), key=lambda path: int(path.parent.name))


@click.command(short_help="Run many agents in one process.")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--count", type=click.IntRange(min=1), help="How many, the first ones of DIR; all unless given.")
def agents(folder: Path, count: int | None) -> None:
    """Run agents of the deployment in DIR in one process, until Ctrl-C or SIGTERM."""
    # Importing it installs it, which is nothing for the other commands.
    from twisted.internet import reactor  # noqa: PLC0415

    files = agent_files(folder)
    if len(files) < (count or 1):
        raise click.ClickException(
            f"{folder} has {counted(len(files), 'agent')}; more are made with cloudlb init --agents"
        )
    raise_descriptor_limit()
    rng = random.SystemRandom()
    try:
        fleet = Fleet(reactor, [build(reactor, path, rng) for path in files[:count]])
    except InvalidConfiguration as error:
        raise click.ClickException(str(error)) from error
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    reactor.addSystemEventTrigger("before", "shutdown", fleet.stopService)
    reactor.callWhenRunning(fleet.startService)
    reactor.run()
