"""An investigator that knows from a rack's power controller which hosts have no power.

The controller writes a file every few seconds, named by RACKPOWER_FILE: {"time": 1790000000, "off": ["host-7"]}.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from cloudlb.agents.investigation import Case, Investigator, Means, Verdict

STALE_AFTER = 30.0
"""Seconds after which what the file says is of the past."""


class RackPowerInvestigator(Investigator):
    """Down is whose outlet is off. An outlet that is on says nothing: the host may have crashed."""

    def __init__(self, means: Means) -> None:
        # Without the variable this raises, and the server's log and every investigation say why it is not there.
        self._file = Path(os.environ["RACKPOWER_FILE"])
        self._reactor = means.reactor

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        # A local file is read at once. What may take longer is awaited, or goes to a thread.
        try:
            state = json.loads(self._file.read_text())
            age, off = self._reactor.seconds() - state["time"], state["off"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return Verdict.UNKNOWN, f"the rack controller's file cannot be used: {error!r}"
        if age > STALE_AFTER:
            return Verdict.UNKNOWN, f"the rack controller has not written for {age:.0f} s"
        if case.host.facts.name in off:
            return Verdict.DOWN, "its outlet is off, says the rack controller"
        return Verdict.UNKNOWN, "its outlet is on"
