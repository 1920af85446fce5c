"""Tests of `cloudlb upgrade`."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.cli.deployment import Request, deploy
from cloudlb.storage.migrate import preview
from tests.cli.command_line import invoke
from tests.storage.revisions import NEXT, bring_to, revisions

BEFORE, HEAD = revisions()[-2:]


class UpgradeTests(SynchronousTestCase):
    """What it says, and what it does."""

    def setUp(self) -> None:
        """A deployment on the database of the version before."""
        self.folder = Path(self.mktemp()).absolute()
        self.old = f"sqlite:///{self.folder}-old.sqlite"
        bring_to(self.old, BEFORE)
        deploy(Request(folder=self.folder, servers=("127.0.0.1", "127.0.0.2"), agents=0))
        for path in self.folder.glob("servers/*/mgmt.properties"):
            path.write_text(path.read_text().replace("sqlite:///../../cloudlb.sqlite", self.old))

    def revision(self) -> str | None:
        """The schema's."""
        return preview(self.old).before

    def test_ways_to_name_it(self) -> None:
        """A deployment, a server's folder, its file and the URL are all the same database; a dry run does nothing."""
        server = self.folder / "servers" / "127.0.0.2"
        for target in (self.folder, server, server / "mgmt.properties", self.old):
            result = invoke("upgrade", "--dry-run", str(target))
            self.assertEqual(0, result.exit_code, result.output)
            self.assertIn(f"would go from revision {BEFORE} to {HEAD}:\n  ", result.output)
        self.assertEqual(BEFORE, self.revision())

    def test_upgrade(self) -> None:
        """It is done once, and then there is nothing to do."""
        result = invoke("upgrade", str(self.folder))
        self.assertIn(f"The schema went from revision {BEFORE} to {HEAD}:\n  ", result.output)
        self.assertEqual(HEAD, self.revision())
        self.assertEqual(f"The schema has revision {HEAD} already.\n", invoke("upgrade", str(self.folder)).output)

    def test_refused(self) -> None:
        """What is no database of ours, or of a newer version, or not there, is left alone, and the reason is told."""
        empty = self.folder / "empty.sqlite"
        empty.touch()
        newer = f"sqlite:///{self.folder}/newer.sqlite"
        bring_to(newer, NEXT)
        for target, words in (
            (f"sqlite:///{empty}", "has no schema: cloudlb init makes it"),
            (newer, f"revision {NEXT}, this program needs {HEAD}.*newer cloudlb"),
            (f"sqlite:///{self.folder}/missing.sqlite", "missing.sqlite: unable to open"),
            ("mysql://admin:hidden@db/cloud", "only sqlite and postgresql"),
            (str(self.folder / "agents"), "cannot be read"),
            (str(self.folder / "ca"), "has 0 databases in its mgmt.properties"),
        ):
            result = invoke("upgrade", target)
            self.assertEqual(1, result.exit_code, target)
            self.assertRegex(result.output, words)
            self.assertNotIn("hidden", result.output)
        self.assertFalse((self.folder / "missing.sqlite").exists())
