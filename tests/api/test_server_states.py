"""Tests of what operators have management servers do."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from cloudlb.domain.drains import Drain, DrainEnd
from cloudlb.domain.models import HostId, ServerId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.server_state import ServerEvent
from tests.api.world import API_KEY, NOW, ApiTestCase, sign

OTHER = ServerId(5)

CLOUDSTACKS = {
    "managementserverid",
    "state",
    "maintenanceinitiated",
    "shutdowntriggered",
    "readyforshutdown",
    "pendingjobscount",
    "agentscount",
    "agents",
}
"""The keys of CloudStack's ManagementServerMaintenanceResponse."""


class ServerStateTestCase(ApiTestCase):
    """Two servers of `host`: alpha, which is called, and beta."""

    def setUp(self) -> None:
        super().setUp()

        def work(txn: Transaction) -> None:
            txn.servers.register(name="beta", address="127.0.0.2", port=8250, version="0.1", candidate_id=OTHER)
            txn.settings.set("host", "127.0.0.1,127.0.0.2", None)

        self.stored(work)
        self.add_site()
        self.own = self.membership.own

    def ask(self, command: str, server: str = "", **parameters: str) -> dict[str, Any]:
        """Call a command about a server, this one if not named; the object of the answer."""
        body = self.call(command, managementserverid=server or self.own.uuid, **parameters)
        self.assertEqual([command.lower()], list(body))
        answer: dict[str, Any] = body[command.lower()]
        return answer

    def take(self, event: ServerEvent, server_id: ServerId) -> None:
        """Have something happen to a server."""
        self.assertIsNotNone(self.stored(lambda txn: txn.servers.change_state(server_id, event)))

    def look(self) -> None:
        """Have this server see its own row, as after a message."""
        self.membership.look()

    def drain(self, **changes: Any) -> None:
        """Have this server write how far it is."""
        drain = self.stored(lambda txn: txn.drains.get(self.own.id))
        self.assertTrue(self.stored(lambda txn: txn.drains.progress(evolve(drain, **changes))))


