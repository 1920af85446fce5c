"""Contract of migrations: servers of one version go on while the database is brought to the schema of the next."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    delete,
    func,
    insert,
    select,
    update,
)
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.models import HostId
from cloudlb.domain.ports import Transaction
from cloudlb.storage.database import Database
from cloudlb.storage.engine import find_backend
from cloudlb.storage.executor import InlineExecutor
from cloudlb.storage.migrate import SchemaMismatch, preview, upgrade
from tests.contracts.case import now
from tests.storage.additive import breaches
from tests.storage.revisions import NEXT, bring_to, revisions


class MigrationContract(SynchronousTestCase):
    """Each migration, and one that is still to come, on a database."""

    def new_url(self) -> str:
        """The URL of an empty database."""
        raise NotImplementedError

    def opened(self, url: str) -> Engine:
        """An engine that may write, until the end of the test."""
        made = find_backend(url).open(connections=1, writing=True)
        self.addCleanup(made.dispose)
        return made

    def test_additive(self) -> None:
        """No migration takes anything away from the version before."""
        url = self.new_url()
        bring_to(url, "0001")
        database = self.opened(url)
        before = _read(database)
        for revision in (*revisions()[1:], NEXT):
            bring_to(url, revision)
            after = _read(database)
            self.assertEqual([], breaches(before, after), revision)
            before = after

    def test_rows_of_before(self) -> None:
        """What the version before writes with all that it knows, changes and deletes goes through after a migration."""
        for before, after in pairwise((*revisions(), NEXT)):
            url = self.new_url()
            bring_to(url, before)
            database = self.opened(url)
            known = _read(database)
            known.remove(known.tables["alembic_version"])
            bring_to(url, after)
            with database.begin() as connection:
                for table in known.sorted_tables:
                    row = {column.name: _value(column) for column in table.c}
                    connection.execute(insert(table), row)
                    connection.execute(update(table).values(row))
                    found = dict(connection.execute(select(table)).mappings().one())
                    self.assertEqual(found, row, f"{table.name} at {after}")
                for table in reversed(known.sorted_tables):
                    connection.execute(delete(table))
                    self.assertEqual(connection.scalar(select(func.count()).select_from(table)), 0)

    def test_under_a_running_server(self) -> None:
        """A server's store works on after the upgrade as before it; another one of its version does not start."""
        url = self.new_url()
        upgrade(url)
        running, late = (Database(url, writer=InlineExecutor(), reader=InlineExecutor()) for _ in range(2))
        now(running.start())
        work = _Work()
        # PostgreSQL's driver prepares what is repeated, and the upgrade comes when it has.
        for _ in range(12):
            now(running.run(work))
        bring_to(url, NEXT)
        for _ in range(12):
            now(running.run(work))
        self.assertEqual(now(running.read(lambda txn: len(txn.servers.all()))), 24)
        with self.assertRaisesRegex(SchemaMismatch, f"revision {NEXT}, this program needs .*: .*newer cloudlb"):
            now(late.start())
        now(running.stop())

    def test_before_the_upgrade(self) -> None:
        """A server of the next version does not start on the schema of this one, and says what to do."""
        url = self.new_url()
        *_, before, head = revisions()
        bring_to(url, before)
        early = Database(url, writer=InlineExecutor(), reader=InlineExecutor())
        with self.assertRaisesRegex(SchemaMismatch, f"revision {before}, this program needs {head}.*cloudlb upgrade"):
            now(early.start())
        self.assertEqual((before, head), (preview(url).before, preview(url).after))
        self.assertEqual(preview(url), upgrade(url))
        self.assertEqual((), upgrade(url).steps)


class _Work:
    """A bit of everything that servers do all the time."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, txn: Transaction) -> None:
        self._count += 1
        name = f"server-{self._count}"
        own = txn.servers.register(name=name, address=name, port=1, version="1", candidate_id=self._server_id())
        txn.servers.heartbeat(own.id)
        txn.servers.record_peers(own.id, {})
        txn.settings.set("host", name, None)
        txn.settings.load()
        txn.bus.publish("settings", {"name": "host"}, 1.0)
        txn.events.add("AGENT.REFUSED", "x", now=1.0, host_id=HostId(1))
        txn.hosts.find("nobody")
        txn.jobs.get("none")

    def _server_id(self) -> Any:
        return self._count


def _read(database: Engine) -> MetaData:
    schema = MetaData()
    schema.reflect(database)
    return schema


def _value(column: Column[Any]) -> object:
    """Something for a column; keys of all rows are alike."""
    if column.foreign_keys or column.primary_key:
        return "1" if isinstance(column.type, String) else 1
    for kind, value in ((Boolean, True), (JSON, {"a": 1}), (Float, 1.5), (Integer, 1), (String, "x")):
        if isinstance(column.type, kind):
            return value
    raise AssertionError(column.type)
