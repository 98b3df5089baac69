"""A billing period that a pause cut in two: its parts, and its days as if there had been no pause. Pure.

Invariant: what was paid for the period, its seats and their growth are of all its parts together; the days of a part
before a pause count as far from the period's end as they were. Source: contract T56; R-SEAT-7 to R-SEAT-9, R-PRO-6.
"""

from collections.abc import Sequence
from typing import NamedTuple

from billing.life.frozen import PeriodTerms
from kernel.period import DAY_MS, Period


class Part(NamedTuple):
    """A part of a billing period: the number of its terms, its begin, by how many days the period's end moved since."""

    term: int
    since_ms: int
    shift: int


def goes_on(period: PeriodTerms) -> bool:
    """Tell whether terms go on with a period that was paused at once: they alone are counted from their end."""
    return period.anchor_day == period.until_day


def parts_of(periods: Sequence[PeriodTerms], period: PeriodTerms) -> list[Part]:
    """List the parts of a billing period, the last one being `period`; `periods` are all terms of its subscription."""
    *paused, last = _rows(periods, period)
    moved = [Part(one.term, begin_ms(one), _days(one.until_day, period.until_day)) for one in paused]
    return [*moved, Part(last.term, begin_ms(last), 0)]


def days_of(periods: Sequence[PeriodTerms], period: PeriodTerms) -> Period | None:
    """Tell the days of a billing period that was paused, its pauses cut out: as many as it began with, up to its end.

    None for one that never was: its terms tell them.
    """
    if not goes_on(period):
        return None
    first = _rows(periods, period)[0]
    assert period.until_day is not None, "a period that was paused has an end"
    return Period(period.until_day - _days(first.since_day, first.until_day), period.until_day)


def terms_before(periods: Sequence[PeriodTerms], resumed: PeriodTerms) -> PeriodTerms:
    """Tell the terms that were in force when the pause began that `resumed` ended."""
    return max((one for one in periods if one.term < resumed.term), key=lambda one: (one.term, one.since_day))


def begin_ms(period: PeriodTerms) -> int:
    """Tell the instant at which a period began under its terms."""
    return max(period.since_day * DAY_MS, period.start_us // 1000)


def _rows(periods: Sequence[PeriodTerms], period: PeriodTerms) -> list[PeriodTerms]:
    found = [period]
    while goes_on(found[0]):
        found.insert(0, terms_before(periods, found[0]))
    return found


def _days(begin: int | None, end: int | None) -> int:
    assert begin is not None, "a period that was paused has an end"
    assert end is not None, "and so has what goes on with it"
    return end - begin
