"""Tests of alerts."""

from __future__ import annotations

from cloudlb.domain.models import HostId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.records import AlertType
from tests.api.world import API_KEY, ApiTestCase, sign

DAY = 1_795_219_200.0
"""2026-11-21T00:00:00+0000"""


class AlertTests(ApiTestCase):
    """listAlerts, listAlertTypes, archiveAlerts, deleteAlerts."""

    def setUp(self) -> None:
        """Three alerts: of two days and a host, and of no host."""
        super().setUp()
        self.add_site()
        self.host_id = self.add_host("a")

        def work(txn: Transaction) -> None:
            self.raise_alert(txn, AlertType.HOST, "a is down", DAY - 1, self.host_id)
            self.raise_alert(txn, AlertType.HOST, "a is in alert", DAY, self.host_id)
            self.raise_alert(txn, AlertType.CA_CERTIFICATE, "a certificate ends", DAY + 1, None)
            self.raise_alert(txn, AlertType.HOST, "a is down", DAY + 5, self.host_id)

        self.stored(work)

    def raise_alert(
        self, txn: Transaction, alert_type: AlertType, text: str, at: float, host_id: HostId | None
    ) -> None:
        """Raise an alert."""
        txn.alerts.send(alert_type, text, host_id=host_id, now=at)

    def texts(self, **parameters: str) -> list[str]:
        """The descriptions of listed alerts."""
        return [alert["description"] for alert in self.call("listAlerts", **parameters).get("alert", [])]

    def uuids(self) -> list[str]:
        """The ids of all alerts."""
        return [alert["id"] for alert in self.call("listAlerts")["alert"]]

    def test_answer(self) -> None:
        """CloudStack's number and name of the type, when it was sent, and whom it concerns."""
        alerts = self.call("listAlerts")
        self.assertEqual(3, alerts["count"])
        down = alerts["alert"][2]
        self.assertEqual(36, len(down.pop("id")))
        self.assertEqual(
            {
                "type": 7,
                "name": "ALERT.COMPUTE.HOST",
                "description": "a is down",
                "sent": "2026-11-21T00:00:05+0000",
                "created": "2026-11-20T23:59:59+0000",
                "occurrences": 2,
                "hostid": self.call("listHosts")["host"][0]["id"],
                "hostname": "a",
            },
            down,
        )
        self.assertEqual((31, "ALERT.CA.CERT"), (alerts["alert"][0]["type"], alerts["alert"][0]["name"]))
        self.assertNotIn("hostid", alerts["alert"][0])

    def test_filters(self) -> None:
        """Each parameter counts."""
        certificate, in_alert, down = ["a certificate ends"], ["a is in alert"], ["a is down"]
        for parameters, expected in (
            ({}, certificate + in_alert + down),
            ({"id": self.uuids()[1]}, in_alert),
            ({"type": "31"}, certificate),
            ({"name": "alert.compute.host"}, in_alert + down),
            ({"type": "ALERT.COMPUTE.HOST"}, in_alert + down),
            ({"name": "7"}, in_alert + down),
            ({"name": "ALERT.COMPUTE.HOST", "type": "31"}, []),
            ({"keyword": "DOWN"}, down),
            ({"page": "2", "pagesize": "1"}, in_alert),
        ):
            self.assertEqual(expected, self.texts(**parameters), parameters)

    def test_types(self) -> None:
        """CloudStack's numbers and names."""
        types = self.call("listAlertTypes")["alerttype"]
        self.assertIn({"alerttypeid": 7, "name": "ALERT.COMPUTE.HOST"}, types)
        self.assertEqual(len(AlertType), len(types))

    def test_archive(self) -> None:
        """An archived alert is listed no more, and not archived again."""
        uuids = self.uuids()
        self.assertEqual({"success": True}, self.call("archiveAlerts", ids=",".join(uuids[:2])))
        self.assertEqual(["a is down"], self.texts())
        self.assertIn("ids", self.refused("archiveAlerts", ids=",".join(uuids[1:])))
        self.assertEqual(["a is down"], self.texts())

    def test_delete(self) -> None:
        """A deleted alert is gone, archived ones too; an id that is none spoils the whole call."""
        uuids = self.uuids()
        self.call("archiveAlerts", ids=uuids[0])
        self.assertIn("only 1 of 2", self.refused("deleteAlerts", ids=f"{uuids[0]},nothing"))
        self.call("deleteAlerts", ids=",".join(uuids[:2]))
        self.assertEqual(["a is down"], self.texts())
        self.assertIn("only 0 of 1", self.refused("deleteAlerts", ids=uuids[0]))

    def test_by_type_and_time(self) -> None:
        """Several can be meant at once; both ends of a range are in it."""
        self.call("archiveAlerts", type="31")
        self.assertEqual(["a is in alert", "a is down"], self.texts())
        self.call("archiveAlerts", enddate="2026-11-20")
        self.assertEqual(["a is in alert"], self.texts())
        self.call("deleteAlerts", startdate="2026-11-21", enddate="2026-11-21 00:00:00")
        self.assertEqual({}, self.call("listAlerts"))

    def test_bad_arguments(self) -> None:
        """The error names the parameter; nothing given is not everything."""
        for command in ("archiveAlerts", "deleteAlerts"):
            self.assertIn("ids", self.refused(command))
            self.assertIn("enddate", self.refused(command, type="7", startdate="2026-11-20"))
            self.assertIn("type", self.refused(command, type="99"))
            self.assertIn("enddate", self.refused(command, enddate="never"))
        for name in ("id", "type", "name"):
            self.assertIn(name, self.refused("listAlerts", **{name: "nothing"}))
        self.assertEqual(3, self.call("listAlerts")["count"])

    def test_a_page_of_ids(self) -> None:
        """As many as a page of a listing holds can be archived at once."""

        def work(txn: Transaction) -> None:
            for number in range(497):
                self.raise_alert(txn, AlertType.HOST, str(number), DAY, None)

        self.stored(work)
        uuids = self.uuids()
        self.assertEqual(500, len(uuids))
        parameters = {"command": "archiveAlerts", "response": "json", "apiKey": API_KEY, "ids": ",".join(uuids)}
        self.assertEqual(200, self.post(sign(parameters)).status)
        self.assertEqual({}, self.call("listAlerts"))

    def test_generate(self) -> None:
        """An alert that an operator sends is listed, with its event; the job has ended."""
        job = self.call("generateAlert", type="14", name="alert.management", description="a drill")
        self.assertEqual({"success": True}, self.call("queryAsyncJobResult", **job)["jobresult"])
        alert = self.call("listAlerts")["alert"][0]
        told = tuple(alert[key] for key in ("type", "name", "description"))
        self.assertEqual((14, "ALERT.MANAGEMENT", "a drill"), told)
        (event,) = self.call("listEvents", type="ALERT.GENERATE")["event"]
        self.assertEqual(("admin", "An alert was generated: a drill"), (event["username"], event["description"]))

    def test_generate_what(self) -> None:
        """A type that is known, by its own name."""
        good = {"type": "14", "name": "ALERT.MANAGEMENT", "description": "x"}
        for name, value in (("type", "3"), ("type", "x"), ("name", "ALERT.CA.CERT"), ("description", "x" * 1000)):
            self.assertIn(f"parameter {name}:", self.refused("generateAlert", **{**good, name: value}))
        for name in good:
            rest = {key: value for key, value in good.items() if key != name}
            self.assertIn(name, self.refused("generateAlert", **rest))
