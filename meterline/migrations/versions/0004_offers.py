"""Add-ons, credit packs, promo codes, plan groups, regional prices and dated prices of AI models."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "model_prices",
        sa.Column("scope", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("input", sa.String(length=40), nullable=False),
        sa.Column("output", sa.String(length=40), nullable=False),
        sa.Column("cache_read", sa.String(length=40), nullable=True),
        sa.Column("cache_write", sa.String(length=40), nullable=True),
        sa.Column("edition", sa.String(length=255), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "model", "since_ms", "recorded_ms", name=op.f("pk_model_prices")),
    )
    op.create_index(op.f("ix_model_prices_version"), "model_prices", ["version"], unique=False)
    op.create_table(
        "price_editions",
        sa.Column("edition", sa.String(length=255), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("models", sa.Integer(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("edition", name=op.f("pk_price_editions")),
    )
    op.create_table(
        "credit_packs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("credits", sa.String(length=40), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("plans", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_credit_packs_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_packs")),
        sa.UniqueConstraint("organization_id", "name", "deleted_ms", name="uq_credit_packs_name"),
    )
    op.create_index(op.f("ix_credit_packs_version"), "credit_packs", ["version"], unique=False)
    op.create_table(
        "plan_groups",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_plan_groups_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_groups")),
    )
    op.create_index(op.f("ix_plan_groups_version"), "plan_groups", ["version"], unique=False)
    op.create_table(
        "promo_codes",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=40), nullable=False),
        sa.Column("duration", sa.String(length=16), nullable=False),
        sa.Column("cycles", sa.Integer(), nullable=True),
        sa.Column("interval", sa.String(length=16), nullable=True),
        sa.Column("max_redemptions", sa.Integer(), nullable=True),
        sa.Column("redemptions", sa.Integer(), nullable=False),
        sa.Column("expires_day", sa.Integer(), nullable=True),
        sa.Column("offer_id", sa.String(length=40), nullable=False),
        sa.Column("plans", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_promo_codes_organization_id")),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_promo_codes_offer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promo_codes")),
        sa.UniqueConstraint("organization_id", "code", name="uq_promo_codes_code"),
    )
    op.create_index(op.f("ix_promo_codes_version"), "promo_codes", ["version"], unique=False)
    op.create_table(
        "addons",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("slug", sa.String(length=255), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("feature_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=16), nullable=True),
        sa.Column("base_minor", sa.BigInteger(), nullable=False),
        sa.Column("interval_minor", sa.JSON(), nullable=False),
        sa.Column("included", sa.String(length=40), nullable=False),
        sa.Column("unlimited", sa.Boolean(), nullable=False),
        sa.Column("overage", sa.Boolean(), nullable=False),
        sa.Column("unit_price", sa.String(length=40), nullable=False),
        sa.Column("credits", sa.String(length=40), nullable=False),
        sa.Column("margin", sa.String(length=40), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name=op.f("fk_addons_feature_id")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_addons_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addons")),
        sa.UniqueConstraint("feature_id", "deleted_ms", name="uq_addons_feature_id"),
        sa.UniqueConstraint("organization_id", "slug", "deleted_ms", name="uq_addons_slug"),
    )
    op.create_index(op.f("ix_addons_version"), "addons", ["version"], unique=False)
    op.create_table(
        "exchange_rates",
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("rate", sa.String(length=40), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_exchange_rates_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "currency", name=op.f("pk_exchange_rates")),
    )
    op.create_index(op.f("ix_exchange_rates_version"), "exchange_rates", ["version"], unique=False)
    op.create_table(
        "plan_group_members",
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("group_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["plan_groups.id"], name=op.f("fk_plan_group_members_group_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_plan_group_members_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_plan_group_members")),
    )
    op.create_index(op.f("ix_plan_group_members_group_id"), "plan_group_members", ["group_id"], unique=False)
    op.create_table(
        "promo_redemptions",
        sa.Column("promo_code_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("redeemed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_promo_redemptions_customer_id")),
        sa.ForeignKeyConstraint(["promo_code_id"], ["promo_codes.id"], name=op.f("fk_promo_redemptions_promo_code_id")),
        sa.PrimaryKeyConstraint("promo_code_id", "customer_id", name=op.f("pk_promo_redemptions")),
    )
    op.create_table(
        "regional_rates",
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("feature_id", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("unit_price", sa.String(length=40), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name=op.f("fk_regional_rates_feature_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_regional_rates_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "feature_id", "currency", name=op.f("pk_regional_rates")),
    )
    op.create_index(op.f("ix_regional_rates_version"), "regional_rates", ["version"], unique=False)
    op.create_table(
        "regional_prices",
        sa.Column("price_id", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("included", sa.String(length=40), nullable=True),
        sa.Column("intro_type", sa.String(length=16), nullable=True),
        sa.Column("intro_value", sa.String(length=40), nullable=True),
        sa.Column("intro_cycles", sa.Integer(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_regional_prices_plan_id")),
        sa.ForeignKeyConstraint(["price_id"], ["plan_prices.id"], name=op.f("fk_regional_prices_price_id")),
        sa.PrimaryKeyConstraint("price_id", "currency", name=op.f("pk_regional_prices")),
    )
    op.create_index(op.f("ix_regional_prices_plan_id"), "regional_prices", ["plan_id"], unique=False)
    op.create_index(op.f("ix_regional_prices_version"), "regional_prices", ["version"], unique=False)


def downgrade() -> None:
    """Take the change back."""
    op.drop_index(op.f("ix_regional_prices_version"), table_name="regional_prices")
    op.drop_index(op.f("ix_regional_prices_plan_id"), table_name="regional_prices")
    op.drop_table("regional_prices")
    op.drop_index(op.f("ix_regional_rates_version"), table_name="regional_rates")
    op.drop_table("regional_rates")
    op.drop_table("promo_redemptions")
    op.drop_index(op.f("ix_plan_group_members_group_id"), table_name="plan_group_members")
    op.drop_table("plan_group_members")
    op.drop_index(op.f("ix_exchange_rates_version"), table_name="exchange_rates")
    op.drop_table("exchange_rates")
    op.drop_index(op.f("ix_addons_version"), table_name="addons")
    op.drop_table("addons")
    op.drop_index(op.f("ix_promo_codes_version"), table_name="promo_codes")
    op.drop_table("promo_codes")
    op.drop_index(op.f("ix_plan_groups_version"), table_name="plan_groups")
    op.drop_table("plan_groups")
    op.drop_index(op.f("ix_credit_packs_version"), table_name="credit_packs")
    op.drop_table("credit_packs")
    op.drop_table("price_editions")
    op.drop_index(op.f("ix_model_prices_version"), table_name="model_prices")
    op.drop_table("model_prices")
