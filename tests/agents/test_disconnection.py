"""What becomes of hosts whose agents are late or gone, on a real database and a virtual clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.attache import Attache
from cloudlb.agents.hooks import Hook
from cloudlb.agents.investigation import Case
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import Host, ServerId
from cloudlb.domain.ports import Transaction
from cloudlb.domain.record_ports import AlertFilter, EventFilter
from cloudlb.domain.records import Finding, Investigation, Verdict
from cloudlb.domain.resource_state import ResourceEvent, ResourceState
from cloudlb.wire import Flag, PingCommand, ReadyAnswer, ReadyCommand, ShutdownCommand
from tests.agents.server import FakeLink, ServerFixture

RESPONSE = Flag(0)
TIMEOUT = 150
"""Seconds: 2.5 ping intervals of 60."""


class Oracle:
    """Investigators that say what the test tells them to."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.verdict: Verdict | None = Verdict.UNKNOWN
        """None: not yet."""
        self.waiting: list[Deferred[Investigation]] = []

    def investigate(self, case: Case) -> Deferred[Investigation]:
        """Note the case, and answer it now or when told to."""
        self.cases.append(case)
        if self.verdict is not None:
            return succeed(self.found(case, self.verdict))
        waiting: Deferred[Investigation] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def decide(self, verdict: Verdict) -> None:
        """Answer those who wait."""
        cases, waiting, self.waiting = self.cases[-len(self.waiting) :], self.waiting, []
        for case, waiter in zip(cases, waiting, strict=True):
            waiter.callback(self.found(case, verdict))

    @staticmethod
    def found(case: Case, verdict: Verdict) -> Investigation:
        """The oracle's word."""
        return Investigation(
            uuid="",
            host_id=case.host.id,
            server_id=ServerId(1),
            cause=case.cause,
            started=0.0,
            duration=0.0,
            verdict=verdict,
            findings=(Finding(investigator="Oracle", verdict=verdict, reason="", duration=0.0),),
        )


