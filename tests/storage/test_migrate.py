"""Schemas: made, recognized, refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.ports import StoreUnavailable
from cloudlb.storage.backend import UnsupportedDatabase
from cloudlb.storage.database import Database
from cloudlb.storage.engine import find_backend
from cloudlb.storage.executor import InlineExecutor
from cloudlb.storage.migrate import SchemaMismatch, upgrade
from cloudlb.storage.schema import metadata
from tests.contracts.case import now


def _database(url: str) -> Database:
    return Database(url, writer=InlineExecutor(), reader=InlineExecutor())


class Upgrades(SynchronousTestCase):
    """upgrade()."""

    def setUp(self) -> None:
        """Name a file that is not there."""
        self.file = Path(self.mktemp()).absolute()
        self.url = f"sqlite:///{self.file}"

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Do something to the file behind the back of everybody."""
        with closing(sqlite3.connect(self.file)) as connection, connection:
            return connection.execute(statement).fetchall()

    def tables(self) -> set[object]:
        """The tables in the file."""
        return {row[0] for row in self.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def test_equals_the_schema(self) -> None:
        """The migrations make what the tables of the program say, no more and no less."""
        upgrade(self.url)
        engine = find_backend(self.url).open(connections=1, writing=False)
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            self.assertEqual(compare_metadata(context, metadata), [])
        self.assertLessEqual(set(metadata.tables), self.tables())

    def test_names_of_constraints(self) -> None:
        """Constraints and indexes have the names that the tables of the program give them."""
        upgrade(self.url)
        made = {str(row[0]) for row in self.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
        text = "\n".join(made)
        tables = metadata.tables.values()
        names = [item.name for table in tables for group in (table.constraints, table.indexes) for item in group]
        self.assertGreater(len(names), 25)
        # An autoincrement key of SQLite stands on its column, and has no name there.
        missing = [name for name in names if name and str(name) not in text]
        self.assertEqual(missing, ["pk_bus_message"])

    def test_again(self) -> None:
        """A database that is up to date stays as it is."""
        upgrade(self.url)
        self.execute("INSERT INTO zone (uuid, name) VALUES ('u', 'z')")
        upgrade(self.url)
        self.assertEqual(self.execute("SELECT name FROM zone"), [("z",)])
        now((database := _database(self.url)).start())
        now(database.stop())

    def test_from_the_first(self) -> None:
        """Hosts and jobs of the first schema are there after the upgrade, as hosts of agents and jobs without a key."""
        self.file.touch()
        engine = find_backend(self.url).open(connections=1, writing=True)
        with engine.begin() as connection:
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", "cloudlb:storage/migrations")
            command.upgrade(config, "0001")
        engine.dispose()
        self.execute(
            "INSERT INTO async_job (uuid, command, status, result_code, result, account_id, server_id, created) "
            "VALUES ('u', 'reconnectHost', 0, 0, '{}', 1, 5, 10.0)"
        )
        self.execute("INSERT INTO zone (uuid, name) VALUES ('z', 'z')")
        self.execute(
            "INSERT INTO host (uuid, zone_id, status, resource_state, session, created, guid, name, type, version, "
            "ip_address, hypervisor, hypervisor_version, arch, cpus, cpu_speed, memory, capabilities, details) VALUES "
            "('h', 1, 'Up', 'Enabled', 3, 1.0, 'g', 'a', 'Routing', '', '', 'KVM', '', '', 1, 1, 1, '', '{}')"
        )
        upgrade(self.url)
        now((database := _database(self.url)).start())
        job = now(database.read(lambda txn: txn.jobs.get("u")))
        host = now(database.read(lambda txn: txn.hosts.find("a")))
        now(database.stop())
        assert job is not None
        self.assertEqual((job.key, job.deadline, job.arguments), (None, None, {}))
        assert host is not None
        self.assertEqual((host.session, host.direct), (3, None))

    def test_only_for_the_owner(self) -> None:
        """Nobody else reads the keys of the API's users, neither in the file nor beside it."""
        upgrade(self.url)
        now((database := _database(self.url)).start())
        now(database.run(lambda txn: txn.topology.add_zone("z")))
        files = list(self.file.parent.glob(self.file.name + "*"))
        self.assertGreater(len(files), 1)
        self.assertEqual({file.stat().st_mode & 0o777 for file in files}, {0o600})
        now(database.stop())

    def test_all_or_nothing(self) -> None:
        """A migration that fails half-way leaves the database as it was."""
        self.execute("CREATE TABLE host (id INTEGER)")
        with self.assertRaisesRegex(StoreUnavailable, "host already exists"):
            upgrade(self.url)
        self.assertEqual(self.tables(), {"host"})

    def test_no_schema(self) -> None:
        """A server does not start on a database that was never migrated, and says how to."""
        self.execute("CREATE TABLE other (id INTEGER)")
        with self.assertRaisesRegex(SchemaMismatch, "revision none, this program needs 0009: run `cloudlb init`"):
            now(_database(self.url).start())

    def test_newer_schema(self) -> None:
        """Neither server nor upgrade touches the database of a newer program."""
        upgrade(self.url)
        self.execute("UPDATE alembic_version SET version_num = '9999'")
        for start in (lambda: now(_database(self.url).start()), lambda: upgrade(self.url)):
            with self.assertRaisesRegex(SchemaMismatch, "revision 9999, this program needs 0009.*newer cloudlb"):
                start()
        self.assertEqual(self.execute("SELECT version_num FROM alembic_version"), [("9999",)])

    def test_missing_file(self) -> None:
        """A server whose URL is mistyped says which file it misses, and makes none."""
        with self.assertRaisesRegex(StoreUnavailable, f"{self.file}: unable to open"):
            now(_database(self.url).start())
        self.assertFalse(self.file.exists())

    def test_not_a_database(self) -> None:
        """A file of something else is refused and left alone."""
        self.file.write_bytes(b"something else" * 100)
        with self.assertRaisesRegex(StoreUnavailable, "not a database"):
            now(_database(self.url).start())
        self.assertEqual(self.file.read_bytes(), b"something else" * 100)

    def test_urls(self) -> None:
        """A URL that cannot be used is refused without showing its password."""
        for url, message in (
            ("mysql://admin:hidden@db/cloud", "only sqlite and postgresql"),
            ("postgresql+asyncpg://admin:hidden@db/cloud", "psycopg"),
            ("postgresql://admin:hidden@db", "names no database"),
            ("sqlite://", "a file is needed"),
            ("sqlite:///:memory:", "a file is needed"),
            ("hidden", "malformed"),
        ):
            with self.assertRaisesRegex(UnsupportedDatabase, message) as caught:
                _database(url)
            self.assertNotIn("hidden", str(caught.exception))

    def test_odd_paths(self) -> None:
        """Characters that mean something in URLs mean nothing in the name of a file."""
        file = self.file / "50% of #1" / "a b.sqlite"
        file.parent.mkdir(parents=True)
        upgrade(f"sqlite:///{file}")
        now((database := _database(f"sqlite:///{file}")).start())
        now(database.stop())
        self.assertTrue(file.exists())
