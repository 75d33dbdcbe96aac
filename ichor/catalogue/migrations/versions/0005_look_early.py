"""Note when a series' association was released, and which input was looked at early."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("series", sa.Column("released_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("study", sa.Column("early_version", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("study", "early_version")
    op.drop_column("series", "released_at")
