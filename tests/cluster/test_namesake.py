"""Whether somebody listens where the row of a namesake says, by what becomes of the connection there."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError, TCPTimedOutError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cluster.namesake import NameTaken, refuse_namesake
from cloudlb.domain.models import Server, ServerId
from cloudlb.domain.ports import Store

ROW = Server(
    id=ServerId(1),
    uuid="",
    name="a",
    address="a.example",
    port=8250,
    version="",
    run_id=1,
    started=0.0,
    heartbeat=0.0,
    alive=True,
)


@define
class OneRow:
    """A store with the row of one server."""

    row: Server

    async def read(self, work: Callable[[Any], Server | None]) -> Server | None:
        return work(SimpleNamespace(servers=SimpleNamespace(all=lambda: [self.row])))


class NamesakeTests(SynchronousTestCase):
    """A server starts by a name whose row seems alive."""

    def setUp(self) -> None:
        """It looks whether somebody is there."""
        self.reactor = MemoryReactorClock()
        asked = refuse_namesake(cast("Store", OneRow(ROW)), self.reactor, ROW.name)
        self.refused: Deferred[None] = Deferred.fromCoroutine(asked)
        [(host, port, self.factory, _, _)] = self.reactor.tcpClients
        self.assertEqual((host, port), (ROW.address, ROW.port))

    def test_nobody_listens(self) -> None:
        """It starts, whatever the reason is, a name that is in no DNS any more among them."""
        errors: list[Exception] = [ConnectError(), TCPTimedOutError(), DNSLookupError("no such name")]
        for error in errors:
            self.setUp()
            self.factory.clientConnectionFailed(self.reactor.connectors[0], Failure(error))
            self.assertIsNone(self.successResultOf(self.refused))

    def test_somebody_listens(self) -> None:
        """It does not, and lets go of the connection."""
        transport = StringTransport()
        protocol = self.factory.buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(transport)
        self.assertIn(
            "a server named a runs at a.example port 8250", str(self.failureResultOf(self.refused, NameTaken))
        )
        self.assertTrue(transport.disconnected)
