"""Tests of `cloudlb top`: what fits on a screen, what changes within a minute, and the keys."""

from __future__ import annotations

import io
import json
import os
import pty
from collections.abc import Sequence
from typing import Any, cast

from attrs import evolve
from rich.console import Console
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.client import Client
from cloudlb.cli.failures import Failure
from cloudlb.cli.keyboard import Keyboard
from cloudlb.cli.server_meters import AGAIN, COMMANDS, PINGS, ServerMeters, counts_of
from cloudlb.cli.top_screen import Look, Rates, screen
from cloudlb.domain.ports import Transaction
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase, on_terminal

NOW = 1_790_000_000.0


def server(number: int, agents: int, state: str = "Up", **more: Any) -> dict[str, Any]:
    """A row of listManagementServers."""
    name = f"10.0.0.{number}"
    started = "2026-09-21T14:13:10+0000"
    return {"id": str(number), "name": name, "state": state, "agentscount": agents, "lastserverstart": started, **more}


def event(number: int) -> dict[str, Any]:
    """A row of listEvents; the newest have the greatest numbers."""
    return {
        "id": str(number),
        "created": "2026-09-21T14:13:20+0000",
        "level": "INFO",
        "managementservername": "10.0.0.1",
        "username": "system",
        "description": f"event {number} \x1b[2J" + "and what it is about " * 5,
    }


def a_look(servers: Sequence[dict[str, Any]], **more: Any) -> Look:
    """A look at these servers."""
    values: dict[str, Any] = {
        "endpoint": "https://10.0.0.1:8080/client/api",
        "counts": [{"state": "Up", "resourcestate": "Enabled", "count": 5}],
        "alerts": 0,
        "events": [event(number) for number in range(100, 0, -1)],
        "event_count": 100,
        "meters": {},
        "at": NOW,
    }
    return Look(servers=servers, **{**values, **more})


def lines_of(
    look: Look, rates: Rates | None = None, *, width: int = 80, height: int = 24, trouble: str = ""
) -> list[str]:
    """What stands on a screen of this size."""
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(screen(look, rates or Rates(), width, height, trouble))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


