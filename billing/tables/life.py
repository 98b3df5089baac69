"""Accounts, subscriptions and their frozen terms, closes, the outbox, runs of test clocks."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text
from sqlalchemy import UniqueConstraint as Unique

from billing.tables.column import customer, organization
from kernel.engine.sql.base import metadata

# One row a customer that ever subscribed. `rev` rises with every change of what the snapshot says, `shown_rev` follows
# when LIVE shows it; `cut` counts the cuts taken, `open_cut` names the one that is not settled; `terms` is the last
# number of terms given; `relay_until_ms` keeps two relays from sending one account at once.
accounts = Table(
    "accounts",
    metadata,
    Column("customer_id", String(40), ForeignKey("customers.id"), primary_key=True),
    organization(),
    Column("rev", BigInteger, nullable=False),
    Column("shown_rev", BigInteger, nullable=False),
    Column("cut", Integer, nullable=False),
    Column("open_cut", Integer),
    Column("terms", Integer, nullable=False),
    Column("relay_until_ms", BigInteger, nullable=False),
    # What the relay looks for four times a second: few accounts at any time, however many there are.
    Index(
        "ix_accounts_hidden",
        "customer_id",
        sqlite_where=text("shown_rev < rev"),
        postgresql_where=text("shown_rev < rev"),
    ),
)

# What a customer may have one of (R-CUST-7): begun and not over.
_LIVE = "status IN ('trialing', 'active', 'paused', 'past_due')"

# `scheduled` is {kind, planId, planName, interval, requestedMs}, its plan beside it; `pause` is {mode, requestedMs,
# effectiveUs, days}. `due_ms` is when the calendar next has something for it; empty: never.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", String(40), primary_key=True),
    organization(),
    customer(),
    Column("plan_id", String(40), ForeignKey("plans.id"), nullable=False),
    Column("plan_name", Text, nullable=False),
    Column("price_id", String(40)),
    Column("name", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("started", Boolean, nullable=False),
    Column("was_paid", Boolean, nullable=False),
    Column("free", Boolean, nullable=False),
    Column("billing_interval", String(16)),
    Column("currency", String(3), nullable=False),
    Column("term", Integer, nullable=False),
    Column("anchor_day", Integer, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("period_start_day", Integer, nullable=False),
    Column("period_end_day", Integer),  # empty on a free plan, which has no billing period
    Column("next_day", Integer),
    Column("closed_day", Integer, nullable=False),
    Column("trial_days", Integer, nullable=False),
    Column("trial_end_day", Integer),
    Column("end_us", BigInteger),
    Column("expires_us", BigInteger),
    Column("final_due", Boolean, nullable=False),  # canceled while another cut was open: its final cut is still to come
    Column("cancel_reason", Text),
    Column("cancel_requested_ms", BigInteger),
    Column("scheduled", JSON(none_as_null=True)),
    Column("scheduled_plan_id", String(40)),
    Column("pause", JSON(none_as_null=True)),
    Column("checkout_token", String(64)),
    Column("success_url", Text),
    Column("promo_code", Text),
    Column("due_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Unique("customer_id", "term", name="uq_subscriptions_term"),
    Index("uq_subscriptions_checkout", "checkout_token", unique=True),
    Index(
        "uq_subscriptions_live",
        "customer_id",
        unique=True,
        sqlite_where=text(f"started = 1 AND {_LIVE}"),
        postgresql_where=text(f"started AND {_LIVE}"),
    ),
    Index("ix_subscriptions_due", "organization_id", "due_ms", "id"),
    Index("ix_subscriptions_page", "organization_id", "created_ms", "id"),
    Index("ix_subscriptions_plan", "plan_id", "status"),
    Index("ix_subscriptions_scheduled_plan", "scheduled_plan_id"),
)

# What one billing period grants and costs, frozen, under one number of terms. `until_day` and `interval` are empty on a
# free plan. `features` is a list of {feature, code, name, kind, enabled, included, overage, unitPrice, credits, margin,
# addon, slug, baseMinor, paidApart, off, planned}; `included` is a decimal string, null is unlimited. `pool` is a
# decimal string; `discount` is {source, name, type, value, cycles_left}. Top-ups add up from the window `chain_window`
# of the term `chain_term` on. `earlier` is a list of {before_day, pool, included}: what windows had that were over
# before a quantity was raised; its `included` is a list of [feature, quantity].
subscription_terms = Table(
    "subscription_terms",
    metadata,
    Column("subscription_id", String(40), ForeignKey("subscriptions.id"), primary_key=True),
    Column("term", Integer, primary_key=True, autoincrement=False),
    Column("since_day", Integer, primary_key=True, autoincrement=False),
    Column("until_day", Integer),
    Column("start_us", BigInteger, nullable=False),
    Column("anchor_day", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("interval", String(16)),
    Column("trial", Boolean, nullable=False),
    Column("window_days", Integer, nullable=False),
    Column("chain_term", Integer),
    Column("chain_window", Integer),
    Column("counts_us", BigInteger),  # of before ended_us: when the subscription began
    Column("ended_us", BigInteger),  # when the terms before these ended, if they did
    Column("plan_id", String(40), nullable=False),
    Column("plan_code", Text, nullable=False),
    Column("plan_name", Text, nullable=False),
    Column("price_id", String(40)),
    Column("base_minor", BigInteger, nullable=False),
    Column("features", JSON, nullable=False),
    Column("model", String(16), nullable=False),
    Column("pool", String(64), nullable=False),
    Column("overdraft", Boolean, nullable=False),
    Column("discount", JSON(none_as_null=True)),
    Column("paid_minor", BigInteger),  # what the base was paid with, when that is not its price net of the discount
    Column("earlier", JSON, nullable=False, server_default=text("'[]'")),
)

# `state` is cut (taken, not settled), settled, or stopped (LIVE and RAW differ: `live` and `raw`
# keep both sides; where these are empty what writes it raised).
# Windows that end by `through_day` are billed, in an invoice of `kind`, and with `base_term` the base of the period
# that begins then under that term; `end_us` is the instant that it ended.
closes = Table(
    "closes",
    metadata,
    Column("id", String(40), primary_key=True),
    organization(),
    customer(),
    Column("subscription_id", String(40), ForeignKey("subscriptions.id"), nullable=False),
    Column("cut", Integer, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("base_term", Integer),
    Column("start_day", Integer, nullable=False),
    Column("through_day", Integer, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("invoice_id", String(40)),
    Column("live", JSON(none_as_null=True)),
    Column("raw", JSON(none_as_null=True)),
    Column("created_ms", BigInteger, nullable=False),
    Column("settled_ms", BigInteger),
    Column("change", JSON(none_as_null=True)),  # the plan that waits for it: {planId, interval}
    Column("asked", String(64)),  # the request that asked for the change: key and content, 32 digits each
    Column("refusal", String(40)),  # why the change did not come, its invoice was not written, or nothing was billed
    Column("returns_term", Integer),  # terms that a change ended: what is left of their top-ups becomes account credit
    Unique("subscription_id", "cut", name="uq_closes_cut"),
    Index("ix_closes_state", "state", "organization_id"),
    Index("ix_closes_since", "organization_id", "created_ms"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(40), primary_key=True),
    organization(),
    Column("kind", String(40), nullable=False),
    Column("subject_id", String(40), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger),
    Index("ix_outbox_done", "done_ms", "id"),
)

clock_runs = Table(
    "clock_runs",
    metadata,
    Column("id", String(40), primary_key=True),
    organization(),
    Column("status", String(16), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("target_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_clock_runs_latest", "organization_id", "created_ms"),
)
