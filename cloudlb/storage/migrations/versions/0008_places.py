"""Keep what operators say of zones, pods, clusters and hosts, and what servers tell of themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Columns that older programs do not know; a place that is removed is named by its uuid, and empty."""
    for table in ("zone", "pod", "cluster"):
        op.add_column(table, sa.Column("allocation_state", sa.String(32), nullable=False, server_default="Enabled"))
        op.add_column(table, sa.Column("removed", sa.Float))
    for table in ("zone", "pod"):
        op.add_column(table, sa.Column("network", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("host", sa.Column("annotation", sa.Text))
    op.add_column("management_server", sa.Column("report", sa.JSON, nullable=False, server_default="{}"))
