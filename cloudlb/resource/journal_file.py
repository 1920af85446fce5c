"""Where a journal is kept: an SQLite file, which outlives the process and the machine's power.

What :meth:`SqliteFile.write` has returned from is on the disk. The calls block, and take turns.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

VERSION = 1
"""Of the file's layout; it stands in the file."""
PATIENCE = 0.1
"""Seconds to wait for another process to let go of the file."""

_LAYOUT = f"""
BEGIN;
CREATE TABLE commands (
    place INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    wait INTEGER NOT NULL,
    begun_at REAL NOT NULL,
    answer_name TEXT,
    answer TEXT,
    acknowledged INTEGER NOT NULL
);
PRAGMA user_version = {VERSION};
COMMIT;
"""
_KEEP = """
INSERT INTO commands (id, name, sequence, wait, begun_at, answer_name, answer, acknowledged)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET answer_name = excluded.answer_name, answer = excluded.answer,
    acknowledged = excluded.acknowledged
"""
# Cast: a damaged file may hold anything anywhere.
_READ = """
SELECT CAST(id AS TEXT), CAST(name AS TEXT), CAST(sequence AS INTEGER), CAST(wait AS INTEGER), CAST(begun_at AS REAL),
    CAST(answer_name AS TEXT), CAST(answer AS TEXT), acknowledged IS TRUE
FROM commands ORDER BY place
"""


@frozen
class Entry:
    """One command of a journal. Without an answer it was begun, or its answer was heard and has been dropped."""

    id: str
    name: str
    """The command's class on the wire."""
    sequence: int
    """Of the request that it came in."""
    wait: int
    """Seconds that its sender waits; 0: no limit of the command's own."""
    begun_at: float
    """Seconds of the clock."""
    answer_name: str | None = None
    """The answer's class on the wire."""
    answer: str | None = field(default=None, repr=False)
    """The answer's fields in JSON. Not in the repr: they may hold secrets."""
    acknowledged: bool = field(default=False, converter=bool)
    """Whether a server has heard of the end."""


class JournalFault(Exception):
    """The file cannot be used; the message names it and says why."""


class JournalFile(Protocol):
    """What a journal needs of the place where it is kept. All methods but ``exists`` may block."""

    def exists(self) -> bool:
        """Whether there is anything to read."""

    def read(self) -> list[Entry]:
        """Everything that is kept, in the order in which it was begun; what is not there yet is made.

        Raises:
            JournalFault: nothing is known of what was kept.
        """

    def write(self, kept: Sequence[Entry], forgotten: Sequence[str]) -> None:
        """Keep entries in place of what was kept under their ids, and forget ids: all of it or, on a fault, nothing.

        Raises:
            JournalFault: the file is as before.
        """

    def close(self) -> None:
        """Let go of the file."""


class SqliteFile(JournalFile):
    """A file that this process alone has open, and that its owner alone may read."""

    def __init__(self, path: Path) -> None:
        """Prepare; nothing is opened before the first :meth:`read`."""
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def exists(self) -> bool:
        """Whether the file is there."""
        return self._path.exists()

    def read(self) -> list[Entry]:
        """Open or create the file, and read all of it."""
        try:
            self._connection = self._connection or self._open()
            rows = self._connection.execute(_READ).fetchall()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise self._fault(error) from error
        return [Entry(*row) for row in rows]

    def write(self, kept: Sequence[Entry], forgotten: Sequence[str]) -> None:
        """Commit one transaction."""
        if self._connection is None:
            raise self._fault("it is closed")
        try:
            with self._connection:
                self._connection.executemany(_KEEP, [_row(entry) for entry in kept])
                self._connection.executemany("DELETE FROM commands WHERE id = ?", [(id_,) for id_ in forgotten])
        except (sqlite3.Error, OverflowError) as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """Close the file; what was written stays."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if not self.exists():
            self._create()
        # The calls come from any thread, one at a time.
        connection = sqlite3.connect(self._path, timeout=PATIENCE, check_same_thread=False)
        try:
            # Exclusive: a second agent with the same file would carry out what this one has begun.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            [[version]] = connection.execute("PRAGMA user_version")
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError(f"its layout is {version}, and this agent knows {VERSION}")
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}")
            if version == 0:
                connection.executescript(_LAYOUT)
            # WAL takes the lock of a writer with the first write only.
            connection.executescript("BEGIN IMMEDIATE; COMMIT;")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        # SQLite's own files beside it take its mode.
        os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _fault(self, reason: object) -> JournalFault:
        return JournalFault(f"The journal {self._path} cannot be used: {reason}")


def _row(entry: Entry) -> tuple[object, ...]:
    return (
        entry.id,
        entry.name,
        entry.sequence,
        entry.wait,
        entry.begun_at,
        entry.answer_name,
        entry.answer,
        entry.acknowledged,
    )
