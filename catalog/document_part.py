"""The parts of a catalog document: features, seat types, plans with prices and grants, and offers. Pure.

Names are codes and amounts exact, in the major unit. Invariant: a member at its default is not written, and a
misspelled one is refused.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

import msgspec

from kernel.period import Interval

NOTHING: Final = Decimal(0)  # the default itself, which msgspec leaves out by identity


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the document: a misspelled member is refused, one at its default is not written."""


class SeatTypePart(Part, frozen=True, kw_only=True):
    """A seat type."""

    code: str
    name: str
    description: str = ""


class FeaturePart(Part, frozen=True, kw_only=True):
    """A feature. `type`, `event_code` and `seat_type` never change.

    An empty `event_code` is the code; so is an empty `seat_type` of a seats feature, which is made when it is missing.
    """

    code: str
    name: str
    type: str = "metered"
    event_code: str = ""
    unit_name: str = ""
    description: str = ""
    seat_type: str = ""


class GrantPart(Part, frozen=True, kw_only=True):
    """What a plan grants of a feature a month.

    `overage` is the price of a unit beyond `included` (of seats: of an extra seat a billing period), in the major unit;
    without it usage stops there. On a balance plan `unit_price` is every unit's, or `margin` the per cent on top of an
    AI model's price; on a credits plan `credits` is what a unit costs.
    """

    enabled: bool = True
    included: Decimal = NOTHING
    unlimited: bool = False
    overage: Decimal | None = None
    unit_price: Decimal | None = None
    credits: Decimal | None = None
    margin: Decimal | None = None


class IntroPart(Part, frozen=True, kw_only=True):
    """What a price takes off its first `cycles` billing periods: per cent, or an amount in the major unit."""

    type: Literal["percent", "fixed"]
    value: Decimal
    cycles: int

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.type} {self.value:f} for {self.cycles}"


class PricePart(Part, frozen=True, kw_only=True):
    """A price: its amount in the major unit, trial, what a month gets of the plan's pool, and its intro offer."""

    price: Decimal
    trial_days: int = 0
    included: Decimal | None = None
    intro: IntroPart | None = None


class RegionPart(Part, frozen=True, kw_only=True):
    """A plan in another currency: `rate` is what one unit of the plan's own is worth (R-REG-3).

    `prices`, `included` and `intro` by interval and `unit_prices` by feature code are set by hand, in the major unit of
    the currency; what is not named follows the rate.
    """

    rate: Decimal | None = None
    prices: dict[str, Decimal] = msgspec.field(default_factory=dict)
    included: dict[str, Decimal] = msgspec.field(default_factory=dict)
    intro: dict[str, IntroPart] = msgspec.field(default_factory=dict)
    unit_prices: dict[str, Decimal] = msgspec.field(default_factory=dict)


class AddonPart(Part, frozen=True, kw_only=True):
    """An add-on, named by its `slug`, which brings one feature: with `boolean`, or by the model of its plans.

    `price` is a billing period's in the organization's currency (R-ADDON-14), `prices` other ones by interval; the
    rest is as a plan grants it. `feature` and `model` never change.
    """

    slug: str
    name: str
    feature: str
    price: Decimal
    model: str = "boolean"
    description: str = ""
    prices: dict[str, Decimal] = msgspec.field(default_factory=dict)
    included: Decimal = NOTHING
    unlimited: bool = False
    overage: Decimal | None = None
    unit_price: Decimal | None = None
    credits: Decimal | None = None
    margin: Decimal | None = None

    def grant(self) -> GrantPart:
        """Tell what it grants of its feature."""
        return GrantPart(
            included=self.included or NOTHING,
            unlimited=self.unlimited,
            overage=self.overage,
            unit_price=self.unit_price,
            credits=self.credits,
            margin=self.margin,
        )


class CreditPackPart(Part, frozen=True, kw_only=True):
    """A credit pack: its `price` is in US dollars; without `plans` (codes) it is for all credits plans."""

    name: str
    credits: Decimal
    price: Decimal
    description: str = ""
    active: bool = True
    plans: tuple[str, ...] | None = None


class PromoCodePart(Part, frozen=True, kw_only=True):
    """A promo code: `percent` or `amount` (major unit) off the base price, for `cycles` billing periods, 0 for ever.

    It is valid through the day `expires`; what it takes off, and for how long, never changes.
    """

    code: str
    percent: Decimal | None = None
    amount: Decimal | None = None
    cycles: int = 1
    interval: str = ""
    max_redemptions: int | None = None
    expires: str = ""
    active: bool = True
    plans: tuple[str, ...] | None = None


class PlanGroupPart(Part, frozen=True, kw_only=True):
    """A plan group: codes of plans, low to high."""

    name: str
    plans: tuple[str, ...] = ()
    description: str = ""
    public: bool = True


class PlanPart(Part, frozen=True, kw_only=True):
    """A plan. `features` are grants by feature code, `prices` by interval, `regional` by currency.

    `free` never changes.

    `price` is short for a monthly price that says nothing else. `included` is what a month gets of the pool: credits of
    a credits plan, or money of a balance plan, which goes below zero with `overdraft`.
    """

    code: str
    name: str
    description: str = ""
    public: bool = True
    free: bool = False
    deprecated: bool = False
    model: str = "metered"
    included: Decimal | None = None
    overdraft: bool = True
    price: Decimal | None = None
    prices: dict[str, PricePart] = msgspec.field(default_factory=dict)
    features: dict[str, GrantPart] = msgspec.field(default_factory=dict)
    regional: dict[str, RegionPart] = msgspec.field(default_factory=dict)

    def every_price(self) -> Mapping[str, PricePart]:
        """Tell the prices by interval."""
        short = {} if self.price is None else {Interval.MONTHLY.value: PricePart(price=self.price)}
        return {**short, **self.prices}


class CatalogDocument(Part, frozen=True, kw_only=True):
    """The whole catalog."""

    seat_type: tuple[SeatTypePart, ...] = ()
    feature: tuple[FeaturePart, ...] = ()
    plan: tuple[PlanPart, ...] = ()
    addon: tuple[AddonPart, ...] = ()
    credit_pack: tuple[CreditPackPart, ...] = ()
    promo_code: tuple[PromoCodePart, ...] = ()
    plan_group: tuple[PlanGroupPart, ...] = ()
