"""Lost hosts are looked into again, on a real database and a virtual clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents import second_looks
from cloudlb.agents.investigation import Case, Investigator
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import StatusChange
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.record_ports import AlertFilter, EventFilter
from cloudlb.domain.records import Verdict
from cloudlb.domain.resource_state import ResourceEvent
from cloudlb.wire import Flag, ReadyAnswer, ShutdownCommand
from tests.agents.server import FakeLink, ServerFixture
from tests.agents.test_disconnection import Witness


class Oracle(Investigator):
    """Says what the test tells it to."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.verdict: Verdict | None = Verdict.UNKNOWN
        """None: not yet."""
        self.waiting: list[Deferred[tuple[Verdict, str]]] = []

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        """Note the case."""
        self.cases.append(case)
        if self.verdict is not None:
            return self.verdict, "it was told so"
        waiting: Deferred[tuple[Verdict, str]] = Deferred()
        self.waiting.append(waiting)
        return await waiting

    def decide(self, verdict: Verdict) -> None:
        """Answer those who wait."""
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            waiter.callback((verdict, "it was told so"))


class SecondLookTests(SynchronousTestCase):
    """One server, whose only investigator is an oracle with all the time that it needs."""

    def setUp(self) -> None:
        settings = {"ha__investigators__order": "Oracle", "ha__investigator__timeout": "3000"}
        self.fixture = ServerFixture(
            Path(self.mktemp()).parent, alert__wait="3000", ha__investigation__timeout="3000", **settings
        )
        self.addCleanup(self.fixture.stop)
        self.oracle = Oracle()
        self.fixture.server.investigators._investigators["Oracle"] = self.oracle
        self.witness = Witness()
        self.fixture.server.hooks.add(self.witness)

    def up(self, number: int = 1) -> FakeLink:
        """A host that is Up."""
        link = self.fixture.startup(number)
        header, _ = link.take()[-1]
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=Flag(0))
        self.assertEqual(self.status(number), HostStatus.UP)
        return link

    def lose(self, number: int = 1) -> None:
        """A host that was Up, and has just been looked into for the first time."""
        asked = len(self.oracle.cases)
        self.up(number).lose()
        self.fixture.advance(2)
        self.assertEqual(self.status(number), HostStatus.DISCONNECTED)
        self.assertEqual(len(self.oracle.cases), asked + 1)

    def status(self, number: int = 1) -> HostStatus:
        """Of a host's row."""
        return self.fixture.host(number).status

    def set(self, name: str, value: str) -> None:
        """Change a setting."""
        self.fixture.set(name, value)
        self.successResultOf(Deferred.fromCoroutine(self.fixture.server.settings.load()))

    def change(self, event: ResourceEvent, number: int = 1) -> None:
        """Have an operator change a host's resource state."""
        host = self.fixture.host(number)
        resource_states = self.fixture.server.resource_states
        self.successResultOf(Deferred.fromCoroutine(resource_states.change(host.id, event, 1)))
        self.fixture.advance(0.1)

    def steps(self, number: int = 1) -> list[tuple[str, str]]:
        """Event and new status, after the host was Up."""
        which = EventFilter(event_type="HOST.STATUS.TRANSITION", host_id=self.fixture.host(number).id)
        events, _ = self.successResultOf(self.fixture.database.read(lambda txn: txn.events.list(which, 0, None)))
        return [(event.details["event"], event.details["to"]) for event in reversed(events)][2:]

    def test_down_in_the_end(self) -> None:
        """A heartbeat outlives its host: the first look sees it, the next one does not."""
        self.oracle.verdict = Verdict.UP
        self.lose()
        self.oracle.verdict = Verdict.DOWN
        self.fixture.advance(57)
        self.assertEqual(len(self.oracle.cases), 1)
        self.fixture.advance(second_looks.INTERVAL + 2)
        (_, case) = self.oracle.cases
        self.assertEqual((case.cause, case.attache), (HostEvent.AGENT_DISCONNECTED, None))
        self.assertEqual(self.steps(), [("AgentDisconnected", "Disconnected"), ("HostDown", "Down")])
        statuses = [status for what, _, status in self.witness.seen if what == "disconnected"]
        self.assertEqual(statuses, [HostStatus.DISCONNECTED, HostStatus.DOWN])
        (alert,), _ = self.successResultOf(
            self.fixture.database.read(lambda txn: txn.alerts.list(AlertFilter(), 0, None))
        )
        self.assertEqual(alert.host_id, self.fixture.host(1).id)
        self.fixture.advance(200)
        self.assertEqual(len(self.oracle.cases), 2)

    def test_interval(self) -> None:
        """Again and again, and a new interval counts at once."""
        self.lose()
        self.fixture.advance(600)
        self.assertIn(len(self.oracle.cases), (9, 10, 11))
        asked = len(self.oracle.cases)
        self.set("investigate.retry.interval", "5")
        self.fixture.advance(100)
        self.assertEqual(len(self.oracle.cases), asked + 10)

    def test_back(self) -> None:
        """A host whose agent is back is asked about no more, and no late verdict counts."""
        self.lose()
        self.oracle.verdict = None
        self.fixture.advance(70)
        self.assertEqual(len(self.oracle.waiting), 1)
        self.up()
        self.oracle.decide(Verdict.DOWN)
        self.assertEqual(self.status(), HostStatus.UP)

    def test_put_right(self) -> None:
        """Nor where the host is Up again in the session that was held lost."""
        self.lose()
        self.oracle.verdict = None
        self.fixture.advance(70)
        self.successResultOf(self.fixture.server.statuses.change(self.fixture.host(1), HostEvent.PING, "heard"))
        self.oracle.decide(Verdict.DOWN)
        self.assertEqual(self.steps()[1:], [("Ping", "Up")])
        self.assertNotIn(("disconnected", "host-1", HostStatus.DOWN), self.witness.seen)

    def test_gone_on_request(self) -> None:
        """A host that was shut down cleanly is not asked about, at alert.wait neither."""
        self.set("alert.wait", "150")
        link = self.up()
        link.receive([ShutdownCommand(reason="sig.kill")], sequence=-1)
        assert link.ended is not None
        link.lose(link.ended)
        self.fixture.advance(200)
        self.assertEqual((self.status(), self.oracle.cases), (HostStatus.ALERT, []))

    def test_left_alone(self) -> None:
        """A host that its operator has taken out of service is asked about when it is in service again."""
        self.set("alert.wait", "400")
        link = self.up()
        self.change(ResourceEvent.DISABLE)
        link.lose()
        self.fixture.advance(200)
        self.assertEqual((self.status(), self.oracle.cases), (HostStatus.DISCONNECTED, []))
        self.oracle.verdict = Verdict.DOWN
        self.change(ResourceEvent.ENABLE)
        self.fixture.advance(second_looks.INTERVAL + 1)
        self.assertEqual((self.status(), len(self.oracle.cases)), (HostStatus.DOWN, 1))

    def test_left_alone_to_the_end(self) -> None:
        """One that stays out of service is not asked about at alert.wait."""
        self.set("alert.wait", "100")
        link = self.up()
        self.change(ResourceEvent.DISABLE)
        link.lose()
        self.fixture.advance(150)
        self.assertEqual((self.status(), self.oracle.cases), (HostStatus.ALERT, []))

    def test_last_look(self) -> None:
        """A host that becomes Alert is looked into then, and no more."""
        self.set("alert.wait", "30")
        self.lose()
        self.oracle.verdict = None
        self.fixture.advance(45)
        self.assertEqual((self.status(), len(self.oracle.waiting)), (HostStatus.ALERT, 1))
        self.oracle.decide(Verdict.DOWN)
        self.assertEqual(self.steps()[1:], [("WaitedTooLong", "Alert"), ("HostDown", "Down")])
        self.oracle.verdict = Verdict.UNKNOWN
        self.lose(2)
        self.fixture.advance(300)
        self.assertEqual((self.status(2), len(self.oracle.cases)), (HostStatus.ALERT, 4))

    def test_one_at_a_time(self) -> None:
        """A host that is being looked into, for the first time or again, is not looked into meanwhile."""
        self.oracle.verdict = None
        self.up().lose()
        self.fixture.advance(200)
        self.assertEqual(len(self.oracle.waiting), 1)
        self.oracle.decide(Verdict.UNKNOWN)
        self.fixture.advance(200)
        self.assertEqual(len(self.oracle.waiting), 1)
        self.oracle.decide(Verdict.UNKNOWN)

    def test_many(self) -> None:
        """Only so many are under way, and each has its turn."""
        self.patch(second_looks, "AT_ONCE", 2)
        for number in range(1, 6):
            self.lose(number)
        asked = len(self.oracle.cases)
        self.oracle.verdict = None
        seen: list[str] = []
        for count in (2, 2, 1):
            self.fixture.advance(80 if not seen else 2 * second_looks.INTERVAL)
            self.assertEqual(len(self.oracle.waiting), count)
            seen += [case.host.facts.name for case in self.oracle.cases[asked:]]
            asked = len(self.oracle.cases)
            self.oracle.decide(Verdict.UNKNOWN)
        self.assertEqual(seen, [f"host-{number}" for number in range(1, 6)])

    def test_database_is_away(self) -> None:
        """Looks and verdicts wait for another turn."""
        self.lose()
        self.oracle.verdict = None
        self.fixture.advance(70)
        run, read = self.fixture.database.run, self.fixture.database.read

        def away(work: Any) -> Any:
            return fail(StoreUnavailable("away"))

        self.fixture.database.run = self.fixture.database.read = away  # type: ignore[method-assign]
        self.oracle.decide(Verdict.DOWN)
        self.fixture.advance(30)
        self.fixture.database.run, self.fixture.database.read = run, read  # type: ignore[method-assign]
        self.assertEqual(self.status(), HostStatus.DISCONNECTED)
        self.oracle.verdict = Verdict.DOWN
        self.fixture.advance(20)
        self.assertEqual(self.status(), HostStatus.DOWN)

    def test_held_dead(self) -> None:
        """A server that the others hold dead leaves its hosts to them."""
        self.lose()
        membership = self.fixture.server.membership
        membership._heartbeats.stop()
        self.fixture.advance(100)
        self.assertEqual(len(self.oracle.cases), 1)

    def test_stop(self) -> None:
        """Nothing is left on the clock, and another server looks into what this one was looking into."""
        self.lose()
        self.oracle.verdict = None
        self.fixture.advance(70)
        self.assertEqual(len(self.oracle.waiting), 1)
        self.fixture.stop()
        self.fixture.advance(5)
        self.assertEqual(self.fixture.reactor.getDelayedCalls(), [])
        other = ServerFixture(self.fixture.folder, "127.0.0.2")
        self.addCleanup(other.stop)
        oracle = Oracle()
        oracle.verdict = Verdict.DOWN
        other.server.investigators._investigators["Oracle"] = oracle
        other.advance(100)
        self.assertEqual((len(oracle.cases), other.host(1).status), (1, HostStatus.DOWN))


