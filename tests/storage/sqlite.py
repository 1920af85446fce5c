"""A new SQLite database for each test, copied from one that was migrated once."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from cloudlb.storage.migrate import upgrade


@cache
def _migrated() -> bytes:
    folder = tempfile.mkdtemp()
    try:
        file = Path(folder, "template.sqlite")
        upgrade(f"sqlite:///{file}")
        return file.read_bytes()
    finally:
        shutil.rmtree(folder)


def new_database(file: Path) -> str:
    """Put a migrated, empty database at ``file`` and return its URL."""
    file.write_bytes(_migrated())
    return f"sqlite:///{file.absolute()}"
