"""Files that are there whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.atomic_file import write_atomically


class WriteAtomically(SynchronousTestCase):
    """What is on the disk afterwards."""

    def setUp(self) -> None:
        """A folder of its own."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def test_replaces(self) -> None:
        """New content under the old name with the mode asked for, and nothing beside it."""
        path = self.folder / "agent.key"
        path.write_bytes(b"old and longer")
        path.chmod(0o644)
        write_atomically(path, b"new")
        self.assertEqual((path.read_bytes(), stat.S_IMODE(path.stat().st_mode)), (b"new", 0o600))
        write_atomically(path, b"public", 0o644)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o644)
        self.assertEqual(self.names(), ["agent.key"])

    def test_readers_keep_what_they_opened(self) -> None:
        """Who reads the old file while it is replaced reads it to its end, never a mixture."""
        path = self.folder / "certificate.pem"
        path.write_bytes(b"old")
        with path.open("rb") as reader:
            write_atomically(path, b"new content")
            self.assertEqual(reader.read(), b"old")

    def test_failure_leaves_nothing_behind(self) -> None:
        """Where the file cannot be put in place, the folder is as it was."""
        (self.folder / "taken").mkdir()
        self.assertRaises(OSError, write_atomically, self.folder / "taken", b"content")
        self.assertEqual(self.names(), ["taken"])
        self.assertRaises(OSError, write_atomically, self.folder / "missing" / "file", b"content")
        self.assertEqual(self.names(), ["taken"])
