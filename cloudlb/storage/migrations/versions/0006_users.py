"""Give users roles and passwords, and any number of API keys."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Who had the one pair of keys of an account was an administrator, and has it still."""
    op.add_column("account", sa.Column("role", sa.String(32), nullable=False, server_default="Root Admin"))
    op.add_column("account", sa.Column("password", sa.Text))
    op.add_column("account", sa.Column("created", sa.Float))
    op.add_column("account", sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("account", sa.Column("removed", sa.Float))
    api_key = op.create_table(
        "api_key",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("api_key", sa.String(255), nullable=False),
        sa.Column("secret_key", sa.String(255), nullable=False),
        sa.Column("created", sa.Float),
        sa.Column("expires", sa.Float),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("uuid", name="uq_api_key_uuid"),
        sa.UniqueConstraint("api_key", name="uq_api_key_api_key"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_api_key_account_id", ondelete="CASCADE"),
    )
    connection = op.get_bind()
    accounts = connection.execute(sa.text("SELECT id, api_key, secret_key FROM account")).tuples().all()
    if accounts:
        rows = [
            {"uuid": str(uuid.uuid4()), "account_id": number, "name": "", "api_key": key, "secret_key": secret}
            for number, key, secret in accounts
        ]
        connection.execute(sa.insert(api_key), rows)
