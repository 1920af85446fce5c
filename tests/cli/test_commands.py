"""Tests of the commands that call the API, against one that listens."""

from __future__ import annotations

import json
from typing import Any

from click.testing import Result
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from cloudlb._version import __version__
from cloudlb.cli.main import COMMANDS
from cloudlb.domain.ports import Transaction
from tests.api.world import API_KEY, SECRET, add_site
from tests.cli.command_line import CommandLineTestCase, invoke

INTERVAL = "indirect.agent.lb.check.interval"


class CommandTests(CommandLineTestCase):
    """hosts, servers, settings, set."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> None:
            add_site(txn)
            self.admit(txn, "agent-1")

        await self.database.run(work)

    async def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command prints as JSON: a list and nothing besides."""
        result = await self.run_command(*arguments, "--json")
        self.assertEqual(0, result.exit_code, result.output)
        rows: list[dict[str, Any]] = json.loads(result.stdout)
        self.assertIsInstance(rows, list)
        return rows

    async def table(self, *arguments: str) -> str:
        """What a command prints for people."""
        result = await self.run_command(*arguments)
        self.assertEqual(0, result.exit_code, result.output)
        return result.stdout

    async def test_hosts(self) -> None:
        """Name, states, server."""
        (row,) = await self.rows("hosts")
        self.assertEqual(("agent-1", "Connecting", "m"), (row["name"], row["state"], row["managementservername"]))
        table = await self.table("hosts")
        self.assertEqual("1 host: 1 Connecting, 1 not on the preferred server", table.splitlines()[-1])
        columns = table.splitlines()[1].split()
        self.assertEqual(["agent-1", "Connecting", "Enabled", "m", "localhost", "cluster", "never", row["id"]], columns)

    async def test_names_cannot_command_the_terminal(self) -> None:
        """What an agent calls its host is shown, not interpreted: neither as escape codes nor as markup."""
        await self.database.run(lambda txn: self.admit(txn, "[red]\x1b[2Jx"))
        table = await self.table("hosts")
        self.assertIn("[red]\N{REPLACEMENT CHARACTER}[2Jx", table)
        self.assertNotIn("\x1b[2J", table)

    async def test_servers(self) -> None:
        """Name, state, address, agents."""
        (row,) = await self.rows("servers")
        self.assertEqual(("m", "Up", 0), (row["name"], row["state"], row["agentscount"]))
        cells = (await self.table("servers")).splitlines()[1].split()
        self.assertEqual(["m", "Up", "127.0.0.1", "0"], cells[:4])
        self.assertEqual(__version__, cells[-1])

    async def test_settings(self) -> None:
        """Value, default, scope, description; of a cluster only what can be set for it."""
        self.assertIn("host", [row["name"] for row in await self.rows("settings")])
        table = await self.table("settings")
        self.assertIn("global,cluster", table)
        self.assertIn("Seconds between an agent's pings.", table)
        self.assertEqual([INTERVAL], [row["name"] for row in await self.rows("settings", "--cluster", "1")])

    async def test_set(self) -> None:
        """The new value is printed, and in force."""
        (row,) = await self.rows("set", INTERVAL, "60")
        self.assertEqual("60", row["value"])
        self.assertIn("5", await self.table("set", INTERVAL, "5", "--cluster", "1"))
        values = [(await self.rows("settings", *scope))[0]["value"] for scope in (["--cluster", "1"],)]
        self.assertEqual(["5"], values)

    async def test_set_refused(self) -> None:
        """One line with the reason, also for a value that looks like an option."""
        for status, arguments, reason in (
            (1, (INTERVAL, "-1"), "-1"),
            (1, ("host", "192.0.2.1", "--yes"), "no live"),
            (1, ("nothing", "1"), "nothing"),
            (8, (INTERVAL, "5", "--cluster", "9"), "'9'"),
        ):
            result = await self.run_command("set", *arguments)
            self.assertEqual((status, ""), (result.exit_code, result.stdout))
            self.assertEqual(1, len(result.stderr.splitlines()))
            self.assertIn(reason, result.stderr)
        (row,) = await self.rows("set", "host", "192.0.2.1", "--force", "--yes")
        self.assertEqual("192.0.2.1", row["value"])

    async def test_configuration_of_cs(self) -> None:
        """Without --config the configuration is found as cs finds it."""
        for env in (
            {"CLOUDSTACK_CONFIG": str(self.ini)},
            {"CLOUDSTACK_ENDPOINT": self.endpoint, "CLOUDSTACK_KEY": API_KEY, "CLOUDSTACK_SECRET": SECRET},
        ):
            found: Deferred[Result] = deferToThread(invoke, "servers", "--json", env=env)
            result = await found
            self.assertEqual(0, result.exit_code, result.output)


class NoServerTests(SynchronousTestCase):
    """What needs no server."""

    def test_usage(self) -> None:
        """Wrong usage is status 2, help is status 0 and names every command."""
        self.assertEqual(2, invoke("set", "host").exit_code)
        self.assertEqual(2, invoke("hosts", "--nothing").exit_code)
        self.assertEqual(2, invoke("nothing").exit_code)
        self.assertEqual(2, invoke("hosts", "--config", "/nonexistent").exit_code)
        result = invoke("--help")
        self.assertEqual(0, result.exit_code)
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", result.output)
        self.assertIn(__version__, invoke("--version").output)
