"""The tables of what is bought and paid: purchases, cards, payments, add-ons; beside those of `billing.tables`."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, text
from sqlalchemy import UniqueConstraint as Unique

import billing.tables  # noqa: F401 - the tables that these refer to
from kernel.engine.sql.base import metadata

# What was bought and is granted: once an invoice. A top-up counts in the draw window (term, window_day).
pack_purchases = Table(
    "pack_purchases",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False),
    Column("customer_id", String(40), ForeignKey("customers.id"), nullable=False),
    Column("subscription_id", String(40), ForeignKey("subscriptions.id"), nullable=False),
    Column("pack_id", String(40), nullable=False),
    Column("pack_name", Text, nullable=False),
    Column("credits", String(64), nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("term", Integer, nullable=False),
    Column("window_day", Integer, nullable=False),
    Column("invoice_id", String(40), ForeignKey("invoices.id"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Unique("invoice_id", name="uq_pack_purchases_invoice"),
    Index("ix_pack_purchases_customer", "customer_id"),
)

top_ups = Table(
    "top_ups",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False),
    Column("customer_id", String(40), ForeignKey("customers.id"), nullable=False),
    Column("subscription_id", String(40), ForeignKey("subscriptions.id"), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("term", Integer, nullable=False),
    Column("window_day", Integer, nullable=False),
    Column("invoice_id", String(40), ForeignKey("invoices.id"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Unique("invoice_id", name="uq_top_ups_invoice"),
    Index("ix_top_ups_customer", "customer_id", "term", "window_day"),
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

# Add-ons that were switched on; what each grants and costs stands in the subscription's terms. `next_day` is when its
# next month is charged on a free plan.
subscription_addons = Table(
    "subscription_addons",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False),
    Column("customer_id", String(40), ForeignKey("customers.id"), nullable=False),
    Column("subscription_id", String(40), ForeignKey("subscriptions.id"), nullable=False),
    Column("addon_id", String(40), ForeignKey("addons.id"), nullable=False),
    Column("feature_id", String(40), ForeignKey("features.id"), nullable=False),
    Column("slug", String(255), nullable=False),
    Column("name", Text, nullable=False),
    Column("model", String(16), nullable=False),
    Column("activated_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("next_day", Integer),
    Index(
        "uq_subscription_addons_active",
        "subscription_id",
        "addon_id",
        unique=True,
        sqlite_where=text("ended_ms IS NULL"),
        postgresql_where=text("ended_ms IS NULL"),
    ),
    Index("ix_subscription_addons_addon", "addon_id", "ended_ms"),
    Index("ix_subscription_addons_next", "next_day"),
)
