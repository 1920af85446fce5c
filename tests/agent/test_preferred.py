"""When the preferred server is looked for."""

from __future__ import annotations

import random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from agent.preferred import PreferredCheck


class PreferredCheckTests(SynchronousTestCase):
    """The rhythm."""

    def setUp(self) -> None:
        """Nothing runs yet."""
        self.clock = Clock()
        self.times: list[float] = []

    def check(self, own_interval: int | None = None, seed: int = 1) -> PreferredCheck:
        """A check that notes when it is made."""
        return PreferredCheck(
            self.clock, random.Random(seed), own_interval, lambda: self.times.append(self.clock.seconds())
        )

    def pass_time(self, seconds: int) -> None:
        """In steps finer than any interval."""
        self.clock.pump([0.125] * (8 * seconds))

    def test_spread(self) -> None:
        """The first checks of a fleet are spread over the interval; from then on each agent keeps its own rhythm."""
        firsts = []
        for seed in range(20):
            self.setUp()
            check = self.check(seed=seed)
            check.configure(5, "static")
            check.start()
            self.pass_time(50)
            firsts.append(self.times[0])
            self.assertEqual(len(self.times), 10)
            for earlier, later in zip(self.times, self.times[1:], strict=False):
                self.assertAlmostEqual(later - earlier, 5, delta=0.25)
        self.assertLess(min(firsts), 1)
        self.assertGreater(max(firsts), 4)

    def test_rhythm(self) -> None:
        """What is said again changes nothing, and neither does a move."""
        rhythms = []
        for said_again in (False, True):
            self.setUp()
            check = self.check()
            check.configure(5, "static")
            check.start()
            for _ in range(20):
                self.pass_time(1)
                if said_again:
                    check.configure(5, "static")
                    check.configure(None, "roundrobin")
                    check.start()
            rhythms.append(self.times)
        self.assertEqual(len(rhythms[0]), 4)
        self.assertEqual(rhythms[0], rhythms[1])

    def test_stopped(self) -> None:
        """0, and the loss of the server, end it, before the first check as after it; nothing is left behind."""
        for after in (0, 7):
            for end in (lambda check: check.configure(0, "static"), PreferredCheck.stop):
                self.setUp()
                check = self.check()
                check.configure(5, "static")
                check.start()
                self.pass_time(after)
                end(check)
                self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_shuffle(self) -> None:
        """A shuffled list is checked once after each start."""
        check = self.check()
        check.configure(5, "shuffle")
        for checks in (1, 2):
            check.start()
            self.pass_time(50)
            self.assertEqual(len(self.times), checks)
            check.stop()

    def test_own_interval(self) -> None:
        """The interval of agent.properties comes before what servers send, 0 as well."""
        for own, checks in ((0, 0), (10, 5)):
            self.setUp()
            check = self.check(own)
            check.configure(1, "static")
            check.start()
            self.pass_time(50)
            self.assertEqual(len(self.times), checks)
