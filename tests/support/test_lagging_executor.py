"""Database work with a lag keeps the promises of the executor that runs on threads."""

from __future__ import annotations

import gc
import random

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.ports import StoreUnavailable
from tests.support.lagging_executor import LaggingExecutor
from tests.support.network import Network
from tests.support.virtual_clock import VirtualClock


class LaggingExecutorTests(SynchronousTestCase):
    """Order, results and ends."""

    def setUp(self) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock, random.Random(0))
        self.machine = self.network.machine("10.0.0.1")
        self.ran: list[int] = []

    def executor(self, size: int) -> LaggingExecutor:
        return LaggingExecutor(self.machine, random.Random(1), 0.1, size=size)

    def test_order(self) -> None:
        """One at a time runs in order; several overtake each other. None runs within submit."""
        for size in (1, 4):
            executor = self.executor(size)
            self.ran.clear()
            results = [executor.submit(lambda n=n: self.ran.append(n)) for n in range(20)]  # type: ignore[misc]  # n is bound
            self.assertEqual(self.ran, [])
            self.clock.advance(10)
            self.assertEqual(self.ran == list(range(20)), size == 1)
            self.assertEqual(sorted(self.ran), list(range(20)))
            for result in results:
                self.successResultOf(result)

    def test_result_comes_later(self) -> None:
        """What the work did is done before anybody hears of it; a failure comes as one."""
        executor = self.executor(1)
        result = executor.submit(lambda: self.ran.append(1))
        while not self.ran:
            self.clock.advance(0.001)
        self.assertNoResult(result)
        failing = executor.submit(lambda: 1 / 0)
        self.clock.advance(1)
        self.successResultOf(result)
        self.failureResultOf(failing, ZeroDivisionError)

    def test_stop(self) -> None:
        """Stopping waits for what was submitted and refuses the rest."""
        executor = self.executor(1)
        executor.submit(lambda: self.ran.append(1))
        stopped = executor.stop()
        self.assertNoResult(stopped)
        self.failureResultOf(executor.submit(lambda: self.ran.append(2)), StoreUnavailable)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.ran, [1])
        self.successResultOf(self.executor(1).stop())

    def test_killed(self) -> None:
        """Work that a killed process had not begun is not done."""
        executor = self.executor(1)
        result = executor.submit(lambda: self.ran.append(1))
        self.network.kill(self.machine)
        self.clock.advance(10)
        self.assertEqual(self.ran, [])
        self.assertNoResult(result)
        self.successResultOf(executor.stop())

    def test_killed_before_it_is_told(self) -> None:
        """Work that failed in a process which was killed then has failed for nobody."""
        executor = self.executor(1)

        def work() -> None:
            self.ran.append(1)
            raise ValueError

        executor.submit(work)
        while not self.ran:
            self.clock.advance(0.001)
        self.network.kill(self.machine)
        del executor
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_away(self) -> None:
        """Work fails; what was done when the database went fails too, and nobody knows that it was done."""
        executor = self.executor(1)
        begun = executor.submit(lambda: self.ran.append(1))
        while not self.ran:
            self.clock.advance(0.001)
        executor.away = True
        self.clock.advance(1)
        self.failureResultOf(begun, StoreUnavailable)
        refused = executor.submit(lambda: self.ran.append(2))
        self.clock.advance(0.05)
        self.assertNoResult(refused)
        self.clock.advance(5)
        self.failureResultOf(refused, StoreUnavailable)
        executor.away = False
        again = executor.submit(lambda: self.ran.append(3))
        self.clock.advance(1)
        self.successResultOf(again)
        self.assertEqual(self.ran, [1, 3])
