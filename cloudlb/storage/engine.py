"""From the URL of a database to the database."""

from __future__ import annotations

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from cloudlb.storage.backend import Backend, UnsupportedDatabase
from cloudlb.storage.sqlite import SqliteFile


def find_backend(url: str) -> Backend:
    """Understand a URL; nothing is opened yet.

    Raises:
        UnsupportedDatabase: the URL is malformed, names another kind of database, or leaves out what is needed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # The text may hold a password, and nobody can tell where.
        raise UnsupportedDatabase(
            "the database's URL is malformed; expected sqlite:////path/of/the/file or postgresql://user@host/database"
        ) from None
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return SqliteFile(parsed)
    if kind != "postgresql":
        shown = parsed.render_as_string(hide_password=True)
        raise UnsupportedDatabase(f"database {shown}: only sqlite and postgresql are supported")
    try:
        from cloudlb.storage.postgres import PostgresDatabase  # noqa: PLC0415 - psycopg is an extra
    except ImportError as error:
        raise UnsupportedDatabase(
            f"PostgreSQL needs psycopg, as in: pip install 'cloudlb[postgres]' ({error})"
        ) from error
    return PostgresDatabase(parsed)
