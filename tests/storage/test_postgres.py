"""The store on PostgreSQL: servers that write at the same time, and connections that are lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import event, func, update
from sqlalchemy.engine import make_url
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cloudlb.domain.models import Host, HostId, Message
from cloudlb.domain.ports import Location, Refused, StoreUnavailable, Transaction
from cloudlb.domain.record_ports import EventFilter
from cloudlb.storage import postgres
from cloudlb.storage.database import ATTEMPTS, ATTEMPTS_AMONG_OTHERS, Database
from cloudlb.storage.executor import InlineExecutor
from cloudlb.storage.migrate import upgrade
from cloudlb.storage.postgres import RESPITE, PostgresDatabase
from cloudlb.storage.schema import host
from tests.contracts.case import SERVER, admission, now
from tests.storage.postgres import MISSING, Engine, engine, new_database
from tests.storage.threaded import open_database

_PATIENCE = 20.0
"""Seconds after which a test that hangs fails."""


def _add_zone(txn: Transaction, name: str) -> None:
    txn.topology.add_zone(name)


def _names(txn: Transaction) -> list[str]:
    return [zone.name for zone in txn.topology.zones()]


def _admit(txn: Transaction, guids: Sequence[str]) -> list[Host | Refused]:
    return txn.hosts.admit([admission(guid, Location(zone="z"), type="ConsoleProxy") for guid in guids], 1.0)


def _publish(txn: Transaction, number: int) -> None:
    txn.bus.publish("numbers", {"number": number}, 1.0)


def _after(txn: Transaction, last: int) -> Sequence[Message]:
    return txn.bus.after(last, 7)


def _hear_again(txn: Any, number: int) -> None:
    again = update(host).where(host.c.id == number).values(last_heard=func.coalesce(host.c.last_heard, 0) + 1)
    txn.hosts._connection.execute(again)


class Servers(TestCase):
    """Several servers with threads of their own on one database."""

    skip = MISSING
    timeout = 120

    def setUp(self) -> None:
        """Lend a database."""
        self.url = new_database(self)
        self.database = make_url(self.url).database or ""

    async def open(self, *, zone: bool = False) -> Database:
        """A server's view of the database, the first of them with a zone in it."""
        database = await open_database(self, self.url, readers=2)
        if zone:
            await database.run(partial(_add_zone, name="z"))
        return database

    async def until(self, condition: str) -> None:
        """Wait until a query has a row."""

        def wait() -> None:
            end = time.monotonic() + _PATIENCE
            while not engine().execute(self.database, condition):
                assert time.monotonic() < end, condition
                time.sleep(0.01)

        await deferToThread(wait)

    async def test_no_lost_session(self) -> None:
        """Servers that admit the same new hosts at the same time count every admission, and no number twice."""
        servers = [await self.open(zone=True), await self.open(), await self.open()]
        forth, back = "abcde", "edcba"
        batches = await gatherResults(
            [server.run(partial(_admit, guids=guids)) for guids in (forth, back) * 5 for server in servers]
        )
        sessions: dict[str, list[int]] = {}
        for admitted in (each for batch in batches for each in batch):
            assert isinstance(admitted, Host)
            sessions.setdefault(admitted.facts.guid, []).append(admitted.session)
        self.assertEqual({g: sorted(s) for g, s in sessions.items()}, {g: list(range(1, 31)) for g in forth})
        events = await servers[0].read(lambda txn: txn.events.list(EventFilter(), 0, None))
        self.assertEqual(events[1], 5)

    async def test_what_was_read_holds(self) -> None:
        """Work that has read a row which another server then changes runs again, and sees the change."""
        first, second = await self.open(zone=True), await self.open()
        seen, read, go = [], threading.Event(), threading.Event()

        def work(txn: Transaction) -> None:
            load = txn.settings.load().stored
            seen.append(load["wait"])
            read.set()
            go.wait(_PATIENCE)
            txn.settings.set("wait", str(int(load["wait"]) + 1), None)

        await first.run(lambda txn: txn.settings.set("wait", "1", None))
        waiting = first.run(work)
        await deferToThread(read.wait, _PATIENCE)
        await second.run(lambda txn: txn.settings.set("wait", "10", None))
        go.set()
        await waiting
        self.assertEqual(seen, ["1", "10"])
        settings = await first.read(lambda txn: txn.settings.load())
        self.assertEqual(settings.stored, {"wait": "11"})

    async def test_same_insertion(self) -> None:
        """Two that make the same row, because there was none: the later one runs again and finds it."""
        first, second = await self.open(zone=True), await self.open()
        both = threading.Barrier(2)

        def meet(txn: Transaction, server: list[int]) -> tuple[str, bool]:
            txn.jobs.under_way()
            if not server:
                server.append(1)
                both.wait(_PATIENCE)
            job, new = txn.jobs.start(command="c", account_id=1, server_id=SERVER, host_id=None, now=1.0, key="k")
            return job.uuid, new

        started = await gatherResults([server.run(partial(meet, server=[])) for server in (first, second)])
        self.assertEqual(len({uuid for uuid, _ in started}), 1)
        self.assertEqual(sorted(new for _, new in started), [False, True])

    async def test_deadlock(self) -> None:
        """Of two that wait for each other one runs again; both are done in the end."""
        first, second = await self.open(zone=True), await self.open()
        await first.run(partial(_admit, guids="ab"))
        both = threading.Barrier(2)

        def work(txn: Transaction, order: Sequence[int], runs: list[int]) -> None:
            runs.append(1)
            for number in order:
                _hear_again(txn, number)
                if len(runs) == 1 and number == order[0]:
                    both.wait(_PATIENCE)

        runs: list[list[int]] = [[], []]
        await gatherResults(
            [
                first.run(partial(work, order=(1, 2), runs=runs[0])),
                second.run(partial(work, order=(2, 1), runs=runs[1])),
            ]
        )
        self.assertGreater(sum(map(len, runs)), 2)
        hosts = await first.read(lambda txn: txn.hosts.all())
        self.assertEqual([known.last_heard for known in hosts], [2.0, 2.0])

    async def test_numbers_in_the_order_of_commits(self) -> None:
        """A message gets its number only when those with lower ones are to be seen."""
        first, second = await self.open(), await self.open()
        committing, go = threading.Event(), threading.Event()

        def wait(connection: object) -> None:
            committing.set()
            go.wait(_PATIENCE)

        event.listen(first._write_engine, "commit", wait)
        slow = first.run(partial(_publish, number=1))
        await deferToThread(committing.wait, _PATIENCE)
        quick = second.run(partial(_publish, number=2))
        try:
            await self.until("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            self.assertNoResult(quick)
        finally:
            go.set()
        await gatherResults([slow, quick])
        messages = await second.read(lambda txn: txn.bus.after(0, 10))
        self.assertEqual([message.payload["number"] for message in messages], [1, 2])

    async def test_no_message_is_passed_over(self) -> None:
        """A reader that follows many writers sees every message once, whoever commits when."""
        servers = [await self.open() for _ in range(4)]
        running = gatherResults(
            [server.run(partial(_publish, number=number)) for number in range(60) for server in servers]
        )
        seen: list[int] = []
        last = -1
        newest, published = 0, False
        while last < newest or not published:
            published = running.called
            newest = await servers[0].read(lambda txn: txn.bus.last_sequence())
            for message in await servers[0].read(partial(_after, last=last)):
                last = message.sequence
                seen.append(message.payload["number"])
        await running
        self.assertEqual(sorted(seen), sorted([*range(60)] * 4))

    async def test_lost_connections(self) -> None:
        """Connections that PostgreSQL ended between two pieces of work cost none of them."""
        server = await self.open(zone=True)
        self.cut()
        await server.run(partial(_add_zone, name="y"))
        self.cut()
        self.assertEqual(await server.read(_names), ["z", "y"])

    async def test_lost_in_its_middle(self) -> None:
        """Work whose connection is lost before the commit runs again, once and for all."""
        server = await self.open()
        runs = []

        def work(txn: Transaction) -> None:
            _add_zone(txn, "z")
            runs.append(1)
            if len(runs) == 1:
                self.cut()
            _add_zone(txn, "y")

        await server.run(work)
        self.assertEqual((len(runs), await server.read(_names)), (2, ["z", "y"]))

    async def test_lost_during_the_commit(self) -> None:
        """Work that may have been done is not done again."""
        server = await self.open()

        cuts = iter([self.cut])

        def cut(connection: object) -> None:
            for act in cuts:
                act()

        event.listen(server._write_engine, "commit", cut)
        with self.assertRaisesRegex(StoreUnavailable, "nobody knows"):
            await server.run(partial(_add_zone, name="z"))
        await server.run(partial(_add_zone, name="y"))
        self.assertEqual(await server.read(_names), ["y"])

    async def test_suspended(self) -> None:
        """A server that stands still in its transaction loses its locks to the others, and does its work later."""
        self.patch(postgres, "IDLE_TIMEOUT", 0.1)
        first, second = await self.open(zone=True), await self.open()
        await first.run(partial(_admit, guids="a"))
        go = threading.Event()

        def work(txn: Transaction) -> None:
            txn.hosts.touch({HostId(1): 5.0})
            go.wait(_PATIENCE)

        still = first.run(work)
        await self.until("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'")
        await second.run(lambda txn: txn.hosts.touch({HostId(1): 4.0}))
        go.set()
        await still
        hosts = await first.read(lambda txn: txn.hosts.all())
        self.assertEqual([known.last_heard for known in hosts], [5.0])

    async def test_conflict_again_and_again(self) -> None:
        """Work that found a conflict in some runs has the tables for itself in the next one."""
        server = await self.open(zone=True)
        await server.run(partial(_admit, guids="a"))
        runs: list[str] = []

        def work(txn: Transaction) -> None:
            txn.hosts.get(HostId(1))
            try:
                engine().execute(self.database, "SET lock_timeout = 100; UPDATE host SET cpus = cpus + 1")
                runs.append("too late")
            except psycopg.errors.LockNotAvailable:
                runs.append("alone")
            txn.hosts.touch({HostId(1): 5.0})

        await server.run(work)
        self.assertEqual(runs, ["too late"] * ATTEMPTS_AMONG_OTHERS + ["alone"])

    async def test_trouble_without_end(self) -> None:
        """Work whose connection is lost in every run is given up."""
        server = await self.open()
        runs: list[int] = []

        def work(txn: Transaction) -> None:
            txn.topology.zones()
            runs.append(1)
            self.cut()
            txn.topology.zones()

        with self.assertRaisesRegex(StoreUnavailable, "terminating connection"):
            await server.run(work)
        self.assertEqual(len(runs), ATTEMPTS)

    def cut(self) -> None:
        """End every connection to the database but the one that asks for it."""
        engine().execute(
            self.database,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )


class Outage(SynchronousTestCase):
    """PostgreSQL itself goes and comes."""

    skip = MISSING

    def test_comes_back(self) -> None:
        """While it is away work fails, soon; then everything goes on by itself."""
        own = Engine.create()
        self.addCleanup(own.remove)
        own.start()
        upgrade(url := own.url(own.new_database()))
        database = Database(url, writer=InlineExecutor(), reader=InlineExecutor())
        now(database.start())
        self.addCleanup(lambda: now(database.stop()))
        now(database.run(partial(_add_zone, name="z")))
        own.stop()
        for work in (database.run, database.read):
            with self.assertRaisesRegex(StoreUnavailable, f"database postgresql://cloudlb@.*{own.folder.name}"):
                now(work(_names))
        own.start()
        end = time.monotonic() + RESPITE + _PATIENCE
        while time.monotonic() < end:
            try:
                now(database.run(partial(_add_zone, name="y")))
                break
            except StoreUnavailable:
                time.sleep(0.05)
        self.assertEqual(now(database.read(_names)), ["z", "y"])

    def test_mute(self) -> None:
        """While it is suspended work fails after a while, instead of holding up all that comes after it."""
        self.patch(postgres, "ANSWER_TIMEOUT", 0.3)
        own = Engine.create()
        self.addCleanup(own.remove)
        own.start()
        upgrade(url := own.url(own.new_database()) + "&connect_timeout=2")
        database = Database(url, writer=InlineExecutor(), reader=InlineExecutor())
        now(database.start())
        self.addCleanup(lambda: now(database.stop()))
        now(database.run(partial(_add_zone, name="z")))
        with own.suspended():
            for work in (database.run, database.read):
                # A new connection is tried, and not answered either.
                with self.assertRaisesRegex(StoreUnavailable, "connection timeout expired"):
                    now(work(partial(_add_zone, name="y")))
        self.patch(postgres, "ANSWER_TIMEOUT", 10.0)
        time.sleep(RESPITE)
        now(database.run(partial(_add_zone, name="x")))
        self.assertEqual(now(database.read(_names)), ["z", "x"])

    def test_one_attempt_speaks_for_many(self) -> None:
        """Work that waited behind an attempt to connect that failed does not wait for one of its own."""
        attempts: list[object] = []

        def connect(*arguments: object, **options: object) -> None:
            attempts.append(options["connect_timeout"])
            raise psycopg.OperationalError("nobody there")

        self.patch(psycopg.Connection, "connect", connect)
        clock = [100.0]
        opened = PostgresDatabase(make_url("postgresql://u@h/d"), lambda: clock[0]).open(connections=1, writing=True)
        self.addCleanup(opened.dispose)
        for later in (0.0, RESPITE / 2, RESPITE * 0.4, RESPITE / 2):
            clock[0] += later
            with self.assertRaisesRegex(Exception, "nobody there"):
                opened.connect()
        self.assertEqual(len(attempts), 2)

    def test_passwords(self) -> None:
        """Messages name the database without the password."""
        database = Database("postgresql://root:s3cret@127.0.0.1:1/x", writer=InlineExecutor(), reader=InlineExecutor())
        with self.assertRaisesRegex(StoreUnavailable, r"postgresql://root:\*\*\*@127.0.0.1:1/x: ") as caught:
            now(database.start())
        self.assertNotIn("s3cret", f"{caught.exception} {caught.exception.__cause__}")
