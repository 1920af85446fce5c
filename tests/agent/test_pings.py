"""When to ping, and when a server is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from agent.pings import Pings


class PingsTests(SynchronousTestCase):
    """The schedule."""

    def test_answered(self) -> None:
        """Answered pings follow at the interval."""
        pings = Pings(60, 5, first_at=10)
        self.assertEqual(pings.next_at, 10)
        pings.sent(1, 10)
        self.assertTrue(pings.answered(1, 10.25))
        self.assertEqual(pings.next_at, 70)
        self.assertFalse(pings.lost)

    def test_round_trip(self) -> None:
        """It is told once, and a clock that was set back makes it none that is less than nothing."""
        pings = Pings(60, 5, first_at=10)
        self.assertIsNone(pings.take_round_trip())
        pings.sent(1, 10)
        pings.answered(1, 10.25)
        self.assertEqual(pings.take_round_trip(), 0.25)
        self.assertIsNone(pings.take_round_trip())
        pings.sent(2, 20)
        pings.answered(2, 19)
        self.assertEqual(pings.take_round_trip(), 0)

    def test_overdue(self) -> None:
        """While one is overdue they follow at interval / retries, until as many as retries are unanswered."""
        pings = Pings(60, 5, first_at=0)
        times = []
        while not pings.lost:
            times.append(pings.next_at)
            pings.sent(len(times), pings.next_at)
        self.assertEqual(times, [0, 12, 24, 36, 48])
        self.assertEqual(pings.next_at, 60)

    def test_late_answer(self) -> None:
        """A late answer vouches for the pings before it, and those after it go on being waited for."""
        pings = Pings(60, 5, first_at=0)
        for number, time in enumerate((0, 12, 24)):
            pings.sent(number, time)
        self.assertTrue(pings.answered(1, 25))
        self.assertEqual(pings.next_at, 36)
        self.assertEqual(pings.take_round_trip(), 13)
        self.assertTrue(pings.answered(2, 30))
        self.assertEqual(pings.next_at, 84)
        self.assertEqual(pings.take_round_trip(), 6)

    def test_no_answer_of_a_ping(self) -> None:
        """Answers to other requests, and second answers, count for nothing."""
        pings = Pings(60, 5, first_at=0)
        pings.sent(4, 0)
        self.assertFalse(pings.answered(3, 1))
        self.assertTrue(pings.answered(4, 1))
        self.assertFalse(pings.answered(4, 1))

    @given(
        st.sampled_from([1.0, 5.0, 60.0, 300.0]),
        st.integers(1, 20),
        st.floats(0, 1),
        st.lists(st.floats(0, 0.99), max_size=6),
    )
    def test_within_two_intervals(self, interval: float, retries: int, first: float, latencies: list[float]) -> None:
        """A server is left within 2 intervals of its last answer, and never while answers come in time."""
        pings = Pings(interval, retries, first_at=first * interval)
        alive_until = 0.0
        sequence = 0
        for latency in latencies:
            sequence += 1
            now = pings.next_at
            self.assertFalse(pings.lost)
            pings.sent(sequence, now)
            alive_until = now + latency * interval / retries
            self.assertTrue(pings.answered(sequence, alive_until))
        while not pings.lost:
            sequence += 1
            pings.sent(sequence, pings.next_at)
        self.assertLessEqual(pings.next_at - alive_until, 2 * interval + 1e-6)
