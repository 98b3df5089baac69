"""Closes carry a change of plan; terms say what their base was paid with, and since when usage counts."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change: until now every period was paid in full, and no close waited for anything else."""
    op.add_column("subscription_terms", sa.Column("paid_minor", sa.BigInteger(), nullable=True))
    op.add_column("subscription_terms", sa.Column("counts_us", sa.BigInteger(), nullable=True))
    op.add_column("closes", sa.Column("change", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("closes", sa.Column("asked", sa.String(length=64), nullable=True))
    op.add_column("closes", sa.Column("refusal", sa.String(length=40), nullable=True))


def downgrade() -> None:
    """There is no way back: what the new columns say has no place in the old ones."""
    raise NotImplementedError("go back by restoring a backup")
