"""How connections to the database are opened, and how their transactions begin."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, IntegrityError, InterfaceError, ProgrammingError
from sqlalchemy.pool import QueuePool

from cloudlb.domain.ports import StoreUnavailable

BUSY_TIMEOUT = 30.0
"""Seconds that a writer waits for the writer of another process before the database counts as unavailable."""


class UnsupportedDatabase(ValueError):
    """The database's URL cannot be used; the message shows it without its password."""


def database_file(url: str) -> Path:
    """The file of a sqlite URL.

    Raises:
        UnsupportedDatabase: the URL is malformed, or names another kind of database or no file.
    """
    try:
        parsed: URL = make_url(url)
    except ArgumentError:
        # The text may hold a password, and nobody can tell where.
        raise UnsupportedDatabase("the database's URL is malformed; expected sqlite:////path/of/the/file") from None
    shown = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() != "sqlite":
        raise UnsupportedDatabase(f"database {shown}: only sqlite is supported")
    if not parsed.database or parsed.database == ":memory:":
        raise UnsupportedDatabase(f"database {shown}: a file is needed, several servers share it")
    return Path(parsed.database)


def open_engine(url: str, *, connections: int, writing: bool) -> Engine:
    """Make an engine; nothing is opened yet.

    Args:
        url: where the database is.
        connections: most connections at the same time; they are kept open.
        writing: whether transactions may write. A transaction that may takes the write lock at its beginning, so it
            never finds in its middle that what it has read is out of date.

    Raises:
        UnsupportedDatabase: see :func:`database_file`.
    """
    # mode=rw: a mistyped path is an error, not a new and empty database.
    uri = database_file(url).absolute().as_uri() + "?mode=rw"

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
        # With WAL a power failure may cost the last transactions, never the database; a crash of ours costs nothing.
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


@contextmanager
def troubles_named(file: Path) -> Iterator[None]:
    """Raise the database's own troubles as StoreUnavailable; what it rejects is a defect of the work and stays."""
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError):
        raise
    except (DatabaseError, InterfaceError) as error:
        raise StoreUnavailable(f"database {file}: {error.orig}") from error
