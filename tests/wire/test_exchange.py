"""Requests under way: each waiter comes out once."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.wire.exchange import Exchange, attache_sequence


class ExchangeTests(SynchronousTestCase):
    """Answers, time-outs and loss."""

    def test_answers_find_their_waiters(self) -> None:
        """Answers may come in any order, each once."""
        exchange = Exchange[str](5)
        first, second = exchange.open("a", 10.0), exchange.open("b", 10.0)
        self.assertEqual((first, second, len(exchange)), (5, 6, 2))
        self.assertEqual((exchange.close(second), exchange.close(first)), ("b", "a"))
        self.assertEqual(len(exchange), 0)

    def test_forged_and_repeated_answers(self) -> None:
        """An answer that nobody waits for is told apart and disturbs no other."""
        exchange = Exchange[str](0)
        sequence = exchange.open("a", 10.0)
        self.assertEqual((exchange.get(sequence), exchange.get(77)), ("a", None))
        self.assertIsNone(exchange.close(77))
        self.assertIsNone(exchange.close(-1))
        self.assertEqual(exchange.close(sequence), "a")
        self.assertIsNone(exchange.close(sequence))

    def test_deadlines(self) -> None:
        """Time-outs come in the order of their deadlines, at the very moment and not before."""
        exchange = Exchange[str](0)
        for waiter, deadline in (("late", 30.0), ("early", 10.0), ("middle", 20.0), ("middle too", 20.0)):
            exchange.open(waiter, deadline)
        self.assertEqual(exchange.next_deadline(), 10.0)
        self.assertEqual(exchange.expire(9.999), [])
        self.assertEqual(exchange.expire(10.0), ["early"])
        self.assertEqual(exchange.next_deadline(), 20.0)
        self.assertEqual(exchange.expire(100.0), ["middle", "middle too", "late"])
        self.assertEqual((exchange.expire(1000.0), exchange.next_deadline(), len(exchange)), ([], None, 0))

    def test_late_answer(self) -> None:
        """Who has been given a time-out gets no answer as well."""
        exchange = Exchange[str](0)
        sequence = exchange.open("a", 10.0)
        self.assertEqual(exchange.expire(10.0), ["a"])
        self.assertIsNone(exchange.close(sequence))

    def test_answered_in_time(self) -> None:
        """An answered request has no deadline any more."""
        exchange = Exchange[str](0)
        answered = exchange.open("a", 10.0)
        exchange.open("b", 20.0)
        exchange.close(answered)
        self.assertEqual(exchange.next_deadline(), 20.0)
        self.assertEqual(exchange.expire(15.0), [])

    def test_drain(self) -> None:
        """With the link go all who still wait, in order, once; later answers find nobody."""
        exchange = Exchange[str](0)
        first, second, third = (exchange.open(waiter, 10.0) for waiter in "abc")
        exchange.close(second)
        self.assertEqual(exchange.drain(), ["a", "c"])
        self.assertEqual((exchange.drain(), exchange.expire(100.0), exchange.next_deadline()), ([], [], None))
        self.assertEqual((exchange.close(first), exchange.close(third), len(exchange)), (None, None, 0))

    def test_answered_requests_leave_nothing(self) -> None:
        """A million pings a day answered at once do not pile up behind one long command."""
        exchange = Exchange[str](0)
        exchange.open("long", 3600.0)
        for _ in range(10_000):
            exchange.close(exchange.open("ping", 7200.0))
        self.assertLess(len(exchange._deadlines), 100)
        self.assertEqual(exchange.next_deadline(), 3600.0)


class AttacheSequenceTests(SynchronousTestCase):
    """Where a server starts to count."""

    def test_range(self) -> None:
        """15 random bits above 48 zeroes, so that all sequences are positive signed 64-bit numbers."""
        rng = random.Random(1)
        sequences = {attache_sequence(rng) for _ in range(1000)}
        self.assertTrue(all(0 <= s < 2**63 and s % 2**48 == 0 for s in sequences))
        self.assertGreater(len(sequences), 900)


class ExchangeMachine(RuleBasedStateMachine):
    """Any history, against a plain dictionary of waiters and deadlines."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        super().__init__()
        self.exchange = Exchange[int](0)
        self.waiting: dict[int, float] = {}

    @rule(deadline=st.integers(0, 50).map(float), count=st.integers(1, 40))
    def open(self, deadline: float, count: int) -> None:
        """Send requests."""
        for _ in range(count):
            sequence = self.exchange.open(self.exchange._next_sequence, deadline)
            self.waiting[sequence] = deadline

    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        """Answer some of them."""
        for sequence in data.draw(st.sets(st.sampled_from(sorted(self.waiting) or [0]), max_size=40)):
            expected = sequence if self.waiting.pop(sequence, None) is not None else None
            assert self.exchange.close(sequence) == expected

    @rule(now=st.integers(0, 50).map(float))
    def expire(self, now: float) -> None:
        """Let time pass."""
        due = sorted((deadline, sequence) for sequence, deadline in self.waiting.items() if deadline <= now)
        assert self.exchange.expire(now) == [sequence for _, sequence in due]
        for _, sequence in due:
            del self.waiting[sequence]

    @rule()
    def drain(self) -> None:
        """Lose the link."""
        assert self.exchange.drain() == list(self.waiting)
        self.waiting.clear()

    @invariant()
    def agrees(self) -> None:
        """The exchange knows who waits, until when, and keeps little else."""
        assert len(self.exchange) == len(self.waiting)
        assert all((sequence in self.exchange) == (sequence in self.waiting) for sequence in range(50))
        assert self.exchange.next_deadline() == min(self.waiting.values(), default=None)
        assert len(self.exchange._deadlines) <= 3 * len(self.waiting) + 200


class ExchangeHistoryTests(SynchronousTestCase):
    """The machine under trial."""

    def test_any_history(self) -> None:
        """After any history the exchange and the dictionary agree."""
        run_state_machine_as_test(
            ExchangeMachine, settings=settings(max_examples=40, stateful_step_count=20, deadline=None)
        )
