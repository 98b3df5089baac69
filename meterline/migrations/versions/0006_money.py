"""Invoices of every type, made once a source; account credit and carried amounts."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change. What stands of invoices came from closes and from starts, and is due as a whole."""
    # SQLite makes a table anew for a changed constraint, and must not while another one refers to it.
    with op.batch_alter_table("invoice_lines") as lines:
        lines.drop_constraint("fk_invoice_lines_invoice_id", type_="foreignkey")
        lines.add_column(sa.Column("discount_source", sa.String(length=16)))
        lines.add_column(sa.Column("discount_type", sa.String(length=16)))
        lines.add_column(sa.Column("discount_value", sa.String(length=64)))
        lines.add_column(sa.Column("discount_name", sa.Text()))
    op.add_column("invoices", sa.Column("source", sa.String(length=80)))
    op.add_column("invoices", sa.Column("final", sa.Boolean(), nullable=False, server_default=sa.false()))
    for name in ("credit_applied_minor", "credited_minor", "carried_in_minor", "carried_out_minor", "discount_minor"):
        op.add_column("invoices", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("invoices", sa.Column("due_minor", sa.BigInteger()))
    op.add_column("invoices", sa.Column("basis", sa.JSON()))
    op.add_column("invoices", sa.Column("days_remaining", sa.Integer()))
    op.add_column("invoices", sa.Column("days_in_cycle", sa.Integer()))
    op.add_column("invoices", sa.Column("memo", sa.Text()))
    op.add_column("invoices", sa.Column("metadata", sa.JSON(), nullable=False, server_default="{}"))
    op.execute(
        "UPDATE invoices SET due_minor = total_minor, source = coalesce("
        " (SELECT 'close:' || closes.id FROM closes WHERE closes.invoice_id = invoices.id),"
        " 'start:' || subscription_id)"
    )
    cut_alone = """'{"cut":' || cut || '}'"""
    if op.get_bind().dialect.name == "postgresql":
        cut_alone = f"CAST({cut_alone} AS json)"
    op.execute(f"UPDATE invoices SET basis = {cut_alone}")
    with op.batch_alter_table("invoices") as invoices:
        invoices.drop_constraint("uq_invoices_cut", type_="unique")
        invoices.create_unique_constraint("uq_invoices_source", ["source"])
        invoices.create_index("ix_invoices_subscription", ["subscription_id"])
        invoices.alter_column("subscription_id", existing_type=sa.String(length=40), nullable=True)
        invoices.alter_column("source", existing_type=sa.String(length=80), nullable=False)
        invoices.alter_column("due_minor", existing_type=sa.BigInteger(), nullable=False)
        invoices.alter_column("basis", existing_type=sa.JSON(), nullable=False)
    with op.batch_alter_table("invoice_lines") as lines:
        lines.create_foreign_key("fk_invoice_lines_invoice_id", "invoices", ["invoice_id"], ["id"])
    op.create_table(
        "account_credits",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("left_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("invoice_id", sa.String(length=40)),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_account_credits_customer_id"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_account_credits_organization_id"),
        sa.PrimaryKeyConstraint("id", name="pk_account_credits"),
        sa.UniqueConstraint("customer_id", "number", name="uq_account_credits_number"),
    )
    op.create_table(
        "credit_applications",
        sa.Column("credit_id", sa.String(length=40), nullable=False),
        sa.Column("invoice_id", sa.String(length=40), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["credit_id"], ["account_credits.id"], name="fk_credit_applications_credit_id"),
        sa.PrimaryKeyConstraint("credit_id", "invoice_id", name="pk_credit_applications"),
    )
    op.create_table(
        "carried_amounts",
        sa.Column("invoice_id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("taken_by", sa.String(length=40)),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_carried_amounts_customer_id"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_carried_amounts_organization_id"),
        sa.PrimaryKeyConstraint("invoice_id", name="pk_carried_amounts"),
    )
    op.create_index("ix_carried_amounts_customer", "carried_amounts", ["customer_id", "currency"])
    op.create_table(
        "seat_counts",
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("feature_id", sa.String(length=40), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_seat_counts_customer_id"),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name="fk_seat_counts_feature_id"),
        sa.PrimaryKeyConstraint("customer_id", "feature_id", name="pk_seat_counts"),
    )
    op.create_table(
        "initial_seats",
        sa.Column("subscription_id", sa.String(length=40), nullable=False),
        sa.Column("feature_id", sa.String(length=40), nullable=False),
        sa.Column("feature_code", sa.String(length=255), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name="fk_initial_seats_feature_id"),
        sa.ForeignKeyConstraint(["subscription_id"], ["subscriptions.id"], name="fk_initial_seats_subscription_id"),
        sa.PrimaryKeyConstraint("subscription_id", "feature_id", name="pk_initial_seats"),
    )
    op.create_table(
        "seat_events",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("subscription_id", sa.String(length=40), nullable=False),
        sa.Column("feature_id", sa.String(length=40), nullable=False),
        sa.Column("feature_code", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("operation", sa.String(length=8), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("after", sa.Integer(), nullable=False),
        sa.Column("term", sa.Integer(), nullable=False),
        sa.Column("ts_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_seat_events_customer_id"),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name="fk_seat_events_feature_id"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_seat_events_organization_id"),
        sa.ForeignKeyConstraint(["subscription_id"], ["subscriptions.id"], name="fk_seat_events_subscription_id"),
        sa.PrimaryKeyConstraint("id", name="pk_seat_events"),
        sa.UniqueConstraint("customer_id", "number", name="uq_seat_events_number"),
    )
    op.create_table(
        "pack_purchases",
        *_bought(),
        sa.Column("pack_id", sa.String(length=40), nullable=False),
        sa.Column("pack_name", sa.Text(), nullable=False),
        sa.Column("credits", sa.String(length=64), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        *_bought_keys("pack_purchases"),
    )
    op.create_index("ix_pack_purchases_customer", "pack_purchases", ["customer_id"])
    op.create_table(
        "top_ups",
        *_bought(),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        *_bought_keys("top_ups"),
    )
    op.create_index("ix_top_ups_customer", "top_ups", ["customer_id", "term", "window_day"])
    op.create_table(
        "saved_cards",
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_saved_cards_customer_id"),
        sa.PrimaryKeyConstraint("customer_id", name="pk_saved_cards"),
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("invoice_id", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("failure", sa.String(length=40)),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_payments_customer_id"),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name="fk_payments_invoice_id"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_payments_organization_id"),
        sa.PrimaryKeyConstraint("id", name="pk_payments"),
    )
    succeeded = sa.text("status = 'succeeded'")
    op.create_index(
        "uq_payments_succeeded",
        "payments",
        ["invoice_id"],
        unique=True,
        sqlite_where=succeeded,
        postgresql_where=succeeded,
    )
    op.create_index("ix_payments_page", "payments", ["organization_id", "created_ms", "id"])


def _bought() -> list[sa.Column[Any]]:
    ids = ("id", "organization_id", "customer_id", "subscription_id", "invoice_id")
    return [
        *(sa.Column(name, sa.String(length=40), nullable=False) for name in ids),
        sa.Column("term", sa.Integer(), nullable=False),
        sa.Column("window_day", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    ]


def _bought_keys(table: str) -> list[sa.Constraint]:
    parents = ("customer", "invoice", "organization", "subscription")
    return [
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("invoice_id", name=f"uq_{table}_invoice"),
        *(sa.ForeignKeyConstraint([f"{one}_id"], [f"{one}s.id"], name=f"fk_{table}_{one}_id") for one in parents),
    ]


def downgrade() -> None:
    """Take the change back: invoices that the old shape cannot hold go, as do credits and carried amounts."""
    for name in (
        "payments",
        "saved_cards",
        "top_ups",
        "pack_purchases",
        "seat_events",
        "initial_seats",
        "seat_counts",
        "carried_amounts",
        "credit_applications",
        "account_credits",
    ):
        op.drop_table(name)
    other = "source NOT LIKE 'close:%' AND source NOT LIKE 'start:%'"
    op.execute(f"DELETE FROM invoice_lines WHERE invoice_id IN (SELECT id FROM invoices WHERE {other})")
    op.execute(f"DELETE FROM invoices WHERE {other}")
    with op.batch_alter_table("invoice_lines") as lines:
        lines.drop_constraint("fk_invoice_lines_invoice_id", type_="foreignkey")
        for name in ("discount_source", "discount_type", "discount_value", "discount_name"):
            lines.drop_column(name)
    with op.batch_alter_table("invoices") as invoices:
        invoices.drop_index("ix_invoices_subscription")
        invoices.drop_constraint("uq_invoices_source", type_="unique")
        invoices.alter_column("subscription_id", existing_type=sa.String(length=40), nullable=False)
        invoices.create_unique_constraint("uq_invoices_cut", ["subscription_id", "cut", "kind"])
        for name in (
            *("source", "final", "credit_applied_minor", "credited_minor", "carried_in_minor", "carried_out_minor"),
            *("due_minor", "discount_minor", "basis", "days_remaining", "days_in_cycle", "memo", "metadata"),
        ):
            invoices.drop_column(name)
    with op.batch_alter_table("invoice_lines") as lines:
        lines.create_foreign_key("fk_invoice_lines_invoice_id", "invoices", ["invoice_id"], ["id"])
