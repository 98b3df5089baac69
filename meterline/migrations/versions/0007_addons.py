"""Add-ons on subscriptions."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "subscription_addons",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("subscription_id", sa.String(length=40), nullable=False),
        sa.Column("addon_id", sa.String(length=40), nullable=False),
        sa.Column("feature_id", sa.String(length=40), nullable=False),
        sa.Column("slug", sa.String(length=255), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=16), nullable=False),
        sa.Column("activated_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger()),
        sa.Column("next_day", sa.Integer()),
        sa.ForeignKeyConstraint(["addon_id"], ["addons.id"], name="fk_subscription_addons_addon_id"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_subscription_addons_customer_id"),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name="fk_subscription_addons_feature_id"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_subscription_addons_organization_id"
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name="fk_subscription_addons_subscription_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_subscription_addons"),
    )
    op.create_index(
        "uq_subscription_addons_active",
        "subscription_addons",
        ["subscription_id", "addon_id"],
        unique=True,
        sqlite_where=sa.text("ended_ms IS NULL"),
        postgresql_where=sa.text("ended_ms IS NULL"),
    )
    op.create_index("ix_subscription_addons_addon", "subscription_addons", ["addon_id", "ended_ms"])
    op.create_index("ix_subscription_addons_next", "subscription_addons", ["next_day"])


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("subscription_addons")
