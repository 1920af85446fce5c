"""Jobs whose server is gone: each ends, and says no more than is known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from cloudlb.domain.models import Job, JobStatus
from cloudlb.domain.ports import Transaction
from cloudlb.wire import CommandInfo, MaintainCommand, PingRoutingCommand
from tests.agents.job_case import JobCase
from tests.agents.server import FakeLink, ServerFixture
from tests.agents.test_reconciliation import told

DOWN = 15.0
"""Seconds after which a server that is dead counts as Down, and its jobs have been looked at."""


class OrphanTests(JobCase):
    """The server that holds the host dies, and the other one goes on."""

    def kill(self) -> None:
        """Have the holder do nothing any more."""
        self.asked.advance(DOWN)

    def ping(self, link: FakeLink, *infos: CommandInfo) -> None:
        """Have the agent ping the server that is left."""
        link.receive([PingRoutingCommand(command_infos=infos)], sequence=1)
        link.take()

    def carried(self, job: Job) -> Job:
        """Have a job's command reach the agent."""
        self.advance()
        self.assertEqual(1, len(self.sent()))
        return job

    def test_query(self) -> None:
        """Nobody knows more than that its server died."""
        job = self.carried(self.start(self.order()))
        self.asked.advance(5)
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)
        self.kill()
        self.assert_failed(job, "unknown", 530)
        self.assertIn("127.0.0.2", self.job(job).result["errortext"])

    def test_journalled_and_carried_out(self) -> None:
        """The agent tells what became of it."""
        job = self.carried(self.start(self.order(MaintainCommand())))
        self.kill()
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)
        link = self.up(self.asked)
        self.ping(link, CommandInfo(id=job.uuid, state="STARTED"))
        self.asked.advance(10)
        self.ping(link, CommandInfo(id=job.uuid, state="STARTED"))
        self.asked.advance(10)
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)
        self.ping(link, told(job.uuid))
        self.assertEqual(JobStatus.SUCCEEDED, self.job(job).status)

    def test_journalled_and_never_arrived(self) -> None:
        """The agent has told of all that it has, and not of this."""
        job = self.start(self.order(MaintainCommand()))
        self.kill()
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)
        self.ping(self.up(self.asked))
        self.asked.advance(6)
        self.assert_failed(job, "not carried out", 534)

    def test_journalled_and_perhaps_on_its_way(self) -> None:
        """Nobody says that it did not arrive while a server that was only slow may have sent it."""
        job = self.start(self.order(MaintainCommand()))
        self.asked.advance(11)
        self.ping(self.up(self.asked))
        self.asked.advance(15)
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)

    def test_back_again(self) -> None:
        """A server that turns out to live when the end is written keeps its jobs."""
        job = self.carried(self.start(self.order()))
        database, late = self.asked.database, list[float]()

        def after_heartbeat(work: Callable[[Transaction], Any]) -> Deferred[Any]:
            late.append(self.asked.reactor.seconds() - self.holder.reactor.seconds())
            self.holder.advance(late[-1])
            return database.run(work)

        store = SimpleNamespace(read=database.read, run=after_heartbeat)
        with patch.object(self.asked.server.orphans, "_store", store):
            self.kill()
        self.assertEqual(1, len(late))
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)

    def test_journalled_without_a_journal(self) -> None:
        """An agent of CloudStack's will never tell."""
        job = self.carried(self.start(self.order(MaintainCommand())))
        self.kill()
        link = FakeLink()
        link.channel = type(link.channel)(is_cloudlb=False)
        self.up(self.asked, link)
        self.asked.advance(6)
        self.assert_failed(job, "unknown", 530)

    def test_agent_never_comes(self) -> None:
        """The job ends at its deadline."""
        job = self.carried(self.start(self.order(MaintainCommand())))
        self.kill()
        self.asked.advance(60)
        self.assert_failed(job, "unknown", 530)

    def test_several_servers(self) -> None:
        """All of them look, one of them ends it."""
        third = ServerFixture(self.asked.folder, "127.0.0.3")
        self.addCleanup(third.stop)
        job = self.carried(self.start(self.order()))
        for _ in range(60):
            self.asked.advance(0.25)
            third.advance(0.25)
        ended = self.job(job)
        self.assert_failed(job, "unknown", 530)
        third.advance(20)
        self.assertEqual(ended, self.job(job))

    def test_started_again(self) -> None:
        """A server looks after what it had before its start."""
        job = self.carried(self.start(self.order()))
        again = ServerFixture(self.asked.folder, "127.0.0.2")
        self.addCleanup(again.stop)
        again.advance(40)
        self.assert_failed(job, "unknown", 530)

    def test_alive(self) -> None:
        """What is under way on a server that lives is left alone until its time is over."""
        job = self.carried(self.start(self.order()))
        self.advance(55)
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)
        self.advance(10)
        self.assert_failed(job, "timed out", 530)

    def test_lost_message(self) -> None:
        """A job of which its server never heard ends, too."""
        own = self.asked.server.membership.own.id

        def work(txn: Transaction) -> Job:
            job, _ = txn.jobs.start(
                command="sendCommand",
                account_id=self.account_id,
                server_id=own,
                host_id=self.holder.host(1).id,
                now=self.asked.reactor.seconds(),
                deadline=self.asked.reactor.seconds() + 1000,
                arguments={"class": "com.cloud.agent.api.CheckHealthCommand", "fields": {}},
            )
            return job

        job = self.successResultOf(self.asked.database.run(work))
        self.asked.advance(14)
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)
        self.asked.advance(30)
        self.assert_failed(job, "unknown", 530)

    def test_other_jobs(self) -> None:
        """reconnectHost of a server that is dead, and of this one before its start."""
        job = self.successResultOf(
            self.asked.database.run(
                lambda txn: txn.jobs.start(
                    command="reconnectHost",
                    account_id=self.account_id,
                    server_id=self.holder.server.membership.own.id,
                    host_id=None,
                    now=self.asked.reactor.seconds(),
                )[0]
            )
        )
        self.kill()
        self.assert_failed(job, "unknown", 530)
