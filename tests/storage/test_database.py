"""The store on real threads and files: who waits for whom, how it stops, what others' locks do to it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, update
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cloudlb.domain.models import Host, HostId
from cloudlb.domain.ports import Location, Refused, StoreUnavailable, Transaction
from cloudlb.domain.users import Role
from cloudlb.storage import sqlite
from cloudlb.storage.database import Database
from cloudlb.storage.executor import InlineExecutor, ThreadExecutor
from cloudlb.storage.schema import zone
from cloudlb.storage.steps import update_all
from tests.contracts.case import admission, now
from tests.storage.sqlite import new_database

_PATIENCE = 20.0
"""Seconds after which a test that hangs fails."""


def _add_zone(txn: Transaction, name: str) -> None:
    txn.topology.add_zone(name)


def _names(txn: Transaction) -> list[str]:
    return [zone.name for zone in txn.topology.zones()]


def _admit(txn: Transaction, guids: str) -> list[Host | Refused]:
    return txn.hosts.admit([admission(guid, Location(zone="z"), type="ConsoleProxy") for guid in guids], 1.0)


class Threads(TestCase):
    """Databases with threads of their own, on one file."""

    timeout = 60

    def setUp(self) -> None:
        """Make the file."""
        self.file = Path(self.mktemp()).absolute()
        self.url = new_database(self.file)

    async def open(self) -> Database:
        """A server's view of the file."""
        threads: IReactorFromThreads = reactor  # type: ignore[assignment] # the module stands for the object
        writer, reader = ThreadExecutor(threads, 1, "test-writer"), ThreadExecutor(threads, 2, "test-reader")
        database = Database(self.url, writer=writer, reader=reader)
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        return database

    async def test_no_lost_session(self) -> None:
        """Two servers that admit the same hosts at the same time count every admission, and no number twice."""
        first, second = await self.open(), await self.open()
        await first.run(partial(_add_zone, name="z"))
        work: Callable[[Transaction], list[Host | Refused]] = partial(_admit, guids="abcde")
        batches = await gatherResults([database.run(work) for _ in range(20) for database in (first, second)])
        sessions: dict[str, list[int]] = {}
        for host in (host for batch in batches for host in batch):
            assert isinstance(host, Host)
            sessions.setdefault(host.facts.guid, []).append(host.session)
        self.assertEqual({guid: sorted(s) for guid, s in sessions.items()}, {g: list(range(1, 41)) for g in "abcde"})
        hosts = await second.read(lambda txn: txn.hosts.all())
        self.assertEqual([host.session for host in hosts], [40] * 5)

    async def test_reader_delays_no_writer(self) -> None:
        """Work that reads for long sees one moment, while others write."""
        database = await self.open()
        writing, written = threading.Event(), threading.Event()

        def listing(txn: Transaction) -> tuple[list[str], bool, list[str]]:
            before = _names(txn)
            writing.set()
            return before, written.wait(_PATIENCE), _names(txn)

        listed = database.read(listing)
        self.assertTrue(writing.wait(_PATIENCE))
        await database.run(partial(_add_zone, name="z"))
        written.set()
        self.assertEqual(await listed, ([], True, []))
        self.assertEqual(await database.read(_names), ["z"])

    async def test_waits_for_another_process(self) -> None:
        """A lock that another writer holds is waited out; readers do not wait."""
        database = await self.open()
        other = sqlite3.connect(self.file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO zone (uuid, name) VALUES ('u', 'other')")
        waiting = database.run(partial(_add_zone, name="own"))
        self.assertEqual(await database.read(_names), [])
        self.assertNoResult(waiting)
        other.execute("COMMIT")
        other.close()
        await waiting
        self.assertEqual(await database.read(_names), ["other", "own"])

    async def test_stop_lets_work_end(self) -> None:
        """What was asked for before the stop is done, what comes later is refused, and no thread remains."""
        database = await self.open()
        asked = [database.run(partial(_add_zone, name=str(number))) for number in range(20)]
        reading = database.read(_names)
        stops = [Deferred.fromCoroutine(database.stop()) for _ in range(2)]
        late: list[Awaitable[Any]] = [database.run(_names), database.read(_names)]
        for refused in late:
            with self.assertRaises(StoreUnavailable):
                await refused
        await gatherResults(stops)
        await gatherResults(asked)
        await reading
        self.assertEqual([t.name for t in threading.enumerate() if "test-" in t.name], [])
        again = await self.open()
        self.assertEqual(len(await again.read(_names)), 20)

    async def test_no_connection_is_left(self) -> None:
        """The last one to stop leaves one file, without SQLite's own beside it."""
        database = await self.open()
        await database.run(partial(_add_zone, name="z"))
        await database.stop()
        self.assertEqual(list(self.file.parent.glob(self.file.name + "*")), [self.file])

    async def test_cancel(self) -> None:
        """A caller that no longer waits hears of it at once; the work itself goes on, and the store with it."""
        database = await self.open()
        go = threading.Event()

        def work(txn: Transaction) -> None:
            go.wait(_PATIENCE)
            _add_zone(txn, "z")

        cancelled = database.run(work)
        cancelled.cancel()
        with self.assertRaises(CancelledError):
            await cancelled
        go.set()
        self.assertEqual(await database.run(_names), ["z"])


class Inline(SynchronousTestCase):
    """The rest, without threads."""

    def setUp(self) -> None:
        """Make the file."""
        self.file = Path(self.mktemp()).absolute()
        self.url = new_database(self.file)
        self.uuids = iter(range(10**9))

    def open(self) -> Database:
        """A server's view of the file."""
        database = Database(
            self.url,
            writer=InlineExecutor(),
            reader=InlineExecutor(),
            new_uuid=lambda: UUID(int=next(self.uuids)),
        )
        now(database.start())
        self.addCleanup(lambda: now(database.stop()))
        return database

    def test_wakes_the_bus(self) -> None:
        """The hook is called once after each commit with messages, when others can see them, and for nothing else."""
        database, other = self.open(), self.open()
        seen: list[int] = []
        database.on_publish = lambda: seen.append(now(other.read(lambda txn: txn.bus.last_sequence())))
        now(database.run(partial(_add_zone, name="z")))

        def publish(txn: Transaction) -> None:
            txn.bus.publish("a", {}, 1.0)
            txn.bus.publish("b", {}, 1.0)

        def fail(txn: Transaction) -> None:
            publish(txn)
            raise LookupError

        with self.assertRaises(LookupError):
            now(database.run(fail))
        self.assertEqual(seen, [])
        now(database.run(publish))
        self.assertEqual(seen, [2])

    def test_lock_that_stays(self) -> None:
        """A lock that outlasts the patience is trouble of the database; the store works when it is gone."""
        self.patch(sqlite, "BUSY_TIMEOUT", 0.01)
        database = self.open()
        other = sqlite3.connect(self.file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with self.assertRaisesRegex(StoreUnavailable, f"{self.file}: database is locked"):
            now(database.run(partial(_add_zone, name="z")))
        other.close()
        now(database.run(partial(_add_zone, name="z")))
        self.assertEqual(now(database.read(_names)), ["z"])

    def test_full_disk(self) -> None:
        """A write that finds no room changes nothing and is told as trouble of the database."""
        database = self.open()

        def limit(txn: Any) -> None:
            txn.topology._connection.exec_driver_sql("PRAGMA max_page_count=1")

        def fill(txn: Transaction) -> None:
            for number in range(10**4):
                _add_zone(txn, str(number))

        now(database.run(limit))
        with self.assertRaisesRegex(StoreUnavailable, "full"):
            now(database.run(fill))
        self.assertEqual(now(database.read(_names)), [])

    def test_uuids_are_injected(self) -> None:
        """A world with a seed has the same uuids each time."""
        database = self.open()
        now(database.run(partial(_add_zone, name="z")))
        zones = now(database.read(lambda txn: txn.topology.zones()))
        self.assertEqual([zone.uuid for zone in zones], [str(UUID(int=0))])

    def test_stopped(self) -> None:
        """A store that is stopped refuses work instead of opening the file again."""
        database = self.open()
        now(database.stop())
        for work in (database.run, database.read):
            with self.assertRaisesRegex(StoreUnavailable, "shut down"):
                now(work(_names))

    def test_secrets_stay_out_of_errors(self) -> None:
        """An error tells no value that a statement was given."""
        database = self.open()

        def work(txn: Transaction) -> None:
            txn.accounts.add(username="admin", role=Role.ADMINISTRATOR, password=["s3cr3t"], now=0.0)  # type: ignore[arg-type] # a defect

        with self.assertRaises(Exception) as caught:
            now(database.run(work))
        self.assertNotIn("s3cr3t", str(caught.exception))

    def test_guards_that_miss(self) -> None:
        """Where another writer was faster nothing is done, neither the updates before nor what was to tell of them."""
        database = self.open()
        now(database.run(partial(_add_zone, name="z")))
        rename = update(zone).where(zone.c.name == bindparam("old")).values(name=bindparam("new"))

        def work(txn: Any) -> None:
            update_all(txn.hosts._connection, rename, [{"old": "z", "new": "y"}, {"old": "z", "new": "x"}])

        with self.assertRaisesRegex(StoreUnavailable, "another transaction"):
            now(database.run(work))
        self.assertEqual(now(database.read(_names)), ["z"])

    def test_touch_of_a_fleet(self) -> None:
        """Ten thousand times of hearing are one batch, and every one of them arrives."""
        database = self.open()
        now(database.run(partial(_add_zone, name="z")))
        now(database.run(partial(_admit, guids="abc")))
        now(database.run(lambda txn: txn.hosts.touch({HostId(number): float(number) for number in range(10**4)})))
        hosts = now(database.read(lambda txn: txn.hosts.all()))
        self.assertEqual([host.last_heard for host in hosts], [1.0, 2.0, 3.0])
