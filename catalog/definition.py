"""What the catalog knows, as values: features, plans, customers; `seller` and `ai_price` hold more. Pure; public.

Ids that travel in the log (organization, feature, customer) are 16 bytes here, the others text. Instants are unix
milliseconds. Invariants: a value is one committed state; every value belongs to one organization, which is one
environment (R-GEN-7).
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from catalog.ai_price import ModelPrice
from catalog.seller import (
    NO_PAYMENTS,
    PRODUCTION,
    READ,
    SANDBOX,
    SIMULATOR,
    WRITE,
    ApiKey,
    DayCount,
    Deployment,
    Organization,
    Principal,
    UpgradeCharge,
)
from catalog.terms import ConsumptionModel, FeatureTerms
from kernel import ids
from kernel.money import Money
from kernel.period import Interval
from kernel.quantity import to_units

__all__ = [
    "NO_PAYMENTS",
    "PRODUCTION",
    "READ",
    "SANDBOX",
    "SIMULATOR",
    "WRITE",
    "Addon",
    "ApiKey",
    "CreditPack",
    "Customer",
    "DayCount",
    "Deployment",
    "DiscountType",
    "Feature",
    "FeatureKind",
    "IntroOffer",
    "ModelPrice",
    "Organization",
    "Plan",
    "PlanFeature",
    "PlanGroup",
    "PlanPrice",
    "Principal",
    "PromoCode",
    "PromoDuration",
    "RegionalPrice",
    "RegionalRate",
    "SeatType",
    "UpgradeCharge",
]


class FeatureKind(StrEnum):
    """What a feature grants (R-FEAT-1)."""

    BOOLEAN = "boolean"
    METERED = "metered"
    SEATS = "seats"


class DiscountType(StrEnum):
    """How a discount is measured (R-DISC-2)."""

    PERCENT = "percent"
    FIXED = "fixed"


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """What plans grant and events name. `event_code` is what usage may name instead of `code` (R-FEAT-4).

    `seat_type` is the code of a seats feature's seat type, None on other features (R-FEAT-3).
    """

    id: bytes
    organization: bytes
    code: str
    event_code: str
    name: str
    kind: FeatureKind
    unit_name: str | None = None
    description: str | None = None
    created_ms: int = 0
    updated_ms: int = 0
    seat_type: str | None = None

    @property
    def id_text(self) -> str:
        """Spell the id."""
        return ids.id_text(ids.FEATURE, self.id)


class SeatType(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of seat that customers hold (R-FEAT-8); a seats feature names it by its `code` (R-FEAT-3)."""

    id: str
    organization: bytes
    code: str
    name: str
    description: str | None = None
    created_ms: int = 0
    updated_ms: int = 0


class IntroOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a price takes off its first `cycles` billing periods: a percentage, or an amount in the major unit."""

    type: DiscountType
    value: Decimal
    cycles: int


class RegionalPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A price in another currency: minor units and included balance of it; `synced` follows the rate.

    `pool_is_price` says that nothing tells the balance there but this price itself (R-BAL-1). `intro` is the whole
    offer there, None for none: an amount of the plan's own currency is none here (R-DISC-14).
    """

    currency: str
    amount_minor: int
    included: Decimal | None = None
    synced: bool = True
    intro: IntroOffer | None = None
    pool_is_price: bool = False


class RegionalRate(msgspec.Struct, frozen=True, kw_only=True):
    """A feature's unit price in another currency: a decimal string in the major unit."""

    currency: str
    unit_price: str
    synced: bool = True


class PlanPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's price an interval, in minor units of `currency`.

    `included` is what it grants a usage window of the plan's pool, credits or money in the major unit (None: the
    plan's, and of a balance plan without one the base price, R-BAL-1). `offer_id` is the offer from which `intro` is.
    """

    id: str
    plan: str
    interval: Interval
    amount_minor: int
    currency: str
    is_default: bool
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    created_ms: int = 0
    updated_ms: int = 0
    trial_days: int = 0
    included: Decimal | None = None
    intro: IntroOffer | None = None
    regional: tuple[RegionalPrice, ...] = ()
    offer_id: str | None = None

    def in_currency(self, currency: str) -> RegionalPrice | None:
        """Tell the regional price of a currency; None when there is none."""
        return next((price for price in self.regional if price.currency == currency), None)


class PlanFeature(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan grants of one feature in a usage window.

    `included` counts units or seats (with `unlimited` it means nothing); `unit_price` is a decimal string in the
    currency's major unit: per unit beyond `included` (counts only with `overage`), per extra seat and billing period,
    or on a balance plan per unit. `credits` is what one unit costs on a credits plan; `margin` a percentage, set when
    the feature is priced by AI model (R-AI-1).
    """

    feature: Feature
    enabled: bool = True
    included: Decimal = Decimal(0)
    unlimited: bool = False
    overage: bool = False
    unit_price: str = "0"
    credits: str = "0"
    margin: str | None = None
    regional: tuple[RegionalRate, ...] = ()

    def terms(self) -> FeatureTerms:
        """Freeze it as terms; included quantities become 1e-9 units."""
        return FeatureTerms(
            feature=self.feature.id,
            code=self.feature.code,
            kind=self.feature.kind.value,
            enabled=self.enabled,
            included=None if self.unlimited else to_units(self.included),
            overage=self.overage,
            unit_price=self.unit_price,
            credits=self.credits,
            margin=self.margin,
        )


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is sold: a plan's model, prices and features, as they are shown; a free one has no prices (R-PLAN-6).

    `included` is its pool a usage window: credits, or money in the major unit (None: what the price says). With
    `overdraft` a balance may go below zero on a paid, active subscription (R-BAL-3, R-BAL-6). A deprecated plan takes
    no new subscribers (R-PLAN-8). `group_id` and `group_position` place it in its plan group (R-GROUP-1). `ending` is
    what a deletion does to its subscribers at their renewals: `cancel`, or the id of the plan that they move to
    (R-PLAN-9). `exchange_rates` are what one unit of its currency is worth in others (R-REG-3).
    """

    id: str
    organization: bytes
    code: str
    name: str
    description: str | None = None
    is_public: bool = True
    is_free: bool = False
    is_default: bool = False
    sort_order: int = 0
    metadata: Mapping[str, Any] | None = None
    prices: tuple[PlanPrice, ...] = ()
    features: tuple[PlanFeature, ...] = ()
    created_ms: int = 0
    updated_ms: int = 0
    model: ConsumptionModel = ConsumptionModel.METERED
    included: Decimal | None = None
    overdraft: bool = True
    deprecated: bool = False
    group_id: str | None = None
    group_position: int = 0
    ending: str | None = None
    exchange_rates: Mapping[str, str] = msgspec.field(default_factory=dict)

    def changed_ms(self, now_ms: int) -> int:
        """Tell when it was changed last, if it changes now; a deleted one's stays: when it was deleted (R-PLAN-9)."""
        return max(now_ms, self.updated_ms) if self.ending is None else self.updated_ms

    def price_of(self, interval: Interval | None) -> PlanPrice | None:
        """Tell the price of an interval, or the default one for None; None when there is none."""
        for price in self.prices:
            if price.interval == interval or (interval is None and price.is_default):
                return price
        return None

    def pool_of(self, price: PlanPrice | None) -> Decimal:
        """Tell what a usage window gets of the plan's pool at a price (None: a free plan); 0 on a metered plan.

        Credits, or money in the major unit of the price's currency: what the price says, else what the plan says, else
        on a balance plan the undiscounted base price (R-BAL-1).
        """
        if self.model is ConsumptionModel.METERED:
            return Decimal(0)
        if price is None:
            return self.included or Decimal(0)
        if price.included is not None:
            return price.included
        if self.included is not None or self.model is ConsumptionModel.CREDITS:
            return self.included or Decimal(0)
        return Money(price.amount_minor, price.currency).major()

    def feature_terms(self) -> tuple[FeatureTerms, ...]:
        """Freeze what the plan grants now (R-PRICE-1)."""
        return tuple(feature.terms() for feature in self.features)


class Addon(msgspec.Struct, frozen=True, kw_only=True):
    """An optional extra that brings exactly one feature (R-ADDON-1).

    `base_minor` is its price a billing period in minor units of the plans' own currency, `interval_minor` others by
    interval (R-ADDON-12). `granted` says what it grants of its feature; `model` is None for a boolean feature.
    """

    id: str
    organization: bytes
    slug: str
    name: str
    base_minor: int
    granted: PlanFeature
    description: str | None = None
    model: ConsumptionModel | None = None
    interval_minor: Mapping[str, int] = msgspec.field(default_factory=dict)
    archived: bool = False
    created_ms: int = 0
    updated_ms: int = 0


class CreditPack(msgspec.Struct, frozen=True, kw_only=True):
    """Credits for sale on credits plans (R-PACK-1): `price_minor` in USD cents; `plans` None means all of them."""

    id: str
    organization: bytes
    name: str
    credits: Decimal
    price_minor: int
    description: str | None = None
    plans: tuple[str, ...] | None = None
    active: bool = True
    created_ms: int = 0
    updated_ms: int = 0


class PromoDuration(StrEnum):
    """For how many billing periods a promo code runs (R-DISC-5)."""

    ONCE = "once"
    REPEATING = "repeating"
    FOREVER = "forever"


class PromoCode(msgspec.Struct, frozen=True, kw_only=True):
    """A code that takes something off the base price (R-DISC-8); `code` is kept in upper case.

    `value` is a percentage, or an amount in the major unit of the organization's currency; `cycles` counts the periods
    of a repeating one. It is valid through `expires_day` (days since 1970-01-01, None: always); `plans` None means all,
    `interval` None any.
    `offer_id` is the offer whose terms it took when it was made.
    """

    id: str
    organization: bytes
    code: str
    type: DiscountType
    value: Decimal
    duration: PromoDuration
    cycles: int | None = None
    max_redemptions: int | None = None
    redemptions: int = 0
    expires_day: int | None = None
    plans: tuple[str, ...] | None = None
    active: bool = True
    created_ms: int = 0
    updated_ms: int = 0
    interval: Interval | None = None
    offer_id: str | None = None


class PlanGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Plans in order, low to high (R-GROUP-1): `plans` are their ids."""

    id: str
    organization: bytes
    name: str
    plans: tuple[str, ...] = ()
    description: str | None = None
    is_public: bool = True
    created_ms: int = 0
    updated_ms: int = 0


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """The party that pays.

    `external_id` is the seller's own id; `profile` holds the members on which nothing here decides (domain, …).
    """

    id: bytes
    organization: bytes
    external_id: str | None
    email: str
    full_name: str | None = None
    timezone: str | None = None
    metadata: Mapping[str, Any] | None = None
    address: Mapping[str, Any] | None = None
    profile: Mapping[str, str] = msgspec.field(default_factory=dict)
    archived: bool = False
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def id_text(self) -> str:
        """Spell the id."""
        return ids.id_text(ids.CUSTOMER, self.id)
