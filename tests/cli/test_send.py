"""Tests of `cloudlb send`, against an API that listens."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import cast
from unittest.mock import patch

from click.testing import Result
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.errors import AgentTimedOut
from cloudlb.agents.outcomes import Outcome, answered, failed
from cloudlb.cli import jobs as module
from cloudlb.cli.client import Client
from cloudlb.cli.failures import NotFound
from cloudlb.cli.finding import find_host
from cloudlb.domain.models import Host, Job
from cloudlb.domain.ports import Transaction
from cloudlb.wire import Answer, CheckHealthAnswer, Opaque
from tests.api.world import add_site
from tests.cli.command_line import CommandLineTestCase, invoke, write_ini


class SendTests(CommandLineTestCase):
    """A host that is Up, whose commands the test answers."""

    async def _start(self) -> None:
        await super()._start()

        def work(txn: Transaction) -> Host:
            add_site(txn)
            host = self.admit(txn, "agent-1")
            self.bring_up(txn, host)
            return host

        self.host = await self.database.run(work)

    def running(self, *arguments: str) -> Deferred[Result]:
        """Run the command in a thread."""
        return self.run_command("send", *arguments)

    async def job(self) -> Job:
        """The job that was started, as soon as it was."""
        while True:
            jobs = await self.database.read(lambda txn: txn.jobs.running_on(self.host.id))
            if jobs:
                return jobs[0]
            await deferLater(reactor, 0.01)

    async def ended(self, outcome: Outcome, *arguments: str) -> Result:
        """Run the command and end its job."""
        running = self.running(*arguments)
        uuid = (await self.job()).uuid
        assert await self.database.run(lambda txn: outcome.write(txn, uuid, 2.0))
        return await running

    async def test_answer(self) -> None:
        """Its fields are shown; the host is found by any of its names."""
        for host in ("agent-1", self.host.uuid, str(self.host.id)):
            outcome = answered(CheckHealthAnswer(details="well"))
            result = await self.ended(outcome, host, "CheckHealthCommand")
            self.assertEqual((0, ""), (result.exit_code, result.stderr))
            self.assertEqual(["class", "CheckHealthAnswer"], result.stdout.splitlines()[1].split())
            self.assertIn("well", result.stdout)

    async def test_json(self) -> None:
        """The job's result and nothing besides."""
        outcome = answered(Opaque("x.Y", {"result": True, "list": [1]}))
        result = await self.ended(outcome, "agent-1", "x.Z", '{"a":\n1}', "--timeout", "9", "--json")
        self.assertEqual(
            [{"class": "x.Y", "result": True, "answer": {"result": True, "list": [1]}}], json.loads(result.stdout)
        )

    async def test_what_is_sent(self) -> None:
        """Command, fields, time-out and id."""
        running = self.running("agent-1", "x.Z", '{"a":\n1}', "--timeout", "9", "--id", "mine")
        uuid = (await self.job()).uuid
        job = await self.database.read(lambda txn: txn.jobs.get(uuid))
        assert job is not None
        self.assertEqual(({"class": "x.Z", "fields": {"a": 1}}, "mine"), (job.arguments, job.key))
        assert job.deadline is not None
        self.assertLess(job.deadline - job.created, 30)
        await self.database.run(lambda txn: answered(Answer()).write(txn, job.uuid, 2.0))
        await running

    async def test_failed_answer(self) -> None:
        """Shown, with status 1 and the reason on stderr."""
        result = await self.ended(answered(Answer(result=False, details="no\x1b[2J")), "agent-1", "MaintainCommand")
        self.assertEqual(1, result.exit_code)
        self.assertIn("false", result.stdout)
        self.assertIn("agent-1 answered that MaintainCommand failed: no", result.stderr)
        self.assertNotIn("\x1b", result.output)

    async def test_no_answer(self) -> None:
        """What is known of the command, and status 1."""
        result = await self.ended(failed(AgentTimedOut("host agent-1 was mute")), "agent-1", "CheckHealthCommand")
        self.assertEqual((1, ""), (result.exit_code, result.stdout))
        self.assertEqual("Error: timed out: host agent-1 was mute\n", result.stderr)

    async def test_no_answer_as_json(self) -> None:
        """The job's error, with the same status and line on stderr."""
        outcome = failed(AgentTimedOut("host agent-1 was mute"))
        result = await self.ended(outcome, "agent-1", "CheckHealthCommand", "--json")
        text = "timed out: host agent-1 was mute"
        self.assertEqual(
            (1, [{"errorcode": 530, "errortext": text}], f"Error: {text}\n"),
            (result.exit_code, json.loads(result.stdout), result.stderr),
        )

    async def test_refused(self) -> None:
        """The server's reason."""
        for status, arguments, words in (
            (8, ("nobody", "CheckHealthCommand"), "nobody"),
            (1, ("agent-1", "CheckHelthCommand"), "CheckHealthCommand"),
            (1, ("agent-1", "CheckHealthCommand", "[]"), "JSON object"),
        ):
            result = await self.running(*arguments)
            self.assertEqual((status, ""), (result.exit_code, result.stdout))
            self.assertIn(words, result.stderr)

    async def test_progress(self) -> None:
        """A long wait is told on stderr."""
        with patch.object(module, "PROGRESS_INTERVAL", 0.1):
            running = self.running("agent-1", "CheckHealthCommand")
            job = await self.job()
            await deferLater(reactor, 0.5)
            await self.database.run(lambda txn: answered(Answer()).write(txn, job.uuid, 2.0))
            result = await running
        self.assertEqual(0, result.exit_code)
        self.assertIn(f"job {job.uuid}: agent-1 has not answered for 0 s", result.stderr)

    async def test_interrupted(self) -> None:
        """Ctrl-C ends the waiting, and says how to look at the job, which goes on."""
        waiting = threading.Event()

        def interrupt(_: float) -> None:
            waiting.set()
            raise KeyboardInterrupt

        with patch("time.sleep", interrupt):
            result = await self.running("agent-1", "CheckHealthCommand")
        job = await self.job()
        self.assertTrue(waiting.is_set())
        self.assertEqual(130, result.exit_code)
        self.assertIn(f"queryAsyncJobResult jobid={job.uuid}", result.stderr)


