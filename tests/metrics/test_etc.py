"""The dashboard and the alert rules: their metrics exist, and Prometheus understands them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import SkipTest

from prometheus_client import CollectorRegistry, generate_latest
from twisted.trial.unittest import SynchronousTestCase

from tests.agents.server import ServerFixture

ROOT = Path(__file__).parents[2]
RULES = ROOT / "etc" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "etc" / "grafana" / "cloudlb.json"
DOCUMENT = ROOT / "docs" / "metrics.md"
_NAME = re.compile(r"\b(?:cloudlb|process|python)_[a-z_]+\b")
_LABELS = {
    "cloudlb_admissions": ("result",),
    "cloudlb_agents": ("status", "preferred"),
    "cloudlb_commands": ("result",),
    "cloudlb_database_duration_seconds": ("operation",),
    "cloudlb_database_errors": ("operation",),
    "cloudlb_database_under_way": ("operation",),
    "cloudlb_drain_hosts": ("state",),
    "cloudlb_handshakes": ("result",),
    "cloudlb_hosts": ("status", "resource_state"),
    "cloudlb_hosts_lost": ("status",),
    "cloudlb_moves": ("reason", "end"),
    "cloudlb_queue_length": ("queue",),
    "cloudlb_server_info": ("name", "msid", "version"),
    "cloudlb_server_state": ("state",),
    "cloudlb_servers": ("state",),
}
"""What every sample of a metric has; one that is not here has no label."""
_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


def table(registry: CollectorRegistry) -> str:
    """The rows of the document's table: each metric of cloudlb's own as its registry says it is."""
    rows = []
    for family in sorted(registry.collect(), key=lambda family: family.name):
        if family.name.startswith("cloudlb_") and not family.name.endswith("_created"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in _LABELS.get(family.name, ()))
            rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |\n")
    return "".join(rows)


class RegistryTestCase(SynchronousTestCase):
    """Tests that know every metric of a server."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(Path(self.mktemp()).parent)
        self.addCleanup(self.fixture.stop)
        self.families = list(self.fixture.server.meters.registry.collect())
        self.samples = {
            family.name + suffix for family in self.families for suffix in _SUFFIXES.get(family.type, ("",))
        }


class EtcTests(RegistryTestCase):
    """What names metrics names those that there are."""

    def test_rules(self) -> None:
        """In every expression of the rules, and of their tests."""
        for file in (RULES, Path(__file__).parent / "alerts.test.yml"):
            names = set(_NAME.findall(file.read_text()))
            self.assertGreater(len(names), 5)
            self.assertEqual(set(), names - self.samples, file.name)

    def test_dashboard(self) -> None:
        """In every expression of the dashboard, whose panels and variables have what Grafana asks of them."""
        dashboard = json.loads(DASHBOARD.read_text())
        variables = {each["name"]: each for each in dashboard["templating"]["list"]}
        self.assertEqual({"datasource", "job", "server"}, set(variables))
        panels = dashboard["panels"]
        self.assertEqual(len(panels), len({panel["id"] for panel in panels}))
        self.assertEqual(4, sum(panel["type"] == "row" for panel in panels))
        expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
        expressions += [variables[name]["definition"] for name in ("job", "server")]
        used = {name for expression in expressions for name in _NAME.findall(expression)}
        self.assertEqual(set(), used - self.samples)
        used_variables = {name for expression in expressions for name in re.findall(r"\$(\w+)", expression)}
        self.assertEqual({"job", "server", "__rate_interval"}, used_variables)
        # Every metric of the server's own is on it somewhere.
        own = {family.name for family in self.families if family.name.startswith("cloudlb_")}
        shown = {family for family in own if any(name.startswith(family) for name in used)}
        self.assertEqual({"cloudlb_server_state"}, own - shown)

    def test_document(self) -> None:
        """The table in docs/metrics.md is what the registry says."""
        self.assertIn(
            "| --- | --- | --- | --- |\n" + table(self.fixture.server.meters.registry) + "\n", DOCUMENT.read_text()
        )

    def test_labels(self) -> None:
        """Every sample has the labels that the document names, and no others."""
        for family in self.families:
            for sample in family.samples:
                if family.name.startswith("cloudlb_"):
                    labels = set(sample.labels) - {"le"}
                    self.assertEqual(set(_LABELS.get(family.name.removesuffix("_created"), ())), labels, sample.name)

    def test_panels_do_not_overlap(self) -> None:
        """Each panel has a place of its own, within the width."""
        taken: dict[tuple[int, int], str] = {}
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for place in _places(panel["gridPos"]):
                self.assertNotIn(place, taken, f"{panel['title']} lies on {taken.get(place)}")
                self.assertLess(place[0], 24)
                taken[place] = panel["title"]


def _places(grid: Any) -> Iterator[tuple[int, int]]:
    for x in range(grid["x"], grid["x"] + grid["w"]):
        for y in range(grid["y"], grid["y"] + grid["h"]):
            yield x, y


class PromtoolTests(SynchronousTestCase):
    """Prometheus' own tool reads the rules, and plays histories against them."""

    def setUp(self) -> None:
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool is not installed")
        self.promtool = promtool

    def run_promtool(self, *arguments: str) -> None:
        """Run it; it has to be content."""
        result = subprocess.run(
            [self.promtool, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=Path(__file__).parent,
        )
        self.assertEqual(0, result.returncode, result.stdout + result.stderr)

    def test_rules(self) -> None:
        """The rules parse."""
        self.run_promtool("check", "rules", str(RULES))

    def test_histories(self) -> None:
        """Alerts fire when they should, and not before."""
        self.run_promtool("test", "rules", "alerts.test.yml")

    def test_scrape_configuration(self) -> None:
        """The example is a configuration."""
        self.run_promtool("check", "config", "--syntax-only", str(ROOT / "etc" / "prometheus" / "scrape.yml"))

    def test_metrics(self) -> None:
        """What a server says of itself is as Prometheus asks, in names, units and types."""
        fixture = ServerFixture(Path(self.mktemp()).parent)
        self.addCleanup(fixture.stop)
        for number in (1, 2):
            fixture.startup(number)
        page = generate_latest(fixture.server.meters.registry)
        result = subprocess.run(
            [self.promtool, "check", "metrics"], input=page, capture_output=True, check=False, timeout=60
        )
        self.assertEqual((0, b"", b""), (result.returncode, result.stdout, result.stderr))
