"""What one server says of itself while things happen to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.departures import MoveEnd, MoveReason
from cloudlb.agents.errors import AgentBusy, AgentTimedOut, AgentUnavailable, BadAnswer, CommandCancelled, LinkLost
from cloudlb.agents.request_ends import result_name
from cloudlb.domain.host_list import HostList
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.server_state import ServerEvent
from cloudlb.wire import (
    Answer,
    CheckHealthCommand,
    Flag,
    PingRoutingCommand,
    ReadyAnswer,
    ReadyCommand,
    SetupMSListAnswer,
    SetupMSListCommand,
)
from tests.agents.server import FakeLink, ServerFixture
from tests.api.world import Response, read_response

RESPONSE = Flag(0)


class ServerTestCase(SynchronousTestCase):
    """Tests of one server's pages."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent, host="127.0.0.1,127.0.0.2")
        self.addCleanup(self.fixture.stop)
        self.server = self.fixture.server

    def get(self, page: str, peer: str = "127.0.0.1") -> Response:
        """Read a page of the server's site."""
        transport = StringTransport(peerAddress=IPv4Address("TCP", peer, 50000))
        channel = self.server.website.factory.buildProtocol(transport.getPeer())
        assert channel is not None
        channel.makeConnection(transport)
        channel.dataReceived(f"GET /{page} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return read_response(transport.value())

    def value(self, name: str, /, **labels: str) -> float | None:
        """One sample, as Prometheus reads it; None: there is none."""
        for family in text_string_to_metric_families(self.get("metrics").content.decode()):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None

    def up(self, number: int, *, held: str = "127.0.0.1,127.0.0.2@static", **values: Any) -> FakeLink:
        """Connect an agent and make it Up."""
        link = self.fixture.startup(number, ms_host_list=held, **values)
        self.ready(link)
        return link

    def ready(self, link: FakeLink) -> None:
        """Answer the ReadyCommand."""
        header = next(header for header, content in link.take() if isinstance(content, ReadyCommand))
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=RESPONSE)


