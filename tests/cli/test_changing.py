"""Tests of `cloudlb set` and `cloudlb reset` with their question, and of `cloudlb settings NAME`."""

from __future__ import annotations

import json

from click.testing import Result
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from cloudlb.domain.models import ServerId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_WEIGHTS
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase, answer


class ChangeTests(CommandLineTestCase):
    """Four hosts on m, and another server that is Up."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> None:
            add_site(txn)
            txn.servers.register(name="beta", address="127.0.0.2", port=8250, version="0.1", candidate_id=ServerId(5))
            txn.settings.set(HOST, "127.0.0.1,127.0.0.2", None)
            for number in range(4):
                self.bring_up(txn, self.admit(txn, f"agent-{number}"))

        await self.database.run(work)

    def typed(self, typed: str, *arguments: str) -> Deferred[Result]:
        """Run a command on a terminal, in a thread."""
        result: Deferred[Result] = deferToThread(answer, self.ini, typed, *arguments)
        return result

    async def value(self, name: str) -> str:
        """A setting's value."""
        return await self.database.read(lambda txn: txn.settings.load().value(name))

    async def test_plan_before_a_change(self) -> None:
        """Who would move is shown before it is asked; no leaves all as it is."""
        for typed, status, value in (("n\n", 1, "static"), ("\n", 1, "static"), ("y\n", 0, "roundrobin")):
            result = await self.typed(typed, "set", LB_ALGORITHM, "roundrobin")
            self.assertEqual((status, value), (result.exit_code, await self.value(LB_ALGORITHM)), result.output)
            self.assertIn("2 hosts to be moved.", result.stderr)
            self.assertIn("indirect.agent.lb.algorithm = roundrobin: apply? [y/N]", result.stderr)
        self.assertIn("value    roundrobin", result.stdout)

    async def test_json(self) -> None:
        """Nothing but the document is on stdout."""
        result = await self.typed("y\n", "set", HOST, "127.0.0.2,127.0.0.1", "--json")
        (row,) = json.loads(result.stdout)
        self.assertEqual("127.0.0.2,127.0.0.1", row["value"])

    async def test_without_a_terminal(self) -> None:
        """Nobody can be asked: --yes must say so. It is wrong usage without."""
        for name, value in ((LB_ALGORITHM, "shuffle"), (HOST, "127.0.0.2"), (LB_WEIGHTS, "127.0.0.2=2")):
            result = await self.run_command("set", name, value)
            self.assertEqual((2, ""), (result.exit_code, result.stdout))
            self.assertIn("cloudlb plan, and give --yes", result.stderr)
            self.assertEqual(0, (await self.run_command("set", name, value, "--yes")).exit_code)
            self.assertEqual(value, await self.value(name))

    async def test_value_that_is_refused(self) -> None:
        """Nobody is asked whether to apply what cannot be."""
        result = await self.typed("y\n", "set", LB_ALGORITHM, "best")
        self.assertEqual(1, result.exit_code)
        self.assertIn("unknown algorithm 'best'", result.stderr)
        self.assertNotIn("apply?", result.stderr)

    async def test_reset(self) -> None:
        """Back to the default, after the same question; other settings without."""
        await self.run_command("set", LB_ALGORITHM, "roundrobin", "--yes")
        result = await self.typed("n\n", "reset", LB_ALGORITHM)
        self.assertEqual((1, "roundrobin"), (result.exit_code, await self.value(LB_ALGORITHM)))
        self.assertIn("= static: apply?", result.stderr)
        self.assertEqual(0, (await self.typed("y\n", "reset", LB_ALGORITHM)).exit_code)
        self.assertEqual("static", await self.value(LB_ALGORITHM))
        await self.run_command("set", "indirect.agent.lb.check.interval", "7", "--cluster", "cluster")
        result = await self.run_command("reset", "indirect.agent.lb.check.interval", "--cluster", "cluster", "--json")
        self.assertEqual(0, result.exit_code, result.output)
        (row,) = json.loads(result.stdout)
        self.assertEqual(row["value"], row["defaultvalue"])
        self.assertEqual(1, (await self.run_command("reset", "nothing")).exit_code)

    async def test_settings(self) -> None:
        """One in full, by its name; several by a part of it."""
        result = await self.run_command("settings", "ping.interval")
        self.assertIn("meaning  Seconds between an agent's pings.", result.stdout)
        result = await self.run_command("settings", "indirect.agent.lb", "--json")
        names = [row["name"] for row in json.loads(result.stdout)]
        self.assertIn(LB_WEIGHTS, names)
        self.assertNotIn(HOST, names)
