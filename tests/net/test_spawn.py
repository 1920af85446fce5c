"""Coroutines that nobody awaits."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.spawn import spawn


class Spawn(SynchronousTestCase):
    """What becomes of a coroutine at the edge."""

    log = Logger()

    def test_runs_at_once_and_tells_the_end(self) -> None:
        """The coroutine runs up to its first wait without a turn of the reactor; the Deferred fires at its end."""
        gate: Deferred[int] = Deferred()
        seen: list[int] = []

        async def work() -> int:
            seen.append(0)
            seen.append(await gate)
            return 7

        done = spawn(work(), self.log, "do the work")
        self.assertEqual(seen, [0])
        self.assertNoResult(done)
        gate.callback(1)
        self.assertEqual(seen, [0, 1])
        self.assertIsNone(self.successResultOf(done))

    def test_failure_is_logged_and_goes_no_further(self) -> None:
        """An exception is in the log with its type, and the Deferred does not carry it on."""

        async def work() -> None:
            raise ZeroDivisionError("boom")

        self.assertIsNone(self.successResultOf(spawn(work(), self.log, "divide")))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_cancelled_quietly(self) -> None:
        """Cancelling reaches the coroutine, lets it clean up and is no failure."""
        gate: Deferred[None] = Deferred()
        seen: list[str] = []

        async def work() -> None:
            try:
                await gate
            finally:
                seen.append("cleaned up")

        done = spawn(work(), self.log, "wait")
        done.cancel()
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(seen, ["cleaned up"])
        self.assertEqual(self.flushLoggedErrors(), [])
