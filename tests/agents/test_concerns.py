"""Alerts of certificates and gateways."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.concerns import INTERVAL
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.domain.record_ports import AlertFilter
from cloudlb.domain.records import Alert, AlertType
from cloudlb.net.certificate_names import certificate_end
from cloudlb.wire import Flag, PingAnswer, PingRoutingCommand, ReadyAnswer
from tests.agents.server import FakeLink, ServerFixture
from tests.net.certificates import certificates

DAY = 86400.0


class ConcernTests(SynchronousTestCase):
    """One server."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent)
        self.addCleanup(self.fixture.stop)
        self.link = self.fixture.startup(1)
        header, _ = self.link.take()[-1]
        self.link.receive([ReadyAnswer()], sequence=header.sequence, flags=Flag(0))

    def alerts(self) -> list[Alert]:
        """All that stand."""
        found, _ = self.successResultOf(self.fixture.database.read(lambda txn: txn.alerts.list(AlertFilter(), 0, None)))
        return list(found)

    def ping(self, link: FakeLink, *, gateway: bool) -> None:
        """Have the agent ping, and get its answer."""
        link.receive([PingRoutingCommand(host_id=1, gateway_accessible=gateway)], sequence=1)
        ((_, answer),) = link.take()
        self.assertIsInstance(answer, PingAnswer)

    def test_gateway(self) -> None:
        """One alert of a host that says again and again that it does not reach its gateway, counted up each hour."""
        self.ping(self.link, gateway=True)
        self.assertEqual(self.alerts(), [])
        for _ in range(100):
            self.ping(self.link, gateway=False)
        (alert,) = self.alerts()
        self.assertEqual((alert.type, alert.count), (AlertType.HOST, 1))
        self.assertEqual(alert.subject, "host host-1 said that it did not reach its gateway")
        self.assertEqual(alert.host_id, self.fixture.host(1).id)
        for _ in range(int(INTERVAL / 60)):
            self.fixture.reactor.advance(60)
            self.ping(self.link, gateway=False)
        self.assertEqual([alert.count for alert in self.alerts()], [2])

    def test_certificate(self) -> None:
        """One alert from the time on that the setting says, looked at every hour."""
        attache = self.fixture.server.directory.get(self.fixture.host(1).id)
        assert isinstance(attache, LinkAttache)
        attache.certificate_end = self.fixture.reactor.seconds() + 15 * DAY + 1.5 * INTERVAL
        for _ in range(60):
            self.fixture.reactor.advance(60)
            self.ping(self.link, gateway=True)
        self.assertEqual(self.alerts(), [])
        for _ in range(61):
            self.fixture.reactor.advance(60)
            self.ping(self.link, gateway=True)
        (alert,) = self.alerts()
        self.assertEqual(alert.type, AlertType.CA_CERTIFICATE)
        end = datetime.fromtimestamp(attache.certificate_end, UTC).date()
        self.assertEqual(alert.subject, f"the certificate of host host-1 ends on {end}")

    def test_certificate_of_one_that_comes(self) -> None:
        """Is looked at then, unless the setting says never."""
        attache = self.fixture.server.directory.get(self.fixture.host(1).id)
        assert isinstance(attache, LinkAttache)
        attache.certificate_end = self.fixture.reactor.seconds() + DAY
        self.fixture.set("ca.framework.cert.expiry.alert.period", "0")
        self.successResultOf(Deferred.fromCoroutine(self.fixture.server.settings.load()))
        self.fixture.server.concerns.up(attache)
        self.assertEqual(self.alerts(), [])
        self.fixture.set("ca.framework.cert.expiry.alert.period", "2")
        self.successResultOf(Deferred.fromCoroutine(self.fixture.server.settings.load()))
        self.fixture.server.concerns.up(attache)
        self.assertEqual(len(self.alerts()), 1)

    def test_end_of_a_certificate(self) -> None:
        """Is read from what the agent shows; what is no certificate has none."""
        pem = certificates().agent.certificate
        assert pem is not None
        # The first of the chain that stands in the file.
        certificate = x509.load_pem_x509_certificate(pem.read_bytes())
        shown, end = certificate.public_bytes(Encoding.DER), certificate.not_valid_after_utc
        self.assertEqual(certificate_end(shown), end.timestamp())
        self.assertIsNone(certificate_end(b"no certificate"))
