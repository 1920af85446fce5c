"""The contracts of what is kept for people: events, alerts, investigations."""

from __future__ import annotations

from typing import Any

from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId
from cloudlb.domain.record_ports import AlertFilter, EventFilter
from cloudlb.domain.records import Alert, AlertType, Event, Finding, Investigation, Level, Verdict
from tests.contracts.case import SERVER, StoreContract


class EventRowsContract(StoreContract):
    """EventRows."""

    def add(self, description: str, at: float, event_type: str = "HOST.ADD", **about: Any) -> None:
        """Add an event."""
        self.write(lambda txn: txn.events.add(event_type, description, now=at, **about))

    def test_add(self) -> None:
        """An event comes back as it was told."""
        self.add(
            "Škoda",
            5.0,
            level=Level.ERROR,
            account_id=2,
            server_id=SERVER,
            host_id=HostId(3),
            details={"from": "Up"},
        )
        (event,) = self.events()
        self.assertEqual(
            event,
            Event(
                uuid=event.uuid,
                type="HOST.ADD",
                level=Level.ERROR,
                description="Škoda",
                created=5.0,
                account_id=2,
                server_id=SERVER,
                host_id=HostId(3),
                details={"from": "Up"},
            ),
        )
        self.assertEqual(len(event.uuid), 36)
        self.add("another", 6.0)
        self.assertEqual(self.events()[0].level, Level.INFO)

    def test_no_text(self) -> None:
        """What an agent said is told even if it holds characters that no database takes."""
        self.add("a\0b\ud800c", 5.0, details={"said": "a\0b\ud800c"})
        (event,) = self.events()
        self.assertEqual(event.description, "a\ufffdb\ufffdc")
        self.assertEqual(event.details, {"said": "a\0b\ud800c"})

    def test_filters(self) -> None:
        """Each part of a filter counts, and all of them together."""
        self.add("Link of a ended", 1.0, "HOST.RECONNECT", level=Level.WARN, host_id=HostId(1), account_id=7)
        self.add("100% of b", 2.0, "HOST.ADD", host_id=HostId(2))
        self.add("link of b ended", 3.0, "HOST.RECONNECT", host_id=HostId(2))
        uuid = self.events()[1].uuid
        cases: tuple[tuple[dict[str, Any], list[float]], ...] = (
            ({}, [3.0, 2.0, 1.0]),
            ({"uuid": uuid}, [2.0]),
            ({"event_type": "HOST.RECONNECT"}, [3.0, 1.0]),
            ({"level": Level.WARN}, [1.0]),
            ({"host_id": HostId(2)}, [3.0, 2.0]),
            ({"account_id": 7}, [1.0]),
            ({"after": 2.0}, [3.0, 2.0]),
            ({"before": 2.0}, [1.0]),
            ({"keyword": "LINK"}, [3.0, 1.0]),
            ({"keyword": "host.add"}, [2.0]),
            ({"keyword": "0%"}, [2.0]),
            ({"keyword": "%"}, [2.0]),
            ({"host_id": HostId(2), "event_type": "HOST.RECONNECT", "keyword": "ended"}, [3.0]),
            ({"host_id": HostId(9)}, []),
        )
        for which, expected in cases:
            self.assertEqual([event.created for event in self.events(**which)], expected, which)

    def test_pages(self) -> None:
        """A page tells how many there are in all; a page beyond the end is empty."""
        for at in range(5):
            self.add("x", float(at))
        for offset, limit, expected in ((0, 2, [4.0, 3.0]), (4, 2, [0.0]), (9, 2, []), (3, None, [1.0, 0.0])):
            self.assertEqual(self.page(offset, limit), (expected, 5))

    def page(self, offset: int, limit: int | None) -> tuple[list[float], int]:
        """The times of a page of all events, and how many there are."""
        events, total = self.look(lambda txn: txn.events.list(EventFilter(), offset, limit))
        return [event.created for event in events], total

    def test_prune(self) -> None:
        """What is old goes, in portions."""
        for at in range(5):
            self.add("x", float(at))
        self.assertEqual([self.write(lambda txn: txn.events.prune(3.0, 2)) for _ in range(3)], [2, 1, 0])
        self.assertEqual([event.created for event in self.events()], [4.0, 3.0])


