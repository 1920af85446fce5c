"""The time of the database, inside of a statement: no server's clock, and no query more."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class database_time(FunctionElement[float]):  # noqa: N801 - it is called like a function of SQL
    """Seconds since the epoch, at the moment when the statement runs."""

    type = Float()
    inherit_cache = True


@compiles(database_time, "sqlite")
def _on_sqlite(*_: object, **__: Any) -> str:
    # The day is Julian; 86,400 s make one.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_time, "postgresql")
def _on_postgresql(*_: object, **__: Any) -> str:
    return "extract(epoch FROM clock_timestamp())::float8"
