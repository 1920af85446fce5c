"""sendCommand: what it refuses, and what its job shows."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from cloudlb.agents import command_orders
from cloudlb.domain.models import JobStatus
from tests.api.world import API_KEY, ApiTestCase, sign

CHECK = "com.cloud.agent.api.CheckHealthCommand"


class SendCommandTests(ApiTestCase):
    """Calls for a host that is Up on this server, as its row says."""

    def setUp(self) -> None:
        super().setUp()
        self.add_site()
        self.add_host("one")
        self.host = self.stored(lambda txn: txn.hosts.find("one"))

    def started(self, **parameters: str) -> str:
        """Send a command that is taken; the job's id."""
        body = self.call("sendCommand", **{"hostid": "one", "name": "CheckHealthCommand", **parameters})
        self.assertEqual(["jobid"], list(body))
        job: str = body["jobid"]
        return job

    def job(self, uuid: str) -> Any:
        """A job in the database."""
        return self.stored(lambda txn: txn.jobs.get(uuid))

    def test_job(self) -> None:
        """It is recorded, for the host by any of its names."""
        for key in ("one", self.host.uuid, str(self.host.id)):
            job = self.job(self.started(hostid=key, arguments='{"wait":5}'))
            self.assertEqual(
                (JobStatus.RUNNING, self.host.id, self.account.id), (job.status, job.host_id, job.account_id)
            )
            self.assertEqual((CHECK, 5), (job.arguments["class"], job.arguments["fields"]["wait"]))

    def test_unknown_class(self) -> None:
        """By its whole name, with whatever fields."""
        job = self.job(self.started(name="com.cloud.agent.api.StartCommand", arguments='{"vm":{"cpus":2}}'))
        self.assertEqual({"class": "com.cloud.agent.api.StartCommand", "fields": {"vm": {"cpus": 2}}}, job.arguments)

    def test_names(self) -> None:
        """What is near is told; what is no command, or no class, is refused."""
        for name, words in (
            ("CheckHelthCommand", "did you mean CheckHealthCommand"),
            ("checkhealthcommand", "did you mean CheckHealthCommand"),
            ("Zzz", "whole name"),
            ("a..b", "not the name of a class"),
            ("com.cloud.agent.api.Answer", "is an answer"),
            ("ShutdownCommand", "not for sending"),
            ("com.cloud.agent.api.StartupRoutingCommand", "not for sending"),
        ):
            text = self.refused("sendCommand", hostid="one", name=name)
            self.assertIn("parameter name:", text)
            self.assertIn(words, text)

    def test_arguments(self) -> None:
        """What is no object, or does not fit the class, is refused, and not quoted."""
        for arguments, words in (
            ("{", "not JSON"),
            ("[]", "not a JSON object"),
            ('{"wait":"s3cret"}', "wait: an integer"),
            ('{"wait":604801}', "wait: 604801 is not between 0 and 604800"),
            ('{"wait":-1}', "wait: -1 is not between 0 and 604800"),
            ('{"contextMap":"s3cret"}', "contextMap: "),
            ('{"contextMap":{"a":1}}', "contextMap: "),
        ):
            for name in ("CheckHealthCommand", "x.StartCommand"):
                text = self.refused("sendCommand", hostid="one", name=name, arguments=arguments)
                self.assertIn("parameter arguments:", text)
                self.assertIn(words, text)
                self.assertNotIn("s3cret", text)
        self.started(name="x.StartCommand", arguments='{"wait":604800,"contextMap":null}')

    def test_other_parameters(self) -> None:
        """Each is named."""
        for name, value in (("hostid", "nobody"), ("timeout", "0"), ("timeout", "604801"), ("id", " ")):
            text = self.refused("sendCommand", **{"hostid": "one", "name": "CheckHealthCommand", name: value})
            self.assertIn(f"parameter {name}:", text)
        self.assertEqual([], self.stored(lambda txn: txn.jobs.running_on(self.host.id)))

    def test_name_of_several_hosts(self) -> None:
        """Refused with their uuids, wherever a name stands for a host; where none does, it is unknown."""
        self.add_host("two")
        other = self.stored(lambda txn: txn.hosts.find("two"))
        rename = "UPDATE host SET name = 'one' WHERE name = 'two'"
        self.stored(lambda txn: txn.hosts._connection.exec_driver_sql(rename).close())
        for command, more in (("sendCommand", {"name": "CheckHealthCommand"}), ("listInvestigations", {})):
            text = self.refused(command, hostid="one", **more)
            self.assertIn("parameter hostid: several hosts are named", text)
            self.assertIn(f"{self.host.uuid}, {other.uuid}", text)
        for command, parameter in (("deleteHost", "id"), ("disableOutOfBandManagementForHost", "hostid")):
            self.assertNotIn("several", self.refused(command, **{parameter: "one"}))
        self.started(hostid=other.uuid)

    def test_id(self) -> None:
        """The same call is the same job, another one is refused."""
        job = self.started(id="mine", arguments='{"wait":5}')
        self.assertEqual(job, self.started(id="mine", arguments='{ "wait" : 5 }', timeout="7"))
        self.assertIn("mine", self.refused("sendCommand", hostid="one", name="MaintainCommand", id="mine"))
        self.add_host("two")
        call = {"name": "CheckHealthCommand", "arguments": '{"wait":5}', "id": "mine"}
        self.assertIn("mine", self.refused("sendCommand", hostid="two", **call))

    def test_limits(self) -> None:
        """With CloudStack's codes."""
        with patch.object(command_orders, "MAX_PER_SERVER", 0):
            self.failed(533, "sendCommand", hostid="one", name="CheckHealthCommand")
        with patch.object(command_orders, "MAX_PER_ACCOUNT", 0):
            self.failed(429, "sendCommand", hostid="one", name="CheckHealthCommand")

    def test_host_without_an_agent(self) -> None:
        """The row says Up and no agent is here: the job ends, and says so as CloudStack's do."""
        job = self.started()
        for _ in range(160):
            self.clock.advance(0.25)
        state = self.call("queryAsyncJobResult", jobid=job)
        self.assertEqual((2, 534, "sendCommand"), (state["jobstatus"], state["jobresultcode"], state["cmd"]))
        self.assertEqual((534, self.host.uuid), (state["jobresult"]["errorcode"], state["jobinstanceid"]))
        self.assertTrue(state["jobresult"]["errortext"].startswith("unavailable: "))

    def test_xml(self) -> None:
        """An agent's answer may hold any keys; the document stays readable."""
        uuid = self.started()
        odd = {"a b": 1, "<x>": {"1": "y"}, "": [True, None], "vm-1": "\x00", "ok": {}}
        result = {"class": "x.Answer", "result": True, "answer": odd}
        self.stored(lambda txn: txn.jobs.finish(uuid, JobStatus.SUCCEEDED, 0, result, 1.0))
        response = self.get(sign({"command": "queryAsyncJobResult", "apiKey": API_KEY, "jobid": uuid}))
        answer = response.xml.find("jobresult/answer")
        assert answer is not None
        self.assertEqual(["a_b", "_x_", "_", "_", "vm-1", "ok"], [element.tag for element in answer])
