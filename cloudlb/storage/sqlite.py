"""SQLite: one file, for the servers of one machine."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from cloudlb.storage.backend import BUSY_TIMEOUT, UnsupportedDatabase

# The day is Julian; 86,400 s make one.
_TIME = "SELECT (julianday('now') - 2440587.5) * 86400.0"


class SqliteFile:
    """Implements ``Backend``."""

    def __init__(self, url: URL) -> None:
        """Understand a sqlite URL.

        Raises:
            UnsupportedDatabase: it names no file.
        """
        if not url.database or url.database == ":memory:":
            shown = url.render_as_string(hide_password=True)
            raise UnsupportedDatabase(f"database {shown}: a file is needed, several servers share it")
        self.file = Path(url.database)

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.file)

    def create(self) -> None:
        """Make an empty file, only for the owner, like those that SQLite puts beside it: the API's keys are in it."""
        self.file.touch(mode=0o600)

    def open(self, *, connections: int, writing: bool) -> Engine:
        """Make an engine.

        A transaction that may write takes the write lock at its beginning, so it never finds in its middle that what
        it has read is out of date.
        """
        # mode=rw: a mistyped path is an error, not a new and empty database.
        uri = self.file.absolute().as_uri() + "?mode=rw"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                uri,
                uri=True,
                timeout=BUSY_TIMEOUT,
                # Transactions begin where we say, not where the driver thinks.
                isolation_level=None,
                # The pool hands a connection from thread to thread, to one at a time.
                check_same_thread=False,
            )
            connection.execute("PRAGMA journal_mode=WAL")
            # With WAL a power failure may cost the last transactions, never the database; a crash of ours nothing.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute(f"PRAGMA query_only={'OFF' if writing else 'ON'}")
            return connection

        engine = create_engine(
            "sqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            # Errors reach the log; values may be secret.
            hide_parameters=True,
        )
        begin = "BEGIN IMMEDIATE" if writing else "BEGIN"

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def watch(self, executor: object, reactor: object, heard: object) -> None:
        """SQLite tells nobody."""

    def time(self, connection: Connection) -> float:
        """The machine's, which all its servers share, in milliseconds."""
        return float(connection.exec_driver_sql(_TIME).scalar_one())

    def lock_schema(self, connection: Connection) -> None:
        """The transaction has the write lock already."""

    def make_others_wait(self, connection: Connection) -> None:
        """They do."""

    def is_in_doubt(self, error: DBAPIError) -> bool:
        """Never: a commit that failed was not done."""
        return False

    def may_pass(self, error: DBAPIError) -> bool:
        """Never: a transaction has the database for itself, and one that waited for it has waited long enough."""
        return False
