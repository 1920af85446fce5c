"""Bringing a database's schema to the revision that this program was made for, and refusing to run on another."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from cloudlb.storage.backend import troubles_named
from cloudlb.storage.engine import find_backend


class SchemaMismatch(Exception):
    """The database's schema is older or newer than the program's; the message names both and the remedy."""


def upgrade(url: str) -> None:
    """Run the migrations that a database lacks, all of them or none; make SQLite's file if there is none.

    Raises:
        UnsupportedDatabase: the URL cannot be used.
        SchemaMismatch: the database is newer than this program.
        StoreUnavailable: it cannot be opened or written.
        OSError: its file cannot be made.
    """
    backend = find_backend(url)
    backend.create()
    engine = backend.open(connections=1, writing=True)
    try:
        with troubles_named(backend), engine.begin() as connection:
            backend.lock_schema(connection)
            script = ScriptDirectory.from_config(config := _config(connection))
            found = current_revision(connection)
            if found is not None and found not in {revision.revision for revision in script.walk_revisions()}:
                raise _mismatch(found, script)
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def current_revision(connection: Connection) -> str | None:
    """The revision of the database's schema, None where there is none."""
    return MigrationContext.configure(connection).get_current_revision()


def check_revision(connection: Connection) -> None:
    """Make sure that the schema is the program's.

    Raises:
        SchemaMismatch: it is not.
    """
    script = ScriptDirectory.from_config(_config(connection))
    found = current_revision(connection)
    if found != script.get_current_head():
        raise _mismatch(found, script)


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config


def _mismatch(found: str | None, script: ScriptDirectory) -> SchemaMismatch:
    """Word the two cases: the program is ahead, or it is behind."""
    wanted = script.get_current_head()
    if found is None or found in {revision.revision for revision in script.walk_revisions()}:
        remedy = "run `cloudlb init` on its folder to upgrade it"
    else:
        remedy = "it was upgraded by a newer cloudlb; install that one, then run `cloudlb init` on its folder"
    return SchemaMismatch(
        f"the database's schema has revision {found or 'none'}, this program needs {wanted}: {remedy}"
    )
