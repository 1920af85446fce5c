"""The database of a benchmark, PostgreSQL where that is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from tests.storage.postgres import Engine


@contextmanager
def postgres() -> Iterator[str]:
    """Run one and give the URL of an empty database of it; at the end nothing is left of it."""
    engine = Engine.create()
    try:
        engine.start()
        yield engine.url(engine.new_database())
    finally:
        engine.remove()


def add_database(parser: argparse.ArgumentParser) -> None:
    """Let a command line say which database."""
    databases = parser.add_mutually_exclusive_group()
    databases.add_argument("--db", metavar="URL", help="an empty database; a file of SQLite unless given")
    databases.add_argument("--postgres", action="store_true", help="run a PostgreSQL for it")


def database(arguments: argparse.Namespace) -> AbstractContextManager[str | None]:
    """The URL that a command line has asked for, None for a file of SQLite."""
    return postgres() if arguments.postgres else nullcontext(arguments.db)
