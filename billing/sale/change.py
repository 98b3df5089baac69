"""Changes of plan: which way they go, and what one that takes effect at once credits and charges. Pure.

An upgrade takes effect at once and is prorated; a downgrade waits for the renewal. What the old period was paid with is
credited for the days that are left, the new plan is charged for the same days, or in full when the interval changes.
Each component, the base, each seat type and each add-on that ends, is a line of its own, rounded once.
Source: R-CHG-2 to R-CHG-5, R-PRO-1, R-PRO-2, R-PRO-6; AMB-1, AMB-7, AMB-8.
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import msgspec

from billing.money.invoice import Line, LineKind, amount_line
from billing.sale.proration import Share, share_of_amount
from catalog.definition import UpgradeCharge
from kernel.money import Money
from kernel.period import Interval
from kernel.quantity import EXACT


class Direction(StrEnum):
    """Which way a change goes (R-CHG-2)."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"


class Target(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a subscription changes to; `interval` None is a free plan."""

    plan_id: str
    interval: Interval | None


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A plan at a price, as one side of a change.

    `base_minor` is what decides the direction: the customer's frozen price on the old side, the list price on the new
    one, in minor units of one currency. `interval` is None on a free plan. `position` is the plan's place in the plan
    group that both are in, None without one.
    """

    plan_id: str
    base_minor: int
    interval: Interval | None
    position: int | None = None

    @property
    def monthly(self) -> Fraction:
        """Tell the price a month in minor units; a free plan costs nothing."""
        return Fraction(0) if self.interval is None else Fraction(self.base_minor, self.interval.months)


def direction(old: Side, new: Side) -> Direction:
    """Tell which way a change goes (R-CHG-2, AMB-8).

    Of one plan a longer interval is an upgrade and a shorter one a downgrade, whatever they cost. Else the price a
    month decides; equal prices count as an upgrade, unless the plan group puts the new plan below the old one
    (R-GROUP-4). To a free plan is always down.
    """
    if new.interval is None:
        return Direction.DOWNGRADE
    if old.plan_id == new.plan_id and old.interval is not None and old.interval is not new.interval:
        return Direction.UPGRADE if new.interval.months > old.interval.months else Direction.DOWNGRADE
    if new.monthly != old.monthly:
        return Direction.UPGRADE if new.monthly > old.monthly else Direction.DOWNGRADE
    lower = old.position is not None and new.position is not None and new.position < old.position
    return Direction.DOWNGRADE if lower else Direction.UPGRADE


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a period's price: `plan:CODE`, `seats:CODE` or `addon:SLUG`, for `amount` major units a period.

    On the credit side `amount` is what was paid for the period, net of discount (R-PRO-6, AMB-11). `quantity` counts
    extra seats of `unit_price` each, beyond the `included` ones of those `used`. `feature_id` is set on seats and
    add-ons.
    """

    name: str
    amount: Decimal
    quantity: str = "1"
    unit_price: str | None = None
    included: str | None = None
    used: str | None = None
    feature_id: str | None = None
    feature_code: str | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change that takes effect now: `share` is what is left of the old period, `whole` says that all is charged.

    `term` and `cut` are those of the invoice that it writes.
    """

    share: Share
    whole: bool
    currency: str
    term: int
    cut: int


def charges_whole(old: Interval | None, new: Interval, policy: UpgradeCharge) -> bool:
    """Tell whether the new price is charged in full: on another interval, or by the switch (R-CHG-4, R-CHG-5)."""
    return old is not new or policy is UpgradeCharge.FULL


def change_lines(change: Change, paid: Sequence[Component], bought: Sequence[Component]) -> list[Line]:
    """Make the lines of a change: what is credited of the old period, then what is charged of the new one."""
    share, full = change.share, Share(change.share.days, change.share.days)
    given = [_line(LineKind.PRORATION_CREDIT, part, _amount(part, share, change, -1), share, change) for part in paid]
    charged = full if change.whole else share
    charges = [
        _line(LineKind.PRORATION_CHARGE, part, _amount(part, charged, change, 1), charged, change) for part in bought
    ]
    return given + charges


def _amount(part: Component, share: Share, change: Change, sign: int) -> Money:
    return share_of_amount(EXACT.multiply(part.amount, Decimal(sign)), share, change.currency)


def _line(kind: LineKind, part: Component, amount: Money, share: Share, change: Change) -> Line:
    part_of = "" if share.remaining == share.days else f", {share.remaining} of {share.days} days"
    line = amount_line(
        kind,
        f"{part.name}{part_of}",
        amount,
        term=change.term,
        cut=change.cut,
        quantity=part.quantity,
        unit_price=part.unit_price,
    )
    return msgspec.structs.replace(
        line,
        feature_id=part.feature_id,
        feature_code=part.feature_code,
        included=part.included,
        used=part.used,
        overage=None if part.used is None else part.quantity,
    )
