"""Days of a period that are still to come, and what a share of an amount is. Pure.

Two counts exist side by side, as the documents have them: a change of plan counts months of 30 days, a part of a
period that is bought (an add-on, a seat) counts actual days. Invariant: a share lies between none and the whole; the
day of the change counts as used; only the UTC date decides. Source: R-PRO-1 to R-PRO-5, AMB-2, AMB-3.
"""

from decimal import Decimal
from typing import Final, NamedTuple

from catalog.definition import DayCount
from kernel.money import Money, minor_places
from kernel.period import Interval, Period, period_index, period_of
from kernel.quantity import EXACT

MONTH_DAYS: Final = 30


class Share(NamedTuple):
    """`remaining` of `days` are still to come."""

    remaining: int
    days: int


def share_left(period: Period, day: int) -> Share:
    """Tell what is left of a period on `day` in actual days, that day used (R-PRO-3)."""
    days = period.end - period.start
    return Share(max(0, period.end - 1 - day), days)


def share_of_change(anchor: int, day: int, interval: Interval, count: DayCount, paused: Period | None = None) -> Share:
    """Tell what is left on `day` of the billing period that holds it, for a change of plan (R-PRO-2, R-PRO-5).

    The period starts at `anchor` or a whole number of intervals from it. `paused` are its days where a pause cut it in
    two: months are then counted from the first of them, since its end is no whole interval away.
    """
    period = paused or period_of(anchor, day, interval)
    if count is DayCount.ACTUAL:
        return share_left(period, day)
    first = anchor if paused is None else paused.start
    month = period_of(first, day, Interval.MONTHLY)
    full_months = period_index(first, day, Interval.MONTHLY) - period_index(first, period.start, Interval.MONTHLY)
    used = MONTH_DAYS * full_months + min(MONTH_DAYS, day - month.start + 1)
    days = MONTH_DAYS * interval.months
    return Share(max(0, days - used), days)


def share_of_amount(amount: Decimal, share: Share, currency: str) -> Money:
    """Tell a share of an exact major amount as money, rounded once, halves away from zero (R-PRO-1, R-GEN-2)."""
    top, bottom = EXACT.scaleb(amount, minor_places(currency)).as_integer_ratio()
    top, bottom = top * share.remaining, bottom * share.days
    minor = (2 * abs(top) + bottom) // (2 * bottom)
    return Money(-minor if top < 0 else minor, currency)
