"""Invoices, their lines and numbers; account credit and carried amounts; cards, payments, refunds."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text
from sqlalchemy import UniqueConstraint as Unique

from billing.tables.column import customer, organization
from kernel.engine.sql.base import metadata

# `source` says what made it, once: `close:cls_…`, `start:sub_…`, `purchase:…`. `total_minor` sums its lines; what of it
# is due, and how credit and carried amounts enter, says `billing.money.amount_due`. `basis` is what reproduces it.
invoices = Table(
    "invoices",
    metadata,
    Column("id", String(40), primary_key=True),
    organization(),
    customer(),
    Column("subscription_id", String(40), ForeignKey("subscriptions.id")),
    Column("cut", Integer, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("period_start_ms", BigInteger, nullable=False),
    Column("period_end_ms", BigInteger, nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("plan_name", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("source", String(80), nullable=False),
    Column("final", Boolean, nullable=False),
    Column("credit_applied_minor", BigInteger, nullable=False),
    Column("credited_minor", BigInteger, nullable=False),
    Column("carried_in_minor", BigInteger, nullable=False),
    Column("carried_out_minor", BigInteger, nullable=False),
    Column("due_minor", BigInteger, nullable=False),
    Column("discount_minor", BigInteger, nullable=False),
    Column("basis", JSON, nullable=False),
    Column("days_remaining", Integer),
    Column("days_in_cycle", Integer),
    Column("memo", Text),
    Column("metadata", JSON, nullable=False),
    Column("voided_ms", BigInteger),  # when it was voided, by the organization's clock
    Column("refunded_minor", BigInteger, nullable=False, server_default=text("0")),
    Unique("source", name="uq_invoices_source"),
    Unique("organization_id", "number", name="uq_invoices_number"),
    Index("ix_invoices_customer", "customer_id"),
    Index("ix_invoices_subscription", "subscription_id"),
)

# A usage line bills the rows of (feature, term, window) with `cut_after` < cut <= `cut`.
invoice_lines = Table(
    "invoice_lines",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("invoice_id", String(40), ForeignKey("invoices.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("line_type", String(24), nullable=False),
    Column("charge_type", String(16), nullable=False),
    Column("feature_id", String(40)),
    Column("feature_code", String(255)),
    Column("feature_name", Text),
    Column("description", Text, nullable=False),
    Column("quantity", String(64), nullable=False),
    Column("unit_price", String(64), nullable=False),
    Column("included", String(64)),
    Column("used", String(64)),
    Column("overage", String(64)),
    Column("term", Integer, nullable=False),
    Column("window_day", Integer),
    Column("window_end_day", Integer),
    Column("cut_after", Integer, nullable=False),
    Column("cut", Integer, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("discount_source", String(16)),
    Column("discount_type", String(16)),
    Column("discount_value", String(64)),
    Column("discount_name", Text),
    Unique("invoice_id", "position", name="uq_invoice_lines_position"),
)

# Money that a customer has with the seller: granted once, used oldest first. Granted = applied + left, always.
account_credits = Table(
    "account_credits",
    metadata,
    Column("id", String(40), primary_key=True),
    organization(),
    customer(),
    Column("currency", String(3), nullable=False),
    Column("number", Integer, nullable=False),  # by age, of one customer
    Column("amount_minor", BigInteger, nullable=False),
    Column("left_minor", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("invoice_id", String(40)),  # the invoice that granted it, if one did
    Column("created_ms", BigInteger, nullable=False),
    Column("close_id", String(40)),  # the close that granted it without an invoice, if one did: once
    Unique("customer_id", "number", name="uq_account_credits_number"),
    Index("uq_account_credits_close", "close_id", unique=True),
)

credit_applications = Table(
    "credit_applications",
    metadata,
    Column("credit_id", String(40), ForeignKey("account_credits.id"), primary_key=True),
    Column("invoice_id", String(40), primary_key=True),
    Column("amount_minor", BigInteger, nullable=False),
)

# What an invoice left unpaid because it was too little to charge, and the later invoice that took it.
carried_amounts = Table(
    "carried_amounts",
    metadata,
    Column("invoice_id", String(40), primary_key=True),
    organization(),
    customer(),
    Column("currency", String(3), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("taken_by", String(40)),
    Index("ix_carried_amounts_customer", "customer_id", "currency"),
)

invoice_numbers = Table(
    "invoice_numbers",
    metadata,
    Column("organization_id", String(40), ForeignKey("organizations.id"), primary_key=True),
    Column("last", Integer, nullable=False),
)

# A customer's card: what the gateway calls it. In the simulator that is a test number, and no other is taken.
saved_cards = Table(
    "saved_cards",
    metadata,
    Column("customer_id", String(40), ForeignKey("customers.id"), primary_key=True),
    Column("token", String(64), nullable=False),
    Column("last4", String(4), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

# One row a charge. An invoice is paid by one that succeeded, never by two.
payments = Table(
    "payments",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False),
    Column("customer_id", String(40), ForeignKey("customers.id"), nullable=False),
    Column("invoice_id", String(40), ForeignKey("invoices.id"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("last4", String(4), nullable=False),
    Column("description", Text, nullable=False),
    Column("failure", String(40)),
    Column("created_ms", BigInteger, nullable=False),
    Index(
        "uq_payments_succeeded",
        "invoice_id",
        unique=True,
        sqlite_where=text("status = 'succeeded'"),
        postgresql_where=text("status = 'succeeded'"),
    ),
    Index("ix_payments_page", "organization_id", "created_ms", "id"),
)

# What went back to the card of a payment, once an invoice; together never more than the payment.
refunds = Table(
    "refunds",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False),
    Column("customer_id", String(40), ForeignKey("customers.id"), nullable=False),
    Column("payment_id", String(40), ForeignKey("payments.id"), nullable=False),
    Column("invoice_id", String(40), ForeignKey("invoices.id"), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Unique("invoice_id", name="uq_refunds_invoice"),
    Index("ix_refunds_payment", "payment_id"),
)
