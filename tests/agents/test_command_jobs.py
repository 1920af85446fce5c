"""Commands as jobs: through any server, once, and with one end."""

from __future__ import annotations

from gc import collect, get_objects
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, fail
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from cloudlb.agents import command_jobs, command_orders
from cloudlb.agents.command_jobs import MARGIN
from cloudlb.agents.command_orders import ServerBusy, TooManyJobs
from cloudlb.cluster.membership import Membership
from cloudlb.domain.models import Job, JobStatus
from cloudlb.domain.ports import AmbiguousName, KeyTaken, NotFound, StoreUnavailable
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.records import Event
from cloudlb.resource.journal_answers import MAX_ANSWER
from cloudlb.wire import COMMAND_ID, Answer, CheckHealthAnswer, CheckHealthCommand, MaintainCommand, Opaque
from tests.agents.job_case import JobCase
from tests.agents.server import ServerFixture


class _Away:
    """A database that cannot be reached."""

    def read(self, work: object) -> Deferred[Any]:
        return fail(StoreUnavailable("away"))

    run = read


class SendTests(JobCase):
    """From the call to the end of the job."""

    def test_answered(self) -> None:
        """Recorded, sent by the server that has the host, and ended with the answer's fields."""
        job = self.start(self.order())
        self.assertEqual(
            (JobStatus.RUNNING, self.holder.server.membership.own.id, "sendCommand"),
            (job.status, job.server_id, job.command),
        )
        self.assertEqual([], self.sent())
        self.advance()
        ((header, command),) = self.sent()
        self.assertIsInstance(command, CheckHealthCommand)
        self.answer(header.sequence, CheckHealthAnswer(details="well"))
        ended = self.job(job)
        self.assertEqual((JobStatus.SUCCEEDED, 0), (ended.status, ended.result_code))
        self.assertEqual(
            ("com.cloud.agent.api.CheckHealthAnswer", True, "well", "well"),
            (*(ended.result[key] for key in ("class", "result", "details")), ended.result["answer"]["details"]),
        )
        self.assertFalse(self.holder.server.command_jobs.holds(job.uuid))

    def test_failed_answer_is_an_answer(self) -> None:
        """The job succeeds, its result says that the command did not."""
        job = self.start(self.order())
        self.advance()
        self.answer(self.sent()[0][0].sequence, Answer(result=False, details="no"))
        ended = self.job(job)
        self.assertEqual((JobStatus.SUCCEEDED, False), (ended.status, ended.result["result"]))

    def test_id(self) -> None:
        """The job's uuid is the id of a command that changes something; every command is marked with it."""
        orders = [self.order(MaintainCommand()), self.order(Opaque("x.StartCommand", {"contextMap": {"a": "b"}}))]
        jobs = [self.start(order) for order in (*orders, self.order())]
        self.advance()
        maintain, start, check = (command for _, command in self.sent())
        self.assertEqual(jobs[0].uuid, maintain.context_map[COMMAND_ID])
        self.assertEqual({"a": "b", COMMAND_ID: jobs[1].uuid, "logid": jobs[1].uuid}, start.fields["contextMap"])
        self.assertEqual({"logid": jobs[2].uuid}, check.context_map)

    def test_event(self) -> None:
        """Who sent what is on record, the fields are not."""
        self.start(self.order(Opaque("x.StartCommand", {"password": "s3cret"})))
        (event,) = self.events()
        self.assertEqual(
            ("StartCommand is sent to host host-1", self.account_id), (event.description, event.account_id)
        )
        self.assertNotIn("s3cret", str(event))

    def events(self) -> list[Event]:
        """Events of commands that were sent."""
        which = EventFilter(event_type="COMMAND.SEND")
        events, _ = self.successResultOf(self.asked.database.read(lambda txn: txn.events.list(which, 0, None)))
        return list(events)

    def test_timeouts(self) -> None:
        """The deadline follows from commands.timeout, the caller's time-out, the command's wait, the default."""
        now = self.asked.reactor.seconds()
        self.asked.server.settings.current = type(self.asked.server.settings.current)(
            {"commands.timeout": "MaintainCommand=5", "wait": "99"}
        )
        for order, seconds in (
            (self.order(MaintainCommand(wait=3)), 5),
            (self.order(timeout=7), 7),
            (self.order(CheckHealthCommand(wait=8), timeout=None), 8),
            (self.order(Opaque("x.Y", {"wait": 9}), timeout=None), 9),
            (self.order(timeout=None), 99),
        ):
            self.assertEqual(now + seconds + MARGIN, self.start(order).deadline)

    def test_unknown_host(self) -> None:
        """Nothing is recorded."""
        self.assertIn("nobody", self.refused(self.order(host="nobody"), NotFound))

    def test_host_that_is_up_nowhere(self) -> None:
        """The job ends at once."""
        self.link.lose()
        self.advance(3)
        job = self.start(self.order())
        self.assert_failed(job, "unavailable", 534)

    def test_host_of_a_dead_server(self) -> None:
        """The job ends at once, whatever the host's row says."""
        for _ in range(40):
            self.asked.advance(0.25)
        self.assert_failed(self.start(self.order()), "unavailable", 534)

    def test_link_lost(self) -> None:
        """A query ends when its link does."""
        job = self.start(self.order())
        self.advance()
        self.link.lose()
        self.advance()
        self.assert_failed(job, "link lost", 534)

    def test_timed_out(self) -> None:
        """After its time-out, and before its deadline."""
        job = self.start(self.order(timeout=3))
        self.advance(4)
        self.assert_failed(job, "timed out", 530)

    def test_server_that_is_back(self) -> None:
        """What it is given in the moment in which it is there again is sent, once its host has come back to it."""
        jobs: list[Job] = []

        async def join(membership: Membership) -> None:
            await joined(membership)
            jobs.append(self.start(self.order()))

        joined = Membership.join
        with patch.object(Membership, "join", join):
            self.holder = ServerFixture(self.holder.folder, "127.0.0.2")
        self.addCleanup(self.holder.stop)
        self.link = self.up(self.holder)
        self.sent()
        self.advance(3)
        ((header, _),) = self.sent()
        self.answer(header.sequence)
        self.assertEqual(JobStatus.SUCCEEDED, self.job(jobs[0]).status)

    def test_without_a_database(self) -> None:
        """Jobs wait, with a line of the log for all of them, and are carried out when it is back."""
        log: list[LogEvent] = []
        observer: ILogObserver = log.append  # type: ignore[assignment]  # any callable will do
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for _ in range(3):
            self.start(self.order())
        with patch.object(self.holder.server.command_jobs, "_store", _Away()):
            self.advance(5)
        self.assertEqual([], self.sent())
        self.assertEqual(1, sum("jobs wait" in str(event.get("log_format")) for event in log))
        self.advance(2)
        self.assertEqual(3, len(self.sent()))

    def test_clocks(self) -> None:
        """How long a job may take is told by the clock of the database, whatever a server's own says."""
        for server in (self.asked, self.holder):
            ahead = patch.object(server.database, "_clock", lambda server=server: server.reactor.seconds() + 5000)
            ahead.start()
            self.addCleanup(ahead.stop)
        # Until both have written a heartbeat by it.
        self.advance(10)
        self.sent()
        job = self.start(self.order(timeout=60))
        self.assertEqual(self.asked.reactor.seconds() + 5000 + 60 + MARGIN, job.deadline)
        self.advance(10)
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)
        ((_, command),) = self.sent()
        self.assertEqual(60, command.wait)

    def test_batches(self) -> None:
        """Many calls at once are few transactions; each has its own end, and one that is refused harms no other."""
        runs = 0
        store = self.asked.database
        gathered: list[Deferred[Any]] = []

        def counted(work: Any) -> Any:
            nonlocal runs
            runs += 1
            waiting: Deferred[None] = Deferred()
            gathered.append(waiting)
            return waiting.addCallback(lambda _: type(store).run(store, work))

        with patch.object(store, "run", counted):
            hosts = ["host-1"] * 100 + ["nobody"] + ["host-1"] * 100
            started = [
                Deferred.fromCoroutine(self.asked.server.command_jobs.start(self.order(host=host))) for host in hosts
            ]
            while gathered:
                gathered.pop().callback(None)
        self.failureResultOf(started.pop(100), NotFound)
        self.assertEqual(200, len({self.successResultOf(job).uuid for job in started}))
        self.assertLessEqual(runs, 3)
        self.advance()
        self.assertEqual(200, len(self.sent()))


