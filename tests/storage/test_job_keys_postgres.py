"""Servers that start a job with the same key at the same time, on PostgreSQL."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from cloudlb.domain.models import Job, ServerId
from cloudlb.domain.ports import Transaction
from tests.storage.postgres import MISSING, new_database
from tests.storage.threaded import open_database


class KeyTests(TestCase):
    """Both look for the key, find none, and insert it."""

    skip = MISSING
    timeout = 60

    async def test_same_key_at_once(self) -> None:
        """One of them has made the job, and the other is given that one."""
        url = new_database(self)
        servers = [await open_database(self, url) for _ in range(3)]

        def start(number: int, key: str) -> Deferred[tuple[Job, bool]]:
            def work(txn: Transaction) -> tuple[Job, bool]:
                return txn.jobs.start(
                    command="sendCommand",
                    account_id=1,
                    server_id=ServerId(number),
                    host_id=None,
                    now=1.0,
                    key=key,
                    arguments={"class": "x.Y"},
                )

            return servers[number].run(work)

        for attempt in range(20):
            started = await gatherResults([start(number, f"key {attempt}") for number in range(len(servers))])
            self.assertEqual(1, len({job.uuid for job, _ in started}))
            self.assertEqual(1, sum(new for _, new in started))
