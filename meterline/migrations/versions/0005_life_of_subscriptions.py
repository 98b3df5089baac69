"""Subscriptions have windows, trials, pauses and scheduled changes; terms have numbers, a model and a pool."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LIVE = "status IN ('trialing', 'active', 'paused', 'past_due')"
_DAY_MS = 86_400_000


def upgrade() -> None:
    """Apply the change. What there was until now is monthly, metered, without trials, pauses or discounts."""
    op.drop_index("uq_subscriptions_live", "subscriptions")
    op.drop_index("ix_subscriptions_due", "subscriptions")
    # One column after the other: SQLite makes a table anew for more, and must not while others refer to it.
    op.add_column("subscriptions", sa.Column("started", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("subscriptions", sa.Column("was_paid", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("subscriptions", sa.Column("next_day", sa.Integer(), nullable=True))
    op.add_column("subscriptions", sa.Column("closed_day", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("subscriptions", sa.Column("trial_days", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("subscriptions", sa.Column("trial_end_day", sa.Integer(), nullable=True))
    op.add_column("subscriptions", sa.Column("expires_us", sa.BigInteger(), nullable=True))
    op.add_column("subscriptions", sa.Column("scheduled", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("subscriptions", sa.Column("scheduled_plan_id", sa.String(length=40), nullable=True))
    op.add_column("subscriptions", sa.Column("pause", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("subscriptions", sa.Column("checkout_token", sa.String(length=64), nullable=True))
    op.add_column("subscriptions", sa.Column("success_url", sa.Text(), nullable=True))
    op.add_column("subscriptions", sa.Column("promo_code", sa.Text(), nullable=True))
    op.add_column("subscriptions", sa.Column("due_ms", sa.BigInteger(), nullable=True))
    op.create_index("uq_subscriptions_checkout", "subscriptions", ["checkout_token"], unique=True)
    op.execute(
        "UPDATE subscriptions SET was_paid = NOT free, next_day = period_end_day, closed_day = period_start_day,"
        " due_ms = CASE WHEN final_due THEN 0 WHEN status = 'active' AND NOT free THEN"
        f" CAST(period_end_day AS BIGINT) * {_DAY_MS} END"
    )
    op.create_index(
        "uq_subscriptions_live",
        "subscriptions",
        ["customer_id"],
        unique=True,
        sqlite_where=sa.text(f"started = 1 AND {_LIVE}"),
        postgresql_where=sa.text(f"started AND {_LIVE}"),
    )
    op.create_index("ix_subscriptions_due", "subscriptions", ["due_ms"], unique=False)
    op.create_index("ix_subscriptions_scheduled_plan", "subscriptions", ["scheduled_plan_id"], unique=False)
    op.add_column("customers", sa.Column("deleted_ms", sa.BigInteger(), nullable=True))
    _terms()
    op.add_column("closes", sa.Column("kind", sa.String(length=24), nullable=False, server_default="recurring"))
    op.add_column("closes", sa.Column("base_term", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE closes SET base_term = (SELECT s.term FROM subscriptions s WHERE s.id = closes.subscription_id)"
        " WHERE NOT final"
    )


def _terms() -> None:
    """Make the terms anew: their key has the number of the terms."""
    op.rename_table("subscription_terms", "subscription_terms_before")
    op.create_table(
        "subscription_terms",
        sa.Column("subscription_id", sa.String(length=40), nullable=False),
        sa.Column("term", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since_day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("until_day", sa.Integer(), nullable=True),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("anchor_day", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("interval", sa.String(length=16), nullable=True),
        sa.Column("trial", sa.Boolean(), nullable=False),
        sa.Column("window_days", sa.Integer(), nullable=False),
        sa.Column("chain_term", sa.Integer(), nullable=True),
        sa.Column("chain_window", sa.Integer(), nullable=True),
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("plan_code", sa.Text(), nullable=False),
        sa.Column("plan_name", sa.Text(), nullable=False),
        sa.Column("price_id", sa.String(length=40), nullable=True),
        sa.Column("base_minor", sa.BigInteger(), nullable=False),
        sa.Column("features", sa.JSON(), nullable=False),
        sa.Column("model", sa.String(length=16), nullable=False),
        sa.Column("pool", sa.String(length=64), nullable=False),
        sa.Column("overdraft", sa.Boolean(), nullable=False),
        sa.Column("discount", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name="fk_subscription_terms_subscription_id_numbered"
        ),
        sa.PrimaryKeyConstraint("subscription_id", "term", "since_day", name="pk_subscription_terms_numbered"),
    )
    op.execute(
        "INSERT INTO subscription_terms (subscription_id, term, since_day, until_day, start_us, anchor_day, currency,"
        ' "interval", trial, window_days, plan_id, plan_code, plan_name, price_id, base_minor, features, model, pool,'
        " overdraft) SELECT b.subscription_id, s.term, b.since_day, b.until_day, s.start_us, s.anchor_day, s.currency,"
        " s.billing_interval, FALSE, 0, s.plan_id, p.code, b.plan_name, s.price_id, b.base_minor, b.features,"
        " 'metered', '0', FALSE FROM subscription_terms_before b JOIN subscriptions s ON s.id = b.subscription_id"
        " JOIN plans p ON p.id = s.plan_id"
    )
    op.drop_table("subscription_terms_before")


def downgrade() -> None:
    """There is no way back: what the new columns say has no place in the old ones."""
    raise NotImplementedError("go back by restoring a backup")
