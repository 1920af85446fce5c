"""Tests of `cloudlb rebalance`, against an API that listens; the moves are made up."""

from __future__ import annotations

import json
from typing import Any

from click.testing import Result
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from cloudlb.cluster.rebalancer import REBALANCE
from cloudlb.domain.models import Job, JobStatus, ServerId
from cloudlb.domain.ports import Transaction
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase


class RebalanceTests(CommandLineTestCase):
    """What is printed, and how it ends."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> None:
            add_site(txn)
            txn.servers.register(name="n", address="::1", port=8250, version="0.1", candidate_id=ServerId(5))
            txn.settings.set("host", "127.0.0.1,::1", None)
            for number in range(24):
                self.bring_up(txn, self.admit(txn, f"agent-{number}"))

        await self.database.run(work)

    def rebalance(self, *arguments: str) -> Deferred[Result]:
        """Run the command in a thread."""
        return self.run_command("rebalance", *arguments)

    async def running_job(self) -> Job:
        """The job that the command has started."""
        while True:
            jobs = await self.database.read(lambda txn: txn.jobs.running([self.server_id], 10))
            if jobs:
                (job,) = jobs
                return job
            await deferLater(reactor, 0.05)

    def result(self, **numbers: int) -> dict[str, Any]:
        """What the job says."""
        zeros = {"moved": 0, "stayed": 0, "failed": 0, "left": 0}
        return {"rebalance": {"planned": 24, **zeros, **numbers, "stay": [], "note": ["So it is."]}}

    async def test_nothing_to_do(self) -> None:
        """It says why, and that is no failure."""
        result = await self.rebalance()
        self.assertEqual(0, result.exit_code, result.output)
        lines = result.stdout.splitlines()
        self.assertEqual(lines[0], "0 of 0 hosts moved")
        self.assertEqual(lines[1], "24 hosts not to be moved: it is on the first server of its list that takes agents.")
        self.assertIn("cannot be improved", lines[2])

    async def test_progress(self) -> None:
        """How many have moved stands on stderr meanwhile; some that have not are a status of their own."""
        await self.database.run(lambda txn: txn.settings.set("host", "::1,127.0.0.1", None))
        running = self.rebalance()
        job = await self.running_job()
        self.assertEqual(job.command, REBALANCE)
        await self.database.run(lambda txn: txn.jobs.tell(job.uuid, self.result(moved=5, left=19)))
        await deferLater(reactor, 1.5)
        ended = self.result(moved=23, stayed=1)
        await self.database.run(lambda txn: txn.jobs.finish(job.uuid, JobStatus.SUCCEEDED, 0, ended, 3.0))
        result = await running
        self.assertEqual(3, result.exit_code, result.output)
        self.assertIn("5 of 24 hosts moved, 19 left", result.stderr)
        self.assertEqual(result.stdout.splitlines(), ["23 of 24 hosts moved, 1 stayed", "So it is."])

    async def test_json(self) -> None:
        """The whole result, as a list of one."""
        result = await self.rebalance("--json")
        (answer,) = json.loads(result.stdout)
        self.assertEqual((answer["planned"], answer["moved"], answer["stay"][0]["count"]), (0, 0, 24))

    async def test_server_died(self) -> None:
        """A job that its server did not end has failed; the reason is told."""
        await self.database.run(lambda txn: txn.settings.set("host", "::1,127.0.0.1", None))
        running = self.rebalance()
        job = await self.running_job()
        died = {"errorcode": 530, "errortext": "unknown: server m died"}
        await self.database.run(lambda txn: txn.jobs.finish(job.uuid, JobStatus.FAILED, 530, died, 3.0))
        result = await running
        self.assertEqual((1, ""), (result.exit_code, result.stdout))
        self.assertIn("server m died", result.stderr)
