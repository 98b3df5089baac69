"""Consumption models, pools, trials, intro offers, seat types, and the settings of an organization."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _added() -> dict[str, tuple[sa.Column[Any], ...]]:
    return {
        "organizations": (
            sa.Column("day_count", sa.String(length=16), nullable=False, server_default="30/360"),
            sa.Column("upgrade_charge", sa.String(length=16), nullable=False, server_default="prorated"),
        ),
        "features": (sa.Column("seat_type", sa.String(length=255), nullable=True),),
        "plans": (
            sa.Column("model", sa.String(length=16), nullable=False, server_default="metered"),
            sa.Column("included", sa.String(length=40), nullable=True),
            sa.Column("overdraft", sa.Boolean(), nullable=False, server_default=sa.true()),
            sa.Column("deprecated", sa.Boolean(), nullable=False, server_default=sa.false()),
            sa.Column("ending", sa.String(length=40), nullable=True),
        ),
        "plan_prices": (
            sa.Column("trial_days", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("included", sa.String(length=40), nullable=True),
            sa.Column("intro_type", sa.String(length=16), nullable=True),
            sa.Column("intro_value", sa.String(length=40), nullable=True),
            sa.Column("intro_cycles", sa.Integer(), nullable=True),
            sa.Column("offer_id", sa.String(length=40), nullable=True),
        ),
        "plan_features": (
            sa.Column("credits", sa.String(length=40), nullable=False, server_default="0"),
            sa.Column("margin", sa.String(length=40), nullable=True),
        ),
    }


def upgrade() -> None:
    """Apply the change. Until now every plan was metered, none deprecated, and changes of plan counted months of 30."""
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    op.create_table(
        "seat_types",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=255), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_seat_types_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seat_types")),
        sa.UniqueConstraint("organization_id", "code", "deleted_ms", name="uq_seat_types_code"),
    )
    op.create_index(op.f("ix_seat_types_version"), "seat_types", ["version"], unique=False)
    op.create_index(op.f("ix_plan_prices_offer_id"), "plan_prices", ["offer_id"], unique=False)
    op.create_table(
        "offers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phases", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("starts_ms", sa.BigInteger(), nullable=True),
        sa.Column("ends_ms", sa.BigInteger(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_offers_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offers")),
    )
    op.create_index(op.f("ix_offers_version"), "offers", ["version"], unique=False)
    op.create_index("ix_offers_page", "offers", ["organization_id", "created_ms", "id"], unique=False)


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("ix_offers_page", table_name="offers")
    op.drop_index(op.f("ix_offers_version"), table_name="offers")
    op.drop_table("offers")
    op.drop_index(op.f("ix_plan_prices_offer_id"), table_name="plan_prices")
    op.drop_index(op.f("ix_seat_types_version"), table_name="seat_types")
    op.drop_table("seat_types")
    for table, columns in _added().items():
        for column in columns:
            op.drop_column(table, column.name)