class CommandTests(JobCase):
    """What jobs hold of their commands and answers."""

    def test_let_go(self) -> None:
        """Once a command has left, and while its host is looked for, nothing of it is kept."""

        def held() -> bool:
            collect()
            return any(type(each) is dict and each.get("secret") == "p4yload" for each in get_objects())

        order = self.order(Opaque("x.StartCommand", {"vm": {"secret": "p4yload"}}))
        job = self.start(order)
        del order
        self.link.lose()
        self.holder.advance(0.3)
        self.assertFalse(held())
        self.link = self.up(self.holder)
        self.advance(2)
        ((header, command),) = self.sent()
        self.assertEqual("p4yload", command.fields["vm"]["secret"])
        del command
        self.assertFalse(held())
        self.answer(header.sequence, Answer())
        self.assertEqual(JobStatus.SUCCEEDED, self.job(job).status)

    def test_command_that_cannot_be_made(self) -> None:
        """Its job ends all the same, also where nobody has thought of the reason."""
        job = self.start(self.order(Opaque("x.StartCommand", {"contextMap": "no object"})))
        with patch.object(command_jobs, "read_content", side_effect=RecursionError("deep")):
            other = self.start(self.order(Opaque("x.StopCommand", {})))
            self.advance()
        for each in (job, other):
            self.assert_failed(each, "not carried out", 534)
        self.flushLoggedErrors()
        self.assertEqual([], self.sent())

    def test_command_that_cannot_be_sent(self) -> None:
        """Nobody knows what became of it."""
        job = self.start(self.order())
        with patch.object(self.holder.server.sender, "send", side_effect=RuntimeError("defect")):
            self.advance()
        self.assert_failed(job, "unknown", 530)
        self.flushLoggedErrors()

    def test_large_answer(self) -> None:
        """The result is kept, and what it was is told."""
        job = self.start(self.order())
        self.advance()
        self.answer(self.sent()[0][0].sequence, CheckHealthAnswer(result=True, details="x" * MAX_ANSWER))
        ended = self.job(job)
        self.assertEqual(
            (JobStatus.SUCCEEDED, "com.cloud.agent.api.CheckHealthAnswer", True),
            (ended.status, ended.result["class"], ended.result["result"]),
        )
        self.assertRegex(ended.result["details"], "^The answer was too large to be kept: 26....")
        self.assertLess(len(str(ended.result)), 1000)

    def test_name_of_several(self) -> None:
        """Nothing is sent, and the error tells which there are."""
        host = self.holder.host(1)
        self.holder.startup(2)
        self.asked.database.run(
            lambda txn: txn.hosts._connection.exec_driver_sql("UPDATE host SET name = 'host-1' WHERE name = 'host-2'")  # type: ignore[attr-defined]
        )
        self.assertIn(host.uuid, self.refused(self.order(), AmbiguousName))
        self.start(self.order(host=host.uuid))


