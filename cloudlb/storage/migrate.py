"""Bringing a database's schema to the revision that this program was made for, and refusing to run on another."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from attrs import frozen
from sqlalchemy import Connection

from cloudlb.storage.backend import troubles_named
from cloudlb.storage.engine import find_backend


class SchemaMismatch(Exception):
    """The database's schema is older or newer than the program's; the message names both and the remedy."""


@frozen
class Upgrade:
    """The way of a database from one revision to another."""

    before: str | None
    """None: it has no schema."""
    after: str
    steps: tuple[str, ...]
    """What the migrations are for, in their order; empty if the database is up to date."""


def upgrade(url: str) -> Upgrade:
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
            missing = _missing(connection)
            command.upgrade(_config(connection), "head")
            return missing
    finally:
        engine.dispose()


def preview(url: str) -> Upgrade:
    """What :func:`upgrade` would do; changes nothing, and fails like it where there is no file."""
    backend = find_backend(url)
    engine = backend.open(connections=1, writing=False)
    try:
        with troubles_named(backend), engine.begin() as connection:
            return _missing(connection)
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


def _missing(connection: Connection) -> Upgrade:
    script = ScriptDirectory.from_config(_config(connection))
    found, head = current_revision(connection), script.get_current_head()
    assert head is not None
    known = [revision.revision for revision in script.walk_revisions()]
    if found is not None and found not in known:
        raise _mismatch(found, script)
    steps = [revision.doc for revision in script.iterate_revisions(head, found or "base")]
    return Upgrade(found, head, tuple(reversed(steps)))


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config


def _mismatch(found: str | None, script: ScriptDirectory) -> SchemaMismatch:
    """Word the cases: there is no schema, the program is ahead, or it is behind."""
    if found is None:
        remedy = "run `cloudlb init` to make it"
    elif found in {revision.revision for revision in script.walk_revisions()}:
        remedy = "run `cloudlb upgrade` to bring it there; servers of the version before go on meanwhile"
    else:
        remedy = "it was upgraded by a newer cloudlb; install that one here"
    return SchemaMismatch(
        f"the database's schema has revision {found or 'none'}, this program needs {script.get_current_head()}: "
        f"{remedy}"
    )