class WhoseTurnTests(SynchronousTestCase):
    """Which of several servers looks."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).parent
        self.servers = [ServerFixture(folder, f"127.0.0.{number}") for number in (1, 2, 3)]
        self.oracles = []
        self.servers[0].set("ha.investigators.order", "Oracle")
        for fixture in self.servers:
            self.addCleanup(fixture.stop)
            self.successResultOf(Deferred.fromCoroutine(fixture.server.settings.load()))
            self.oracles.append(Oracle())
            fixture.server.investigators._investigators["Oracle"] = self.oracles[-1]
        # By id, so that the first is who looks after orphans.
        order = sorted(range(3), key=lambda index: self.servers[index].server.membership.own.id)
        self.servers = [self.servers[index] for index in order]
        self.oracles = [self.oracles[index] for index in order]

    def lost(self, number: int, server: int) -> None:
        """A host that a server has lost long ago."""
        fixture = self.servers[server]
        link = fixture.startup(number)
        header, _ = link.take()[-1]
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=Flag(0))
        host = fixture.host(number)
        change = StatusChange(
            host_id=host.id,
            session=host.session,
            event=HostEvent.AGENT_DISCONNECTED,
            server_id=fixture.server.membership.own.id,
            reason="a test",
        )
        self.successResultOf(fixture.database.run(lambda txn: txn.hosts.transition([change], 1.0)))

    def look(self, *servers: int) -> list[list[str]]:
        """Have some servers look; whom each has investigated."""
        for index in servers:
            self.successResultOf(Deferred.fromCoroutine(self.servers[index].server.second_looks.look()))
        return [[case.host.facts.name for case in oracle.cases] for oracle in self.oracles]

    def test_its_own(self) -> None:
        """Each live server looks after the hosts that it had last."""
        for server in range(3):
            self.lost(server + 1, server)
        self.assertEqual(self.look(2, 0, 1), [["host-1"], ["host-2"], ["host-3"]])

    def test_orphans(self) -> None:
        """Those of a server that is gone are looked after by one of the others alone."""
        self.lost(1, 1)
        self.servers[1].stop()
        self.assertEqual(self.look(2, 0), [["host-1"], [], []])
