"""What a window's usage costs: quantity over the included one, times the unit price, as money. Pure.

Owns the step from units of 1e-9 to minor units: exact decimals all the way, one rounding a line, halves away from zero.
Invariant: all lines of a window sum to the rate of its final total, because a later line is the difference between two
rounded totals, never the rounding of a difference; but for what a void invoice charged before it fell (`fallen`).
Source: R-METER-2, R-GEN-2, R-TRACK-20.
"""

from decimal import Decimal

import msgspec

from kernel.money import Money, round_half_away
from kernel.quantity import EXACT, from_units


class Allowance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A window's frozen conditions.

    `included` counts 1e-9 units (None: unlimited); `unit_price` is in the major unit of `currency`, per one unit of
    usage beyond it, and counts only with `overage`.
    """

    included: int | None
    overage: bool
    unit_price: str
    currency: str


class Charge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a line bills: the overage it adds, in 1e-9 units, and the money."""

    units: int
    amount: Money


def overage_units(total: int, allowance: Allowance) -> int:
    """Tell how many of `total` 1e-9 units are charged: max(0, total - included); none without overage (R-METER-2)."""
    if allowance.included is None or not allowance.overage:
        return 0
    return max(0, total - allowance.included)


def rate(total: int, allowance: Allowance) -> Money:
    """Tell what a window with `total` 1e-9 units costs, rounded once (R-GEN-2)."""
    quantity = from_units(overage_units(total, allowance))
    amount = EXACT.multiply(quantity, Decimal(allowance.unit_price))
    return round_half_away(amount, allowance.currency)


def charge(
    total: int,
    allowance: Allowance,
    *,
    billed_units: int,
    billed_minor: int,
    void_units: int = 0,
    void_minor: int = 0,
) -> Charge:
    """Tell what is still to bill of a window: its rate now minus what earlier lines billed (R-TRACK-20).

    `billed_units` and `billed_minor` sum the earlier lines' overage in 1e-9 units and their amounts in minor units,
    `void_units` and `void_minor` those among them that are void.
    """
    units = overage_units(total, allowance) - billed_units
    amount = rate(total, allowance) - Money(billed_minor, allowance.currency)
    return Charge(units=fallen(units, void_units), amount=Money(fallen(amount.minor, void_minor), amount.currency))


def fallen(more: int, void: int) -> int:
    """Tell what comes of `more`, the difference to what was billed: less comes back only beyond what is `void` of it.

    What a void invoice charged nobody pays, so none of it is given back (ADR 10).
    """
    return more if more >= 0 else min(0, more + void)


def money_of_units(units: int, currency: str) -> Money:
    """Turn 1e-9 of the major unit into money, rounded once, halves away from zero (R-GEN-4)."""
    return round_half_away(from_units(units), currency)
