"""Runs the migrations on the connection that xner_label.store.schema hands over."""

from alembic import context

from xner_label.store import desk

context.configure(
    connection=context.config.attributes["connection"], target_metadata=desk.Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
