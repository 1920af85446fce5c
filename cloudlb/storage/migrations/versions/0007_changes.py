"""Say when a host was changed, for whoever watches the fleet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add a column that older programs leave as it is: the events of their changes are seen all the same."""
    op.add_column("host", sa.Column("changed", sa.Float, nullable=False, server_default="0"))
    op.create_index("ix_host_changed", "host", ["changed"])
