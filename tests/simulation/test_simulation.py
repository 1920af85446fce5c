"""A short slice of the histories, the same ones each time, and the simulation itself.

Many more of them: ``make simulate``; see docs/simulation.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.history import History, Report
from tests.simulation.plan import Step, draw_plan

SEEDS = range(1, 9)
MIXED = 4
"""One with hosts of every kind."""
ROOT = Path(__file__).parents[2]


def run(seed: int) -> Report:
    """A short history."""
    return History(draw_plan(seed, agents=20, minutes=0.75)).run()


class SliceTests(SynchronousTestCase):
    """Histories in which everything holds."""

    def test_slice(self) -> None:
        """All of them, and not only up to the first that fails."""
        failed = {seed: report.problems for seed in SEEDS if (report := run(seed)).problems}
        self.flushLoggedErrors()
        self.assertEqual({}, failed, "python -m tests.simulation --agents 20 --minutes 0.75 --trace --seed ...")


class EndTests(SynchronousTestCase):
    """How the faults end."""

    def test_servers_that_find_no_database_at_last(self) -> None:
        """They are started again, as all that is dead."""
        drawn = draw_plan(1, servers=3, agents=3)
        servers = [f"10.0.0.{number}" for number in range(1, 4)]
        steps = [Step(1.0, "kill_server", (server,)) for server in servers]
        steps += [Step(5.0, "lose_database", (server,)) for server in servers]
        steps += [Step(9.9, "start_server", (server,)) for server in servers]
        report = History(evolve(drawn, seconds=10.0, steps=tuple(steps), stay_dead=frozenset())).run()
        self.assertEqual((), report.problems)


class RepeatableTests(SynchronousTestCase):
    """A seed says everything."""

    def digest(self, seed: int, hash_seed: int) -> str:
        """Of what is logged in a history that a process of its own runs."""
        program = f"from tests.simulation.test_simulation import run\nprint('digest', run({seed}).digest)"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        )
        [line] = [line for line in done.stdout.splitlines() if line.startswith("digest")]
        return line

    def test_equal(self) -> None:
        """The same seed gives the same history, byte for byte, whatever order Python keeps its sets in."""
        plan = draw_plan(MIXED, agents=20, minutes=0.75)
        self.assertTrue(plan.theirs and plan.direct)
        first = self.digest(MIXED, 1)
        self.assertEqual(first, self.digest(MIXED, 2))
        self.assertNotEqual(first, self.digest(MIXED + 1, 1))
