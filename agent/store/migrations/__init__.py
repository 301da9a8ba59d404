"""The schema's history. Applied by `agent.store.migrate`, never by an alembic.ini."""
