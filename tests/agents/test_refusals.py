"""Agents that are refused, and agents for whom there is no room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.hooks import Hook, Refuse
from cloudlb.agents.penalties import FREE
from cloudlb.agents.refusals import INTERVAL, MOST, MOST_OF_ADDRESS
from cloudlb.agents.room import LIMIT, RETRY_AFTER
from cloudlb.domain.models import Host, HostFacts
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.domain.record_ports import EventFilter
from cloudlb.domain.records import Event
from cloudlb.wire import Flag, PingCommand, ReadyAnswer, ReadyCommand, StartupAnswer
from tests.agents.server import FakeChannel, FakeLink, ServerFixture


class Fussy(Hook):
    """Refuses one agent, and notes who is new."""

    def __init__(self) -> None:
        self.added: list[str] = []

    def about_to_connect(self, facts: HostFacts) -> None:
        """Refuse host 13."""
        if facts.name == "host-13":
            raise Refuse("we have no host 13")

    def host_added(self, host: Host) -> None:
        """Note it."""
        self.added.append(host.facts.name)


class RefusalTests(SynchronousTestCase):
    """One server."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent)
        self.addCleanup(self.fixture.stop)

    def events(self) -> list[Event]:
        """Those of refusals, the oldest first."""
        which = EventFilter(event_type="HOST.REFUSED")
        events, _ = self.successResultOf(self.fixture.database.read(lambda txn: txn.events.list(which, 0, None)))
        return list(reversed(events))

    def refused(self, number: int, **values: Any) -> FakeLink:
        """An agent of a zone that nobody knows."""
        link = FakeLink(peer_address=values.pop("address", "127.0.0.9"))
        return self.fixture.startup(number, link, data_center="nowhere", **values)

    def test_an_event_says_why(self) -> None:
        """Of which agent, and where it was."""
        self.refused(1)
        self.fixture.advance(INTERVAL + 1)
        (event,) = self.events()
        self.assertEqual(event.details["guid"], "guid-1-SimulatorResource")
        self.assertEqual((event.details["address"], event.details["count"]), ("127.0.0.9", "1"))
        self.assertIn("unknown zone 'nowhere'", event.description)
        self.assertEqual(event.server_id, self.fixture.server.membership.own.id)

    def test_the_event_of_a_known_host_is_the_hosts(self) -> None:
        """So that it shows among the host's events."""
        self.fixture.startup(1)
        self.refused(1)
        self.fixture.advance(INTERVAL + 1)
        self.assertEqual(self.events()[0].host_id, self.fixture.host(1).id)

    def test_repeated_refusals_are_counted(self) -> None:
        """One event at first, one an hour later with the number of all since, and none for an agent that gave up."""
        for _ in range(3):
            self.refused(1)
        self.fixture.advance(INTERVAL + 1)
        for _ in range(50):
            link = self.refused(1)
            self.fixture.reactor.pump([1.0] * 61)
            self.assertIsNotNone(link.ended)
        self.assertEqual([event.details["count"] for event in self.events()], ["3"])
        self.fixture.reactor.pump([5.0] * 200)
        self.assertEqual([event.details["count"] for event in self.events()], ["3", "50"])
        self.fixture.reactor.pump([5.0] * 1600)
        self.assertEqual(len(self.events()), 2)

    def test_events_of_many_agents_are_few(self) -> None:
        """However many GUIDs a stranger makes up; none is forgotten in the sum."""
        for number in range(500):
            self.refused(number, address=f"10.0.{number // 250}.{number % 250}")
        self.fixture.advance(INTERVAL + 1)
        events = self.events()
        self.assertEqual(len(events), MOST + 1)
        self.assertEqual(sum(int(event.details["count"]) for event in events), 500)

    def test_a_stranger_with_many_names_takes_nobodys_place(self) -> None:
        """Of one address a few agents have events of their own, and the others share one, an hour."""
        for batch in range(60):
            for number in range(50):
                self.refused(1000 + 50 * batch + number, address="10.0.0.1")
            self.refused(batch % 3, address=f"10.0.1.{batch % 3}")
            self.fixture.reactor.pump([INTERVAL / 2] * 2)
        events = self.events()
        honest = [event for event in events if event.details["address"] != "10.0.0.1"]
        self.assertEqual(len(honest), 3)
        self.assertEqual(len(events) - len(honest), MOST_OF_ADDRESS + 1)
        self.fixture.reactor.pump([INTERVAL] * 400)
        hostile = [event for event in self.events() if event.details["address"] == "10.0.0.1"]
        self.assertEqual(sum(int(event.details["count"]) for event in hostile), 3000)
        self.assertEqual(len(hostile), MOST_OF_ADDRESS + 2)
        self.assertIn("Other agents at 10.0.0.1 were refused, 2950 times: ", hostile[-1].description)
        # And the hour begins anew.
        self.fixture.reactor.pump([INTERVAL] * 400)
        self.refused(1, address="10.0.0.1")
        self.fixture.reactor.pump([INTERVAL] * 2)
        self.assertIn("guid", self.events()[-1].details)

    def test_what_agents_say_is_kept_as_text(self) -> None:
        """Whatever characters a GUID has, and however long it is."""
        self.refused(1, guid="a\x00b\ud800\n" + "x" * 1000)
        self.fixture.advance(INTERVAL + 1)
        (event,) = self.events()
        self.assertTrue(event.details["guid"].startswith("a?b??xxx"))
        self.assertTrue(len(event.description) < 1000)

    def test_events_wait_for_the_database(self) -> None:
        """And are the sum of what happened meanwhile."""
        self.refused(1)
        self.fixture.database.run = lambda work: fail(StoreUnavailable("locked"))  # type: ignore[method-assign]
        self.fixture.advance(INTERVAL + 1)
        del self.fixture.database.run
        self.refused(1)
        self.fixture.advance(INTERVAL + 1)
        self.assertEqual([event.details["count"] for event in self.events()], ["2"])

    def test_who_goes_on_trying_waits_longer(self) -> None:
        """The refusal comes later each time, up to a minute; meanwhile the link counts as half-open."""
        waits = []
        for _ in range(int(FREE) + 9):
            link, began = self.refused(1), self.fixture.reactor.seconds()
            while not link.ended:
                self.assertEqual(len(self.fixture.server.listener.half_open), 1)
                link.receive([PingCommand()], sequence=1)
                self.fixture.advance(0.5)
            waits.append(self.fixture.reactor.seconds() - began)
            self.assertIsInstance(link.take()[-1][1], ReadyCommand)
            link.lose()
        self.assertEqual(waits[: int(FREE)], [0.0] * int(FREE))
        self.assertEqual(waits[int(FREE) : int(FREE) + 3], sorted(waits[int(FREE) : int(FREE) + 3]))
        self.assertTrue(30 < max(waits) <= 60.5, waits)
        self.assertEqual(len(self.fixture.server.listener.half_open), 0)

    def test_who_leaves_while_waiting_is_forgotten(self) -> None:
        """Nothing is left of it."""
        for _ in range(int(FREE) + 5):
            self.refused(1).lose()
        self.assertEqual(len(self.fixture.server.listener.half_open), 0)
        self.fixture.stop()
        self.assertEqual(self.fixture.reactor.getDelayedCalls(), [])

    def test_a_stop_lets_go_of_those_who_wait(self) -> None:
        """At once."""
        links = [self.refused(1) for _ in range(int(FREE) + 5)]
        self.fixture.stop()
        self.assertEqual([link for link in links if not link.ended], [])
        self.assertEqual(self.fixture.reactor.getDelayedCalls(), [])

    def test_nobody_else_is_slowed_down(self) -> None:
        """Not even at the same address."""
        for _ in range(20):
            self.refused(1)
        link = self.fixture.startup(2)
        self.assertIsInstance(link.take()[-1][1], ReadyCommand)
        self.assertEqual(self.fixture.host(2).facts.name, "host-2")

    def test_a_hook_refuses(self) -> None:
        """For its own reason; others are new and welcome, once."""
        hook = Fussy()
        self.fixture.server.hooks.add(hook)
        ((_, answer),) = self.fixture.startup(13).take()
        assert isinstance(answer, StartupAnswer)
        self.assertEqual((answer.result, answer.details), (False, "we have no host 13"))
        for _ in range(2):
            self.fixture.startup(12)
            self.fixture.advance(INTERVAL)
        self.assertEqual(hook.added, ["host-12"])
        self.assertEqual([event.details["reason"] for event in self.events()], ["we have no host 13"])


