"""PostgreSQL: for the servers of several machines, which write at the same time.

A transaction sees one snapshot (REPEATABLE READ). It fails if a row that it writes or locks was changed after that, and
is run again; so what it has read of the rows that it writes holds until it ends. Rows that are missing in its
snapshot it can rely on only where a unique constraint makes its own insertion fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from cloudlb.storage.backend import BUSY_TIMEOUT, UnsupportedDatabase
from cloudlb.storage.bus_rows import CHANNEL
from cloudlb.storage.executor import Executor
from cloudlb.storage.notifications import Notifications
from cloudlb.storage.schema import metadata

CONNECT_TIMEOUT = 5
"""Seconds for opening a connection."""
RESPITE = 1.0
"""Seconds after an attempt to connect that failed during which the next ones fail with it, so that the work that piled
up behind it does not wait for one time-out after the other."""
ANSWER_TIMEOUT = BUSY_TIMEOUT + 10.0
"""Seconds that PostgreSQL has to answer; a process that was suspended keeps its connections and says nothing. Longer
than it lets anybody wait for a lock."""
IDLE_TIMEOUT = 10.0
"""Seconds after which PostgreSQL ends the transaction of a server that was suspended, or whose network is gone, in its
middle: it may hold locks that all others wait for."""

_SCHEMA_LOCK = 0x636C6F75646C6201
"""Advisory lock of whoever upgrades the schema: "cloudlb" and a number."""
_LOCK_SCHEMA = text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
# Waiting for an advisory lock takes a query, and with it the snapshot.
_TIME = text("SELECT extract(epoch FROM clock_timestamp())::float8")
_SEE_COMMITS = text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
_LOCK_TABLES = text(f"LOCK TABLE {', '.join(sorted(metadata.tables))} IN EXCLUSIVE MODE")

_LISTEN = psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(CHANNEL))

# A connection whose other end has gone without a word is found dead within half a minute.
_DEFAULTS = {
    "application_name": "cloudlb",
    "connect_timeout": str(CONNECT_TIMEOUT),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}

_CONFLICTS = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    # Somebody else inserted what this transaction had looked for in vain.
    psycopg.errors.UniqueViolation,
)


class BoundedConnection(psycopg.Connection[Any]):
    """One that does not wait for an answer for ever."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer; after ANSWER_TIMEOUT the connection is closed, and OperationalError says so."""
        try:
            return super().wait(gen, interval, ANSWER_TIMEOUT if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - it has no other name
            self.close()
            raise psycopg.OperationalError(f"no answer within {ANSWER_TIMEOUT:g} s") from None


class PostgresDatabase:
    """Implements ``Backend``."""

    def __init__(self, url: URL, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Understand a postgresql URL.

        Raises:
            UnsupportedDatabase: it names no database, or another driver.
        """
        self.name = url.render_as_string(hide_password=True)
        """The URL without its password."""
        if url.drivername not in ("postgresql", "postgresql+psycopg"):
            raise UnsupportedDatabase(f"database {self.name}: the driver is psycopg, as in postgresql://")
        if not url.database:
            raise UnsupportedDatabase(
                f"database {self.name}: it names no database, as in postgresql://user@host/cloudlb"
            )
        self._url = url.set(drivername="postgresql+psycopg")
        self._monotonic = monotonic

    def create(self) -> None:
        """An administrator of PostgreSQL makes databases."""

    def open(self, *, connections: int, writing: bool) -> Engine:
        """Make an engine."""
        engine = create_engine(
            self._url,
            connect_args=self._options(writing),
            pool_size=connections,
            max_overflow=0,
            # Errors reach the log; values may be secret.
            hide_parameters=True,
        )
        # When, and why, the last attempt failed.
        failed = (-RESPITE, "")

        @event.listens_for(engine, "do_connect")
        def _connect(_dialect: object, _record: object, arguments: Any, options: Any) -> Any:
            nonlocal failed
            if self._monotonic() - failed[0] < RESPITE:
                raise psycopg.OperationalError(failed[1])
            try:
                return BoundedConnection.connect(*arguments, **options)
            except psycopg.OperationalError as error:
                failed = (self._monotonic(), str(error))
                raise

        return engine

    def watch(self, executor: Executor, reactor: Any, heard: Callable[[], object]) -> Notifications:
        """What hears of every server's messages."""
        return Notifications(self._listen, executor, reactor, heard)

    def time(self, connection: Connection) -> float:
        """Of this moment, not of the transaction's beginning."""
        return float(connection.scalar(_TIME))

    def lock_schema(self, connection: Connection) -> None:
        """Wait for other upgrades, and see what they have done."""
        connection.execute(_SEE_COMMITS)
        connection.execute(_LOCK_SCHEMA)

    def make_others_wait(self, connection: Connection) -> None:
        """Lock the tables against all but plain reads. The snapshot is taken after that, so it is up to date."""
        connection.execute(_LOCK_TABLES)

    def is_in_doubt(self, error: DBAPIError) -> bool:
        """If the connection was lost, unless because PostgreSQL had given the transaction up before."""
        gave_up = isinstance(error.orig, psycopg.errors.IdleInTransactionSessionTimeout)
        return error.connection_invalidated and not gave_up

    def may_pass(self, error: DBAPIError) -> bool:
        """After a conflict with another transaction, and on a new connection where this one was lost."""
        return error.connection_invalidated or isinstance(error.orig, _CONFLICTS)

    def _listen(self) -> psycopg.Connection[Any]:
        """Open a connection that the bus's notifications come to."""
        _, options = self._url.get_dialect()().create_connect_args(self._url)
        options.update(self._options(writing=False), autocommit=True)
        connection = BoundedConnection.connect(**options)
        try:
            connection.execute(_LISTEN)
        except BaseException:
            connection.close()
            raise
        return connection

    def _options(self, writing: bool) -> dict[str, Any]:
        """What the URL does not say itself."""
        settings = {
            "default_transaction_isolation": r"repeatable\ read",
            "default_transaction_read_only": "off" if writing else "on",
            "idle_in_transaction_session_timeout": f"{IDLE_TIMEOUT * 1000:.0f}ms",
            "lock_timeout": f"{BUSY_TIMEOUT * 1000:.0f}ms",
        }
        of_session = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return {"options": of_session} | {
            name: value for name, value in _DEFAULTS.items() if name not in self._url.query
        }
