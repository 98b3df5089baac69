"""Terms remember when those before them ended, so that what happened under those counts when it comes late."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change. When a pause began that is over already nobody knows: usage of before it stays refused."""
    op.add_column("subscription_terms", sa.Column("ended_us", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """There is no way back: what counts before a pause would be refused when it is judged again."""
    raise NotImplementedError("go back by restoring a backup")
