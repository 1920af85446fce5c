"""Migrations only add; the rule itself, and every migration on both databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.contracts import migrations
from tests.storage.additive import breaches
from tests.storage.postgres import MISSING, engine


class RuleTests(SynchronousTestCase):
    """What the rule takes for a breach."""

    def breaches(self, change: Callable[[MetaData], object]) -> list[str]:
        """What a change of a small schema breaks."""
        schemas = []
        for changed in (False, True):
            schema = MetaData()
            Table("host", schema, Column("id", Integer, primary_key=True))
            Table(
                "thing",
                schema,
                Column("id", Integer, primary_key=True),
                Column("name", String(20)),
                Column("size", BigInteger, nullable=False, server_default="1"),
            )
            if changed:
                change(schema)
            schemas.append(schema)
        return breaches(*schemas)

    def replaced(self, *columns: Column[Any]) -> Callable[[MetaData], object]:
        """The table with other columns and constraints."""
        return lambda schema: Table("thing", schema, *columns, extend_existing=True)

    def test_allowed(self) -> None:
        """New tables, new columns that may be empty or have a default, wider ones; unique with a new column."""
        changes: tuple[Callable[[MetaData], object], ...] = (
            lambda schema: None,
            lambda schema: Table("new", schema, Column("host_id", ForeignKey("host.id"), nullable=False)),
            lambda schema: Table("new", schema, Column("thing_id", ForeignKey("thing.id", ondelete="CASCADE"))),
            self.replaced(Column("colour", String(5))),
            self.replaced(Column("colour", String(5), nullable=False, server_default="red")),
            self.replaced(Column("name", String(30))),
            self.replaced(Column("name", Text)),
            lambda schema: Index("ix", schema.tables["thing"].c.name),
            lambda schema: Table(
                "thing", schema, Column("key", Text), UniqueConstraint("name", "key"), extend_existing=True
            ),
        )
        for number, change in enumerate(changes):
            self.assertEqual([], self.breaches(change), number)

    def test_breaches(self) -> None:
        """All that the version before would run into."""
        changes: tuple[tuple[Callable[[MetaData], object], str], ...] = (
            (lambda schema: schema.remove(schema.tables["thing"]), "thing is gone"),
            (self.replaced(Column("colour", Text, nullable=False)), "colour is new, must have a value"),
            (self.replaced(Column("name", String(20), nullable=False)), "name must have a value now"),
            (self.replaced(Column("name", String(19))), "name was String"),
            (self.replaced(Column("name", Integer)), "name was String"),
            (self.replaced(Column("size", Integer, nullable=False, server_default="1")), "size was BigInteger"),
            (self.replaced(Column("size", BigInteger, nullable=False)), "size has lost its default"),
            (self.replaced(Column("name", String(20), ForeignKey("host.id"))), "name must name a row of host now"),
            (lambda schema: Index("ix", schema.tables["thing"].c.name, unique=True), "name must be unique now"),
            (
                lambda schema: Table("thing", schema, CheckConstraint("size > 0"), extend_existing=True),
                "size > 0 is checked now",
            ),
            (
                lambda schema: Table("new", schema, Column("thing_id", ForeignKey("thing.id"))),
                "new keeps rows of thing from being deleted",
            ),
        )
        for change, words in changes:
            (breach,) = self.breaches(change)
            self.assertIn(words, breach)

    def test_gone(self) -> None:
        """A column less."""
        before, after = MetaData(), MetaData()
        Table("thing", before, Column("id", Integer, primary_key=True), Column("name", String(20)))
        Table("thing", after, Column("id", Integer, primary_key=True))
        self.assertEqual(["thing: name is gone"], breaches(before, after))


class SqliteTests(migrations.MigrationContract):
    """On SQLite."""

    def new_url(self) -> str:
        """A file that is not there."""
        return f"sqlite:///{Path(self.mktemp()).absolute()}"


class PostgresTests(migrations.MigrationContract):
    """On PostgreSQL."""

    skip = MISSING

    def new_url(self) -> str:
        """A new one."""
        return engine().url(engine().new_database())
