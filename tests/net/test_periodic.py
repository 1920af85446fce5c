"""Work that goes on whatever becomes of one turn."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.ports import StoreUnavailable
from cloudlb.net.periodic import Periodic


class PeriodicTests(SynchronousTestCase):
    """Turns on a virtual clock."""

    def setUp(self) -> None:
        """A loop that notes the time of each turn."""
        self.clock = Clock()
        self.turns: list[float] = []
        self.periodic = Periodic(self.clock, "note the time", lambda: self.turns.append(self.clock.seconds()))

    def test_turns(self) -> None:
        """The first turn comes after one interval, or at once if asked for."""
        self.periodic.start(2)
        self.clock.pump([1] * 5)
        self.assertEqual(self.turns, [2, 4])
        self.periodic.start(2, now=True)
        self.assertEqual(self.turns, [2, 4, 5])

    def test_survives_an_exception(self) -> None:
        """A turn that raises is logged, and the next one comes."""
        periodic = Periodic(self.clock, "fail", self.raise_error)
        periodic.start(1)
        self.clock.pump([1] * 3)
        self.assertEqual(len(self.turns), 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def lines_of(self, *turns: str) -> list[tuple[LogLevel, str]]:
        """What is logged of turns for which the database is "away" or answers "well", that are "idle" or a "defect"."""
        to_come = list(turns)

        async def work() -> None:
            turn = to_come.pop(0)
            if turn == "defect":
                raise ZeroDivisionError
            if turn != "idle":
                await deferLater(self.clock, 0.5)
            if turn == "away":
                raise StoreUnavailable("it is away")

        periodic = Periodic(self.clock, "look", work)
        with capturedLogs() as events:
            periodic.start(1)
            while to_come:
                self.clock.advance(0.5)
            periodic.stop()
            self.clock.advance(0.5)
        return [(event["log_level"], formatEvent(event)) for event in events]

    def test_survives_a_database_that_is_away(self) -> None:
        """It is no mistake of the work: a line when it goes, one when it is back, each time, and no traceback."""
        gone = (LogLevel.warn, "Cannot look for now: it is away")
        back = (LogLevel.info, "Can again look")
        turns = ("well", "away", "away", "away", "well", "well", "away", "well")
        self.assertEqual(self.lines_of(*turns), [gone, back, gone, back])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_turns_that_do_not_find_the_database_back(self) -> None:
        """Those that do not ask it, and those that fail by themselves."""
        lines = self.lines_of("away", "idle", "away", "defect", "away", "well")
        self.assertEqual(
            [line for _, line in lines],
            [
                "Cannot look for now: it is away",
                "Failed to look; the next turn comes as planned",
                "Can again look",
            ],
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def raise_error(self) -> None:
        self.turns.append(self.clock.seconds())
        raise ZeroDivisionError

    def test_survives_a_failed_deferred_and_a_failed_coroutine(self) -> None:
        """Asynchronous failures count like exceptions."""

        async def work() -> None:
            self.raise_error()

        periodic = Periodic(self.clock, "fail", work)
        periodic.start(1)
        self.clock.pump([1, 1])
        self.assertEqual(len(self.turns), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_turns_never_overlap(self) -> None:
        """Turns that fall due while one is under way are left out, also across a restart with another interval."""
        under_way: list[Deferred[None]] = []

        def work() -> Deferred[None]:
            under_way.append(Deferred())
            return under_way[-1]

        periodic = Periodic(self.clock, "wait", work)
        periodic.start(1)
        self.clock.pump([1] * 3)
        periodic.start(2, now=True)
        self.clock.pump([1] * 4)
        self.assertEqual(len(under_way), 1)
        under_way[0].callback(None)
        self.clock.advance(2)
        self.assertEqual(len(under_way), 2)

    def test_another_interval_takes_over_at_once(self) -> None:
        """The old rhythm is gone, the new one counts from the change."""
        self.periodic.start(10)
        self.clock.advance(9)
        self.periodic.start(3)
        self.clock.pump([1] * 7)
        self.assertEqual(self.turns, [12, 15])
        self.assertEqual(self.periodic.interval, 3)

    def test_the_same_interval_keeps_the_rhythm(self) -> None:
        """Settings that are applied again and again, faster than the interval, must not put the work off for ever."""
        for _ in range(10):
            self.periodic.start(3)
            self.clock.advance(1)
        self.assertEqual(self.turns, [3, 6, 9])

    def test_stop_at_any_time(self) -> None:
        """Stopping is harmless before a start, twice, and inside a turn, and leaves nothing on the clock."""
        self.periodic.stop()
        self.periodic.start(1)
        self.periodic.stop()
        self.periodic.stop()

        def work() -> None:
            self.turns.append(self.clock.seconds())
            inside.stop()

        inside = Periodic(self.clock, "stop", work)
        inside.start(1)
        self.clock.pump([1] * 3)
        self.assertEqual(self.turns, [1])
        self.assertIsNone(inside.interval)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_restart_inside_a_turn(self) -> None:
        """A turn may change its own interval without being doubled."""

        def work() -> None:
            self.turns.append(self.clock.seconds())
            periodic.start(2)

        periodic = Periodic(self.clock, "slow down", work)
        periodic.start(1)
        self.clock.pump([1] * 6)
        self.assertEqual(self.turns, [1, 3, 5])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_no_interval_of_nothing(self) -> None:
        """Zero and less would be a busy loop: refused, and what runs goes on."""
        self.periodic.start(1)
        for interval in (0, -1):
            self.assertRaises(ValueError, self.periodic.start, interval)
        self.clock.advance(1)
        self.assertEqual(self.turns, [1])
