"""Closes give back what is left of top-ups when a change of plan that is not charged has ended their terms."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change: until now only a change that was charged gave anything back."""
    op.add_column("closes", sa.Column("returns_term", sa.Integer(), nullable=True))
    op.add_column("account_credits", sa.Column("close_id", sa.String(length=40), nullable=True))
    op.create_index("uq_account_credits_close", "account_credits", ["close_id"], unique=True)


def downgrade() -> None:
    """There is no way back: credit would be without its origin, and might be granted again."""
    raise NotImplementedError("go back by restoring a backup")
