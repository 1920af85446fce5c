"""A short slice of the histories, the same ones each time, and the simulation itself.

Many more of them: ``make simulate``; see docs/simulation.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.history import History, Report
from tests.simulation.plan import draw_plan

SEEDS = range(1, 9)
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
        first = self.digest(1, 1)
        self.assertEqual(first, self.digest(1, 2))
        self.assertNotEqual(first, self.digest(2, 1))
