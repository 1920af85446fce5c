"""Databases at other revisions than the program's: those before, and one that is still to come."""

from __future__ import annotations

import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import cloudlb.storage.migrations
from cloudlb.storage.engine import find_backend

NEXT = "9999"
"""The revision after the program's."""

_LOCATION = str(Path(cloudlb.storage.migrations.__file__).parent)
_NEXT = '''"""Do what the next version may do."""

import sqlalchemy as sa
from alembic import op

revision = "{next}"
down_revision = "{head}"


def upgrade():
    op.create_table(
        "rack",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("host_id", sa.Integer, sa.ForeignKey("host.id", ondelete="CASCADE")),
    )
    for table in ("host", "management_server", "async_job", "bus_message", "event"):
        op.add_column(table, sa.Column("shade", sa.String(32), nullable=False, server_default="grey"))
        op.add_column(table, sa.Column("remark", sa.Text))
    op.create_index("ix_host_shade", "host", ["shade"])
'''


def revisions() -> list[str]:
    """The program's, the first one first."""
    script = ScriptDirectory(_LOCATION)
    return [revision.revision for revision in script.walk_revisions()][::-1]


def bring_to(url: str, revision: str) -> None:
    """Upgrade a database to a revision, which may be NEXT."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "next.py").write_text(_NEXT.format(next=NEXT, head=revisions()[-1]))
        config = Config()
        config.set_main_option("script_location", _LOCATION)
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", f"{_LOCATION}/versions\n{folder}")
        backend = find_backend(url)
        backend.create()
        engine = backend.open(connections=1, writing=True)
        try:
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
        finally:
            engine.dispose()
