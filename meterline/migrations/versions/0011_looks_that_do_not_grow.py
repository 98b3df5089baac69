"""Indexes for what closer, relay and test clocks look for all the time, so that a look does not grow with the rows."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_HIDDEN = sa.text("shown_rev < rev")


def upgrade() -> None:
    """Apply the change; it changes no row."""
    op.drop_index("ix_subscriptions_due", "subscriptions")
    op.create_index("ix_subscriptions_due", "subscriptions", ["organization_id", "due_ms", "id"])
    op.create_index("ix_accounts_hidden", "accounts", ["customer_id"], sqlite_where=_HIDDEN, postgresql_where=_HIDDEN)
    op.create_index("ix_closes_since", "closes", ["organization_id", "created_ms"])


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("ix_closes_since", "closes")
    op.drop_index("ix_accounts_hidden", "accounts")
    op.drop_index("ix_subscriptions_due", "subscriptions")
    op.create_index("ix_subscriptions_due", "subscriptions", ["due_ms"])
