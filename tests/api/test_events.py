"""Tests of events and investigations."""

from __future__ import annotations

import re
from pathlib import Path

import cloudlb
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.records import EVENT_TYPES, Finding, Investigation, Level, Verdict
from tests.api.world import ApiTestCase

DAY = 1_795_219_200.0
"""2026-11-21T00:00:00+0000"""


class EventTests(ApiTestCase):
    """listEvents and listEventTypes."""

    def setUp(self) -> None:
        """Two hosts, and an event of the day before, of one second of the day, and of its last one."""
        super().setUp()
        self.add_site()
        self.first, self.second = self.add_host("a"), self.add_host("b")

        def work(txn: Transaction) -> None:
            txn.events.prune(1e12, 100)
            self.add(txn, "HOST.RECONNECT", "first", DAY - 1.0, self.first)
            self.add(txn, "HOST.ADD", "second 100%", DAY + 3600.5, self.second)
            self.add(txn, "MAINT.PREPARE", "third", DAY + 86_399.9, None)

        self.stored(work)

    def add(self, txn: Transaction, event_type: str, text: str, at: float, host_id: HostId | None) -> None:
        """Tell of something; only of hosts somebody asked for it."""
        txn.events.add(
            event_type,
            text,
            now=at,
            host_id=host_id,
            level=Level.INFO if host_id else Level.WARN,
            account_id=self.account.id if host_id else None,
            server_id=self.membership.own.id,
            details={"from": "Up"},
        )

    def texts(self, **parameters: str) -> list[str]:
        """The descriptions of listed events."""
        return [event["description"] for event in self.call("listEvents", **parameters).get("event", [])]

    def test_answer(self) -> None:
        """What, when, who, on what, and on which server."""
        events = self.call("listEvents")
        self.assertEqual(3, events["count"])
        host = self.call("listHosts", name="b")["host"][0]
        event = events["event"][1]
        self.assertEqual(36, len(event.pop("id")))
        self.assertEqual(
            {
                "type": "HOST.ADD",
                "level": "INFO",
                "description": "second 100%",
                "username": "admin",
                "account": "admin",
                "resourceid": host["id"],
                "resourcetype": "Host",
                "resourcename": "b",
                "created": "2026-11-21T01:00:00+0000",
                "state": "Completed",
                "archived": False,
                "managementserverid": self.membership.own.uuid,
                "managementservername": "alpha",
                "details": {"from": "Up"},
            },
            event,
        )
        self.assertEqual("system", events["event"][0]["username"])
        self.assertNotIn("resourcetype", events["event"][0])

    def test_filters(self) -> None:
        """Each parameter counts; both ends of a range are in it."""
        uuid = self.call("listEvents")["event"][2]["id"]
        host = self.call("listHosts", name="a")["host"][0]["id"]
        for parameters, expected in (
            ({}, ["third", "second 100%", "first"]),
            ({"id": uuid}, ["first"]),
            ({"type": "host.add"}, ["second 100%"]),
            ({"level": "warn"}, ["third"]),
            ({"keyword": "0%"}, ["second 100%"]),
            ({"startdate": "2026-11-21"}, ["third", "second 100%"]),
            ({"enddate": "2026-11-21"}, ["third", "second 100%", "first"]),
            ({"enddate": "2026-11-20"}, ["first"]),
            ({"startdate": "2026-11-21 01:00:00", "enddate": "2026-11-21T01:00:00"}, ["second 100%"]),
            ({"startdate": "2026-11-21T02:00:00+0100", "enddate": "2026-11-21T02:00:00+0100"}, ["second 100%"]),
            ({"resourceid": host, "resourcetype": "Host"}, ["first"]),
            ({"resourceid": "2"}, ["second 100%"]),
            ({"resourceid": "a"}, ["first"]),
            ({"page": "2", "pagesize": "1"}, ["second 100%"]),
            ({"startid": uuid}, ["first"]),
            ({"account": "admin"}, ["second 100%", "first"]),
            ({"state": "completed"}, ["third", "second 100%", "first"]),
            ({"state": "Started"}, []),
            ({"listall": "true", "archived": "true", "duration": "5"}, ["third", "second 100%", "first"]),
        ):
            self.assertEqual(expected, self.texts(**parameters), parameters)

    def test_deleted_host(self) -> None:
        """What became of a host can be read when it is gone."""
        host = self.call("listHosts", name="a")["host"][0]["id"]
        self.stored(lambda txn: txn.hosts.remove(self.first, self.membership.own.id, self.account.id, DAY + 90_000))
        events = self.call("listEvents", resourceid=host)["event"]
        self.assertEqual(["HOST.DELETE", "HOST.RECONNECT"], [event["type"] for event in events])
        self.assertEqual(("a", "admin"), (events[0]["resourcename"], events[0]["username"]))

    def test_without_paging(self) -> None:
        """Of a long history the newest are listed, and all of it is counted."""

        def work(txn: Transaction) -> None:
            for number in range(600):
                self.add(txn, "HOST.ADD", str(number), DAY, None)

        self.stored(work)
        for parameters in ({}, {"pagesize": "-1"}):
            events = self.call("listEvents", type="HOST.ADD", **parameters)
            self.assertEqual((601, 500), (events["count"], len(events["event"])))
            self.assertEqual("599", events["event"][0]["description"])

    def test_bad_arguments(self) -> None:
        """The error names the parameter."""
        for name, value in (
            ("id", "nothing"),
            ("startid", "nothing"),
            ("account", "nobody"),
            ("level", "LOUD"),
            ("startdate", "yesterday"),
            ("enddate", "2026-02-30"),
            ("resourceid", "nothing"),
            ("resourcetype", "VirtualMachine"),
            ("resourcetype", "Host"),
        ):
            self.assertIn(name, self.refused("listEvents", **{name: value}))

    def test_types(self) -> None:
        """Every type that the code tells of is listed."""
        types = {row["name"] for row in self.call("listEventTypes")["eventtype"]}
        self.assertEqual(set(EVENT_TYPES), types)
        sources = [
            path.read_text() for path in Path(cloudlb.__file__).parent.rglob("*.py") if path.name != "records.py"
        ]
        groups = "ALERT|HOST|MAINT|COMMAND|CONFIGURATION|MS|MANAGEMENT|AGENTS|USER|REGISTER|DELETE"
        event_type = re.compile(rf'"((?:{groups})\.[A-Z.]+)"')
        told = {name for source in sources for name in event_type.findall(source)}
        self.assertEqual(types, told)


