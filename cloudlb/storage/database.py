"""The store: work functions on transactions, on threads of their own.

One thread writes, others read. A reader sees the last commit before it began and neither waits for the writer nor
makes it wait, so a long listing delays no admission.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred

from cloudlb.domain.ports import StoreUnavailable, Transaction
from cloudlb.storage.backend import troubles_named
from cloudlb.storage.engine import find_backend
from cloudlb.storage.executor import Executor
from cloudlb.storage.migrate import check_revision
from cloudlb.storage.transaction import SqlTransaction

T = TypeVar("T")

ATTEMPTS = 10
"""Most runs of a piece of work that conflicts with other servers' transactions, or whose connection is lost."""
ATTEMPTS_AMONG_OTHERS = 3
"""Runs after which the others have to wait for it: under contention somebody gets through, but not always the same."""


class Database:
    """Implements the port ``Store``."""

    def __init__(
        self,
        url: str,
        *,
        writer: Executor,
        reader: Executor,
        new_uuid: Callable[[], UUID] = uuid4,
        clock: Callable[[], float] | None = None,
        reactor: Any = None,
    ) -> None:
        """Prepare; nothing is opened before :meth:`start`.

        Args:
            url: SQLAlchemy's, of a database that ``cloudlb.storage.migrate.upgrade`` has made.
            writer: runs one piece of work at a time.
            reader: may run several.
            new_uuid: makes the uuids of new rows.
            clock: tells the seconds since the epoch in place of the database's own clock.
            reactor: IReactorTime and IReactorFDSet, to hear from the database when others put messages on the bus; None
                to do without.

        Raises:
            UnsupportedDatabase: the URL cannot be used.
        """
        self.on_publish: Callable[[], None] = lambda: None
        """Called after each commit of this server that put messages on the bus, and after those of others if the
        database tells of them."""
        self.measure: Callable[[str, Deferred[Any]], object] = lambda operation, work: None
        """Told of each piece of work as it is asked for, a "read" or a "write". It may add callbacks to it that pass on
        what they get."""
        self._backend = find_backend(url)
        self._writer = writer
        self._reader = reader
        self._new_uuid = new_uuid
        self._clock = clock
        self._write_engine = self._backend.open(connections=writer.size, writing=True)
        self._read_engine = self._backend.open(connections=reader.size, writing=False)
        self._watch = None if reactor is None else self._backend.watch(reader, reactor, self._heard)

    @property
    def tells_of_others(self) -> bool:
        """Whether ``on_publish`` is called for the messages of others too."""
        return self._watch is not None

    async def start(self) -> None:
        """Start the threads and look whether the schema is the one that this program was made for.

        Raises:
            SchemaMismatch: it is older or newer; nothing keeps running.
            StoreUnavailable: the database cannot be opened; nothing keeps running.
        """
        self._writer.start()
        self._reader.start()
        try:
            await self._reader.submit(self._check)
        except BaseException:
            await self.stop()
            raise
        if self._watch is not None:
            self._watch.start()

    async def stop(self) -> None:
        """Let the submitted work end, then join the threads and close the connections. Later work is refused."""
        if self._watch is not None:
            self._watch.stop()
        for stopped in (self._writer.stop(), self._reader.stop()):
            await stopped
        self._write_engine.dispose()
        self._read_engine.dispose()

    def run(self, work: Callable[[Transaction], T]) -> Deferred[T]:
        """Run and commit; see the port. Fails with StoreUnavailable or what ``work`` raises."""

        def write() -> tuple[T, bool]:
            return self._transact(self._write_engine, work)

        under_way = self._writer.submit(write)
        self.measure("write", under_way)
        return under_way.addCallback(self._announce)

    def read(self, work: Callable[[Transaction], T]) -> Deferred[T]:
        """Run beside the writer; see the port. Fails with StoreUnavailable or what ``work`` raises."""
        under_way = self._reader.submit(lambda: self._transact(self._read_engine, work)[0])
        self.measure("read", under_way)
        return under_way

    def _heard(self) -> None:
        self.on_publish()

    def _announce(self, outcome: tuple[T, bool]) -> T:
        result, published = outcome
        if published:
            self.on_publish()
        return result

    def _transact(self, engine: Engine, work: Callable[[Transaction], T]) -> tuple[T, bool]:
        with troubles_named(self._backend):
            for attempt in range(1, ATTEMPTS):
                try:
                    return self._attempt(engine, work, alone=attempt > ATTEMPTS_AMONG_OTHERS)
                except DBAPIError as error:
                    if not self._backend.may_pass(error):
                        raise
            return self._attempt(engine, work, alone=True)

    def _attempt(self, engine: Engine, work: Callable[[Transaction], T], *, alone: bool) -> tuple[T, bool]:
        with engine.connect() as connection:
            if alone and engine is self._write_engine:
                self._backend.make_others_wait(connection)
            clock = self._clock or partial(self._backend.time, connection)
            transaction = SqlTransaction(connection, self._new_uuid, clock)
            result = work(transaction)
            transaction.bus.flush()
            try:
                connection.commit()
            except DBAPIError as error:
                if self._backend.is_in_doubt(error):
                    # To run it again might be to do it twice.
                    raise StoreUnavailable(
                        f"database {self._backend.name}: the connection was lost during a commit, and nobody knows "
                        "whether it was done"
                    ) from error
                raise
            return result, transaction.bus.published

    def _check(self) -> None:
        with troubles_named(self._backend), self._read_engine.begin() as connection:
            check_revision(connection)