class OrderTests(ServerStateTestCase):
    """The orders."""

    def test_shape(self) -> None:
        """CloudStack's keys, and two of ours, of the types that typed clients want."""
        host = self.add_host("a")
        uuid = self.call("listHosts")["host"][0]["id"]
        answer = self.ask("prepareForMaintenance")
        self.assertEqual(CLOUDSTACKS | {"managementservername", "drain"}, set(answer))
        self.assertEqual(
            {
                "managementserverid": self.own.uuid,
                "managementservername": "alpha",
                "state": "PreparingForMaintenance",
                "maintenanceinitiated": True,
                "shutdowntriggered": False,
                "readyforshutdown": False,
                "pendingjobscount": 0,
                "agentscount": 1,
                "agents": [uuid],
                "drain": {
                    "forced": False,
                    "timeout": 3600,
                    "total": 0,
                    "moved": 0,
                    "left": 0,
                    "jobs": 0,
                    "failed": [],
                },
            },
            answer,
        )
        self.assertEqual(HostId(1), host)

    def test_steps(self) -> None:
        """Each order in turn, of this server and of the other one."""
        for server_id in (self.own.id, OTHER):
            for command, state, maintenance, shutdown in (
                ("prepareForMaintenance", "PreparingForMaintenance", True, False),
                ("cancelMaintenance", "Up", False, False),
                ("prepareForShutdown", "PreparingForShutDown", False, True),
                ("cancelShutdown", "Up", False, False),
            ):
                answer = self.ask(command, str(server_id))
                self.assertEqual(
                    (state, maintenance, shutdown),
                    (answer["state"], answer["maintenanceinitiated"], answer["shutdowntriggered"]),
                )
        self.ask("prepareForMaintenance", str(OTHER))
        self.take(ServerEvent.DRAINED, OTHER)
        self.assertEqual("Maintenance", self.ask("readyForShutdown", str(OTHER))["state"])
        answer = self.ask("triggerShutdown", str(OTHER))
        self.assertEqual(("ShuttingDown", True), (answer["state"], answer["shutdowntriggered"]))

    def test_how(self) -> None:
        """Algorithm and forced are kept with the order."""
        for command in ("prepareForMaintenance", "prepareForShutdown", "triggerShutdown"):
            self.stored(
                lambda txn: txn.servers.register(
                    name="beta", address="127.0.0.2", port=8250, version="0.1", candidate_id=OTHER
                )
            )
            drain = self.ask(command, str(OTHER), algorithm="rendezvous", forced="true")["drain"]
            self.assertEqual(("rendezvous", True), (drain["algorithm"], drain["forced"]))
            if command != "triggerShutdown":
                self.ask("cancelMaintenance" if "Maintenance" in command else "cancelShutdown", str(OTHER))

    def test_refused(self) -> None:
        """Each time with what is wrong, and what to do instead."""
        own = self.own.uuid
        for command, parameters, text in (
            ("prepareForMaintenance", {"managementserverid": own, "algorithm": "fair"}, "algorithm: 'fair' is none of"),
            ("prepareForMaintenance", {"managementserverid": "99"}, "managementserverid"),
            ("prepareForMaintenance", {}, "managementserverid"),
            ("cancelMaintenance", {"managementserverid": own}, "possible are: prepareForMaintenance"),
            ("cancelShutdown", {"managementserverid": own}, "possible are: prepareForMaintenance"),
            ("removeManagementServer", {"id": own}, "alpha is Up: only one that is Down"),
            ("removeManagementServer", {"id": "99"}, "id"),
        ):
            self.assertIn(text, self.refused(command, **parameters))
        self.ask("prepareForMaintenance", str(OTHER))
        text = self.refused("prepareForMaintenance", managementserverid=own)
        self.assertIn("no other server of `host` is Up (beta is PreparingForMaintenance)", text)

    def test_remove(self) -> None:
        """One that is Down goes from the list."""
        self.stored(lambda txn: txn.servers.stop(OTHER))
        self.assertEqual({"success": True}, self.call("removeManagementServer", id=str(OTHER)))
        self.assertEqual(["alpha"], [row["name"] for row in self.call("listManagementServers")["managementserver"]])
        self.assertEqual("MANAGEMENT.SERVER.REMOVE", self.call("listEvents")["event"][0]["type"])

    def test_xml(self) -> None:
        """An agent is an element."""
        self.add_host("a")
        self.add_host("b")
        asked = {"command": "readyForShutdown", "managementserverid": self.own.uuid, "apiKey": API_KEY}
        root = self.get(sign(asked)).xml
        self.assertEqual("readyforshutdownresponse", root.tag)
        self.assertEqual(2, len(root.findall("readyforshutdown/agents")))


class ProgressTests(ServerStateTestCase):
    """readyForShutdown and listManagementServers."""

    def test_progress(self) -> None:
        """Moved, left, failed with names and reasons, jobs, and the time that it takes."""
        self.add_host("a")
        uuid = self.call("listHosts")["host"][0]["id"]
        self.ask("prepareForMaintenance")
        self.drain(
            started=NOW,
            total=7,
            moved=4,
            left=3,
            jobs=1,
            eta=12.4,
            note="nobody is Up",
            failed={uuid: "it does not answer", "gone": "lost"},
        )
        drain = self.ask("readyForShutdown")["drain"]
        self.assertEqual(
            {
                "forced": False,
                "timeout": 3600,
                "started": "2026-09-21T14:13:20+0000",
                "total": 7,
                "moved": 4,
                "left": 3,
                "jobs": 1,
                "eta": 12,
                "note": "nobody is Up",
                "failed": [
                    {"hostid": uuid, "hostname": "a", "reason": "it does not answer"},
                    {"hostid": "gone", "reason": "lost"},
                ],
            },
            drain,
        )
        self.drain(ended=NOW + 5, end=DrainEnd.TIMED_OUT, eta=None)
        (row,) = (row for row in self.call("listManagementServers")["managementserver"] if row["name"] == "alpha")
        self.assertEqual(("timed out", "2026-09-21T14:13:25+0000"), (row["drain"]["end"], row["drain"]["ended"]))
        self.assertEqual("PreparingForMaintenance", row["state"])

    def test_this_server(self) -> None:
        """Is the one that is meant without an id."""
        answer = self.call("readyForShutdown")["readyforshutdown"]
        self.assertEqual(("alpha", "Up"), (answer["managementservername"], answer["state"]))
        self.assertNotIn("drain", answer)

    def test_ready(self) -> None:
        """With neither jobs nor hosts."""
        self.assertTrue(self.ask("readyForShutdown")["readyforshutdown"])
        self.stored(
            lambda txn: txn.jobs.start(
                command="sendCommand", account_id=1, server_id=self.own.id, host_id=None, now=1.0
            )
        )
        answer = self.ask("readyForShutdown")
        self.assertEqual((False, 1), (answer["readyforshutdown"], answer["pendingjobscount"]))
        self.assertTrue(self.ask("readyForShutdown", str(OTHER))["readyforshutdown"])
        rows = self.call("listManagementServers")["managementserver"]
        self.assertEqual([1, 0], [row["pendingjobscount"] for row in rows])
        self.add_host("a", OTHER)
        self.assertFalse(self.ask("readyForShutdown", str(OTHER))["readyforshutdown"])


