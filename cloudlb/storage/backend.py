"""What differs between the databases that the store runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError, InterfaceError, ProgrammingError

from cloudlb.domain.ports import StoreUnavailable
from cloudlb.storage.executor import Executor

BUSY_TIMEOUT = 30.0
"""Seconds that a writer waits for the writer of another process before the database counts as unavailable."""


class UnsupportedDatabase(ValueError):
    """The database's URL cannot be used; the message shows it without its password."""


class Watch(Protocol):
    """Tells of what other servers have committed."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Backend(Protocol):
    """One database: how it is made, opened and understood."""

    @property
    def name(self) -> str:
        """What messages call it; holds no password."""
        ...

    def create(self) -> None:
        """Make it if that is up to this program; OSError if it cannot."""
        ...

    def open(self, *, connections: int, writing: bool) -> Engine:
        """Make an engine; nothing is opened yet.

        Args:
            connections: most connections at the same time; they are kept open.
            writing: whether transactions may write.
        """
        ...

    def watch(self, executor: Executor, reactor: Any, heard: Callable[[], object]) -> Watch | None:
        """What calls ``heard`` after each commit that put messages on the bus; None if the database does not tell."""
        ...

    def time(self, connection: Connection) -> float:
        """Seconds since the epoch, by the clock of the machine that the database is on."""
        ...

    def lock_schema(self, connection: Connection) -> None:
        """Keep other upgrades of the schema out until the transaction ends."""
        ...

    def make_others_wait(self, connection: Connection) -> None:
        """Be the only writer of a transaction that has just begun: one that met with too many conflicts."""
        ...

    def is_in_doubt(self, error: DBAPIError) -> bool:
        """Whether a commit that ended with this error may have been done."""
        ...

    def may_pass(self, error: DBAPIError) -> bool:
        """Whether a transaction that ended with this error, and changed nothing, may end well if it runs again."""
        ...


@contextmanager
def troubles_named(backend: Backend) -> Iterator[None]:
    """Raise the database's own troubles as StoreUnavailable; what it rejects is a defect of the work and stays."""
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError):
        raise
    except (DatabaseError, InterfaceError) as error:
        # A driver may tell what it tried line by line.
        raise StoreUnavailable(f"database {backend.name}: {' '.join(str(error.orig).split())}") from error
