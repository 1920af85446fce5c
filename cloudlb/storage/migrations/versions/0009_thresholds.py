"""Keep for how long a heartbeat counts, as its server knew it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """A column that older programs leave empty: theirs count for as long as the settings say."""
    op.add_column("management_server", sa.Column("threshold", sa.Float))