class RoomTests(SynchronousTestCase):
    """A server whose database does nothing until it is told to."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent)
        self.addCleanup(self.fixture.stop)
        self.run = self.fixture.database.run  # type: ignore[method-assign]
        self.waiting: list[tuple[Any, Deferred[Any]]] = []

    def stall(self) -> None:
        """Have the database do nothing."""

        def later(work: Any) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            self.waiting.append((work, done))
            return done

        self.fixture.database.run = later  # type: ignore[method-assign]

    def go_on(self) -> None:
        """Have it do everything."""
        del self.fixture.database.run
        waiting, self.waiting = self.waiting, []
        for work, done in waiting:
            self.fixture.database.run(work).chainDeferred(done)

    def break_down(self) -> None:
        """Have it fail."""
        self.fixture.database.run = lambda work: fail(StoreUnavailable("gone"))  # type: ignore[method-assign]

    def startup(self, number: int, *, cloudlb: bool) -> FakeLink:
        """An agent of ours, or of CloudStack's."""
        return self.fixture.startup(number, FakeLink(FakeChannel(is_cloudlb=cloudlb)))

    def test_no_room(self) -> None:
        """Agents of ours are told to come again; CloudStack's hear nothing until there is room."""
        self.stall()
        for number in range(LIMIT):
            self.fixture.startup(number, host_id=number)
        ours, theirs = self.startup(LIMIT, cloudlb=True), self.startup(LIMIT + 1, cloudlb=False)
        ((_, busy),) = ours.take()
        assert isinstance(busy, StartupAnswer)
        self.assertEqual((busy.result, busy.retry_after, busy.avoid_ms_list), (False, 3, ()))
        self.assertIsNotNone(ours.ended)
        self.assertEqual((theirs.ended, theirs.take()), (None, []))
        self.assertEqual(len(self.fixture.server.listener.half_open), 1)
        self.go_on()
        (_, answer), (header, ready) = theirs.take()
        self.assertEqual((type(answer), type(ready)), (StartupAnswer, ReadyCommand))
        self.assertEqual(len(self.fixture.server.listener.half_open), 0)
        theirs.receive([ReadyAnswer()], sequence=header.sequence, flags=Flag(0))
        self.assertEqual(self.fixture.host(LIMIT + 1).status.value, "Up")

    def test_mute_agents_take_no_room(self) -> None:
        """Who never answers ReadyCommand keeps nobody out."""
        for number in range(LIMIT + 5):
            link = self.startup(number, cloudlb=True)
            self.assertIsInstance(link.take()[-1][1], ReadyCommand)

    def test_no_database(self) -> None:
        """Is no room at all, until a moment later one agent has shown that it is back."""
        self.break_down()
        first = self.startup(1, cloudlb=False)
        self.assertIn("database", first.ended or "")
        first.lose()
        ours, theirs = self.startup(2, cloudlb=True), [self.startup(3, cloudlb=False), self.startup(4, cloudlb=False)]
        ((_, busy),) = ours.take()
        assert isinstance(busy, StartupAnswer)
        self.assertEqual((busy.result, busy.retry_after), (False, RETRY_AFTER + 1))
        self.fixture.advance(RETRY_AFTER + 0.1)
        self.assertEqual([bool(link.ended) for link in theirs], [True, False])
        theirs[0].lose()
        del self.fixture.database.run
        self.fixture.advance(RETRY_AFTER + 0.1)
        self.assertIsInstance(theirs[1].take()[-1][1], ReadyCommand)
        self.assertIsInstance(self.startup(5, cloudlb=True).take()[-1][1], ReadyCommand)

    def test_one_tries_a_database_that_was_gone(self) -> None:
        """The others wait for what it finds, however long that takes."""
        self.break_down()
        self.startup(1, cloudlb=False).lose()
        links = [self.startup(number, cloudlb=False) for number in (2, 3, 4)]
        self.stall()
        self.fixture.advance(3 * RETRY_AFTER)
        self.assertEqual([len(link.take()) for link in links], [1, 0, 0])
        self.assertFalse(self.startup(5, cloudlb=True).take()[0][1].result)  # type: ignore[union-attr]
        self.go_on()
        self.assertEqual([len(link.take()) for link in links], [1, 2, 2])

    def test_who_leaves_while_waiting_is_forgotten(self) -> None:
        """Its turn is the next one's; a stop lets go of the others."""
        self.break_down()
        self.startup(1, cloudlb=False).lose()
        links = [self.startup(number, cloudlb=False) for number in (2, 3)]
        links[0].lose()
        del self.fixture.database.run
        self.fixture.advance(RETRY_AFTER + 0.1)
        self.assertEqual(links[0].take(), [])
        self.assertIsInstance(links[1].take()[-1][1], ReadyCommand)
        self.break_down()
        self.startup(4, cloudlb=False).lose()
        last = self.startup(5, cloudlb=False)
        del self.fixture.database.run
        self.fixture.stop()
        self.assertIsNotNone(last.ended)
        self.assertEqual(self.fixture.reactor.getDelayedCalls(), [])
