"""Schemas on PostgreSQL: made, recognized, refused."""

from __future__ import annotations

import threading

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.ports import StoreUnavailable
from cloudlb.storage.database import Database
from cloudlb.storage.engine import find_backend
from cloudlb.storage.executor import InlineExecutor
from cloudlb.storage.migrate import SchemaMismatch, upgrade
from cloudlb.storage.schema import metadata
from tests.contracts.case import now
from tests.storage.postgres import MISSING, engine

_PATIENCE = 20.0
"""Seconds after which a test that hangs fails."""


class Upgrades(SynchronousTestCase):
    """Migrations on PostgreSQL."""

    skip = MISSING

    def setUp(self) -> None:
        """An empty database."""
        self.name = engine().new_database()
        self.url = engine().url(self.name)

    def database(self) -> Database:
        """A server's view."""
        return Database(self.url, writer=InlineExecutor(), reader=InlineExecutor())

    def test_equals_the_schema(self) -> None:
        """The migrations make what the tables of the program say, no more and no less."""
        upgrade(self.url)
        opened = find_backend(self.url).open(connections=1, writing=False)
        self.addCleanup(opened.dispose)
        with opened.begin() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            self.assertEqual(compare_metadata(context, metadata), [])
        constraints = "SELECT conname FROM pg_constraint UNION SELECT indexname FROM pg_indexes"
        made = {str(row[0]) for row in engine().execute(self.name, constraints)}
        tables = metadata.tables.values()
        names = {item.name for table in tables for group in (table.constraints, table.indexes) for item in group}
        self.assertEqual({str(name) for name in names if name} - made, set())

    def test_all_or_nothing(self) -> None:
        """A migration that fails half-way leaves the database as it was."""
        engine().execute(self.name, "CREATE TABLE host (id INTEGER)")
        with self.assertRaisesRegex(Exception, "already exists"):
            upgrade(self.url)
        tables = engine().execute(self.name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        self.assertEqual(tables, [("host",)])

    def test_at_the_same_time(self) -> None:
        """Several upgrades of one database are one, and the others that find nothing to do."""
        errors: list[Exception] = []

        def run() -> None:
            try:
                upgrade(self.url)
            except Exception as error:  # noqa: BLE001 - the test wants to see it
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE)
        self.assertEqual(errors, [])
        now((database := self.database()).start())
        now(database.stop())

    def test_no_schema(self) -> None:
        """A server does not start on a database that was never migrated, and says how to."""
        with self.assertRaisesRegex(SchemaMismatch, "revision none, this program needs .*: run `cloudlb init`"):
            now(self.database().start())

    def test_newer_schema(self) -> None:
        """Neither server nor upgrade touches the database of a newer program."""
        upgrade(self.url)
        engine().execute(self.name, "UPDATE alembic_version SET version_num = '9999'")
        for start in (lambda: now(self.database().start()), lambda: upgrade(self.url)):
            with self.assertRaisesRegex(SchemaMismatch, "revision 9999.*newer cloudlb"):
                start()

    def test_no_database(self) -> None:
        """A name that is mistyped is told as it is."""
        missing = Database(engine().url("missing"), writer=InlineExecutor(), reader=InlineExecutor())
        with self.assertRaisesRegex(StoreUnavailable, 'database "missing" does not exist'):
            now(missing.start())