class _Listing:
    """A client whose server has these hosts."""

    def __init__(self, *uuids: str) -> None:
        self.rows = [{"id": uuid, "state": "Up", "zonename": "z"} for uuid in uuids]

    def list(self, command: str, **parameters: str) -> list[dict[str, str]]:
        return self.rows


class UsageTests(SynchronousTestCase):
    """What needs no server."""

    def test_name_of_several_hosts(self) -> None:
        """Refused with their uuids; one host's name is enough."""
        self.assertEqual("a", find_host(cast("Client", _Listing("a")), "one")["id"])
        with self.assertRaisesRegex(NotFound, "2 hosts are named 'one'") as raised:
            find_host(cast("Client", _Listing("a", "b")), "one")
        self.assertEqual("Give the id of one:\n  a in z, Up\n  b in z, Up", raised.exception.advice)

    def test_arguments(self) -> None:
        """What is no JSON is wrong usage."""
        ini = write_ini(Path(self.mktemp()), "http://127.0.0.1:1/client/api")
        result = invoke("send", "agent-1", "CheckHealthCommand", "{", "--config", str(ini))
        self.assertEqual(2, result.exit_code)
        self.assertIn("JSON", result.stderr)

    def test_endpoint_down(self) -> None:
        """Whether it was taken is not known, and how to find out."""
        ini = write_ini(Path(self.mktemp()), "http://127.0.0.1:1/client/api")
        for more, words in (((), "--id"), (("--id", "x"), "repeat the call")):
            result = invoke("send", "agent-1", "CheckHealthCommand", *more, "--config", str(ini))
            self.assertEqual((6, ""), (result.exit_code, result.stdout))
            self.assertIn("Connection refused", result.stderr)
            self.assertIn(words, result.stderr)