class KeyTests(JobCase):
    """The caller's own name for a call."""

    def test_same(self) -> None:
        """The same job, on any server, and one packet, whether it has ended or not."""
        order = self.order(MaintainCommand(), key="mine")
        job = self.start(order)
        self.assertEqual(job.uuid, self.start(order, self.holder).uuid)
        self.advance()
        ((header, _),) = self.sent()
        self.answer(header.sequence, Answer())
        again = self.start(order)
        self.assertEqual((job.uuid, JobStatus.SUCCEEDED), (again.uuid, again.status))
        self.advance()
        self.assertEqual([], self.sent())

    def test_same_beyond_limits(self) -> None:
        """What is known already is none too many, and needs its host no more."""
        order = self.order(MaintainCommand(), key="mine")
        job = self.start(order)
        with patch.object(command_orders, "MAX_PER_SERVER", 0), patch.object(command_orders, "MAX_PER_ACCOUNT", 0):
            self.assertEqual(job.uuid, self.start(order).uuid)
        host = self.holder.host(1)
        self.asked.database.run(lambda txn: txn.hosts.remove(host.id, job.server_id, None, 5.0))
        for name in ("host-1", host.uuid, str(host.id)):
            self.assertEqual(job.uuid, self.start(self.order(MaintainCommand(), key="mine", host=name)).uuid)
        self.refused(self.order(MaintainCommand(), key="other"), NotFound)
        self.refused(self.order(MaintainCommand(), key="mine", host="host-2"), NotFound)

    def test_other(self) -> None:
        """Another command or other arguments: nothing is sent."""
        self.start(self.order(key="mine"))
        for command in (MaintainCommand(), CheckHealthCommand(wait=5)):
            self.assertIn("mine", self.refused(self.order(command, key="mine"), KeyTaken))


class LimitTests(JobCase):
    """How many jobs may be under way."""

    def test_server(self) -> None:
        """Of one server's hosts; there is room again when one ends."""
        with patch.object(command_orders, "MAX_PER_SERVER", 2):
            self.start(self.order(key="a"))
            self.start(self.order(key="b"))
            self.assertIn("2 jobs", self.refused(self.order(), ServerBusy))
            self.advance()
            self.answer(self.sent()[0][0].sequence)
            self.start(self.order())

    def test_bytes(self) -> None:
        """Of commands that wait for the database; there is room again when it has them."""
        large = self.order(Opaque("x.Y", {"a": "x" * 1000}))
        waiting: list[Deferred[Any]] = []

        def run(work: object) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        with patch.object(command_jobs, "MAX_WAITING_BYTES", 2500):
            with patch.object(self.asked.database, "run", run):
                jobs = self.asked.server.command_jobs
                started = [Deferred.fromCoroutine(jobs.start(large)) for _ in range(2)]
                self.assertIn("over the limit of 2500", self.refused(large, ServerBusy))
                while waiting:
                    waiting.pop().errback(StoreUnavailable("away"))
            for each in started:
                self.failureResultOf(each, StoreUnavailable)
            self.start(large)

    def test_account(self) -> None:
        """Of one account, in one batch as well."""
        with patch.object(command_orders, "MAX_PER_ACCOUNT", 1):
            self.start(self.order())
            text = self.refused(self.order(), TooManyJobs)
        self.assertIn("the account has 1", text)
