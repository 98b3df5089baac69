"""The catalog's tables. Every row that a gateway caches carries its organization and the `version` that changed it.

Ids are text, instants unix milliseconds, amounts minor units, unit prices and quantities decimal strings. A removed row
stays with `deleted_ms` set (0: it lives), so that its code is free again and a gateway learns of the removal.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
    true,
)
from sqlalchemy import UniqueConstraint as Unique

from kernel.engine.sql.base import metadata


def _changed() -> list[Column[int]]:
    return [Column("version", BigInteger, nullable=False, index=True)]


def _stamps() -> list[Column[int]]:
    return [
        Column("created_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
        Column("deleted_ms", BigInteger, nullable=False, default=0),
    ]


def _organization() -> Column[str]:
    return Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False)


deployment = Table(
    "deployment",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("lanes", Integer, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("rules", Integer, nullable=False, server_default="1"),
)

catalog_version = Table(
    "catalog_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

organizations = Table(
    "organizations",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("environment", String(16), nullable=False),
    Column("clock_ms", BigInteger),
    Column("payments", String(16), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("settle_ms", BigInteger),
    *_changed(),
    Column("created_ms", BigInteger, nullable=False),
    Column("day_count", String(16), nullable=False, server_default="30/360"),
    Column("upgrade_charge", String(16), nullable=False, server_default="prorated"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("name", Text, nullable=False),
    Column("prefix", String(40), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("permissions", JSON(none_as_null=True)),
    Column("expires_ms", BigInteger),
    *_changed(),
    *_stamps(),
)

features = Table(
    "features",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("code", String(255), nullable=False),
    Column("event_code", String(255), nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("unit_name", Text),
    Column("description", Text),
    *_changed(),
    *_stamps(),
    Column("seat_type", String(255)),
    Unique("organization_id", "code", "deleted_ms", name="uq_features_code"),
    Unique("organization_id", "event_code", "deleted_ms", name="uq_features_event_code"),
)

seat_types = Table(
    "seat_types",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("code", String(255), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    *_changed(),
    *_stamps(),
    Unique("organization_id", "code", "deleted_ms", name="uq_seat_types_code"),
)

plans = Table(
    "plans",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("code", String(255), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("is_public", Boolean, nullable=False),
    Column("is_free", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("sort_order", Integer, nullable=False),
    Column("metadata", JSON(none_as_null=True)),
    *_changed(),
    *_stamps(),
    Column("model", String(16), nullable=False, server_default="metered"),
    Column("included", String(40)),
    Column("overdraft", Boolean, nullable=False, server_default=true()),
    Column("deprecated", Boolean, nullable=False, server_default=false()),
    Column("ending", String(40)),
    Unique("organization_id", "code", "deleted_ms", name="uq_plans_code"),
)

plan_prices = Table(
    "plan_prices",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("plan_id", String(40), ForeignKey("plans.id"), nullable=False),
    Column("interval", String(16), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("metadata", JSON, nullable=False),
    *_changed(),
    *_stamps(),
    Column("trial_days", Integer, nullable=False, server_default="0"),
    Column("included", String(40)),
    Column("intro_type", String(16)),
    Column("intro_value", String(40)),
    Column("intro_cycles", Integer),
    Column("offer_id", String(40), index=True),
    Unique("plan_id", "interval", "deleted_ms", name="uq_plan_prices_interval"),
)

offers = Table(
    "offers",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("name", Text, nullable=False),
    Column("phases", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("starts_ms", BigInteger),
    Column("ends_ms", BigInteger),
    Column("active", Boolean, nullable=False),
    *_changed(),
    *_stamps(),
    Index("ix_offers_page", "organization_id", "created_ms", "id"),
)

plan_features = Table(
    "plan_features",
    metadata,
    Column("plan_id", String(40), ForeignKey("plans.id"), primary_key=True),
    Column("feature_id", String(40), ForeignKey("features.id"), primary_key=True),
    _organization(),
    Column("enabled", Boolean, nullable=False),
    Column("included", String(40), nullable=False),
    Column("unlimited", Boolean, nullable=False),
    Column("overage", Boolean, nullable=False),
    Column("unit_price", String(40), nullable=False),
    *_changed(),
    Column("created_ms", BigInteger, nullable=False),
    Column("credits", String(40), nullable=False, server_default="0"),
    Column("margin", String(40)),
    Index("ix_plan_features_feature_id", "feature_id"),
)

customers = Table(
    "customers",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("external_id", String(255)),
    Column("email", Text, nullable=False),
    Column("full_name", Text),
    Column("timezone", Text),
    Column("metadata", JSON(none_as_null=True)),
    Column("address", JSON(none_as_null=True)),
    Column("profile", JSON, nullable=False),
    Column("archived", Boolean, nullable=False),
    *_changed(),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),  # kept for audit, and found by nobody
    Unique("organization_id", "external_id", name="uq_customers_external_id"),
    Index("ix_customers_page", "organization_id", "created_ms", "id"),
)

idempotent_requests = Table(
    "idempotent_requests",
    metadata,
    Column("organization_id", String(40), ForeignKey("organizations.id"), primary_key=True),
    Column("scope", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False, index=True),
)

model_prices = Table(
    "model_prices",
    metadata,
    # Whose price it is: an organization's id, or empty for the catalog's.
    Column("scope", String(40), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("since_ms", BigInteger, primary_key=True),
    Column("recorded_ms", BigInteger, primary_key=True),
    Column("input", String(40), nullable=False),
    Column("output", String(40), nullable=False),
    Column("cache_read", String(40)),
    Column("cache_write", String(40)),
    Column("edition", String(255), nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("aliases", JSON, nullable=False),
    *_changed(),
)

price_editions = Table(
    "price_editions",
    metadata,
    Column("edition", String(255), primary_key=True),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("models", Integer, nullable=False),
    Column("added", Integer, nullable=False),
)

addons = Table(
    "addons",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("slug", String(255), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("feature_id", String(40), ForeignKey("features.id"), nullable=False),
    Column("model", String(16)),
    Column("base_minor", BigInteger, nullable=False),
    Column("interval_minor", JSON, nullable=False),
    Column("included", String(40), nullable=False),
    Column("unlimited", Boolean, nullable=False),
    Column("overage", Boolean, nullable=False),
    Column("unit_price", String(40), nullable=False),
    Column("credits", String(40), nullable=False),
    Column("margin", String(40)),
    *_changed(),
    *_stamps(),
    Unique("organization_id", "slug", "deleted_ms", name="uq_addons_slug"),
    Unique("feature_id", "deleted_ms", name="uq_addons_feature_id"),
)

credit_packs = Table(
    "credit_packs",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("name", String(255), nullable=False),
    Column("description", Text),
    Column("credits", String(40), nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("plans", JSON(none_as_null=True)),
    Column("active", Boolean, nullable=False),
    *_changed(),
    *_stamps(),
    Unique("organization_id", "name", "deleted_ms", name="uq_credit_packs_name"),
)

promo_codes = Table(
    "promo_codes",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("code", String(255), nullable=False),
    Column("type", String(16), nullable=False),
    Column("value", String(40), nullable=False),
    Column("duration", String(16), nullable=False),
    Column("cycles", Integer),
    Column("interval", String(16)),
    Column("max_redemptions", Integer),
    Column("redemptions", Integer, nullable=False),
    Column("expires_day", Integer),
    Column("offer_id", String(40), ForeignKey("offers.id"), nullable=False),
    Column("plans", JSON(none_as_null=True)),
    Column("active", Boolean, nullable=False),
    *_changed(),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Unique("organization_id", "code", name="uq_promo_codes_code"),
)

promo_redemptions = Table(
    "promo_redemptions",
    metadata,
    Column("promo_code_id", String(40), ForeignKey("promo_codes.id"), primary_key=True),
    Column("customer_id", String(40), ForeignKey("customers.id"), primary_key=True),
    Column("redeemed_ms", BigInteger, nullable=False),
)

plan_groups = Table(
    "plan_groups",
    metadata,
    Column("id", String(40), primary_key=True),
    _organization(),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("is_public", Boolean, nullable=False),
    *_changed(),
    *_stamps(),
)

plan_group_members = Table(
    "plan_group_members",
    metadata,
    Column("plan_id", String(40), ForeignKey("plans.id"), primary_key=True),
    Column("group_id", String(40), ForeignKey("plan_groups.id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
)

exchange_rates = Table(
    "exchange_rates",
    metadata,
    Column("plan_id", String(40), ForeignKey("plans.id"), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("rate", String(40), nullable=False),
    *_changed(),
)

# Manual values alone: what is synced is computed from the rate and the plan's own price when the plan is read.
regional_prices = Table(
    "regional_prices",
    metadata,
    Column("price_id", String(40), ForeignKey("plan_prices.id"), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("plan_id", String(40), ForeignKey("plans.id"), nullable=False, index=True),
    Column("amount_minor", BigInteger),
    Column("included", String(40)),
    Column("intro_type", String(16)),
    Column("intro_value", String(40)),
    Column("intro_cycles", Integer),
    *_changed(),
)

regional_rates = Table(
    "regional_rates",
    metadata,
    Column("plan_id", String(40), ForeignKey("plans.id"), primary_key=True),
    Column("feature_id", String(40), ForeignKey("features.id"), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("unit_price", String(40), nullable=False),
    *_changed(),
)
