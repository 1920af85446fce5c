"""Who may read the pages, and what they say."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from attrs import define, field
from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.metrics.pages import HealthPage, MetricsPage, ReadyPage, allows


@define
class FakeRequest:
    """What a page sees of a request."""

    peer: IAddress = field(factory=lambda: IPv4Address("TCP", "10.0.0.9", 5))
    postpath: list[bytes] = field(factory=list)
    status: int = 0
    headers: dict[bytes, bytes] = field(factory=dict)

    def getClientAddress(self) -> IAddress:  # noqa: N802 - Twisted's name
        return self.peer

    def setResponseCode(self, code: int) -> None:  # noqa: N802 - as above
        self.status = code

    def setHeader(self, name: bytes, value: bytes) -> None:  # noqa: N802 - as above
        self.headers[name] = value


class AllowsTests(SynchronousTestCase):
    """Addresses and networks."""

    def test_addresses(self) -> None:
        """By the address of the connection, in either family and in both at once."""
        networks = [ip_network("127.0.0.1"), ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
        for address, allowed in (
            ("127.0.0.1", True),
            ("127.0.0.2", False),
            ("10.1.255.255", True),
            ("10.2.0.0", False),
            ("::ffff:10.1.2.3", True),
            ("::ffff:10.2.2.3", False),
            ("fd12::1", True),
            ("fd12::1%eth0", True),
            ("::1", False),
            ("", False),
            ("localhost", False),
        ):
            with self.subTest(address=address):
                self.assertIs(allowed, allows(networks, address))

    def test_nobody(self) -> None:
        """No network, no reader."""
        self.assertFalse(allows([], "127.0.0.1"))


class PageTests(SynchronousTestCase):
    """The three pages."""

    def get(self, page: Any, **values: Any) -> tuple[int, str, FakeRequest]:
        """Read a page."""
        request = FakeRequest(**values)
        text = page.render_GET(request)
        return request.status, text.decode(), request

    def test_metrics(self) -> None:
        """For those of the setting of the moment."""
        registry = CollectorRegistry()
        Gauge("x", "Help.", registry=registry).set(7)
        readers = [ip_network("10.0.0.9")]
        page = MetricsPage(registry, lambda: readers)
        status, text, request = self.get(page)
        self.assertEqual((200, "# HELP x Help.\n# TYPE x gauge\nx 7.0\n"), (status, text))
        self.assertEqual(b"text/plain; version=0.0.4; charset=utf-8", request.headers[b"content-type"])
        readers[:] = [ip_network("10.0.0.8")]
        status, text, _ = self.get(page)
        self.assertEqual(403, status)
        self.assertNotIn("x 7", text)
        self.assertIn("prometheus.exporter.allowed.ips", text)

    def test_no_address(self) -> None:
        """A connection without an IP address reads nothing."""
        page = MetricsPage(CollectorRegistry(), lambda: [ip_network("0.0.0.0/0")])
        self.assertEqual(403, self.get(page, peer=UNIXAddress("/x"))[0])

    def test_health(self) -> None:
        """It says what it was given."""
        self.assertEqual((200, "fine\n"), self.get(HealthPage(lambda: "fine"))[:2])

    def test_ready(self) -> None:
        """503 with the reason, and 200."""
        obstacles: list[str | None] = ["the server is starting", None]
        page = ReadyPage(lambda: obstacles.pop(0))
        self.assertEqual((503, "the server is starting\n"), self.get(page)[:2])
        self.assertEqual((200, "ready\n"), self.get(page)[:2])

    def test_nothing_below(self) -> None:
        """What stands below a page is no page."""
        self.assertEqual(404, self.get(HealthPage(lambda: "fine"), postpath=[b"x"])[0])
