"""Tests of what the benchmark of commands takes for a fault."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from bench.commands import CHANGE, Ended, faults_of


class FaultTests(SynchronousTestCase):
    """Jobs as the database has them, against what the agents have written."""

    def faults(self, status: int, text: str, executions: int) -> list[str]:
        """The faults of one job."""
        return faults_of({"a": Ended(CHANGE, status, text, 1.0)}, Counter(a=executions))

    def test_well(self) -> None:
        """Answered and carried out, or a definite error."""
        self.assertEqual([], self.faults(1, "", 1))
        for text, executions in (
            ("unknown: x", 0),
            ("unknown: x", 1),
            ("link lost: x", 1),
            ("unavailable: x", 0),
            ("not carried out: x", 0),
        ):
            self.assertEqual([], self.faults(2, text, executions), text)

    def test_faults(self) -> None:
        """No end, twice, and words that are not true."""
        for status, text, executions, words in (
            (0, "", 0, "no end"),
            (1, "", 2, "twice"),
            (1, "", 0, "not carried out"),
            (2, "unavailable: x", 1, "never were sent"),
            (2, "not carried out: x: y", 1, "never were sent"),
        ):
            (fault,) = self.faults(status, text, executions)
            self.assertIn(words, fault)
