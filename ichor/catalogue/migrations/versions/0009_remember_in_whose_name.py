"""Remember how an instance came and whom it names, in whose name a result speaks, and what a source has counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instance", sa.Column("channel", sa.String(length=16), nullable=False, server_default="dimse"))
    op.add_column("instance", sa.Column("identity", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("series", sa.Column("source_count", sa.Integer(), nullable=True))
    op.add_column("result", sa.Column("identity", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("result", "identity")
    op.drop_column("series", "source_count")
    op.drop_column("instance", "identity")
    op.drop_column("instance", "channel")
