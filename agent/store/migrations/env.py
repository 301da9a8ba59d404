"""Run by Alembic: migrate over the connection that `agent.store.migrate` opened and locked."""

from __future__ import annotations

from alembic import context

from agent.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