class AgentTests(ServerTestCase):
    """Agents, what they say, and what becomes of them."""

    def test_agents(self) -> None:
        """By status and by whether they prefer this server, before it has sent them elsewhere."""
        self.assertEqual(0, self.value("cloudlb_agents", status="Up", preferred="yes"))
        self.up(1)
        self.up(2, held="127.0.0.2,127.0.0.1@static")
        self.fixture.startup(3, ms_host_list="127.0.0.1,127.0.0.2@static")
        self.assertEqual(1, self.value("cloudlb_agents", status="Connecting", preferred="yes"))
        self.assertEqual(2, sum(self.value("cloudlb_agents", status="Up", preferred=p) or 0 for p in ("yes", "no")))
        self.assertEqual(3, self.value("cloudlb_links"))

    def test_admissions(self) -> None:
        """By their ends."""
        self.up(1)
        self.fixture.startup(2, data_center="nowhere")
        self.fixture.startup(3, guid="")
        self.fixture.startup(4).lose()
        for result, count in (("up", 1), ("refused", 2), ("failed", 1)):
            self.assertEqual(count, self.value("cloudlb_admissions_total", result=result), result)

    def test_failover(self) -> None:
        """Who comes by itself, was here or elsewhere before, and prefers another server; nobody else."""
        theirs = "127.0.0.2,127.0.0.1@static"
        self.up(1, held=theirs)
        self.up(2, held=theirs, host_id=2, connection_transferred=True)
        self.up(3, host_id=3)
        self.assertEqual(0, self.value("cloudlb_failovers_total"))
        self.up(4, held=theirs, host_id=4)
        self.assertEqual(1, self.value("cloudlb_failovers_total"))

    def test_lost(self) -> None:
        """A host whose agent is gone."""
        self.up(1).lose()
        self.fixture.advance(3)
        self.assertEqual(1, self.value("cloudlb_hosts_lost_total", status="Disconnected"))
        self.assertEqual(0, self.value("cloudlb_agents", status="Up", preferred="yes"))

    def test_pings(self) -> None:
        """Every ping counts; its round trip does if it is one."""
        link = self.up(1)
        for sequence, trip in enumerate((0.003, None, -1.0, "fast", True, 1e300, [0.1]), start=1):
            ping = PingRoutingCommand(
                host_type="Routing", host_id=1, host_vm_state_report={}, extra={"roundTrip": trip}
            )
            link.receive([ping], sequence=sequence, flags=Flag.REQUEST)
        self.assertEqual(7, self.value("cloudlb_pings_total"))
        self.assertEqual(1, self.value("cloudlb_ping_round_trip_seconds_count"))
        self.assertEqual(0.003, self.value("cloudlb_ping_round_trip_seconds_sum"))
        self.assertEqual(0, self.value("cloudlb_ping_round_trip_seconds_bucket", le="0.0025"))
        self.assertEqual(1, self.value("cloudlb_ping_round_trip_seconds_bucket", le="0.005"))

    def test_commands(self) -> None:
        """By their ends, with the time that they took."""
        link = self.up(1)
        host = self.fixture.host(1).id
        send = self.server.sender.send
        answered = send(host, [CheckHealthCommand()])
        self.assertEqual(1, self.value("cloudlb_requests_under_way"))
        (header, _) = link.take()[-1]
        self.fixture.advance(0.2)
        link.receive([Answer(result=False)], sequence=header.sequence, flags=RESPONSE)
        self.successResultOf(answered)
        overdue = send(host, [CheckHealthCommand(), CheckHealthCommand()], timeout=3, stop_on_error=False)
        self.fixture.advance(4)
        self.failureResultOf(overdue)
        self.failureResultOf(send(99, [CheckHealthCommand()]))  # type: ignore[arg-type]
        cancelled = send(host, [CheckHealthCommand()])
        cancelled.cancel()
        self.failureResultOf(cancelled)
        lost = send(host, [CheckHealthCommand()])
        link.lose()
        self.failureResultOf(lost)
        for result, count in (("failed", 1), ("timed_out", 2), ("unavailable", 1), ("cancelled", 1), ("lost", 1)):
            self.assertEqual(count, self.value("cloudlb_commands_total", result=result), result)
        self.assertEqual(5, self.value("cloudlb_command_duration_seconds_count"))
        self.assertAlmostEqual(3.2, self.value("cloudlb_command_duration_seconds_sum") or 0, delta=0.2)

    def test_propagation(self) -> None:
        """It is as old as the change that an agent has not confirmed, until it has."""
        first, second = self.up(1), self.up(2)
        self.assertEqual(0, self.value("cloudlb_propagation_age_seconds"))
        self.fixture.set("host", "127.0.0.1,127.0.0.3")
        self.successResultOf(Deferred.fromCoroutine(self.server.settings.load()))
        self.fixture.advance(5)
        self.assertAlmostEqual(5, self.value("cloudlb_propagation_age_seconds") or 0, delta=0.1)
        self.confirm(first)
        self.fixture.advance(5)
        self.assertAlmostEqual(10, self.value("cloudlb_propagation_age_seconds") or 0, delta=0.1)
        self.confirm(second)
        self.assertEqual(0, self.value("cloudlb_propagation_age_seconds"))

    def test_propagation_to_who_goes(self) -> None:
        """Who has lost its link is not waited for."""
        link = self.up(1)
        self.fixture.set("host", "127.0.0.1,127.0.0.3")
        self.successResultOf(Deferred.fromCoroutine(self.server.settings.load()))
        self.fixture.advance(5)
        link.lose()
        self.assertEqual(0, self.value("cloudlb_propagation_age_seconds"))

    def confirm(self, link: FakeLink) -> None:
        """Acknowledge the new list."""
        header = next(header for header, content in link.take() if isinstance(content, SetupMSListCommand))
        link.receive([SetupMSListAnswer()], sequence=header.sequence, flags=RESPONSE)

    def test_moves(self) -> None:
        """By who has asked, and by the end."""
        self.up(1)
        attache = next(iter(self.server.directory))
        self.server.moves.move(attache, HostList(("127.0.0.1",)), reason=MoveReason.DRAIN, why="test")
        self.assertEqual(1, self.value("cloudlb_queue_length", queue="moves"))
        self.fixture.advance(1)
        self.assertEqual(1, self.value("cloudlb_moves_total", reason="drain", end="stayed"))
        self.assertEqual(0, self.value("cloudlb_queue_length", queue="moves"))

    def test_every_kind_is_there(self) -> None:
        """Before it happens first, which would be no change otherwise; and nothing else comes to be there."""

        def kinds() -> set[tuple[str, ...]]:
            page = self.get("metrics").content.decode()
            families = [each for each in text_string_to_metric_families(page) if each.type == "counter"]
            return {(sample.name, *sorted(sample.labels.values())) for each in families for sample in each.samples}

        before = kinds()
        self.test_admissions()
        self.test_commands()
        for reason in MoveReason:
            for end in MoveEnd:
                self.server.meters.moves.labels(reason.value, end.value).inc()
        for error in (AgentBusy, AgentTimedOut, AgentUnavailable, BadAnswer, CommandCancelled, LinkLost):
            self.server.meters.commands.labels(result_name(error("test"))).inc()
        self.assertEqual(before, kinds())

    def test_labels_are_few(self) -> None:
        """However many agents there are, and whatever they are called."""
        self.up(1)
        once = len(self.get("metrics").content.splitlines())
        for number in range(2, 30):
            self.up(number)
        self.assertEqual(once, len(self.get("metrics").content.splitlines()))


