"""The rules by which an epoch is folded stand beside the epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change. Until now there was one set of rules."""
    op.add_column("deployment", sa.Column("rules", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("deployment", "rules")
