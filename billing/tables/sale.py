"""What a subscription is sold beside its plan: seats, packs, top-ups, add-ons."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, text
from sqlalchemy import UniqueConstraint as Unique

from billing.tables.column import customer, organization
from kernel.engine.sql.base import metadata

# Seats held now, and every change that led there. `number` counts a customer's changes, and keeps them in one order.
seat_counts = Table(
    "seat_counts",
    metadata,
    Column("customer_id", String(40), ForeignKey("customers.id"), primary_key=True),
    Column("feature_id", String(40), ForeignKey("features.id"), primary_key=True),
    Column("count", Integer, nullable=False),
)

# What a subscription is to begin with, kept until its checkout is completed.
initial_seats = Table(
    "initial_seats",
    metadata,
    Column("subscription_id", String(40), ForeignKey("subscriptions.id"), primary_key=True),
    Column("feature_id", String(40), ForeignKey("features.id"), primary_key=True),
    Column("feature_code", String(255), nullable=False),
    Column("count", Integer, nullable=False),
)

seat_events = Table(
    "seat_events",
    metadata,
    Column("id", String(40), primary_key=True),
    organization(),
    customer(),
    Column("subscription_id", String(40), ForeignKey("subscriptions.id"), nullable=False),
    Column("feature_id", String(40), ForeignKey("features.id"), nullable=False),
    Column("feature_code", String(255), nullable=False),
    Column("number", Integer, nullable=False),
    Column("operation", String(8), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("before", Integer, nullable=False),
    Column("after", Integer, nullable=False),
    Column("term", Integer, nullable=False),
    Column("ts_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Unique("customer_id", "number", name="uq_seat_events_number"),
)

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