class ConditionTests(ServerTestCase):
    """The state of the server, and the probes."""

    def test_server(self) -> None:
        """Who it is, and the states of all."""
        self.assertEqual(1, self.value("cloudlb_server_state", state="Up"))
        self.assertEqual(0, self.value("cloudlb_server_state", state="Maintenance"))
        self.assertEqual(1, self.value("cloudlb_servers", state="Up"))
        own = self.server.membership.own
        self.assertEqual(1, self.value("cloudlb_server_info", name="127.0.0.1", msid=str(own.id), version=own.version))

    def test_hosts(self) -> None:
        """Counted now and then, of the whole cloud; unknown while the database is away."""
        self.up(1)
        self.assertIsNone(self.value("cloudlb_hosts", status="Up", resource_state="Enabled"))
        self.fixture.advance(31)
        self.assertEqual(1, self.value("cloudlb_hosts", status="Up", resource_state="Enabled"))
        self.fixture.database._reader.submit = lambda work: fail(StoreUnavailable("away"))  # type: ignore[method-assign]
        self.fixture.advance(31)
        self.assertIsNone(self.value("cloudlb_hosts", status="Up", resource_state="Enabled"))

    def test_readers(self) -> None:
        """Metrics are for those of the setting, live; probes are for all."""
        self.assertEqual(403, self.get("metrics", peer="127.0.0.2").status)
        self.fixture.set("prometheus.exporter.allowed.ips", "127.0.0.0/8")
        self.successResultOf(Deferred.fromCoroutine(self.server.settings.load()))
        self.assertEqual(200, self.get("metrics", peer="127.0.0.2").status)
        for page in ("healthz", "readyz"):
            self.assertEqual(200, self.get(page, peer="10.9.8.7").status, page)

    def test_no_queries(self) -> None:
        """None of the pages asks the database."""
        asked: list[str] = []
        self.fixture.database.measure = lambda operation, work: asked.append(operation)
        for page in ("metrics", "healthz", "readyz"):
            self.get(page)
        self.assertEqual([], asked)

    def test_draining(self) -> None:
        """A server that is not Up is not ready, and says what it is."""
        own = self.server.membership.own.id
        self.fixture.database.run(lambda txn: txn.servers.change_state(own, ServerEvent.PREPARE_FOR_MAINTENANCE))
        self.fixture.advance(3)
        response = self.get("readyz")
        self.assertEqual(503, response.status)
        self.assertIn(b"Maintenance", response.content)
        self.assertEqual(200, self.get("healthz").status)
        self.assertEqual(0, self.value("cloudlb_server_state", state="Up"))

    def test_database_away(self) -> None:
        """It is not ready within a heartbeat, and is again when the database is; what it does not get is counted."""
        database = self.fixture.database
        writes, reads = database._writer.submit, database._reader.submit
        database._writer.submit = database._reader.submit = lambda work: fail(StoreUnavailable("away"))  # type: ignore[method-assign]
        self.fixture.advance(4)
        response = self.get("readyz")
        self.assertEqual(503, response.status)
        self.assertIn(b"the database is away: no heartbeat for", response.content)
        self.assertGreater(self.value("cloudlb_database_errors_total", operation="write") or 0, 0)
        self.assertAlmostEqual(4, self.value("cloudlb_bus_lag_seconds") or 0, delta=0.5)
        self.assertGreater(self.value("cloudlb_heartbeat_age_seconds") or 0, 2)
        database._writer.submit, database._reader.submit = writes, reads  # type: ignore[method-assign]
        self.fixture.advance(2)
        self.assertEqual(200, self.get("readyz").status)
        self.assertLess(self.value("cloudlb_bus_lag_seconds") or 0, 0.5)

    def test_stopping(self) -> None:
        """It is not ready from the moment that it is told to stop."""
        self.fixture.set("management.server.stop.timeout", "0")
        self.server.stopService()
        response = self.get("readyz")
        self.assertEqual((503, b"the server is stopping\n"), (response.status, response.content))

    def test_reactor_lag(self) -> None:
        """A turn that takes long is seen."""
        self.fixture.reactor.advance(2.5)
        self.assertEqual(1, self.value("cloudlb_reactor_lag_seconds_bucket", le="+Inf") or 0)
        self.assertIn(b"the reactor was 2.", self.get("healthz").content)
