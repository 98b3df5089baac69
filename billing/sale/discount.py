"""Discounts: what is taken off a plan's base price, for how long, and who may have it. Pure.

Invariant: a running discount is frozen, touches the base alone and never exceeds it; it counts billing periods, not
months. Source: section 19 of the rules (R-DISC-1 to R-DISC-15).
"""

from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Final

import msgspec

from catalog.definition import DiscountType
from kernel.money import Money, minor_places
from kernel.quantity import EXACT

# A code must leave a first payment that a card can be charged (R-DISC-9).
CHECKOUT_MIN_MINOR: Final = 50
_PERCENT: Final = Decimal(100)


class DiscountSource(StrEnum):
    """Where a discount comes from (R-DISC-1)."""

    INTRO = "intro_offer"
    CODE = "promo_code"


class Discount(msgspec.Struct, frozen=True, kw_only=True):
    """A discount as a subscription runs it.

    `value` is a percentage, or an amount in the currency's major unit. `cycles_left` counts the billing periods that it
    still covers, None is forever (R-DISC-5). `name` is what the invoice's line calls it: the offer, or the code.
    """

    source: DiscountSource
    name: str
    type: DiscountType
    value: Decimal
    cycles_left: int | None

    @property
    def running(self) -> bool:
        """Tell whether the next period is covered."""
        return self.cycles_left is None or self.cycles_left > 0

    def spent(self) -> "Discount | None":
        """Tell what is left of it after one more period; None after the last (R-DISC-6)."""
        if self.cycles_left is None:
            return self
        if self.cycles_left <= 1:
            return None
        return msgspec.structs.replace(self, cycles_left=self.cycles_left - 1)


def amount_off(base: Money, discount: Discount) -> Money:
    """Tell what a discount takes off a base price: percent rounded half-up, at most the base (R-DISC-11)."""
    places = minor_places(base.currency)
    if discount.type is DiscountType.PERCENT:
        exact = EXACT.divide(EXACT.multiply(Decimal(base.minor), discount.value), _PERCENT)
    else:
        exact = EXACT.scaleb(discount.value, places)
    return Money(min(base.minor, int(exact.to_integral_value(rounding=ROUND_HALF_UP))), base.currency)


def leaves_enough(checkout_total_minor: int) -> bool:
    """Tell whether a code may leave this much of a checkout: 0.50 or more (R-DISC-9; AMB-30: seats included)."""
    return checkout_total_minor >= CHECKOUT_MIN_MINOR
