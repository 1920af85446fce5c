"""Hosts that another session takes over, and hosts that are held lost and are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.admission import READY_TIMEOUT
from cloudlb.agents.flapping import SHORT_LIVED
from cloudlb.agents.hooks import Hook
from cloudlb.agents.liveness import FLUSH_INTERVAL
from cloudlb.agents.penalties import FREE
from cloudlb.domain.host_status import HostEvent, HostStatus
from cloudlb.domain.models import Host, StatusChange
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.record_ports import EventFilter
from cloudlb.wire import CheckHealthAnswer, CheckHealthCommand, Flag, PingCommand, ReadyAnswer, ReadyCommand
from tests.agents.server import FakeLink, ServerFixture

RESPONSE = Flag(0)
FIRST = ["Creating AgentConnected Connecting", "Connecting Ready Up"]
"""The steps of a host whose agent comes for the first time."""
AGAIN = ["Disconnected AgentConnected Connecting", "Connecting Ready Up"]


class Witness(Hook):
    """Notes what hooks are told of the host."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def connected(self, host: Host) -> None:
        """Of which session."""
        self.seen.append(host.session)

    def disconnected(self, host: Host, status: HostStatus) -> None:
        """What it is now."""
        self.seen.append(status.value)


class OneServer(SynchronousTestCase):
    """A server, one host, and what is seen of it."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent)
        self.addCleanup(self.fixture.stop)
        self.witness = Witness()
        self.fixture.server.hooks.add(self.witness)

    def ready(self, link: FakeLink) -> FakeLink:
        """Have the agent answer ReadyCommand."""
        header, ready = link.take()[-1]
        assert isinstance(ready, ReadyCommand), ready
        link.receive([ReadyAnswer()], sequence=header.sequence, flags=RESPONSE)
        return link

    def up(self, **values: Any) -> FakeLink:
        """A link on which the host is Up."""
        return self.ready(self.fixture.startup(1, **values))

    def status(self) -> HostStatus:
        """What the row says."""
        return self.fixture.host(1).status

    def steps(self) -> list[str]:
        """Every step on record."""
        which = EventFilter(event_type="HOST.STATUS.TRANSITION", host_id=self.fixture.host(1).id)
        work = self.fixture.database.read(lambda txn: txn.events.list(which, 0, None))
        events, _ = self.successResultOf(work)
        return [f"{e.details['from']} {e.details['event']} {e.details['to']}" for e in reversed(events)]


class TakeoverTests(OneServer):
    """The host that is Up has a newer session."""

    def test_a_newer_link_while_the_old_one_is_open(self) -> None:
        """Up stays Up; `connected` is told of each session."""
        old = self.up()
        new = self.fixture.startup(1)
        self.assertEqual(self.status(), HostStatus.UP)
        self.ready(new)
        old.lose()
        self.fixture.advance(3)
        self.assertEqual((self.status(), self.steps(), self.witness.seen), (HostStatus.UP, FIRST, [1, 2]))

    def test_commands_wait_until_the_newer_agent_is_ready(self) -> None:
        """What the row says is of the session before."""
        self.up()
        new = self.fixture.startup(1)
        host_id = self.fixture.host(1).id
        sent = self.fixture.server.sender.send(host_id, [CheckHealthCommand()])
        self.fixture.advance(1)
        self.ready(new)
        self.fixture.advance(2)
        [(header, command)] = new.take()
        self.assertIsInstance(command, CheckHealthCommand)
        new.receive([CheckHealthAnswer()], sequence=header.sequence, flags=Flag(0))
        self.assertEqual(self.successResultOf(sent), [CheckHealthAnswer()])

    def test_a_newer_link_that_never_becomes_ready(self) -> None:
        """Does not leave the host Up for longer than it may take to become ready."""
        old = self.up()
        new = self.fixture.startup(1)
        old.lose()
        self.fixture.advance(READY_TIMEOUT - 1)
        self.assertEqual(self.status(), HostStatus.UP)
        self.fixture.advance(2)
        new.lose()
        self.fixture.advance(1)
        self.assertEqual((self.status(), self.witness.seen), (HostStatus.DISCONNECTED, [1, "Disconnected"]))

    def test_a_restart_within_the_grace(self) -> None:
        """An agent that is back before its loss was written was not lost: nothing is on record."""
        self.up().lose()
        self.fixture.advance(0.5)
        self.up()
        self.fixture.advance(3)
        self.assertEqual((self.status(), self.steps(), self.witness.seen), (HostStatus.UP, FIRST, [1, 2]))

    def test_a_restart_after_the_grace(self) -> None:
        """The host passes through Disconnected and Connecting, and hooks are told of both ends."""
        self.up().lose()
        self.fixture.advance(2)
        self.up()
        lost = ["Up AgentDisconnected Disconnected"]
        self.assertEqual((self.steps(), self.witness.seen), (FIRST + lost + AGAIN, [1, "Disconnected", 2]))

    def test_transferred(self) -> None:
        """Taken over when the agent is ready."""
        self.up()
        new = self.fixture.startup(1, connection_transferred=True)
        self.assertEqual(self.fixture.host(1).session, 1)
        self.ready(new)
        self.assertEqual((self.fixture.host(1).session, self.steps(), self.witness.seen), (2, FIRST, [1, 2]))


class HeldLostTests(OneServer):
    """Somebody has written that the host is lost, under the session that it has all the same."""

    def write_off(self, *events: HostEvent) -> None:
        """Take steps, as another server."""
        host = self.fixture.host(1)
        assert host.server_id is not None
        server_id = host.server_id
        changes = [
            StatusChange(host_id=host.id, session=host.session, event=event, server_id=server_id, reason="")
            for event in events
        ]
        now = self.fixture.reactor.seconds()
        self.successResultOf(self.fixture.database.run(lambda txn: txn.hosts.transition(changes, now)))

    def test_a_ping_makes_it_up(self) -> None:
        """Whether it is Disconnected or in Alert, with the next batch of stamps, and though that fails at first."""
        link = self.up()
        self.fixture.advance(FLUSH_INTERVAL + 1)
        run = self.fixture.database.run
        for events in ([], [HostEvent.WAITED_TOO_LONG]):
            self.write_off(HostEvent.MANAGEMENT_SERVER_DOWN, *events)
            link.receive([PingCommand()], sequence=1)
            self.fixture.database.run = lambda work: fail(StoreUnavailable("away"))  # type: ignore[method-assign]
            self.fixture.advance(FLUSH_INTERVAL)
            self.flushLoggedErrors(StoreUnavailable)
            self.fixture.database.run = run  # type: ignore[method-assign]
            self.assertNotEqual(self.status(), HostStatus.UP)
            self.fixture.advance(FLUSH_INTERVAL)
            self.assertEqual(self.status(), HostStatus.UP)
        self.assertEqual(self.steps()[-1], "Alert Ping Up")
        self.assertEqual(self.witness.seen, [1])

    def test_a_host_that_is_down_stays_so(self) -> None:
        """High availability has begun."""
        link = self.up()
        self.write_off(HostEvent.HOST_DOWN)
        link.receive([PingCommand()], sequence=1)
        self.fixture.advance(FLUSH_INTERVAL + 1)
        self.assertEqual(self.status(), HostStatus.DOWN)

    def test_what_was_said_before_the_link_ended_does_not_count(self) -> None:
        """A stamp may be written after the loss."""
        link = self.up()
        self.fixture.advance(FLUSH_INTERVAL - 5)
        link.receive([PingCommand()], sequence=1)
        heard = self.fixture.reactor.seconds()
        link.lose()
        self.fixture.advance(FLUSH_INTERVAL + 1)
        self.assertEqual((self.status(), self.fixture.host(1).last_heard), (HostStatus.DISCONNECTED, heard))


class FlappingTests(OneServer):
    """An agent that connects and leaves again and again."""

    def flap(self, seconds: float, away: float) -> int:
        """Stay away after each session for some time; how many sessions that were."""
        sessions, end = 0, self.fixture.reactor.seconds() + seconds
        while self.fixture.reactor.seconds() < end:
            link = self.fixture.startup(1)
            while not link.sent and self.fixture.reactor.seconds() < end:
                self.fixture.reactor.advance(0.5)
            if link.sent:
                self.ready(link)
                sessions += 1
            link.lose()
            self.fixture.advance(away)
        return sessions

    def test_it_is_slowed_down(self) -> None:
        """To a session a minute and their events, whether it stays away for longer than the grace or not."""
        for away in (0.1, 2.0):
            before = len(self.steps()) if away > 1 else 0
            self.assertTrue(self.flap(1200, away) <= FREE + 8 + 1200 / 60, away)
            self.fixture.advance(3)
            self.assertTrue(len(self.steps()) - before <= 3 * (FREE + 8 + 1200 / 60), away)

    def test_the_first_times_cost_nothing(self) -> None:
        """Whoever mends an agent starts it a few times."""
        for _ in range(int(FREE)):
            self.up().lose()
            self.fixture.advance(2)

    def test_others_do_not_wait(self) -> None:
        """Not even at the same address; nor does a stop for those who wait."""
        self.flap(30, 0.1)
        waiting, other = self.fixture.startup(1), self.fixture.startup(2)
        self.assertEqual(waiting.sent, [])
        self.ready(other)
        self.fixture.stop()
        self.assertIsNotNone(waiting.ended)
        self.assertEqual(self.fixture.reactor.getDelayedCalls(), [])

    def test_who_leaves_while_it_waits_is_forgotten(self) -> None:
        """Nothing is begun for it."""
        self.flap(30, 0.1)
        waiting = self.fixture.startup(1)
        waiting.lose()
        self.fixture.advance(70)
        self.assertEqual(waiting.sent, [])

    def test_failover_and_failback_cost_nothing(self) -> None:
        """However often a host goes from one server to the other and back while it is Up."""
        other = ServerFixture(self.fixture.folder, "127.0.0.2")
        self.addCleanup(other.stop)
        link = self.up()
        for transferred in (True, False) * 10:
            new = self.ready(other.startup(1, connection_transferred=transferred))
            link.lose()
            link = self.up(connection_transferred=transferred)
            new.lose()
            for fixture in (self.fixture, other):
                fixture.advance(SHORT_LIVED / 60)
        self.assertEqual((self.status(), self.steps()), (HostStatus.UP, FIRST))

    def test_long_sessions_cost_nothing(self) -> None:
        """Though each ends without a word."""
        for _ in range(20):
            link = self.up()
            for _ in range(3):
                self.fixture.reactor.advance(SHORT_LIVED / 2)
                link.receive([PingCommand()], sequence=1)
            link.lose()
            self.fixture.advance(2)
