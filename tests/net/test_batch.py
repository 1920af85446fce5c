"""Items that are flushed together."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.batch import Batch


class Flushes:
    """A flush that ends when the test says so."""

    def __init__(self) -> None:
        self.items: list[list[int]] = []
        self.ends: list[Deferred[Sequence[str]]] = []

    def __call__(self, items: list[int]) -> Deferred[Sequence[str]]:
        self.items.append(items)
        self.ends.append(Deferred())
        return self.ends[-1]

    def end(self) -> None:
        """Let the latest flush succeed."""
        self.ends[-1].callback([f"stored {item}" for item in self.items[-1]])


class BatchTests(SynchronousTestCase):
    """What is flushed when, and who learns what."""

    def setUp(self) -> None:
        """A batch of at most three."""
        self.flushes = Flushes()
        self.batch: Batch[int, str] = Batch(self.flushes, 3)

    def test_gathers_while_a_flush_is_under_way(self) -> None:
        """The first item goes at once and alone; what comes meanwhile goes together, at most three at a time."""
        waiters = [self.batch.add(item) for item in range(6)]
        self.assertEqual(self.flushes.items, [[0]])
        self.flushes.end()
        self.assertEqual(self.successResultOf(waiters[0]), "stored 0")
        self.assertEqual(self.flushes.items, [[0], [1, 2, 3]])
        self.flushes.end()
        self.flushes.end()
        self.assertEqual(self.flushes.items, [[0], [1, 2, 3], [4, 5]])
        self.assertEqual([self.successResultOf(w) for w in waiters[1:]], [f"stored {n}" for n in range(1, 6)])

    def test_failure_is_for_its_flush_only(self) -> None:
        """Each item of a failed flush has the error; those that came meanwhile are tried, and so are later ones."""
        waiters = [self.batch.add(item) for item in range(2)]
        self.flushes.ends[0].errback(OSError("disk full"))
        self.assertEqual(str(self.failureResultOf(waiters[0], OSError).value), "disk full")
        self.flushes.end()
        self.assertEqual(self.successResultOf(waiters[1]), "stored 1")
        last = self.batch.add(2)
        self.flushes.end()
        self.assertEqual(self.successResultOf(last), "stored 2")

    def test_flush_that_raises_at_once(self) -> None:
        """A plain exception of the flush is the item's failure."""

        async def flush(items: list[int]) -> list[str]:
            raise ZeroDivisionError

        batch = Batch(flush, 1)
        self.failureResultOf(batch.add(1), ZeroDivisionError)
        self.failureResultOf(batch.add(2), ZeroDivisionError)

    def test_wrong_number_of_results(self) -> None:
        """Nobody gets another one's result: all of that flush fail."""
        waiter = self.batch.add(1)
        self.flushes.ends[0].callback(["one", "two"])
        self.failureResultOf(waiter, RuntimeError)

    def test_cancelled_before_its_flush(self) -> None:
        """A cancelled item that still waits is left out; one that is under way ends unheard."""
        first, second, third = (self.batch.add(item) for item in range(3))
        first.cancel()
        second.cancel()
        self.flushes.end()
        self.assertEqual(self.flushes.items, [[0], [2]])
        self.flushes.end()
        self.failureResultOf(first, CancelledError)
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.successResultOf(third), "stored 2")

    def test_add_from_a_result(self) -> None:
        """Whoever learns a result may add at once; order is kept."""
        first, second = self.batch.add(0), self.batch.add(1)
        first.addCallback(lambda _: self.batch.add(2))
        self.flushes.end()
        self.flushes.end()
        self.assertEqual(self.flushes.items, [[0], [1, 2]])
        self.assertEqual(self.successResultOf(second), "stored 1")
        self.assertEqual(self.successResultOf(first), "stored 2")

    def test_limit_of_nothing(self) -> None:
        """A batch that holds no item would never end."""
        self.assertRaises(ValueError, Batch, self.flushes, 0)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 4), st.lists(st.sampled_from(["add", "end", "fail"]), max_size=40))
    def test_any_history(self, limit: int, steps: list[str]) -> None:
        """Whatever happens in whatever order: items are flushed once, in order, within the limit, and all are told."""
        flushes = Flushes()
        batch: Batch[int, str] = Batch(flushes, limit)
        waiters: list[Deferred[str]] = []
        failed: set[int] = set()

        def end(step: str) -> None:
            if not flushes.ends or flushes.ends[-1].called:
                return
            if step == "fail":
                failed.update(flushes.items[-1])
                flushes.ends[-1].errback(OSError())
            else:
                flushes.end()

        for step in steps:
            if step == "add":
                waiters.append(batch.add(len(waiters)))
            else:
                end(step)
        for _ in waiters:
            end("end")
        self.assertEqual([item for items in flushes.items for item in items], list(range(len(waiters))))
        self.assertTrue(all(len(items) <= limit for items in flushes.items))
        for item, waiter in enumerate(waiters):
            if item in failed:
                self.failureResultOf(waiter, OSError)
            else:
                self.assertEqual(self.successResultOf(waiter), f"stored {item}")
