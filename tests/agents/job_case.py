"""What tests of commands as jobs start from."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from cloudlb.agents.command_orders import Order
from cloudlb.domain.models import Job, JobStatus
from cloudlb.wire import Answer, CheckHealthAnswer, CheckHealthCommand, Command, Flag, Header, Opaque
from tests.agents.server import FakeLink, ServerFixture
from tests.agents.two_servers import TwoServersCase


class JobCase(TwoServersCase):
    """Two servers, a host on the second one, and calls to the first."""

    def setUp(self) -> None:
        super().setUp()
        self.account_id = self.add_account()
        self.link = self.up(self.holder)

    def order(self, command: Command | Opaque | None = None, **values: Any) -> Order:
        """An order for the host."""
        return Order(
            **{
                "host": "host-1",
                "command": command or CheckHealthCommand(),
                "timeout": 60,
                "key": None,
                "account_id": self.account_id,
                **values,
            }
        )

    def start(self, order: Order, server: ServerFixture | None = None) -> Job:
        """Have a server take an order."""
        jobs = (server or self.asked).server.command_jobs
        job: Job = self.successResultOf(Deferred.fromCoroutine(jobs.start(order)))
        return job

    def refused(self, order: Order, error: type[Exception]) -> str:
        """Have the first server refuse an order."""
        start = Deferred.fromCoroutine(self.asked.server.command_jobs.start(order))
        return str(self.failureResultOf(start, error).value)

    def advance(self, seconds: float = 1.0) -> None:
        """Let time pass for both."""
        for _ in range(max(1, int(seconds * 4))):
            for server in (self.asked, self.holder):
                server.advance(min(seconds, 0.25))

    def sent(self, link: FakeLink | None = None) -> list[tuple[Header, Any]]:
        """The commands that the agent got since the last time."""
        return (link or self.link).take()

    def answer(self, sequence: int, answer: Answer | None = None, link: FakeLink | None = None) -> None:
        """Have the agent answer."""
        (link or self.link).receive([answer or CheckHealthAnswer()], sequence=sequence, flags=Flag(0))
        self.advance()

    def job(self, job: Job) -> Job:
        """A job as it is now."""
        found = self.successResultOf(self.asked.database.read(lambda txn: txn.jobs.get(job.uuid)))
        assert found is not None
        return found

    def assert_failed(self, job: Job, kind: str, code: int) -> None:
        """A job has ended with this kind of error."""
        ended = self.job(job)
        self.assertEqual((JobStatus.FAILED, code), (ended.status, ended.result_code), ended)
        self.assertEqual((kind, code), (ended.result["errortext"].partition(":")[0], ended.result["errorcode"]))
