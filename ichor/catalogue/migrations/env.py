"""Run migrations on the connection that `Catalogue.open` hands over; there is no other way in."""

from __future__ import annotations

from alembic import context

from ichor.catalogue.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter a column: Alembic copies the table instead.
    render_as_batch=True,
)
context.run_migrations()
