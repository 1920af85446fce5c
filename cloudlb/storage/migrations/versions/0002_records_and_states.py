"""Make the tables of events, alerts, investigations and BMCs, and what jobs and direct agents need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """New tables; new columns of hosts and jobs."""
    op.add_column("host", sa.Column("resource", sa.String(255)))
    op.add_column("host", sa.Column("properties", sa.JSON))
    op.add_column("host", sa.Column("tags", sa.JSON, nullable=False, server_default="[]"))
    op.create_index("ix_host_status_disconnected", "host", ["status", "disconnected"])
    op.add_column("async_job", sa.Column("key", sa.String(255)))
    op.add_column("async_job", sa.Column("deadline", sa.Float))
    op.add_column("async_job", sa.Column("arguments", sa.JSON, nullable=False, server_default="{}"))
    op.create_index("ix_async_job_account_id_key", "async_job", ["account_id", "key"], unique=True)
    op.create_index("ix_async_job_status_host_id", "async_job", ["status", "host_id"])
    op.create_index("ix_async_job_status_server_id_account_id", "async_job", ["status", "server_id", "account_id"])
    op.create_index("ix_async_job_completed", "async_job", ["completed"])
    op.create_table(
        "out_of_band",
        sa.Column("host_id", sa.Integer, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("host_id", name="pk_out_of_band"),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_out_of_band_host_id"),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("account_id", sa.Integer),
        sa.Column("server_id", sa.BigInteger),
        sa.Column("host_id", sa.Integer),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sa.UniqueConstraint("uuid", name="uq_event_uuid"),
    )
    op.create_index("ix_event_created", "event", ["created"])
    op.create_index("ix_event_host_id_id", "event", ["host_id", "id"])
    op.create_table(
        "alert",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("type", sa.Integer, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("last_sent", sa.Float, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("host_id", sa.Integer),
        sa.Column("archived", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert"),
        sa.UniqueConstraint("uuid", name="uq_alert_uuid"),
    )
    op.create_index("ix_alert_last_sent", "alert", ["last_sent"])
    op.create_index("ix_alert_host_id", "alert", ["host_id"])
    op.create_table(
        "investigation",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("host_id", sa.Integer, nullable=False),
        sa.Column("server_id", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.String(32), nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("duration", sa.Float, nullable=False),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column("findings", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_investigation"),
        sa.UniqueConstraint("uuid", name="uq_investigation_uuid"),
    )
    op.create_index("ix_investigation_started", "investigation", ["started"])
    op.create_index("ix_investigation_host_id_id", "investigation", ["host_id", "id"])