class InvestigationTests(ApiTestCase):
    """listInvestigations."""

    def setUp(self) -> None:
        """A host that was looked into twice, and one that was once."""
        super().setUp()
        self.add_site()
        self.first, self.second = self.add_host("a"), self.add_host("b")
        mute = Finding(investigator="agent", verdict=Verdict.UNKNOWN, reason="no answer within 5 s", duration=5.0)
        off = Finding(investigator="bmc", verdict=Verdict.DOWN, reason="its power is Off", duration=0.25)
        self.investigated(self.first, DAY, Verdict.DOWN, mute, off)
        self.investigated(self.second, DAY + 1, Verdict.UNKNOWN, mute)
        self.investigated(self.first, DAY + 2, Verdict.UNKNOWN)

    def investigated(self, host_id: HostId, at: float, verdict: Verdict, *findings: Finding) -> None:
        """Keep an investigation."""
        investigation = Investigation(
            uuid=f"at {at}",
            host_id=host_id,
            server_id=self.membership.own.id,
            cause=HostEvent.PING_TIMEOUT,
            started=at,
            duration=5.25,
            verdict=verdict,
            findings=findings,
        )
        self.stored(lambda txn: txn.investigations.add(investigation))

    def test_answer(self) -> None:
        """Cause, verdict, who gave it and why, how long it took, and what the others said."""
        found = self.call("listInvestigations", hostid="a")
        self.assertEqual(2, found["count"])
        host = self.call("listHosts", name="a")["host"][0]
        self.assertEqual(
            {
                "id": f"at {DAY}",
                "hostid": host["id"],
                "hostname": "a",
                "cause": "PingTimeout",
                "verdict": "Down",
                "investigator": "bmc",
                "reason": "its power is Off",
                "started": "2026-11-21T00:00:00+0000",
                "duration": 5250,
                "findings": [
                    {"investigator": "agent", "verdict": "Unknown", "reason": "no answer within 5 s", "duration": 5000},
                    {"investigator": "bmc", "verdict": "Down", "reason": "its power is Off", "duration": 250},
                ],
                "managementserverid": self.membership.own.uuid,
                "managementservername": "alpha",
            },
            found["investigation"][1],
        )
        self.assertNotIn("investigator", found["investigation"][0])

    def test_all(self) -> None:
        """Without a host those of all, the newest first, a page at a time."""
        names = [row["hostname"] for row in self.call("listInvestigations")["investigation"]]
        self.assertEqual(["a", "b", "a"], names)
        page = self.call("listInvestigations", page="2", pagesize="2")
        self.assertEqual((3, ["a"]), (page["count"], [row["hostname"] for row in page["investigation"]]))
        self.assertIn("hostid", self.refused("listInvestigations", hostid="nothing"))
