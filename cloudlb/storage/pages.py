"""Reading long tables a page at a time, and dropping what is old in them a bounded batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, delete, func, select


def page(
    connection: Connection,
    columns: Sequence[ColumnElement[Any]],
    conditions: Sequence[ColumnElement[bool]],
    newest: ColumnElement[Any],
    *,
    offset: int,
    limit: int | None,
) -> tuple[Sequence[Row[Any]], int]:
    """The rows of a page, those with the greatest ``newest`` first, and how many there are in all."""
    statement: Select[Any] = select(*columns).where(*conditions)
    total = connection.scalar(select(func.count()).select_from(statement.subquery())) or 0
    rows = connection.execute(statement.order_by(newest.desc()).offset(offset).limit(limit)).all()
    return rows, total


def prune(connection: Connection, table: Table, old: ColumnElement[bool], limit: int) -> int:
    """Delete at most ``limit`` old rows; say how many."""
    some = select(table.c.id).where(old).limit(limit)
    return connection.execute(delete(table).where(table.c.id.in_(some))).rowcount
