"""Tests of what --follow tells: each thing once, whatever the clocks and the order of writing."""

from __future__ import annotations

import contextlib
import json
from typing import Any, ClassVar, cast
from unittest.mock import patch

from click.testing import Result
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli import following as module
from cloudlb.cli.client import Client
from cloudlb.cli.failures import Unreachable
from cloudlb.cli.following import PAGE, PAUSE, News, follow, paged
from cloudlb.cli.jobs import PATIENCE
from cloudlb.domain.ports import Transaction
from cloudlb.domain.records import AlertType
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase


class NewsTests(SynchronousTestCase):
    """A listing that grows at its beginning."""

    def setUp(self) -> None:
        """Three rows."""
        self.rows = [3, 2, 1]
        self.asked = 0
        self.news = News(self.page, key=lambda row: row["id"])

    def page(self, number: int, size: int) -> list[dict[str, Any]]:
        """A page of the listing."""
        self.asked += 1
        return [{"id": each} for each in self.rows[(number - 1) * size : number * size]]

    def ids(self, rows: list[dict[str, Any]]) -> list[int]:
        """What was told."""
        return [row["id"] for row in rows]

    def test_once_each(self) -> None:
        """The newest at first, as many as wanted; then what is new, the oldest first."""
        self.assertEqual([2, 3], self.ids(self.news.first(2)))
        self.assertEqual([], self.news.next())
        self.rows[:0] = [5, 4]
        self.assertEqual([4, 5], self.ids(self.news.next()))
        self.assertEqual([], self.news.next())

    def test_late_rows(self) -> None:
        """A row that another server writes below newer ones is told as well."""
        self.news.first(3)
        self.rows = [5, 4, 3, 2, 1]
        self.news.next()
        self.rows = [5, 6, 4, 7, 3, 2, 1]
        self.assertEqual([7, 6], self.ids(self.news.next()))

    def test_more_than_a_page(self) -> None:
        """Nothing is left out, and no page is asked for that has nothing new."""
        self.news.first(3)
        self.asked = 0
        self.rows[:0] = range(PAGE + 50, 3, -1)
        self.assertEqual(list(range(4, PAGE + 51)), self.ids(self.news.next()))
        self.assertEqual(2, self.asked)

    def test_what_is_remembered(self) -> None:
        """Not without end, and never too little to know what the listing still has on its first page."""
        self.news.first(3)
        with patch.object(module, "_REMEMBERED", 2 * PAGE):
            for number in range(20):
                self.rows[:0] = range((number + 1) * PAGE + 3, number * PAGE + 3, -1)
                self.assertEqual(PAGE, len(self.news.next()))
                self.assertEqual([], self.news.next())
                self.assertLessEqual(len(self.news._known), 2 * PAGE)

    def test_server_that_is_away(self) -> None:
        """Waited for as long as its jobs are, and then the failure is told."""
        now, away = [0.0], [2.0, 5.0]

        def page(number: int, size: int) -> list[dict[str, Any]]:
            if away[0] <= now[0] < away[1]:
                raise Unreachable("gone", "ask another")
            return self.page(number, size)

        def sleep(seconds: float) -> None:
            now[0] += seconds
            if now[0] == 6.0:
                self.rows.insert(0, 4)

        with patch("time.sleep", sleep), patch("time.monotonic", lambda: now[0]):
            told = follow(News(page, key=lambda row: row["id"]), 1)
            self.assertEqual([3], self.ids(next(told)))
            self.assertEqual([4], self.ids(next(told)))
            away[1] = 1000.0
            with self.assertRaises(Unreachable):
                next(told)
        self.assertEqual(6.0 + PATIENCE + PAUSE, now[0])


