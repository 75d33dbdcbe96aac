"""Tell the acquisitions of a study apart, and find a patient's other studies."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("result", sa.Column("acquired_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_study_patient_id"), "study", ["patient_id"])
    connection = op.get_bind()
    keeps_zone = connection.dialect.name == "postgresql"
    result = sa.table(
        "result", sa.column("id"), sa.column("summary_json"), sa.column("acquired_at", sa.DateTime(keeps_zone))
    )
    for row in connection.execute(sa.select(result.c.id, result.c.summary_json)).all():
        scanned_at = json.loads(row.summary_json).get("scanned_at")
        if scanned_at is None:
            continue
        moment = datetime.fromisoformat(scanned_at).astimezone(UTC)
        value = moment if keeps_zone else moment.replace(tzinfo=None)
        connection.execute(sa.update(result).where(result.c.id == row.id).values(acquired_at=value))


def downgrade() -> None:
    op.drop_index(op.f("ix_study_patient_id"), table_name="study")
    op.drop_column("result", "acquired_at")
