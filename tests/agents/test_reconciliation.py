"""What agents tell of commands, and who gets to know it."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import orjson
from twisted.internet.defer import Deferred

from cloudlb.agents import reconciliation
from cloudlb.agents.reconciliation import BURST, MAX_PENDING, MAX_PENDING_BYTES, RATE, TOPIC
from cloudlb.domain.models import Job, JobStatus, Message
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.resource.journal_answers import MAX_ANSWER
from cloudlb.wire import (
    CommandInfo,
    Flag,
    MaintainAnswer,
    MaintainCommand,
    PingAnswer,
    PingRoutingCommand,
    ReadyAnswer,
)
from tests.agents.job_case import JobCase
from tests.agents.server import FakeLink


def told(
    id_: str, answer: str | None = '{"result":true}', name: str = "com.cloud.agent.api.MaintainAnswer"
) -> CommandInfo:
    """What an agent tells of a command; of one that is under way, without an answer."""
    if answer is None:
        return CommandInfo(id=id_, state="STARTED")
    return CommandInfo(id=id_, state="COMPLETED", answer_name=name, answer=answer)


class ReconciliationTests(JobCase):
    """A journalled command whose link is lost, and the agent's next session."""

    def sent_and_lost(self) -> Job:
        """A job whose command is with the agent, which has left."""
        job = self.start(self.order(MaintainCommand()))
        self.advance()
        self.assertEqual(1, len(self.sent()))
        self.link.lose()
        self.advance(0.25)
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)
        return job

    def ping(self, link: FakeLink, *infos: CommandInfo) -> tuple[str, ...]:
        """Have the agent ping; the ids that it may forget."""
        link.receive([PingRoutingCommand(command_infos=infos)], sequence=1)
        ((_, answer),) = self.sent(link)
        assert isinstance(answer, PingAnswer)
        return answer.reconcile_commands

    def test_job_of_another_server(self) -> None:
        """Its answer is written where the agent is now; only then may the agent forget it. Its server waits no more."""
        job = self.sent_and_lost()
        link = self.up(self.asked)
        self.assertEqual((), self.ping(link, told(job.uuid)))
        self.assertEqual((JobStatus.SUCCEEDED, True), (self.job(job).status, self.job(job).result["result"]))
        self.assertEqual((job.uuid,), self.ping(link, told(job.uuid)))
        self.advance()
        self.assertFalse(self.holder.server.command_jobs.holds(job.uuid))

    def test_job_of_the_same_server(self) -> None:
        """The one that waits ends it, and the agent may forget it when that is written."""
        job = self.sent_and_lost()
        self.link = self.up(self.holder)
        self.ping(self.link, told(job.uuid, '{"result":false,"details":"no"}'))
        self.advance()
        self.assertEqual((JobStatus.SUCCEEDED, "no"), (self.job(job).status, self.job(job).result["details"]))
        self.assertEqual((job.uuid,), self.ping(self.link, told(job.uuid)))

    def test_both_ends_at_once(self) -> None:
        """The first one stays."""
        job = self.start(self.order(MaintainCommand()))
        self.advance()
        ((header, _),) = self.sent()
        self.ping(self.link, told(job.uuid, '{"result":true,"details":"told"}'))
        self.answer(header.sequence, MaintainAnswer(details="answered"))
        ended = self.job(job)
        self.ping(self.link, told(job.uuid, '{"result":true,"details":"told again"}'))
        self.advance()
        self.assertEqual(ended, self.job(job))

    def test_waiter_of_this_server(self) -> None:
        """A command that is no job's: its waiter has the answer, and the agent may forget it at once."""
        answers = self.holder.server.sender.send(self.holder.host(1).id, [MaintainCommand()], timeout=60)
        ((_, command),) = self.sent()
        self.link.lose()
        self.link = self.up(self.holder)
        id_ = command.context_map["cloudlb.id"]
        self.assertEqual((id_,), self.ping(self.link, told(id_)))
        (answer,) = self.successResultOf(answers)
        self.assertIsInstance(answer, MaintainAnswer)

    def test_waiter_of_another_server(self) -> None:
        """It hears of the answer by the bus."""
        answers = self.holder.server.sender.send(self.holder.host(1).id, [MaintainCommand()], timeout=60)
        ((_, command),) = self.sent()
        self.link.lose()
        self.advance(0.25)
        link = self.up(self.asked)
        id_ = command.context_map["cloudlb.id"]
        self.assertEqual((), self.ping(link, told(id_)))
        self.advance()
        self.assertIsInstance(self.successResultOf(answers)[0], MaintainAnswer)
        self.assertEqual((id_,), self.ping(link, told(id_)))

    def test_under_way(self) -> None:
        """Nothing ends, and nothing may be forgotten."""
        job = self.sent_and_lost()
        link = self.up(self.asked)
        for _ in range(2):
            self.assertEqual((), self.ping(link, told(job.uuid, None)))
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)

    def test_what_does_not_parse(self) -> None:
        """The command has ended, and is not told for ever."""
        for answer, name in (
            ("{", "x.Answer"),
            ("[]", "x.Answer"),
            ('{"result":5}', "com.cloud.agent.api.Answer"),
            ("{}", "com.cloud.agent.api.MaintainCommand"),
        ):
            job = self.start(self.order(MaintainCommand()))
            self.advance()
            self.sent()
            self.ping(self.link, told(job.uuid, answer, name))
            self.advance()
            self.assertEqual((JobStatus.SUCCEEDED, False), (self.job(job).status, self.job(job).result["result"]))
            self.assertEqual((job.uuid,), self.ping(self.link, told(job.uuid, answer, name)))

    def test_opaque_answer(self) -> None:
        """A class that nobody modelled."""
        job = self.sent_and_lost()
        link = self.up(self.asked)
        fields = {"result": True, "details": "x", "more": [1]}
        self.ping(link, told(job.uuid, orjson.dumps(fields).decode(), "x.StrangeAnswer"))
        result = self.job(job).result
        self.assertEqual(("x.StrangeAnswer", fields), (result["class"], result["answer"]))

    def test_job_of_another_host(self) -> None:
        """An agent has no say in it."""
        job = self.start(self.order(MaintainCommand()))
        other = self.asked.startup(2, ms_host_list="127.0.0.1,127.0.0.2@static")
        header, _ = other.take()[-1]
        other.receive([ReadyAnswer()], sequence=header.sequence, flags=Flag(0))
        for _ in range(2):
            self.assertEqual((), self.ping(other, told(job.uuid)))
            self.advance()
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)
        # Nor does it keep the host's own agent from it, on the same server.
        self.sent()
        self.link.lose()
        self.advance(0.25)
        link = self.up(self.asked)
        self.assertEqual((), self.ping(link, told(job.uuid)))
        self.advance()
        self.assertEqual((JobStatus.SUCCEEDED, True), (self.job(job).status, self.job(job).result["result"]))

    def test_job_of_another_kind(self) -> None:
        """No answer to a command ends what is no command."""
        host_id = self.holder.host(1).id
        start = self.asked.database.run(
            lambda txn: txn.jobs.start(
                command="prepareHostForMaintenance",
                account_id=self.account_id,
                server_id=self.holder.server.membership.own.id,
                host_id=host_id,
                now=1.0,
            )
        )
        job, _ = self.successResultOf(start)
        for _ in range(2):
            self.assertEqual((), self.ping(self.link, told(job.uuid)))
            self.advance()
        self.assertEqual(JobStatus.RUNNING, self.job(job).status)

    def messages(self) -> list[Message]:
        """What the bus has had of reports."""
        found = self.successResultOf(self.asked.database.read(lambda txn: txn.bus.after(0, 10_000)))
        return [message for message in found if message.topic == TOPIC]

    def test_flood(self) -> None:
        """Ends that nobody has asked for take no more of the bus than a host may have; the rest comes again."""
        reported = self.holder.server.reconciliation
        answer = orjson.dumps({"result": True, "details": "y" * 2000}).decode()
        settled: set[str] = set()
        for portion in range(20):
            settled.update(self.ping(self.link, *(told(f"{portion}-{number}", answer) for number in range(400))))
            self.advance(0.25)
        (session,) = reported._sessions.values()
        self.assertEqual((0, 0), (session.pending, session.pending_bytes))
        size = sum(len(orjson.dumps(message.payload)) for message in self.messages())
        self.assertLessEqual(size, BURST + RATE * 20)
        self.assertGreater(size, BURST / 2)
        self.advance(10)
        self.ping(self.link, told("again", answer))
        self.advance()
        self.assertEqual(("again",), self.ping(self.link, told("again", answer)))

    def test_pending(self) -> None:
        """What is being written of one session is limited, in number and bytes."""
        away: list[Deferred[Any]] = []

        def run(work: object) -> Deferred[Any]:
            away.append(Deferred())
            return away[-1]

        with patch.object(self.holder.database, "run", run):
            self.ping(self.link, *(told(str(number)) for number in range(MAX_PENDING + 50)))
            (session,) = self.holder.server.reconciliation._sessions.values()
            self.assertEqual(MAX_PENDING, session.pending)
            while away:
                away.pop().errback(StoreUnavailable("away"))
        self.assertEqual((0, 0), (session.pending, session.pending_bytes))
        self.assertFalse(session.has_room(MAX_PENDING_BYTES + 1))

    def test_long_id(self) -> None:
        """No agent of ours has it, so nothing is kept of it."""
        self.ping(self.link, told("x" * 65))
        self.advance()
        self.assertEqual((), self.ping(self.link, told("x" * 65)))
        (session,) = self.holder.server.reconciliation._sessions.values()
        self.assertEqual({}, session.told)
        self.assertEqual([], self.messages())

    def test_large_answer(self) -> None:
        """Its result is kept."""
        job = self.sent_and_lost()
        link = self.up(self.asked)
        fields = {"result": True, "data": "x" * MAX_ANSWER}
        self.ping(link, told(job.uuid, orjson.dumps(fields).decode(), "x.StrangeAnswer"))
        ended = self.job(job)
        self.assertEqual(("x.StrangeAnswer", True), (ended.result["class"], ended.result["result"]))
        self.assertIn("too large", ended.result["details"])
        self.assertNotIn("data", ended.result["answer"])


