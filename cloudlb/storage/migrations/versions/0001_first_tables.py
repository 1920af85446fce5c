"""Make the first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Zones, pods, clusters and hosts; servers and settings; accounts and jobs; the bus."""
    op.create_table(
        "zone",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_zone"),
        sa.UniqueConstraint("uuid", name="uq_zone_uuid"),
        sa.UniqueConstraint("name", name="uq_zone_name"),
    )
    op.create_table(
        "pod",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("zone_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pod"),
        sa.UniqueConstraint("uuid", name="uq_pod_uuid"),
        sa.UniqueConstraint("zone_id", "name", name="uq_pod_zone_id_name"),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name="fk_pod_zone_id"),
    )
    op.create_table(
        "cluster",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("pod_id", sa.Integer, nullable=False),
        sa.Column("hypervisor", sa.String(255), nullable=False),
        sa.Column("arch", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cluster"),
        sa.UniqueConstraint("uuid", name="uq_cluster_uuid"),
        sa.UniqueConstraint("pod_id", "name", name="uq_cluster_pod_id_name"),
        sa.ForeignKeyConstraint(["pod_id"], ["pod.id"], name="fk_cluster_pod_id"),
    )
    op.create_table(
        "host",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("zone_id", sa.Integer, nullable=False),
        sa.Column("pod_id", sa.Integer),
        sa.Column("cluster_id", sa.Integer),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("resource_state", sa.String(32), nullable=False),
        sa.Column("server_id", sa.BigInteger),
        sa.Column("session", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("last_heard", sa.Float),
        sa.Column("disconnected", sa.Float),
        sa.Column("removed", sa.Float),
        sa.Column("guid", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("version", sa.String(255), nullable=False),
        sa.Column("ip_address", sa.String(255), nullable=False),
        sa.Column("hypervisor", sa.String(255), nullable=False),
        sa.Column("hypervisor_version", sa.String(255), nullable=False),
        sa.Column("arch", sa.String(255), nullable=False),
        sa.Column("cpus", sa.Integer, nullable=False),
        sa.Column("cpu_speed", sa.Integer, nullable=False),
        sa.Column("memory", sa.BigInteger, nullable=False),
        sa.Column("capabilities", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_host"),
        sa.UniqueConstraint("uuid", name="uq_host_uuid"),
        sa.UniqueConstraint("guid", name="uq_host_guid"),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name="fk_host_zone_id"),
        sa.ForeignKeyConstraint(["pod_id"], ["pod.id"], name="fk_host_pod_id"),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name="fk_host_cluster_id"),
    )
    op.create_index("ix_host_name", "host", ["name"])
    op.create_index("ix_host_zone_id_removed_id", "host", ["zone_id", "removed", "id"])
    op.create_table(
        "management_server",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("version", sa.String(255), nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("heartbeat", sa.Float, nullable=False),
        sa.Column("stopped", sa.Float),
        sa.PrimaryKeyConstraint("id", name="pk_management_server"),
        sa.UniqueConstraint("uuid", name="uq_management_server_uuid"),
        sa.UniqueConstraint("name", name="uq_management_server_name"),
    )
    op.create_table(
        "configuration",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_configuration"),
    )
    op.create_table(
        "cluster_configuration",
        sa.Column("cluster_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("cluster_id", "name", name="pk_cluster_configuration"),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name="fk_cluster_configuration_cluster_id"),
    )
    op.create_table(
        "account",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("api_key", sa.String(255), nullable=False),
        sa.Column("secret_key", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("uuid", name="uq_account_uuid"),
        sa.UniqueConstraint("username", name="uq_account_username"),
        sa.UniqueConstraint("api_key", name="uq_account_api_key"),
    )
    op.create_table(
        "async_job",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("command", sa.String(255), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("result_code", sa.Integer, nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("server_id", sa.BigInteger, nullable=False),
        sa.Column("host_id", sa.Integer),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("completed", sa.Float),
        sa.PrimaryKeyConstraint("id", name="pk_async_job"),
        sa.UniqueConstraint("uuid", name="uq_async_job_uuid"),
    )
    op.create_table(
        "bus_message",
        # Declared on the column: SQLite takes AUTOINCREMENT there only.
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("topic", sa.String(255), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_bus_message_created", "bus_message", ["created"])
