"""The bus: what each server hears, in which order, and what failures do to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.bus.database_bus import POLL_INTERVAL, PRUNE_INTERVAL, RETENTION, DatabaseBus
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor
from tests.contracts.case import now
from tests.storage.sqlite import new_database

T = TypeVar("T")


@define
class _Frail:
    """A store with a switch: its database can be away, or slow."""

    store: Store
    away: bool = False
    slow: list[Callable[..., None]] | None = None
    """The reads under way; each ends when it is called, with an error if one is given."""
    reads: int = 0

    def run(self, work: Callable[[Transaction], T]) -> Awaitable[T]:
        """Write, unless the database is away."""
        if self.away:
            raise StoreUnavailable("unplugged")
        return self.store.run(work)

    def read(self, work: Callable[[Transaction], T]) -> Awaitable[T]:
        """Read, unless the database is away, and when it is slow at some later time."""
        self.reads += 1
        if self.away:
            raise StoreUnavailable("unplugged")
        result = now(self.store.read(work))
        answer: Deferred[T] = Deferred()
        if self.slow is None:
            answer.callback(result)
        else:
            self.slow.append(lambda *error: answer.errback(*error) if error else answer.callback(result))
        return answer


class Bus(SynchronousTestCase):
    """Servers of one database on one clock."""

    def setUp(self) -> None:
        """Make the database."""
        self.clock = Clock()
        self.clock.advance(10**6)
        self.url = new_database(Path(self.mktemp()))
        self.heard: list[tuple[str, object]] = []
        self.log: list[LogEvent] = []
        observer: ILogObserver = self.log.append  # type: ignore[assignment] # any callable will do
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def join(self, name: str = "one", *topics: str) -> tuple[_Frail, DatabaseBus]:
        """A server that notes what it hears."""
        database = Database(self.url, writer=InlineExecutor(), reader=InlineExecutor())
        now(database.start())
        self.addCleanup(lambda: now(database.stop()))
        frail = _Frail(database)
        bus = DatabaseBus(frail, self.clock)
        database.on_publish = bus.wake
        for topic in topics or ("a", "b"):
            bus.subscribe(topic, lambda payload: self.heard.append((name, payload["n"])))
        now(bus.start())
        self.addCleanup(bus.stop)
        return frail, bus

    def publish(self, store: Store, *numbers: int, topic: str = "a") -> None:
        """Publish messages in one transaction."""

        def work(txn: Transaction) -> None:
            for number in numbers:
                txn.bus.publish(topic, {"n": number}, self.clock.seconds())

        now(store.run(work))

    def lines(self, part: str) -> list[LogEvent]:
        """Lines of the log with a text in their format."""
        return [event for event in self.log if part in str(event.get("log_format"))]

    def test_own_messages(self) -> None:
        """A server hears its own messages as soon as their publisher has gone on, in order."""
        store, _ = self.join()
        self.publish(store, 1, 2)
        self.assertEqual(self.heard, [])
        self.clock.advance(0)
        self.assertEqual(self.heard, [("one", 1), ("one", 2)])

    def test_others_messages(self) -> None:
        """Every server hears every message once, those of others within the interval."""
        first, _ = self.join("one")
        self.join("two")
        self.clock.advance(0)
        self.publish(first, 1)
        self.clock.advance(0)
        self.assertEqual(self.heard, [("one", 1)])
        self.clock.advance(POLL_INTERVAL)
        self.publish(first, 2)
        self.clock.pump([POLL_INTERVAL] * 4)
        self.assertEqual(sorted(self.heard), [("one", 1), ("one", 2), ("two", 1), ("two", 2)])

    def test_only_from_the_start_on(self) -> None:
        """What was published before a server started is not its business."""
        first, _ = self.join("one")
        self.publish(first, 1)
        self.join("late")
        self.publish(first, 2)
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual([n for name, n in self.heard if name == "late"], [2])

    def test_from_a_mark_on(self) -> None:
        """What is committed between the mark and the start is delivered after the start."""
        store, _ = self.join("one")
        late = DatabaseBus(store, self.clock, told=True)
        late.subscribe("a", lambda payload: self.heard.append(("late", payload["n"])))
        self.publish(store, 1)
        now(late.mark())
        self.publish(store, 2)
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual([n for name, n in self.heard if name == "late"], [])
        now(late.start())
        self.addCleanup(late.stop)
        self.clock.advance(0)
        self.assertEqual([n for name, n in self.heard if name == "late"], [2])

    def test_topics(self) -> None:
        """A subscriber hears its own topic; one order holds over all topics."""
        store, bus = self.join("one", "a", "b")
        only_b: list[Mapping[str, Any]] = []
        bus.subscribe("b", only_b.append)
        for number, topic in enumerate("abcab"):
            self.publish(store, number, topic=topic)
        self.clock.advance(0)
        self.assertEqual([n for _, n in self.heard], [0, 1, 3, 4])
        self.assertEqual(only_b, [{"n": 1}, {"n": 4}])

    def test_more_than_one_read(self) -> None:
        """A flood comes whole, without waiting for the next interval."""
        store, _ = self.join()
        self.publish(store, *range(2500))
        self.clock.advance(0)
        self.assertEqual([n for _, n in self.heard], list(range(2500)))

    def test_subscriber_that_fails(self) -> None:
        """A subscriber's exception is logged; others, and later messages, come all the same."""
        store, bus = self.join()
        bus.subscribe("a", lambda payload: payload["no such key"])
        after: list[Mapping[str, Any]] = []
        bus.subscribe("a", after.append)
        self.publish(store, 1, 2)
        self.clock.advance(0)
        self.assertEqual(len(self.heard), 2)
        self.assertEqual(after, [{"n": 1}, {"n": 2}])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)

    def test_outage(self) -> None:
        """While the database is away polling goes on with one line in the log; then what was missed comes."""
        store, _ = self.join("one")
        other, _ = self.join("two")
        store.away = True
        self.publish(other, 1)
        self.clock.pump([POLL_INTERVAL] * 20)
        self.assertEqual(self.heard, [("two", 1)])
        self.assertEqual((len(self.lines("cannot be read")), len(self.lines("can be read again"))), (1, 0))
        store.away = False
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(self.heard, [("two", 1), ("one", 1)])
        self.assertEqual((len(self.lines("cannot be read")), len(self.lines("can be read again"))), (1, 1))
        store.away = True
        self.clock.pump([POLL_INTERVAL] * 3)
        self.assertEqual(len(self.lines("cannot be read")), 2)

    def test_a_standby_that_lacks_messages(self) -> None:
        """What it numbers anew is heard, though messages of these numbers were heard before."""
        store, bus = self.join()
        self.publish(store, 1, 2, 3)
        self.clock.advance(0)
        store.away = True
        self.clock.advance(POLL_INTERVAL)
        store.away = False
        self.lose_messages(2)
        self.clock.advance(POLL_INTERVAL)
        self.publish(store, 4)
        self.clock.advance(0)
        self.assertEqual(self.heard, [("one", number) for number in (1, 2, 3, 4)])
        self.assertEqual(bus._last, 2)

    def lose_messages(self, count: int) -> None:
        """Have a database without the newest messages, whose numbers are given again."""
        with sqlite3.connect(self.url.removeprefix("sqlite:///")) as connection:
            connection.execute(
                "DELETE FROM bus_message WHERE sequence > (SELECT max(sequence) FROM bus_message) - ?", (count,)
            )
            connection.execute(
                "UPDATE sqlite_sequence SET seq = (SELECT max(sequence) FROM bus_message) WHERE name = 'bus_message'"
            )
        connection.close()

    def test_asked_while_a_read_fails(self) -> None:
        """Who says that the database is back is heard, though a read that was begun before still fails."""
        store, bus = self.join()
        self.publish(store, 1)
        store.slow = []
        self.clock.advance(0)
        bus.wake()
        self.clock.advance(0)
        store.slow.pop()(StoreUnavailable("unplugged"))
        self.assertEqual(len(store.slow), 1)
        store.slow.pop()()
        self.assertEqual(self.heard, [("one", 1)])
        self.assertEqual(store.slow, [])

    def test_start_without_a_database(self) -> None:
        """A bus that cannot know where to begin does not begin."""
        store, _ = self.join()
        store.away = True
        bus = DatabaseBus(store, self.clock)
        with self.assertRaises(StoreUnavailable):
            now(bus.start())

    def test_one_read_at_a_time(self) -> None:
        """While a read is under way no second one begins, so nothing comes twice; what came meanwhile follows."""
        store, bus = self.join()
        self.publish(store, 1)
        store.slow = []
        before = store.reads
        self.clock.advance(0)
        self.publish(store, 2)
        bus.wake()
        self.clock.pump([POLL_INTERVAL] * 10)
        self.assertEqual(store.reads, before + 1)
        store.slow.pop()()
        self.assertEqual(store.reads, before + 2)
        store.slow.pop()()
        self.assertEqual(self.heard, [("one", 1), ("one", 2)])
        self.assertEqual(store.slow, [])

    def test_stop(self) -> None:
        """After the stop nothing is read or delivered, also of a read under way, and no call is left."""
        store, bus = self.join()
        self.publish(store, 1)
        store.slow = []
        self.clock.advance(0)
        bus.wake()
        bus.stop()
        reads = store.reads
        store.slow.pop()()
        bus.wake()
        self.clock.pump([POLL_INTERVAL] * 4)
        self.assertEqual((self.heard, store.reads), ([], reads))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_by_a_subscriber(self) -> None:
        """A subscriber may stop the bus; what follows in the same read is not delivered."""
        store, bus = self.join()
        bus.subscribe("a", lambda payload: bus.stop())
        self.publish(store, 1, 2)
        self.clock.advance(0)
        self.assertEqual(self.heard, [("one", 1)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_prune(self) -> None:
        """Old messages are dropped now and then; young ones stay for servers that are slow."""
        store, _ = self.join()
        self.publish(store, 1)
        self.clock.advance(RETENTION - 1)
        self.publish(store, 2)
        self.clock.advance(PRUNE_INTERVAL)
        left = now(store.read(lambda txn: txn.bus.after(0, 10)))
        self.assertEqual([message.payload["n"] for message in left], [2])
