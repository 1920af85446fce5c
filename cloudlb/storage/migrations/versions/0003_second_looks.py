"""Say when a host that is lost was looked into."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """A column of hosts, and the index by which those are found whose turn it is."""
    op.add_column("host", sa.Column("looked_into", sa.Float))
    op.create_index("ix_host_status_looked_into", "host", ["status", "looked_into"])
