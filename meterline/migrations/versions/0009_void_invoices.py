"""Invoices say when they were voided."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change: until now none could be."""
    op.add_column("invoices", sa.Column("voided_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """There is no way back: a void invoice would be owed again."""
    raise NotImplementedError("go back by restoring a backup")
