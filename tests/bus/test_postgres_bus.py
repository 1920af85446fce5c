"""The bus on PostgreSQL, which tells each server of the others' messages."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy.engine import make_url
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from cloudlb.bus import database_bus
from cloudlb.bus.database_bus import DatabaseBus
from cloudlb.domain.ports import Transaction
from cloudlb.storage import notifications
from cloudlb.storage.database import Database
from cloudlb.storage.executor import ThreadExecutor
from tests.storage.postgres import MISSING, engine, new_database

_LISTENERS = "FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'LISTEN%'"


class PostgresBus(TestCase):
    """Servers that do not poll for an hour, so that what they hear was told."""

    skip = MISSING
    timeout = 30

    def setUp(self) -> None:
        """Lend a database."""
        self.patch(database_bus, "TOLD_POLL_INTERVAL", 3600.0)
        self.url = new_database(self)
        self.name = make_url(self.url).database or ""
        self.heard: dict[str, list[int]] = {}
        self._waiting: list[tuple[str, int, Deferred[None]]] = []

    async def join(self, name: str) -> tuple[Database, DatabaseBus]:
        """A server that notes what it hears."""
        real: Any = reactor
        database = Database(
            self.url,
            writer=ThreadExecutor(real, 1, "test-writer"),
            reader=ThreadExecutor(real, 2, "test-reader"),
            reactor=real,
        )
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        bus = DatabaseBus(database, real, told=database.tells_of_others)
        database.on_publish = bus.wake
        self.heard[name] = []

        def receive(payload: Any) -> None:
            self.heard[name].append(payload["n"])
            for waiter in [each for each in self._waiting if len(self.heard[each[0]]) >= each[1]]:
                self._waiting.remove(waiter)
                waiter[2].callback(None)

        bus.subscribe("a", receive)
        await bus.start()
        self.addCleanup(bus.stop)
        return database, bus

    def until(self, name: str, number: int) -> Deferred[None]:
        """Fires when a server has heard a number of messages."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append((name, number, waiter))
        return waiter

    async def publish(self, database: Database, number: int) -> None:
        """Publish a message."""

        def work(txn: Transaction) -> None:
            txn.bus.publish("a", {"n": number}, 1.0)

        await database.run(work)

    async def listening(self, number: int) -> None:
        """Wait until a number of connections listen."""
        end = time.monotonic() + 20
        while len(engine().execute("postgres", "SELECT pid " + _LISTENERS.format(self.name))) != number:
            assert time.monotonic() < end, f"no {number} connections listen"
            await self.sleep(0.01)

    def keep_out(self, out: bool) -> None:
        """End the connections that listen and take no new ones; or take them again. Those of the stores stay."""
        engine().execute("postgres", f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS {not out}")
        if out:
            engine().execute("postgres", "SELECT pg_terminate_backend(pid, 5000) " + _LISTENERS.format(self.name))

    def sleep(self, seconds: float) -> Deferred[None]:
        """Let the reactor run."""
        slept: Deferred[None] = Deferred()
        clock: Any = reactor
        clock.callLater(seconds, slept.callback, None)
        return slept

    async def test_at_once(self) -> None:
        """A message of another server is there within 50 ms, and each is there once."""
        first, _ = await self.join("first")
        await self.join("second")
        await self.listening(2)
        took = []
        for number in range(20):
            heard = self.until("second", number + 1)
            begun = time.monotonic()
            await self.publish(first, number)
            await heard
            took.append(time.monotonic() - begun)
        self.assertEqual(self.heard["second"], list(range(20)))
        # Not all of them: the machine may be busy with something else.
        self.assertLess(sorted(took)[len(took) // 2], 0.05)

    async def test_lost_connection(self) -> None:
        """What was committed while a server could not listen it hears as soon as it can."""
        self.patch(notifications, "RETRY_DELAY", 0.05)
        first, _ = await self.join("first")
        await self.join("second")
        await self.listening(2)
        await self.publish(first, 1)
        await self.until("second", 1)
        self.keep_out(True)
        await self.publish(first, 2)
        await self.publish(first, 3)
        await self.sleep(0.2)
        self.assertEqual(self.heard["second"], [1])
        self.keep_out(False)
        await self.until("second", 3)
        self.assertEqual(self.heard["second"], [1, 2, 3])
        await self.listening(2)
        await self.publish(first, 4)
        await self.until("second", 4)

    async def test_stop(self) -> None:
        """A server that has stopped leaves no connection, and one that stops while it tries to connect stops."""
        self.patch(notifications, "RETRY_DELAY", 0.01)
        database, bus = await self.join("first")
        await self.listening(1)
        self.keep_out(True)
        await self.sleep(0.05)
        bus.stop()
        await database.stop()
        self.keep_out(False)
        await self.sleep(0.05)
        left = engine().execute("postgres", "SELECT pid " + _LISTENERS.format(self.name))
        self.assertEqual(left, [])
