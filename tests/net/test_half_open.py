"""Who goes when there are too many half-open connections."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.half_open import HalfOpen


class Connection:
    """Notes why it was cut, and like a real one removes itself then."""

    def __init__(self, half_open: HalfOpen) -> None:
        self.half_open = half_open
        self.reason: str | None = None

    def abort(self, reason: str) -> None:
        """Note it."""
        self.reason = reason
        self.half_open.remove(self)


class HalfOpenTests(SynchronousTestCase):
    """Limits in all and per address."""

    def setUp(self) -> None:
        """Four in all, two per address."""
        self.clock = Clock()
        self.half_open = HalfOpen(self.clock, 4, 2)

    def connect(self, address: str) -> Connection:
        connection = Connection(self.half_open)
        self.half_open.add(connection, address)
        return connection

    def test_oldest_of_the_address_goes(self) -> None:
        """An address at its limit loses its own oldest connection, and no other address loses any."""
        older = self.connect("127.0.0.2")
        first, second, third = (self.connect("127.0.0.66") for _ in range(3))
        self.assertEqual(first.reason, "too many half-open connections from its address")
        self.assertEqual([c.reason for c in (older, second, third)], [None, None, None])
        self.assertEqual(len(self.half_open), 3)

    def test_oldest_of_all_goes(self) -> None:
        """At the limit in all, the oldest goes and the newest stays."""
        connections = [self.connect(f"127.0.0.{n}") for n in range(5)]
        self.assertEqual(connections[0].reason, "too many half-open connections")
        self.assertEqual([c.reason for c in connections[1:]], [None] * 4)

    def test_who_waits_for_us_stays(self) -> None:
        """A silent one goes instead, and the newcomer if there is none; who was answered is silent anew, and last."""
        waiting, silent = self.connect("127.0.0.66"), self.connect("127.0.0.66")
        self.half_open.heard(waiting)
        third = self.connect("127.0.0.66")
        self.assertEqual([bool(c.reason) for c in (waiting, silent, third)], [False, True, False])
        self.half_open.heard(third)
        newcomer = self.connect("127.0.0.66")
        self.assertEqual([bool(c.reason) for c in (waiting, third, newcomer)], [False, False, True])
        self.half_open.answered(third)
        self.half_open.answered(waiting)
        self.assertIsNone(self.connect("127.0.0.66").reason)
        self.assertEqual([bool(c.reason) for c in (waiting, third)], [False, True])

    def test_who_waits_for_us_stays_at_the_limit_of_all(self) -> None:
        """As at that of an address."""
        connections = [self.connect(f"127.0.0.{n}") for n in range(4)]
        for connection in (connections[0], connections[1]):
            self.half_open.heard(connection)
        self.connect("127.0.0.5")
        self.assertEqual([bool(c.reason) for c in connections], [False, False, True, False])

    def test_of_strangers_nothing_is_known(self) -> None:
        """What is told of a connection that is not here any more is harmless."""
        connection = self.connect("127.0.0.66")
        self.half_open.remove(connection)
        self.half_open.heard(connection)
        self.half_open.answered(connection)
        self.assertEqual(len(self.half_open), 0)
        self.assertEqual([self.connect("127.0.0.66").reason, self.connect("127.0.0.66").reason], [None, None])

    def test_removed_ones_do_not_count(self) -> None:
        """Admitted and lost connections make room; removing twice is harmless."""
        first = self.connect("127.0.0.66")
        self.half_open.remove(first)
        self.half_open.remove(first)
        second, third = self.connect("127.0.0.66"), self.connect("127.0.0.66")
        self.assertEqual([c.reason for c in (first, second, third)], [None, None, None])

    def test_log_is_not_multiplied(self) -> None:
        """A thousand connections make one line now, and a sum with the next one."""
        with capturedLogs() as events:
            for _ in range(1002):
                self.connect("127.0.0.66")
            self.assertEqual(len(events), 1)
            self.clock.advance(10)
            self.connect("127.0.0.66")
        now, later = map(formatEvent, events)
        self.assertIn("127.0.0.66", now)
        self.assertIn("(999 more since the last such line)", later)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 3)), max_size=60))
    def test_any_history(self, steps: list[tuple[str, int]]) -> None:
        """Limits hold after every step, and who was cut was the oldest of its address or of all."""
        half_open = HalfOpen(Clock(), 4, 2)
        alive: list[tuple[int, Connection]] = []
        for step, number in steps:
            if step == "remove":
                if number < len(alive):
                    half_open.remove(alive.pop(number)[1])
                continue
            connection = Connection(half_open)
            alive.append((number, connection))
            half_open.add(connection, str(number))
            cut = [entry for entry in alive if entry[1].reason is not None]
            self.assertLessEqual(len(cut), 1)
            for entry in cut:
                same = [other for other in alive if other[0] == entry[0]]
                self.assertIs(entry, same[0] if "its address" in str(entry[1].reason) else alive[0])
            alive = [entry for entry in alive if entry[1].reason is None]
            self.assertEqual(len(half_open), len(alive))
            self.assertLessEqual(len(alive), 4)
            self.assertLessEqual(max(Counter(address for address, _ in alive).values()), 2)