class ScreenTests(SynchronousTestCase):
    """What fits."""

    def test_everything_fits(self) -> None:
        """On any screen, with few servers and many, nothing is pushed off, wrapped or wider than it."""
        for number in (1, 3, 30, 300):
            drain = {"started": "x", "total": 900, "moved": 100, "left": 800, "jobs": 3, "failed": [{}], "eta": 61}
            rows = [server(each, each * 100) for each in range(2, number + 1)]
            look = a_look([*rows, server(1, 800, "PreparingForMaintenance", drain=drain)])
            for width, height in ((80, 24), (80, 12), (200, 60)):
                lines = lines_of(look, width=width, height=height)
                self.assertLessEqual(len(lines), height)
                self.assertLessEqual(max(map(len, lines)), width)
                self.assertGreater(len(lines), height - 3)
                self.assertNotIn("\x1b", "".join(lines))
                self.assertRegex(lines[4], r"\A10\.0\.0\.1 +PreparingForMaintenance  800 ")

    def test_more_servers_than_fit(self) -> None:
        """How many are not shown, those first that are not Up."""
        look = a_look([server(number, 10) for number in range(1, 30)] + [server(30, 0, "Down")])
        lines = lines_of(look)
        self.assertTrue(lines[4].startswith("10.0.0.30"))
        self.assertIn("... and 22 more; see: cloudlb servers", lines)

    def test_events_run_below(self) -> None:
        """The newest is the last."""
        lines = lines_of(a_look([server(1, 5)]))
        self.assertIn("event 100 ", lines[-1])
        self.assertIn("event 99 ", lines[-2])

    def test_counts(self) -> None:
        """Hosts by state, and by what they are let do where that is less than everything; alerts."""
        counts = [
            {"state": "Up", "resourcestate": "Enabled", "count": 5},
            {"state": "Up", "resourcestate": "Maintenance", "count": 2},
            {"state": "Alert", "resourcestate": "Enabled", "count": 1},
        ]
        lines = lines_of(a_look([server(1, 7)], counts=counts, alerts=1))
        self.assertEqual("8 hosts: 7 Up, 2 Maintenance, 1 Alert; 1 alert", lines[1])

    def test_trouble(self) -> None:
        """Why it is old, instead of the heading."""
        lines = lines_of(a_look([server(1, 7)]), trouble="10.0.0.1 cannot be reached")
        self.assertRegex(lines[0], r"\A14:13:20 UTC, [0-9]+ s old: 10.0.0.1 cannot be reached\Z")

    def test_rates(self) -> None:
        """Agents that a server has more or fewer than a minute before, and events in a minute."""
        rates = Rates()
        first = a_look([server(1, 10), server(2, 10)])
        rates.add(first)
        self.assertIsNone(rates.events())
        for seconds, agents in ((30, 12), (60, 15), (90, 15), (120, 15)):
            look = a_look([server(1, agents), server(2, 20 - agents)], at=NOW + seconds, event_count=100 + seconds)
            rates.add(look)
            rates.add(look)
            if seconds == 60:
                self.assertEqual((5, -5), (rates.change("1"), rates.change("2")))
                self.assertEqual(60.0, rates.events())
                self.assertIn("+5", lines_of(look, rates)[4])
                self.assertIn("60 events/min", lines_of(look, rates)[1])
        self.assertEqual(0, rates.change("1"))
        rates.add(evolve(look, event_count=0))
        self.assertEqual(0.0, rates.events())

    def test_meters(self) -> None:
        """Pings and commands in a second, as far as looks reach back; nothing of a server that does not tell."""
        rates = Rates()
        for seconds, pings, commands in ((0, 100.0, 0.0), (2, 130.0, 1.0), (4, 160.0, 2.0)):
            meters = {"1": {PINGS: pings, COMMANDS: commands}}
            look = a_look([server(1, 10), server(2, 10)], at=NOW + seconds, meters=meters)
            rates.add(look)
        self.assertEqual((15.0, 0.5), (rates.per_second("1", PINGS), rates.per_second("1", COMMANDS)))
        self.assertIsNone(rates.per_second("2", PINGS))
        line = next(line for line in lines_of(look, rates, width=120) if line.startswith("10.0.0.1"))
        self.assertIn(" 15 ", line)
        self.assertIn(" 0.5 ", line)
        rates.add(a_look([server(1, 10)], at=NOW + 6, meters={"1": {PINGS: 5.0, COMMANDS: 0.0}}))
        self.assertIsNone(rates.per_second("1", PINGS))
        rates = Rates()
        for seconds, meters in ((0, {"1": {PINGS: 1.0}}), (2, {"1": {PINGS: 2.0}}), (4, {})):
            rates.add(a_look([server(1, 10)], at=NOW + seconds, meters=meters))
        self.assertIsNone(rates.per_second("1", PINGS))

    def test_counts_of_a_page(self) -> None:
        """Of all labels together; other lines do not matter."""
        page = """# HELP cloudlb_pings_total Pings
cloudlb_pings_total 53.0
cloudlb_pings_created 1.7e+09
cloudlb_commands_total{result="answered"} 2.0
cloudlb_commands_total{result="failed"} 1e+02
cloudlb_commands_total_of_others 7
"""
        self.assertEqual({PINGS: 53.0, COMMANDS: 102.0}, counts_of(page))

    def test_who_does_not_tell(self) -> None:
        """Is not asked again for a while; nor is one that is Down."""
        asked: list[str] = []

        class Page:
            """A client of servers of which one tells."""

            def __init__(self, address: str) -> None:
                self.address = address

            def at(self, address: str, *, timeout: int) -> Page:
                return Page(address)

            def page(self, name: str) -> str:
                asked.append(self.address)
                if self.address != "10.0.0.1":
                    raise Failure("403")
                return "cloudlb_pings_total 1.0"

        meters = ServerMeters(cast("Client", Page("")))
        rows = [server(1, 1, ipaddress="10.0.0.1"), server(2, 1, ipaddress="10.0.0.2")]
        rows.append(server(3, 0, "Down", ipaddress="10.0.0.3"))
        for now in (100.0, 100.0 + AGAIN / 2, 100.0 + AGAIN):
            self.assertEqual({"1": {PINGS: 1.0, COMMANDS: 0.0}}, meters.read(rows, now))
        self.assertEqual(["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.2"], asked)


class KeyboardTests(SynchronousTestCase):
    """Keys as they are pressed."""

    def test_pressed(self) -> None:
        """At once, without Enter; and the terminal is as before afterwards."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        import termios  # noqa: PLC0415

        before = termios.tcgetattr(theirs)
        with Keyboard(theirs) as keyboard:
            self.assertEqual("", keyboard.pressed(0))
            os.write(ours, b"q")
            self.assertEqual("q", keyboard.pressed(5))
            self.assertNotEqual(before, termios.tcgetattr(theirs))
        self.assertEqual(before, termios.tcgetattr(theirs))


class TopTests(CommandLineTestCase):
    """The command itself."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> None:
            add_site(txn)
            self.bring_up(txn, self.admit(txn, "agent-1"))

        await self.database.run(work)

    async def test_no_terminal(self) -> None:
        """Everything once, without codes for terminals."""
        result = await self.run_command("top")
        self.assertEqual(0, result.exit_code, result.output)
        self.assertIn("1 host: 1 Up; 0 alerts", result.stdout)
        self.assertIn("host agent-1 went from Connecting to Up", result.stdout)
        self.assertNotIn("\x1b", result.stdout)

    async def test_json(self) -> None:
        """One document."""
        document = json.loads((await self.run_command("top", "--json")).stdout)
        self.assertEqual([1], [row["agentscount"] for row in document["managementserver"]])
        self.assertEqual([1], [row["count"] for row in document["hostcount"]])
        self.assertEqual((0, 2), (document["alertcount"], len(document["event"])))

    async def test_terminal(self) -> None:
        """It shows the servers and ends with q, status 0."""
        shown, status = await deferToThread(on_terminal, "top", "--config", str(self.ini), awaited="alerts", typed="q")
        self.assertEqual(0, status, shown)
        self.assertIn("1 host: 1 Up; 0 alerts", shown)
        self.assertIn("q: quit", shown)
