"""The rule of migrations: whoever knows the schema before it goes on reading and writing after it.

During an upgrade servers of the version before run on the new schema, and write rows as they know them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

KEPT = ("host",)
"""Tables whose rows nobody deletes."""


def breaches(before: MetaData, after: MetaData) -> list[str]:
    """What a migration has done that the version before does not bear; both schemas as they were read."""
    found = []
    for name, table in before.tables.items():
        if name in after.tables:
            found += [f"{name}: {breach}" for breach in _of_table(table, after.tables[name])]
        else:
            found.append(f"{name} is gone")
    for name in after.tables.keys() - before.tables.keys():
        found += [
            f"{name} keeps rows of {key.referred_table.name} from being deleted"
            for key in after.tables[name].foreign_key_constraints
            if key.referred_table.name in before.tables
            and key.referred_table.name not in KEPT
            and key.ondelete not in ("CASCADE", "SET NULL")
        ]
    return found


def _of_table(before: Table, after: Table) -> Iterator[str]:
    for column in before.c:
        if column.name in after.c:
            yield from _of_column(column, after.c[column.name])
        else:
            yield f"{column.name} is gone"
    for column in after.c:
        if column.name not in before.c and not column.nullable and column.server_default is None:
            yield f"{column.name} is new, must have a value and has no default"
    known = {_shape(columns) for columns in _unique(before)}
    for columns in _unique(after):
        # Rows that do not know one of the columns have NULL there, and none equals another.
        exempt = any(column.name not in before.c and column.server_default is None for column in columns)
        if _shape(columns) not in known and not exempt:
            yield f"{', '.join(_shape(columns))} must be unique now"
    bound = {_shape(key.columns) for key in before.foreign_key_constraints}
    for key in after.foreign_key_constraints:
        if _shape(key.columns) not in bound and any(column.name in before.c for column in key.columns):
            yield f"{', '.join(_shape(key.columns))} must name a row of {key.referred_table.name} now"
    checks = {str(item.sqltext) for item in before.constraints if hasattr(item, "sqltext")}
    for item in after.constraints:
        if hasattr(item, "sqltext") and str(item.sqltext) not in checks:
            yield f"{item.sqltext} is checked now"


def _of_column(before: Column[Any], after: Column[Any]) -> Iterator[str]:
    if before.nullable and not after.nullable:
        yield f"{before.name} must have a value now"
    if before.server_default is not None and after.server_default is None:
        yield f"{before.name} has lost its default"
    if not _holds(after.type, before.type):
        yield f"{before.name} was {before.type!r} and is {after.type!r}"


def _holds(after: TypeEngine[Any], before: TypeEngine[Any]) -> bool:
    """Whether a type takes every value of another."""
    if isinstance(before, String) and isinstance(after, String):
        return after.length is None or (before.length is not None and after.length >= before.length)
    if isinstance(before, Integer) and isinstance(after, Integer):
        return type(before) is type(after) or "BIG" in type(after).__name__.upper()
    return type(before) is type(after)


def _unique(table: Table) -> Iterator[Iterable[Any]]:
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint):
            yield constraint.columns
    for index in table.indexes:
        if index.unique:
            yield index.columns


def _shape(columns: Iterable[Any]) -> tuple[str, ...]:
    return tuple(sorted(str(getattr(column, "name", column)) for column in columns))
