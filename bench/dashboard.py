"""What the dashboard costs: how soon it is there, and what a second of changes takes for any fleet and any audience.

The fleet is rows in a database (tests.dashboard.stage), ten of which change in a second: agents that go to and fro
between two of 30 servers. The CPU time is that of the server's process beyond what it takes while nobody looks; viewers
and browser are processes of their own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from attrs import frozen
from playwright.sync_api import sync_playwright
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver

from cloudlb.api.sessions import Session
from cloudlb.domain.ports import Transaction
from cloudlb.domain.users import Account
from cloudlb.net.spawn import spawn
from tests.dashboard.browser import CHROMIUM, FLAGS, log_in
from tests.dashboard.stage import Stage

SERVERS = 30
CHANGES = 10
"""Agents that move in a second."""
SETTLE = 3.0
DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@frozen
class Figures:
    """Of one fleet and audience."""

    snapshot: int
    """Bytes, as they come to a viewer."""
    rate: float
    """Bytes per second and viewer."""
    cpu: float
    """Seconds of CPU per second."""


class Viewers:
    """A process that follows."""

    def __init__(self, stage: Stage, session: Session, count: int) -> None:
        port = stage.url.rpartition(":")[2].strip("/")
        self._process = Popen(
            [sys.executable, "-m", "bench.viewers", port, session.id, session.key, str(count)],
            stdin=PIPE,
            stdout=PIPE,
            text=True,
        )
        self._count = count

    def bytes_each(self) -> Deferred[float]:
        """What each has got so far."""
        return deferToThread(self._ask)

    def _ask(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline()) / self._count

    def end(self) -> None:
        """Leave."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


async def _churn(stage: Stage, seconds: float) -> float:
    """Have agents move for a while; the CPU time per second that the process took."""
    clock: Any = reactor
    began, cpu = time.monotonic(), time.process_time()
    turn = 0
    while time.monotonic() - began < seconds:
        turn += 1
        # Of nine groups, so that each is somewhere else the next time.
        names = [f"host-{1 + (turn % 9) * CHANGES + number}" for number in range(CHANGES)]
        await stage.move(names, f"mgmt-{1 + turn % 2}")
        await deferLater(clock, max(0.0, began + turn - time.monotonic()), lambda: None)
    return (time.process_time() - cpu) / (time.monotonic() - began)


async def _measure(stage: Stage, session: Session, viewers: int, seconds: float, idle: float) -> Figures:
    clock: Any = reactor
    audience = Viewers(stage, session, viewers)
    try:
        await deferLater(clock, SETTLE, lambda: None)
        snapshot = await audience.bytes_each()
        began = time.monotonic()
        cpu = await _churn(stage, seconds)
        rate = (await audience.bytes_each() - snapshot) / (time.monotonic() - began)
    finally:
        audience.end()
    return Figures(round(snapshot), rate, cpu - idle)


def _first_views(url: str) -> tuple[float, float]:
    """Seconds from the click on "Log in" to the picture, and from a reload to it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.get_by_label("User").wait_for()
        began = time.monotonic()
        log_in(page)
        page.evaluate(DRAWN)
        login = time.monotonic() - began
        began = time.monotonic()
        page.reload(wait_until="commit")
        page.locator(".card").nth(SERVERS - 1).wait_for()
        page.evaluate(DRAWN)
        reload = time.monotonic() - began
        browser.close()
    return login, reload


def _guest(txn: Transaction) -> Account:
    account = txn.accounts.by_username("guest")
    assert account is not None
    return account


async def _run(agents: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(reactor, Path(folder) / "database")
        try:
            await stage.start(SERVERS, agents)
            session = stage.service.website.sessions.begin(await stage.write(_guest))
            idle = await _churn(stage, seconds)
            for viewers in (1, 20):
                figures = await _measure(stage, session, viewers, seconds, idle)
                print(
                    f"{agents:>7} {viewers:>8} {figures.snapshot / 1000:>12.1f} {figures.rate / 1000:>14.2f} "
                    f"{1000 * figures.cpu:>12.1f}",
                    flush=True,
                )
            if agents >= 10_000:
                login, reload = await deferToThread(_first_views, stage.url)
                print(f"first view of {agents} agents: {login:.2f} s after the login, {reload:.2f} s after a reload")
        finally:
            await stage.stop()


async def _main(fleets: list[int], seconds: float) -> None:
    print(f"{CHANGES} agents move every second, between two of {SERVERS} servers, for {seconds:g} s")
    print(f"{'agents':>7} {'viewers':>8} {'snapshot, kB':>12} {'kB/s per viewer':>14} {'CPU, ms/s':>12}")
    for agents in fleets:
        await _run(agents, seconds)


def main() -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--seconds", type=float, default=20.0, help="of changes, for each figure")
    arguments = parser.parse_args()
    clock: Any = reactor

    def begin() -> None:
        done = spawn(_main(arguments.agents, arguments.seconds), Logger(), "measure")
        done.addBoth(lambda _: clock.stop())

    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    clock.callWhenRunning(begin)
    clock.run()


if __name__ == "__main__":
    main()