class ElsewhereTests(ServerStateTestCase):
    """What a server does that is not Up."""

    def test_changes(self) -> None:
        """Are another server's business, which is named; nothing is changed."""
        self.add_host("a")
        self.ask("prepareForMaintenance")
        self.look()
        for command, parameters in (
            ("updateHost", {"id": "1", "allocationstate": "Disable"}),
            ("sendCommand", {"hostid": "1", "name": "CheckHealthCommand"}),
            ("reconnectHost", {"id": "1"}),
            ("updateConfiguration", {"name": "host", "value": "127.0.0.2"}),
            ("createZone", {"name": "z"}),
            ("archiveAlerts", {}),
        ):
            text = self.failed(503, command, **parameters)
            self.assertEqual(
                f"management server alpha is PreparingForMaintenance and takes no {command}; call beta (127.0.0.2)",
                text,
            )
        self.assertEqual("Enabled", self.call("listHosts")["host"][0]["resourcestate"])
        self.assertEqual({}, self.call("listAlerts"))

    def test_reading(self) -> None:
        """And what else is no change of anything but servers goes on."""
        self.ask("prepareForMaintenance")
        self.look()
        for command in ("listHosts", "listManagementServers", "listConfigurations", "plan", "readyForShutdown"):
            self.call(command)
        self.refused("queryAsyncJobResult", jobid="none")
        self.ask("prepareForMaintenance", forced="true")
        self.ask("cancelMaintenance")
        self.look()
        self.ask("prepareForShutdown")
        self.look()
        self.ask("cancelShutdown")
        self.look()
        self.call("updateHost", id=str(self.add_host("a")), allocationstate="Disable")

    def test_alone(self) -> None:
        """Where no other server is Up, that is said."""
        self.stored(lambda txn: txn.servers.stop(OTHER))
        self.ask("prepareForShutdown")
        self.look()
        text = self.failed(503, "archiveAlerts")
        self.assertIn("no other management server is Up", text)

    def test_who_did_not_sign(self) -> None:
        """Is told nothing of it."""
        self.ask("prepareForMaintenance")
        self.look()
        self.assertEqual(401, self.get({"command": "archiveAlerts", "response": "json"}).status)


class DrainTests(ServerStateTestCase):
    """A drain that never began."""

    def test_hosts_are_moved_back(self) -> None:
        """By a job that the answer names, unless the caller wants none."""
        for rebalance in ("true", "false"):
            self.ask("prepareForMaintenance")
            answer = self.ask("cancelMaintenance", rebalance=rebalance)
            self.assertEqual(rebalance == "true", "rebalancejobid" in answer)
            if rebalance == "true":
                job = self.call("queryAsyncJobResult", jobid=answer["rebalancejobid"])
                self.assertEqual("rebalanceAgents", job["cmd"])

    def test_cancelled(self) -> None:
        """Has an end, and no beginning."""
        self.ask("prepareForMaintenance")
        drain = self.ask("cancelMaintenance", rebalance="false")["drain"]
        self.assertEqual("cancelled", drain["end"])
        self.assertNotIn("started", drain)
        found = self.stored(lambda txn: txn.drains.get(self.own.id))
        self.assertEqual(Drain(server_id=self.own.id, number=1, timeout=3600, ended=NOW, end=DrainEnd.CANCELLED), found)
