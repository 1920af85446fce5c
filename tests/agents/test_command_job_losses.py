"""Commands as jobs whose hosts leave, whose database is away, and whose server stops."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from cloudlb.agents.command_orders import TOPIC
from cloudlb.domain.models import JobStatus
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.wire import CheckHealthCommand, Flag, MaintainCommand, ReadyAnswer
from tests.agents.job_case import JobCase


class MoveTests(JobCase):
    """Hosts that leave while their jobs are on the way."""

    def test_followed(self) -> None:
        """The job goes to the host's new server."""
        job = self.start(self.order())
        self.link.lose()
        link = self.up(self.asked)
        self.advance(3)
        ((header, _),) = self.sent(link)
        self.answer(header.sequence, link=link)
        self.assertEqual(JobStatus.SUCCEEDED, self.job(job).status)
        self.assertEqual(self.asked.server.membership.own.id, self.job(job).server_id)

    def test_gone(self) -> None:
        """A host that is nowhere ends it."""
        job = self.start(self.order())
        self.link.lose()
        self.advance(9)
        self.assert_failed(job, "unavailable", 534)

    def test_back(self) -> None:
        """A host that comes back to the same server gets it."""
        job = self.start(self.order())
        self.link.lose()
        self.holder.advance(0.3)
        self.link = self.up(self.holder)
        self.advance(2)
        ((header, _),) = self.sent()
        self.answer(header.sequence)
        self.assertEqual(JobStatus.SUCCEEDED, self.job(job).status)

    def test_on_its_way(self) -> None:
        """A host that is not Up yet is waited for."""
        job = self.start(self.order())
        self.link.lose()
        self.holder.advance(0.3)
        link = self.holder.startup(1, None, ms_host_list="127.0.0.1,127.0.0.2@static")
        ready, _ = link.take()[-1]
        self.advance(10)
        self.assertEqual([], [command for _, command in link.take() if isinstance(command, CheckHealthCommand)])
        link.receive([ReadyAnswer()], sequence=ready.sequence, flags=Flag(0))
        self.advance(2)
        ((header, _),) = self.sent(link)
        self.answer(header.sequence, link=link)
        self.assertEqual(JobStatus.SUCCEEDED, self.job(job).status)

    def test_delivered_twice(self) -> None:
        """A message that comes again, now or later, sends nothing."""
        job = self.start(self.order())
        payload = {"server_id": job.server_id, "jobs": [job.uuid], "moves": 0}
        again = lambda: self.asked.database.run(lambda txn: txn.bus.publish(TOPIC, payload, 1.0))  # noqa: E731
        again()
        self.advance()
        ((header, _),) = self.sent()
        again()
        self.advance()
        self.answer(header.sequence)
        again()
        self.advance()
        self.assertEqual([], self.sent())

    def test_not_named(self) -> None:
        """A server that the row does not name sends nothing."""
        job = self.start(self.order())
        own = self.asked.server.membership.own.id
        self.asked.database.run(lambda txn: txn.jobs.assign(job.uuid, job.server_id, own))
        self.advance()
        self.assertEqual([], self.sent())

    def test_late(self) -> None:
        """What comes when its time is over is not sent."""
        job = self.start(self.order(timeout=2))
        self.holder.reactor.advance(5)
        self.advance()
        self.assertEqual([], [command for _, command in self.sent() if isinstance(command, CheckHealthCommand)])
        self.assert_failed(job, "not carried out", 534)


class OutageTests(JobCase):
    """A database that is away, and a server that stops."""

    def test_end_is_written_later(self) -> None:
        """The answer is kept until it can be written."""
        job = self.start(self.order())
        self.advance()
        ((header, _),) = self.sent()
        with patch.object(self.holder.database, "run", self.away):
            self.answer(header.sequence)
            self.assertEqual(JobStatus.RUNNING, self.job(job).status)
            self.assertTrue(self.holder.server.command_jobs.holds(job.uuid))
        self.advance(2)
        self.assertEqual(JobStatus.SUCCEEDED, self.job(job).status)

    def test_job_is_read_later(self) -> None:
        """A message that has come while it was away is not lost."""
        self.start(self.order())
        jobs = self.holder.server.command_jobs
        with patch.object(jobs, "_store", self):
            self.advance()
            self.assertEqual([], self.sent())
        self.advance(2)
        self.assertEqual(1, len(self.sent()))

    def away(self, work: object) -> Deferred[Any]:
        """What a store does that is away."""
        failed: Deferred[Any] = Deferred()
        failed.errback(StoreUnavailable("away"))
        return failed

    read = away

    def test_stop(self) -> None:
        """Queries end with their links; what the agent will tell of is left to the other servers."""
        query, change = self.start(self.order()), self.start(self.order(MaintainCommand()))
        self.advance()
        self.holder.stop()
        self.assert_failed(query, "link lost", 534)
        self.assertEqual(JobStatus.RUNNING, self.job(change).status)
