"""Tests of `cloudlb plan`, against an API that listens."""

from __future__ import annotations

import json

from click.testing import Result
from twisted.internet.defer import Deferred

from cloudlb.domain.models import ServerId
from cloudlb.domain.ports import Transaction
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase


class PlanTests(CommandLineTestCase):
    """What is printed."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> None:
            add_site(txn)
            txn.servers.register(name="n", address="::1", port=8250, version="0.1", candidate_id=ServerId(5))
            txn.settings.set("host", "127.0.0.1,::1", None)
            for number in range(4):
                self.admit(txn, f"agent-{number}")
            for host in txn.hosts.all()[:3]:
                self.bring_up(txn, host)

        await self.database.run(work)

    def plan(self, *arguments: str) -> Deferred[Result]:
        """Run the command in a thread."""
        return self.run_command("plan", *arguments)

    async def test_table(self) -> None:
        """Servers before and after, then the moves, then why the others stay."""
        result = await self.plan("--host", "::1,127.0.0.1", "--weights", "::1=2")
        self.assertEqual(0, result.exit_code, result.output)
        lines = [line.split() for line in result.stdout.splitlines()]
        self.assertEqual(lines[1], ["n", "::1", "Up", "2", "0", "3", "2"])
        self.assertEqual(lines[2], ["m", "127.0.0.1", "Up", "1", "3", "0", "2"])
        self.assertIn("3 hosts to be moved.", result.stdout)
        self.assertEqual([line[:3] for line in lines if line[:1] == ["agent-1"]], [["agent-1", "127.0.0.1", "::1"]])
        self.assertIn("1 host not to be moved: it is not Up.", result.stdout)
        self.assertIn("Weights mean nothing under static.", result.stdout)

    async def test_nothing_to_do(self) -> None:
        """The spread is what it is, and no table of moves is printed."""
        result = await self.plan()
        self.assertEqual(0, result.exit_code, result.output)
        self.assertIn("0 hosts to be moved.", result.stdout)
        self.assertNotIn("FROM", result.stdout)

    async def test_server_that_leaves(self) -> None:
        """One that is not in the tried `host` is marked."""
        result = await self.plan("--host", "::1")
        self.assertIn("127.0.0.1 (not in host)", result.stdout)

    async def test_json(self) -> None:
        """The whole answer, as a list of one."""
        result = await self.plan("--algorithm", "roundrobin", "--json")
        (answer,) = json.loads(result.stdout)
        self.assertEqual([move["hostname"] for move in answer["move"]], ["agent-1"])
        self.assertEqual([row["after"] for row in answer["server"]], [2, 1])

    async def test_refused(self) -> None:
        """One line with the reason, and status 1."""
        result = await self.plan("--algorithm", "best")
        self.assertEqual((1, ""), (result.exit_code, result.stdout))
        self.assertIn("unknown algorithm 'best'", result.stderr)
