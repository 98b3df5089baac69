"""Invoices say when they were voided, and what went back to a card; refunds have rows."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change: until now there was neither."""
    op.add_column("invoices", sa.Column("voided_ms", sa.BigInteger(), nullable=True))
    refunded = sa.Column("refunded_minor", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("invoices", refunded)
    op.create_table(
        "refunds",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("payment_id", sa.String(length=40), nullable=False),
        sa.Column("invoice_id", sa.String(length=40), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"]),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"]),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("invoice_id", name="uq_refunds_invoice"),
    )
    op.create_index("ix_refunds_payment", "refunds", ["payment_id"])


def downgrade() -> None:
    """There is no way back: a void invoice would be owed again."""
    raise NotImplementedError("go back by restoring a backup")