class AlertRowsContract(StoreContract):
    """AlertRows."""

    def send(self, subject: str, at: float, host: int | None = 1, about: AlertType = AlertType.HOST) -> bool:
        """Raise an alert."""
        host_id = None if host is None else HostId(host)
        return self.write(lambda txn: txn.alerts.send(about, subject, host_id=host_id, now=at))

    def alerts(self, **which: Any) -> list[Alert]:
        """The alerts that a filter lets through."""
        return list(self.look(lambda txn: txn.alerts.list(AlertFilter(**which), 0, None))[0])

    def test_send(self) -> None:
        """The same one is raised once while it stands, and counted."""
        self.assertTrue(self.send("host a is down", 5.0))
        self.assertFalse(self.send("host a is down", 7.0))
        (alert,) = self.alerts()
        expected = Alert(
            uuid=alert.uuid,
            type=AlertType.HOST,
            subject="host a is down",
            created=5.0,
            last_sent=7.0,
            count=2,
            host_id=HostId(1),
        )
        self.assertEqual(alert, expected)

    def test_no_text(self) -> None:
        """Characters that no database takes are marked, and the same alert is still the same."""
        self.assertEqual([self.send("a\0b", 1.0), self.send("a\0b", 2.0)], [True, False])
        self.assertEqual([alert.subject for alert in self.alerts()], ["a\ufffdb"])

    def test_others(self) -> None:
        """Another subject, host or type is another alert, and so is one of no host; each stands by itself."""
        for _ in range(2):
            self.send("x", 1.0)
            self.send("y", 1.0)
            self.send("x", 1.0, host=2)
            self.send("x", 1.0, host=None)
            self.send("x", 1.0, about=AlertType.CA_CERTIFICATE)
        self.assertEqual([alert.count for alert in self.alerts()], [2] * 5)

    def test_archived(self) -> None:
        """One that was archived is not listed, and the next of its kind is new."""
        self.send("x", 1.0)
        self.assertEqual(self.write(lambda txn: txn.alerts.archive(AlertFilter())), 1)
        self.assertEqual(self.write(lambda txn: txn.alerts.archive(AlertFilter())), 0)
        self.assertEqual(self.alerts(), [])
        self.assertTrue(self.send("x", 2.0))
        (alert,) = self.alerts()
        self.assertEqual((alert.count, alert.created), (1, 2.0))

    def test_filters(self) -> None:
        """Each part of a filter counts, for lists, archiving and deleting alike."""
        self.send("host A is down", 1.0)
        self.send("host b is down", 2.0)
        self.send("certificate", 3.0, about=AlertType.CA_CERTIFICATE)
        uuids = [alert.uuid for alert in self.alerts()]
        cases: tuple[tuple[dict[str, Any], list[float]], ...] = (
            ({}, [3.0, 2.0, 1.0]),
            ({"uuids": uuids[1:]}, [2.0, 1.0]),
            ({"uuids": []}, []),
            ({"alert_type": AlertType.HOST}, [2.0, 1.0]),
            ({"after": 2.0}, [3.0, 2.0]),
            ({"before": 2.0}, [1.0]),
            ({"keyword": "HOST a"}, [1.0]),
            ({"alert_type": AlertType.HOST, "uuids": uuids[:2]}, [2.0]),
        )
        for which, expected in cases:
            self.assertEqual([alert.created for alert in self.alerts(**which)], expected, which)
        self.assertEqual(self.write(lambda txn: txn.alerts.archive(AlertFilter(before=2.0))), 1)
        self.assertEqual(self.write(lambda txn: txn.alerts.delete(AlertFilter(uuids=uuids[1:]))), 2)
        self.assertEqual([alert.created for alert in self.alerts()], [3.0])

    def test_pages(self) -> None:
        """A page of the newest, and how many stand in all."""
        for at in range(3):
            self.send(str(at), float(at))
        alerts, total = self.look(lambda txn: txn.alerts.list(AlertFilter(), 1, 1))
        self.assertEqual(([alert.subject for alert in alerts], total), (["1"], 3))

    def test_prune(self) -> None:
        """What happened last long ago goes, in portions; what still happens stays."""
        for at in range(4):
            self.send(str(at), float(at))
        self.send("0", 9.0)
        self.assertEqual([self.write(lambda txn: txn.alerts.prune(4.0, 2)) for _ in range(3)], [2, 1, 0])
        self.assertEqual([alert.subject for alert in self.alerts()], ["0"])


class InvestigationRowsContract(StoreContract):
    """InvestigationRows."""

    def add(self, host: int, at: float, *findings: Finding) -> Investigation:
        """Keep an investigation."""
        investigation = Investigation(
            uuid=f"investigation {at}",
            host_id=HostId(host),
            server_id=SERVER,
            cause=HostEvent.PING_TIMEOUT,
            started=at,
            duration=1.5,
            verdict=Verdict.UNKNOWN,
            findings=findings,
        )
        self.write(lambda txn: txn.investigations.add(investigation))
        return investigation

    def test_list(self) -> None:
        """They come back as they were told, the newest first, of one host or of all."""
        ping = Finding(investigator="ping", verdict=Verdict.DOWN, reason="no answer: Škoda", duration=0.5)
        bmc = Finding(investigator="bmc", verdict=Verdict.UNKNOWN, reason="", duration=1.0)
        first, second, third = self.add(1, 10.0, ping, bmc), self.add(2, 11.0), self.add(1, 12.0)

        def page(host_id: int | None, offset: int, limit: int | None) -> tuple[list[Investigation], int]:
            wanted = None if host_id is None else HostId(host_id)
            found, total = self.look(lambda txn: txn.investigations.list(wanted, offset, limit))
            return list(found), total

        self.assertEqual(page(None, 0, None), ([third, second, first], 3))
        self.assertEqual(page(1, 0, None), ([third, first], 2))
        self.assertEqual(page(1, 1, 1), ([first], 2))
        self.assertEqual(page(9, 0, 1), ([], 0))

    def test_prune(self) -> None:
        """What is old goes, in portions."""
        kept = [self.add(1, float(at)) for at in range(4)][3:]
        self.assertEqual([self.write(lambda txn: txn.investigations.prune(3.0, 2)) for _ in range(3)], [2, 1, 0])
        self.assertEqual(list(self.look(lambda txn: txn.investigations.list(None, 0, None))[0]), kept)
