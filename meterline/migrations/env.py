"""Alembic's entry: runs the migrations on the connection that `meterline.schema.migrate` hands in."""

from alembic import context

from meterline.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
