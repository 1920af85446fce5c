"""Say how often a server has started, what it is about to do, and how it sees its peers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Columns of servers, with defaults for rows that an older program writes."""
    op.add_column("management_server", sa.Column("run_id", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("management_server", sa.Column("state", sa.String(32), nullable=False, server_default="Up"))
    op.add_column("management_server", sa.Column("peers", sa.JSON, nullable=False, server_default="{}"))
