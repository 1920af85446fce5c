"""A PostgreSQL of a benchmark's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
