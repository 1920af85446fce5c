"""Say how far the emptying of a server is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """A table that older programs do not know and need not know."""
    op.create_table(
        "drain",
        sa.Column("server_id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("algorithm", sa.String(32)),
        sa.Column("forced", sa.Boolean, nullable=False),
        sa.Column("timeout", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("ended", sa.Float),
        sa.Column("end", sa.String(32)),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("moved", sa.Integer, nullable=False),
        sa.Column("left", sa.Integer, nullable=False),
        sa.Column("jobs", sa.Integer, nullable=False),
        sa.Column("failed", sa.JSON, nullable=False),
        sa.Column("eta", sa.Float),
        sa.Column("note", sa.Text),
        sa.PrimaryKeyConstraint("server_id", name="pk_drain"),
        sa.ForeignKeyConstraint(["server_id"], ["management_server.id"], name="fk_drain_server_id", ondelete="CASCADE"),
    )
