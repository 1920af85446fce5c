"""`cloudlb states`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.main import main
from cloudlb.domain.host_status import STATUS_TABLE, HostStatus
from cloudlb.domain.resource_state import RESOURCE_TABLE, ResourceState

DOC = Path(__file__).parents[2] / "docs" / "states.md"
DRAWING = re.compile(r"^```mermaid\n.*?^```$", re.DOTALL | re.MULTILINE)


def states(*options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["states", *options])


class StatesTests(SynchronousTestCase):
    """What it prints."""

    def test_the_drawings_of_the_documentation_are_those_of_the_tables(self) -> None:
        """docs/states.md holds what --mermaid prints, and no other drawing."""
        printed = DRAWING.findall(states("--mermaid").stdout)
        self.assertEqual(len(printed), 2)
        self.assertEqual(DRAWING.findall(DOC.read_text(encoding="utf-8")), printed)

    def test_the_documentation_tells_of_every_state(self) -> None:
        """Each has a row that says what it means."""
        text = DOC.read_text(encoding="utf-8")
        for state in [*HostStatus, *ResourceState]:
            self.assertIn(f"\n| {state.value} | ", text)

    def test_a_drawing_has_every_step(self) -> None:
        """An arrow with several events names each."""
        status, resource = DRAWING.findall(states("--mermaid").stdout)
        for drawing, table in ((status, STATUS_TABLE), (resource, RESOURCE_TABLE)):
            arrows = re.findall(r"^    (\w+) --> (\w+): (.*)$", drawing, re.MULTILINE)
            drawn = {(before, event): after for before, after, events in arrows for event in events.split("<br>")}
            self.assertEqual(drawn, {(b.value, e.value): after.value for (b, e), after in table.items()})
            self.assertIn("    [*] --> Creating\n", drawing)

    def test_programs_get_a_list_of_steps(self) -> None:
        """All of both machines."""
        steps = json.loads(states("--json").stdout)
        self.assertEqual(len(steps), len(STATUS_TABLE) + len(RESOURCE_TABLE))
        self.assertIn({"machine": "state", "from": "Up", "event": "HostDown", "to": "Down"}, steps)
        self.assertIn(
            {"machine": "resourcestate", "from": "Unmanaged", "event": "Manage", "to": "Enabled"},
            steps,
        )

    def test_people_get_tables(self) -> None:
        """One after the other, with the events of a way in one row."""
        printed = states().stdout
        self.assertRegex(printed, r"(?m)^Alert +PingTimeout, AgentDisconnected, ManagementServerDown +Alert *$")
        self.assertRegex(printed, r"(?m)^Degraded +AdminAskMaintenance +Maintenance *$")

    def test_two_forms_at_once_are_wrong_usage(self) -> None:
        """Status 2, and nothing on stdout."""
        result = states("--json", "--mermaid")
        self.assertEqual((result.exit_code, result.stdout), (2, ""))
