"""`.ci/run`: its last line counts what `make` has said, and its status follows it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = Path(__file__).parent.parent / ".ci" / "run"
MAKE = """#!/usr/bin/env bash
if [ "$1" = test ]; then
    printf '%s\\n' "$TRIAL_SAYS"
    exit "$TRIAL_STATUS"
fi
[ "$1" != "$BROKEN_TARGET" ]
"""


class CountTests(SynchronousTestCase):
    """Runs of the script in a checkout where `make` says what the test wants."""

    def run_script(self, says: str, status: int, broken_target: str = "") -> tuple[str, int]:
        """Run it; return the last line and the status."""
        checkout = Path(self.mktemp()).absolute()
        (checkout / ".ci").mkdir(parents=True)
        shutil.copy(SCRIPT, checkout / ".ci" / "run")
        tools = checkout / "tools"
        tools.mkdir()
        (tools / "make").write_text(MAKE, encoding="utf-8")
        (tools / "make").chmod(0o755)
        environment = os.environ | {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "TRIAL_SAYS": says,
            "TRIAL_STATUS": str(status),
            "BROKEN_TARGET": broken_target,
        }
        done = subprocess.run(
            [checkout / ".ci" / "run"],
            env=environment,
            cwd="/",
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.stdout.splitlines()[-1], done.returncode

    def test_all_is_well(self) -> None:
        """Each of the five checks counts as one; skipped tests count as nothing."""
        says = "Ran 12 tests in 1.0s\n\nPASSED (skips=2, successes=10)"
        self.assertEqual(self.run_script(says, 0), ("15 passed, 0 failed", 0))

    def test_tests_fail(self) -> None:
        """Failures, errors and unexpected successes are all failed; expected failures are not."""
        says = "FAILED (skips=1, failures=2, expectedFailures=5, errors=3, unexpectedSuccesses=1, successes=20)"
        self.assertEqual(self.run_script(says, 2), ("25 passed, 6 failed", 1))

    def test_a_check_fails(self) -> None:
        """A type error fails the run, and the tests are run all the same."""
        self.assertEqual(self.run_script("PASSED (successes=10)", 0, "types"), ("14 passed, 1 failed", 1))

    def test_trial_does_not_come_to_its_end(self) -> None:
        """A crash, or a set-up that fails, is a failure, whatever was printed before."""
        self.assertEqual(self.run_script("Segmentation fault", 139), ("5 passed, 1 failed", 1))
        self.assertEqual(self.run_script("PASSED (successes=10)", 1), ("15 passed, 1 failed", 1))

    def test_only_the_last_summary_counts(self) -> None:
        """A test may run trial itself and print what that says."""
        says = "FAILED (failures=7, successes=1)\nPASSED (successes=2)"
        self.assertEqual(self.run_script(says, 0), ("7 passed, 0 failed", 0))

    def test_no_test_ran(self) -> None:
        """A run without a single test has shown nothing."""
        self.assertEqual(self.run_script("Ran 0 tests in 0.0s\n\nPASSED", 0), ("5 passed, 1 failed", 1))
