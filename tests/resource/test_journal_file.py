# test-case-name: tests.resource.test_journal_file
"""The journal's file, on a real disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.resource.journal import Journal
from cloudlb.resource.journal_file import Entry, JournalFault, SqliteFile
from cloudlb.wire import Answer
from tests.support.memory_file import at_once

BEGUN = Entry("a", "com.cloud.agent.api.StartCommand", 2**62, 60, 1.5)
ENDED = evolve(BEGUN, answer_name="com.cloud.agent.api.Answer", answer='{"result":true}')

KILLED = """
import os, signal, sys
from pathlib import Path
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from cloudlb.resource.journal import Journal
from cloudlb.resource.journal_file import SqliteFile
from cloudlb.wire import Answer
from tests.support.memory_file import at_once

async def run():
    journal = Journal(SqliteFile(Path(sys.argv[1])), Clock(), at_once)
    await journal.begin("ended", "com.example.Command", sequence=1, wait=0)
    await journal.end("ended", Answer(details="done"))
    await journal.begin("begun", "com.example.Command", sequence=2, wait=0)
    os.kill(os.getpid(), signal.SIGKILL)

Deferred.fromCoroutine(run())
"""


class SqliteFileTests(SynchronousTestCase):
    """A file in a folder of its own."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "agent.journal"

    def opened(self) -> SqliteFile:
        """The file, closed at the end of the test."""
        file = SqliteFile(self.path)
        self.addCleanup(file.close)
        return file

    def test_round_trip(self) -> None:
        """What was written is read by the next one who opens it, in the order in which it was begun."""
        file = self.opened()
        self.assertFalse(file.exists())
        self.assertEqual(file.read(), [])
        others = [evolve(BEGUN, id=id_) for id_ in "bc"]
        file.write([BEGUN, *others], [])
        file.write([ENDED, evolve(others[1], acknowledged=True)], ["b"])
        file.close()
        self.assertTrue(file.exists())
        self.assertEqual(self.opened().read(), [ENDED, evolve(others[1], acknowledged=True)])

    def test_private(self) -> None:
        """Answers may hold secrets: nobody else reads them, nor what SQLite keeps beside them."""
        self.addCleanup(os.umask, os.umask(0))
        file = self.opened()
        file.read()
        file.write([ENDED], [])
        names = {path.name: path.stat().st_mode & 0o777 for path in self.path.parent.iterdir()}
        self.assertEqual(set(names.values()), {0o600}, names)

    def test_forgotten_is_gone(self) -> None:
        """An answer that was forgotten does not stay on the disk."""
        file = self.opened()
        file.read()
        file.write([evolve(ENDED, answer='{"details":"S3CRET"}')], [])
        file.write([], ["a"])
        file.close()
        for path in self.path.parent.iterdir():
            self.assertNotIn(b"S3CRET", path.read_bytes())

    def test_bad_files(self) -> None:
        """What is no journal is refused by its name, stays as it is, and can be mended."""
        newer = sqlite3.connect(self.path)
        newer.execute("PRAGMA user_version = 2")
        newer.close()
        layout = self.path.read_bytes()
        for content, reason in ((b"no database" * 1000, "not a database"), (layout, "its layout is 2")):
            self.path.write_bytes(content)
            file = self.opened()
            fault = self.assertRaises(JournalFault, file.read)
            self.assertIn(str(self.path), str(fault))
            self.assertIn(reason, str(fault))
            self.assertRaises(JournalFault, file.write, [BEGUN], [])
            self.assertEqual(self.path.read_bytes(), content)
            self.path.unlink()
            self.assertEqual(file.read(), [])
            file.close()

    def test_no_folder(self) -> None:
        """A file that cannot be made is a fault, not an exception of the system's."""
        fault = self.assertRaises(JournalFault, SqliteFile(self.path / "nowhere").read)
        self.assertIn("nowhere", str(fault))

    def test_one_process(self) -> None:
        """A second agent with the same file is refused for as long as the first one has it."""
        for _ in range(2):
            first = self.opened()
            first.read()
            fault = self.assertRaises(JournalFault, SqliteFile(self.path).read)
            self.assertIn("locked", str(fault))
            first.write([BEGUN], [])
            first.close()
        self.assertEqual(self.opened().read(), [BEGUN])

    def test_write_fails_whole(self) -> None:
        """Of changes that cannot all be written none is."""
        file = self.opened()
        file.read()
        self.assertRaises(JournalFault, file.write, [BEGUN, evolve(BEGUN, id="b", wait=2**70)], [])
        file.close()
        self.assertEqual(self.opened().read(), [])

    def test_killed(self) -> None:
        """A process killed with -9 leaves behind what it had begun and what it had ended."""
        process = subprocess.run([sys.executable, "-c", KILLED, str(self.path.absolute())], check=False, timeout=30)
        self.assertEqual(process.returncode, -signal.SIGKILL)
        file = self.opened()
        journal = Journal(file, Clock(), at_once)
        self.successResultOf(Deferred.fromCoroutine(journal.recall()))
        answers = [
            self.successResultOf(Deferred.fromCoroutine(journal.begin(id_, "com.example.Command", sequence=3, wait=0)))
            for id_ in ("ended", "begun")
        ]
        self.assertEqual(answers[0], Answer(details="done"))
        assert isinstance(answers[1], Answer)
        self.assertIn("restarted while it carried out Command", answers[1].details or "")