class DenialTests(JobCase):
    """Whether a command has certainly never arrived."""

    def setUp(self) -> None:
        super().setUp()
        self.host_id = self.holder.host(1).id
        self.died = self.holder.reactor.seconds()

    def ping(self, *infos: CommandInfo) -> None:
        self.link.receive([PingRoutingCommand(command_infos=infos)], sequence=1)
        self.link.take()

    def denied(self, id_: str = "x") -> bool:
        """Whether the command never arrived."""
        return self.holder.server.reconciliation.denies(self.host_id, id_, self.died)

    def test_nothing_to_tell(self) -> None:
        """An agent that tells of nothing has nothing, once what was on its way has arrived."""
        self.assertFalse(self.denied())
        self.ping()
        self.assertFalse(self.denied())
        self.holder.advance(6)
        self.ping()
        self.assertTrue(self.denied())

    def test_parts(self) -> None:
        """An agent with much to tell does so in turns; it has told all when it begins again."""
        self.holder.advance(6)
        self.ping(told("a", None), told("b", None))
        self.ping(told("c", None))
        self.assertFalse(self.denied())
        self.ping(told("a", None))
        self.assertTrue(self.denied())
        self.assertFalse(self.denied("c"))

    def test_told_before(self) -> None:
        """What it told before the server died says nothing of what came later."""
        self.ping(told("a", None))
        self.holder.advance(6)
        self.ping(told("a", None))
        self.assertFalse(self.denied())
        self.ping(told("a", None))
        self.assertTrue(self.denied())

    def test_more_than_is_remembered(self) -> None:
        """Nobody knows then what it has not told of."""
        self.holder.advance(6)
        with patch.object(reconciliation, "MAX_TOLD", 2):
            for _ in range(2):
                self.ping(told("a", None), told("b", None), told("c", None))
        (session,) = self.holder.server.reconciliation._sessions.values()
        self.assertEqual({"a", "b"}, set(session.told))
        self.assertFalse(self.denied())

    def test_no_agent(self) -> None:
        """Nobody denies anything when the agent has left."""
        self.holder.advance(6)
        self.ping()
        self.link.lose()
        self.assertFalse(self.denied())