class Deployment:
    """The API of a server, and by it of two others; those that have died do not answer."""

    dead: ClassVar[set[str]] = set()

    def __init__(self, address: str) -> None:
        self.address = address

    def at(self, address: str) -> Deployment:
        """Another one."""
        return Deployment(address)

    def list(self, command: str, **parameters: object) -> list[dict[str, Any]]:
        """Their addresses."""
        return [{"ipaddress": address} for address in ("a", "b", "c")]

    def call(self, command: str, **parameters: object) -> dict[str, Any]:
        """Who answers."""
        if self.address in self.dead:
            raise Unreachable(f"{self.address} is gone")
        return {"event": [{"id": self.address}]}


class PagedTests(SynchronousTestCase):
    """Whom pages are asked for."""

    def test_a_server_dies(self) -> None:
        """Another one is asked, until that one dies as well."""
        ask = paged(cast("Client", Deployment("a")), "listEvents", "event")
        answers = []
        for dead in (set(), {"a"}, {"a", "b"}, {"c"}):
            self.patch(Deployment, "dead", dead)
            for _ in range(4):
                with contextlib.suppress(Unreachable):
                    (row,) = ask(1, PAGE)
                    break
            answers.append(row["id"])
        self.assertEqual(["a", "b", "c", "a"], answers)


class FollowTests(CommandLineTestCase):
    """events --follow and alerts --follow."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> None:
            add_site(txn)
            host = self.admit(txn, "agent-1")
            txn.alerts.send(AlertType.HOST, "agent-1 is down", host_id=host.id, now=5.0)

        await self.database.run(work)

    async def followed(self, *arguments: str) -> Result:
        """Follow until the third look has been made, which is interrupted, as by Ctrl-C."""
        looks = [0]

        def sleep(_: float) -> None:
            looks[0] += 1
            if looks[0] == 3:
                raise KeyboardInterrupt

        with patch("time.sleep", sleep):
            running: Deferred[Result] = self.run_command(*arguments, "--follow")
            await deferLater(reactor, 0)
            return await running

    async def test_events(self) -> None:
        """A line each, and the status of Ctrl-C."""
        result = await self.followed("events", "--host", "agent-1")
        (line,) = result.stdout.splitlines()
        self.assertRegex(line, r"\A1970-01-01 00:00:01 INFO  m host agent-1 went from Creating to Connecting")
        self.assertEqual(130, result.exit_code)

    async def test_json_lines(self) -> None:
        """A document on a line of its own each."""
        for command, name in (("events", "resourcename"), ("alerts", "hostname")):
            result = await self.followed(command, "--json")
            (line,) = result.stdout.splitlines()
            self.assertEqual("agent-1", json.loads(line)[name])

    async def test_alerts(self) -> None:
        """One that is sent again is told again, with how often."""
        (first,) = (await self.followed("alerts")).stdout.splitlines()
        self.assertTrue(first.endswith("ALERT.COMPUTE.HOST agent-1 is down"), first)

        def again(txn: Transaction) -> None:
            host = txn.hosts.find("agent-1")
            assert host is not None
            txn.alerts.send(AlertType.HOST, "agent-1 is down", host_id=host.id, now=9.0)

        await self.database.run(again)
        (second,) = (await self.followed("alerts")).stdout.splitlines()
        self.assertTrue(second.endswith("agent-1 is down (2 times)"), second)

    async def test_archive(self) -> None:
        """By the beginning of an id, by host, or all; then there are none."""
        for how in ("id", "host", "all"):
            await self.database.run(lambda txn: txn.alerts.send(AlertType.HOST, "down", host_id=1, now=5.0))  # type: ignore[arg-type]
            rows = json.loads((await self.run_command("alerts", "--json")).stdout)
            which = {"id": [row["id"][:8] for row in rows], "host": ["--host", "agent-1"], "all": ["--all"]}[how]
            result = await self.run_command("alerts", "archive", *which)
            self.assertIn(" archived.", result.stdout, result.output)
            self.assertEqual("No alerts.\n", (await self.run_command("alerts")).stdout)
        self.assertEqual(2, (await self.run_command("alerts", "archive")).exit_code)
        self.assertEqual(2, (await self.run_command("alerts", "archive", "--all", "--host", "agent-1")).exit_code)