class Witness(Hook):
    """Notes what hooks are told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, HostStatus]] = []

    def connected(self, host: Host) -> None:
        """A host is Up."""
        self.seen.append(("connected", host.facts.name, host.status))

    def disconnected(self, host: Host, status: HostStatus) -> None:
        """A host has lost its agent."""
        self.seen.append(("disconnected", host.facts.name, status))


class DisconnectionTests(SynchronousTestCase):
    """One server."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent)
        self.addCleanup(self.fixture.stop)
        self.oracle = Oracle()
        self.fixture.server.disconnection._investigators = self.oracle
        self.witness = Witness()
        self.fixture.server.hooks.add(self.witness)

    def up(self, number: int = 1) -> FakeLink:
        """A host that is Up."""
        link = self.fixture.startup(number)
        header, ready = link.take()[-1]
        assert isinstance(ready, ReadyCommand)
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=RESPONSE)
        self.assertEqual(self.status(number), HostStatus.UP)
        return link

    def end(self, link: FakeLink) -> str:
        """The server has closed the link: let it be gone. Why it was closed."""
        assert link.ended is not None, "the link is open"
        if not link.lost:
            link.lose(link.ended)
        return link.ended

    def status(self, number: int = 1) -> HostStatus:
        """Of a host's row."""
        return self.fixture.host(number).status

    def steps(self, number: int = 1) -> list[tuple[str, str, str]]:
        """Event, from and to of each step that is on record, but for those of admission."""
        host = self.fixture.host(number)
        which = EventFilter(event_type="HOST.STATUS.TRANSITION", host_id=host.id)
        events, _ = self.read(lambda txn: txn.events.list(which, 0, None))
        steps = [(event.details["event"], event.details["from"], event.details["to"]) for event in reversed(events)]
        self.assertEqual({event.server_id for event in events}, {self.fixture.server.membership.own.id})
        return [step for step in steps if step[0] not in ("AgentConnected", "Ready")]

    def alerts(self) -> list[str]:
        """Subjects of alerts."""
        return [alert.subject for alert in self.read(lambda txn: txn.alerts.list(AlertFilter(), 0, None))[0]]

    def read(self, work: Any) -> Any:
        """Look into the database."""
        return self.successResultOf(self.fixture.database.read(work))

    def set_state(self, event: ResourceEvent, state: ResourceState, number: int = 1) -> None:
        """Have an operator change a host's resource state."""
        host = self.fixture.host(number)
        assert host.server_id is not None
        server_id = host.server_id

        def work(txn: Transaction) -> object:
            return txn.hosts.change_resource_state(
                host.id, event, server_id=server_id, account_id=None, reason="a test", now=0.0
            )

        self.successResultOf(self.fixture.database.run(work))
        attache = self.fixture.server.directory.get(host.id)
        assert attache is not None
        attache.take_state(state)

    # Late pings.

    def test_late_and_mute(self) -> None:
        """The link stays open until somebody has been asked; then it is closed, and the host Disconnected."""
        link = self.up()
        self.oracle.verdict = None
        self.fixture.advance(TIMEOUT - 1)
        self.assertEqual(self.oracle.cases, [])
        self.fixture.advance(2)
        (case,) = self.oracle.cases
        self.assertEqual((case.cause, case.host.facts.name), (HostEvent.PING_TIMEOUT, "host-1"))
        assert isinstance(case.attache, Attache)
        self.assertEqual((link.ended, self.status()), (None, HostStatus.UP))
        self.oracle.decide(Verdict.UNKNOWN)
        self.assertIn("no ping for 150 s", self.end(link))
        self.assertEqual(self.steps(), [("PingTimeout", "Up", "Disconnected")])
        self.assertEqual(self.witness.seen[-1], ("disconnected", "host-1", HostStatus.DISCONNECTED))

    def test_late_and_the_host_lives(self) -> None:
        """Its agent does not."""
        link = self.up()
        self.oracle.verdict = Verdict.UP
        self.fixture.advance(TIMEOUT + 1)
        self.end(link)
        self.assertEqual(self.steps(), [("PingTimeout", "Up", "Disconnected")])
        self.assertEqual(self.alerts(), [])

    def test_late_and_down(self) -> None:
        """High availability begins at Down."""
        link = self.up()
        self.oracle.verdict = Verdict.DOWN
        self.fixture.advance(TIMEOUT + 1)
        self.end(link)
        self.assertEqual(self.steps(), [("HostDown", "Up", "Down")])
        self.assertEqual(self.witness.seen[-1], ("disconnected", "host-1", HostStatus.DOWN))
        self.assertEqual(self.alerts(), ["host host-1 went down"])

    def test_late_and_alive(self) -> None:
        """Whatever was found: an agent that says something keeps its link, and has its whole time anew."""
        for verdict in Verdict:
            link = self.up()
            self.oracle.verdict = None
            self.fixture.advance(TIMEOUT + 1)
            link.receive([PingCommand()], sequence=1)
            self.oracle.decide(verdict)
            self.assertEqual((link.ended, self.status(), self.steps()), (None, HostStatus.UP, []))
            asked = len(self.oracle.cases)
            self.fixture.advance(TIMEOUT - 2)
            self.assertEqual(len(self.oracle.cases), asked)
            self.fixture.advance(3)
            self.assertEqual(len(self.oracle.cases), asked + 1)
            link.receive([PingCommand()], sequence=2)
            self.oracle.decide(Verdict.UNKNOWN)

    def test_late_again_while_being_investigated(self) -> None:
        """Is no second case; it fell silent once more, so it goes."""
        self.fixture.set("ping.interval", "1")
        self.successResultOf(Deferred.fromCoroutine(self.fixture.server.settings.load()))
        link = self.up()
        self.oracle.verdict = None
        self.fixture.advance(4)
        link.receive([PingCommand()], sequence=1)
        self.fixture.advance(10)
        self.assertEqual(len(self.oracle.cases), 1)
        self.oracle.decide(Verdict.UNKNOWN)
        self.end(link)
        self.assertEqual(self.steps(), [("PingTimeout", "Up", "Disconnected")])

    def test_late_and_then_the_link_goes(self) -> None:
        """One case is enough, and its verdict counts for what was written meanwhile."""
        for verdict, status in ((Verdict.UNKNOWN, HostStatus.DISCONNECTED), (Verdict.DOWN, HostStatus.DOWN)):
            number = 1 + len(self.oracle.cases)
            link = self.up(number)
            self.oracle.verdict = None
            self.fixture.advance(TIMEOUT + 1)
            asked = len(self.oracle.cases)
            link.lose()
            self.fixture.advance(2)
            self.assertEqual((self.status(number), len(self.oracle.cases)), (HostStatus.DISCONNECTED, asked))
            self.oracle.decide(verdict)
            self.assertEqual((self.status(number), len(self.oracle.cases)), (status, asked))
            told = [now for what, name, now in self.witness.seen if (what, name) == ("disconnected", f"host-{number}")]
            self.assertEqual(told, list(dict.fromkeys([HostStatus.DISCONNECTED, status])))

    def test_late_in_maintenance(self) -> None:
        """Nobody is asked."""
        link = self.up()
        self.set_state(ResourceEvent.DISABLE, ResourceState.DISABLED)
        self.fixture.advance(TIMEOUT + 1)
        self.end(link)
        self.assertEqual(self.oracle.cases, [])
        self.assertEqual(self.steps(), [("PingTimeout", "Up", "Disconnected")])

    def test_many_are_late(self) -> None:
        """All are asked about at once: whoever waits for its turn does so within the budget of its investigation."""
        self.oracle.verdict = None
        links = [self.up(number) for number in range(1, 301)]
        self.fixture.advance(TIMEOUT + 1)
        self.assertEqual(len(self.oracle.cases), 300)
        self.oracle.decide(Verdict.UNKNOWN)
        self.assertEqual({self.end(link) for link in links}, {"no ping for 150 s; found Unknown"})

    # Lost links.

    def test_lost(self) -> None:
        """After the grace the host is Disconnected at once, and Down if that is found."""
        link = self.up()
        self.oracle.verdict = None
        link.lose()
        self.fixture.advance(0.5)
        self.assertEqual((self.status(), self.oracle.cases), (HostStatus.UP, []))
        self.fixture.advance(1.5)
        self.assertEqual(self.status(), HostStatus.DISCONNECTED)
        (case,) = self.oracle.cases
        self.assertEqual((case.cause, case.attache), (HostEvent.AGENT_DISCONNECTED, None))
        self.oracle.decide(Verdict.DOWN)
        self.assertEqual(
            self.steps(), [("AgentDisconnected", "Up", "Disconnected"), ("HostDown", "Disconnected", "Down")]
        )
        statuses = [status for what, _, status in self.witness.seen if what == "disconnected"]
        self.assertEqual(statuses, [HostStatus.DISCONNECTED, HostStatus.DOWN])

    def test_down_twice(self) -> None:
        """Is one alert."""
        self.oracle.verdict = Verdict.DOWN
        self.up().lose()
        self.fixture.advance(2)
        again = self.fixture.server.statuses.change(self.fixture.host(1), HostEvent.HOST_DOWN, "still")
        self.assertIsNotNone(self.successResultOf(again))
        (alert,) = self.read(lambda txn: txn.alerts.list(AlertFilter(), 0, None))[0]
        self.assertEqual(alert.count, 1)

    def test_lost_and_not_down(self) -> None:
        """Nothing more happens, and the hooks are told once."""
        for number, verdict in enumerate((Verdict.UP, Verdict.UNKNOWN), 1):
            self.oracle.verdict = verdict
            self.up(number).lose()
            self.fixture.advance(2)
            self.assertEqual(self.steps(number), [("AgentDisconnected", "Up", "Disconnected")])
        self.assertEqual(len([what for what, _, _ in self.witness.seen if what == "disconnected"]), 2)

    def test_lost_and_back(self) -> None:
        """A host whose agent has come back is not looked into any more, and no late verdict counts."""
        self.oracle.verdict = None
        self.up().lose()
        self.fixture.advance(2)
        self.up()
        self.oracle.decide(Verdict.DOWN)
        self.fixture.advance(2)
        self.assertEqual((self.status(), self.fixture.host(1).session), (HostStatus.UP, 2))

    def test_back_before_it_is_asked(self) -> None:
        """A host whose loss is written when its agent has a newer session already is not looked into."""
        self.up().lose()
        self.up()
        self.fixture.advance(2)
        self.assertEqual((self.status(), self.oracle.cases), (HostStatus.UP, []))

    def test_announced(self) -> None:
        """An agent that says that it stops, or whose link an operator closes, is not asked about."""
        link = self.up(1)
        link.receive([ShutdownCommand(reason="sig.kill")], sequence=-1)
        self.end(link)
        link = self.up(2)
        attache = self.fixture.server.directory.get(self.fixture.host(2).id)
        assert attache is not None
        attache.close("an operator wants the agent to reconnect")
        self.end(link)
        for number in (1, 2):
            self.assertEqual(self.steps(number), [("ShutdownRequested", "Up", "Disconnected")])
        self.assertEqual(self.oracle.cases, [])

    def test_lost_in_maintenance(self) -> None:
        """Is as good as announced."""
        link = self.up()
        self.set_state(ResourceEvent.DISABLE, ResourceState.DISABLED)
        link.lose()
        self.fixture.advance(2)
        self.assertEqual(self.steps(), [("AgentDisconnected", "Up", "Disconnected")])
        self.assertEqual(self.oracle.cases, [])

    def test_taken_over(self) -> None:
        """By a newer link: the older one's end, late pings or words change nothing."""
        before = self.up()
        after = self.up()
        self.fixture.advance(TIMEOUT / 2)
        after.receive([PingCommand()], sequence=1)
        before.lose()
        self.fixture.advance(TIMEOUT / 2 + 3)
        self.assertEqual((self.status(), self.oracle.cases), (HostStatus.UP, []))
        self.assertNotIn("Disconnected", [after for _, _, after in self.steps()])

    def test_the_server_stops(self) -> None:
        """Its hosts are Disconnected, and that is the reason."""
        link = self.up()
        self.fixture.server.stopService()
        self.end(link)
        self.fixture.advance(4)
        again = ServerFixture(self.fixture.folder, "127.0.0.2")
        self.addCleanup(again.stop)
        host = again.host(1)
        which = EventFilter(event_type="HOST.STATUS.TRANSITION", host_id=host.id)
        events, _ = self.successResultOf(again.database.read(lambda txn: txn.events.list(which, 0, None)))
        self.assertEqual((host.status, events[0].details["event"]), (HostStatus.DISCONNECTED, "ManagementServerDown"))
        self.assertEqual(self.oracle.cases, [])

    def test_a_stop_waits_for_no_investigation(self) -> None:
        """Nothing is left on the clock, and nobody is asked any more."""
        self.oracle.verdict = None
        self.up(1).lose()
        self.fixture.advance(2)
        self.up(2).lose()
        self.fixture.stop()
        self.fixture.advance(5)
        self.assertEqual(len(self.oracle.cases), 1)
        self.assertEqual(self.fixture.reactor.getDelayedCalls(), [])

    # Those who do not come back.

    def test_alert(self) -> None:
        """After alert.wait, which is live; and again only after the host has been Up."""
        self.up().lose()
        self.fixture.advance(1700)
        self.assertEqual(self.status(), HostStatus.DISCONNECTED)
        self.fixture.advance(120)
        self.assertEqual(self.steps()[1:], [("WaitedTooLong", "Disconnected", "Alert")])
        self.assertEqual(self.alerts(), ["host host-1 went into alert: its agent had not come back in time"])
        self.up()
        self.fixture.set("alert.wait", "30")
        self.successResultOf(Deferred.fromCoroutine(self.fixture.server.settings.load()))
        self.up().lose()
        self.fixture.advance(42)
        self.assertEqual(self.status(), HostStatus.ALERT)
        alert = self.read(lambda txn: txn.alerts.list(AlertFilter(), 0, None))[0][0]
        self.assertEqual(alert.count, 2)

    def test_a_host_that_is_down_stays_down(self) -> None:
        """That is worse than in alert, and known."""
        self.oracle.verdict = Verdict.DOWN
        self.up().lose()
        self.fixture.advance(2000)
        self.assertEqual(self.status(), HostStatus.DOWN)

    def test_hooks(self) -> None:
        """Are told of every host that becomes Up, as it is then."""
        self.up()
        self.assertEqual(self.witness.seen, [("connected", "host-1", HostStatus.UP)])
