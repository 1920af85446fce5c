"""The store with threads of its own, as a server has it."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from cloudlb.storage.database import Database
from cloudlb.storage.executor import ThreadExecutor


async def open_database(test: TestCase, url: str, *, readers: int = 1) -> Database:
    """A server's view of a database, until the test's end."""
    threads: IReactorFromThreads = reactor  # type: ignore[assignment] # the module stands for the object
    writer, reader = ThreadExecutor(threads, 1, "test-writer"), ThreadExecutor(threads, readers, "test-reader")
    database = Database(url, writer=writer, reader=reader)
    await database.start()
    test.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
    return database
