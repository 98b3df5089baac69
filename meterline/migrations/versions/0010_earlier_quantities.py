"""Terms remember what windows included that were over before a quantity was raised."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change: what was raised until now is taken to hold for the whole billing period, as it did."""
    earlier = sa.Column("earlier", sa.JSON(), nullable=False, server_default=sa.text("'[]'"))
    op.add_column("subscription_terms", earlier)


def downgrade() -> None:
    """There is no way back: closed months would be rated anew."""
    raise NotImplementedError("go back by restoring a backup")
