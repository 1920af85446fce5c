"""Tests of `cloudlb events` and `cloudlb alerts`, against a server that listens."""

from __future__ import annotations

import json

from cloudlb.domain.ports import Transaction
from cloudlb.domain.records import AlertType
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase


class EventCommandTests(CommandLineTestCase):
    """What happened, for people and programs."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> None:
            add_site(txn)
            self.admit(txn, "agent-1")
            host = self.admit(txn, "agent-2")
            txn.events.add("HOST.ADD", "somebody did", now=5.0, host_id=host.id, account_id=1)
            for at in (5.0, 6.0):
                txn.alerts.send(AlertType.HOST, "agent-2 is [b]down[/b]\x1b[2J", host_id=host.id, now=at)

        await self.database.run(work)

    async def lines(self, *arguments: str) -> list[str]:
        """What a command prints."""
        result = await self.run_command(*arguments)
        self.assertEqual(0, result.exit_code, result.output)
        return result.stdout.splitlines()

    async def test_events(self) -> None:
        """The newest first: when, how grave, what, where, and who."""
        heading, newest, *older = await self.lines("events")
        self.assertEqual(["TIME", "(UTC)", "LEVEL", "TYPE", "HOST", "SERVER", "USER", "DESCRIPTION"], heading.split())
        self.assertEqual(
            ["1970-01-01", "00:00:05", "INFO", "HOST.ADD", "agent-2", "admin", "somebody", "did"], newest.split()
        )
        self.assertEqual(2, len(older))
        self.assertEqual(["HOST.STATUS.TRANSITION", "agent-2", "m", "system"], older[0].split()[3:7])

    async def test_choice(self) -> None:
        """Of a host, of a type, and no more than asked for."""
        self.assertEqual(3, len(await self.lines("events", "--host", "agent-2")))
        self.assertEqual(2, len(await self.lines("events", "--type", "HOST.ADD")))
        _, newest = await self.lines("events", "--limit", "1")
        self.assertIn("somebody did", newest)
        rows = json.loads("\n".join(await self.lines("events", "--host", "agent-1", "--json")))
        self.assertEqual(["agent-1"], [row["resourcename"] for row in rows])
        self.assertEqual(["[]"], await self.lines("events", "--type", "NONE", "--json"))

    async def test_unknown_host(self) -> None:
        """It is named, with a status of its own."""
        result = await self.run_command("events", "--host", "agent-9")
        self.assertEqual(8, result.exit_code)
        self.assertIn("agent-9", result.stderr)

    async def test_alerts(self) -> None:
        """Since when, how often, what; nothing that a name holds reaches the terminal."""
        _, line = await self.lines("alerts")
        words = line.split()
        self.assertEqual(["1970-01-01", "00:00:06", "2", "ALERT.COMPUTE.HOST", "agent-2", "agent-2"], words[:6])
        self.assertIn("[b]down[/b]\N{REPLACEMENT CHARACTER}[2J", line)
        (row,) = json.loads("\n".join(await self.lines("alerts", "--json")))
        self.assertEqual((7, 2), (row["type"], row["occurrences"]))
