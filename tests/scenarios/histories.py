"""Histories of a cluster that Hypothesis makes up: what all of them start from, and how many there are."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from tests.support.world import World


class WorldHistory(RuleBasedStateMachine):
    """A world in a folder of its own, and what is logged of defects in it."""

    world: World

    def watch(self) -> None:
        """Make the folder and begin to keep what is logged; the world comes next."""
        self.failures: list[str] = []
        self.observer = cast("ILogObserver", self.observe)
        globalLogPublisher.addObserver(self.observer)
        self.folder = tempfile.mkdtemp()

    def observe(self, event: LogEvent) -> None:
        """Keep what is logged of defects."""
        if event.get("log_failure") is not None or event.get("log_level") is LogLevel.critical:
            self.failures.append(f"{formatEvent(event)} {event.get('log_failure', '')}")

    def let_go(self) -> None:
        """Leave nothing behind."""
        globalLogPublisher.removeObserver(self.observer)
        self.world.close()
        shutil.rmtree(self.folder)


def run_histories(machine: type[WorldHistory], few: int = 15) -> None:
    """Try a few histories, or as many as CLOUDLB_HISTORIES says."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("CLOUDLB_HISTORIES", few)),
            stateful_step_count=16,
            deadline=None,
            # To make a failing history short takes minutes: worth it for who hunts, not for a run of all tests.
            phases=tuple(Phase) if "CLOUDLB_HISTORIES" in os.environ else (Phase.reuse, Phase.generate),
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
