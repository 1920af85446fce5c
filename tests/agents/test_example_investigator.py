"""The example of docs/writing-an-investigator.md, found as an installed package is: by its entry point."""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tomllib
from importlib import invalidate_caches
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.investigation import ENTRY_POINTS, Investigators
from cloudlb.agents.investigators import built_in
from cloudlb.domain.records import Investigation, Verdict
from cloudlb.domain.settings import INVESTIGATORS_ORDER
from cloudlb.domain.settings_in_force import Settings
from tests.agents.investigating import FakeStore, case, host, means

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "rackpower"
NAME = "RackPowerInvestigator"


class ExampleTests(SynchronousTestCase):
    """A server on which the example is installed."""

    def setUp(self) -> None:
        """Install it as pip does: the module, and what says which entry points it has."""
        site = Path(self.mktemp()).absolute()
        information = site / "cloudlb_rackpower-1.dist-info"
        information.mkdir(parents=True)
        project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1\n")
        lines = [f"{name} = {value}" for name, value in project["entry-points"][ENTRY_POINTS].items()]
        (information / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines]))
        (site / "rackpower.py").write_text((EXAMPLE / "rackpower.py").read_text())
        self.patch(sys, "path", [*sys.path, str(site)])
        self.patch(sys, "dont_write_bytecode", True)
        self.addCleanup(sys.modules.pop, "rackpower", None)
        invalidate_caches()
        self.file = site / "state.json"
        self.patch(os, "environ", {**os.environ, "RACKPOWER_FILE": str(self.file)})
        self.clock = Clock()
        self.clock.advance(1_000)
        self.store = FakeStore(host(1))

    def investigate(self) -> Investigation:
        """Look into a host, with nobody but the example in the order."""
        settings: Any = SimpleNamespace(current=Settings(stored={INVESTIGATORS_ORDER: NAME}))
        given = means(self.store, reactor=self.clock)
        chain = Investigators(given.store, settings, self.clock, random.Random(1), built_in(given))
        chain.load(given)
        opened = evolve(case(host(1)), seconds=0.0)
        return self.successResultOf(Deferred.fromCoroutine(chain.investigate(opened)))

    def write(self, state: object) -> None:
        """Have the controller write."""
        self.file.write_text(json.dumps(state))

    def test_off(self) -> None:
        """A host whose outlet is off is Down, by the example's word."""
        self.write({"time": 990, "off": ["host-1"]})
        found = self.investigate()
        assert found.decided_by is not None
        self.assertEqual((found.verdict, found.decided_by.investigator), (Verdict.DOWN, NAME))
        self.assertEqual(found.decided_by.reason, "its outlet is off, says the rack controller")

    def test_not_known(self) -> None:
        """Another outlet, an old file, a broken one and none say nothing."""
        for state, word in (
            ({"time": 990, "off": ["host-10"]}, "is on"),
            ({"time": 900, "off": ["host-1"]}, "not written for 100 s"),
            ({"off": ["host-1"]}, "cannot be used: KeyError"),
            ([], "cannot be used: TypeError"),
        ):
            self.write(state)
            (finding,) = self.investigate().findings
            self.assertIs(finding.verdict, Verdict.UNKNOWN)
            self.assertIn(word, finding.reason)
        self.file.unlink()
        self.assertIn("FileNotFoundError", self.investigate().findings[0].reason)

    def test_without_its_variable(self) -> None:
        """Where it cannot be made, every investigation says why."""
        del os.environ["RACKPOWER_FILE"]
        (finding,) = self.investigate().findings
        self.assertEqual(finding.reason, "could not be loaded: 'RACKPOWER_FILE'")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_documented(self) -> None:
        """The text shows the example as it is."""
        blocks = re.findall(
            r"```(?:python|toml)\n(.*?)```", (DOCS / "writing-an-investigator.md").read_text(), re.DOTALL
        )
        self.assertEqual(blocks[0], (EXAMPLE / "rackpower.py").read_text())
        self.assertIn(blocks[1], (EXAMPLE / "pyproject.toml").read_text())
