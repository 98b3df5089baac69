"""Calendar arithmetic in UTC days: intervals, periods counted from an anchor, and conversions. Pure.

A day is an int, days since 1970-01-01; an instant is unix microseconds or milliseconds, as its name says. Periods are
half-open. Invariants: periods of one anchor tile time; a boundary is the anchor's day of the month, clamped to the
month's end and counted from the anchor, so 31 January gives 28 February, then 31 March (R-INT-2).
"""

from calendar import monthrange
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from kernel import limits

DAY_MS: Final = limits.DAY_MS
DAY_US: Final = DAY_MS * 1_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_FIRST_US: Final = (date.min.toordinal() - _EPOCH) * DAY_US
_AFTER_US: Final = (date.max.toordinal() + 1 - _EPOCH) * DAY_US


class Interval(StrEnum):
    """How often a price recurs."""

    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"

    @property
    def months(self) -> int:
        """Tell its length in calendar months."""
        return {"monthly": 1, "quarterly": 3, "yearly": 12}[self.value]


class Period(NamedTuple):
    """Days from `start` up to, but without, `end`."""

    start: int
    end: int

    def holds(self, day: int) -> bool:
        """Tell whether `day` lies in the period."""
        return self.start <= day < self.end


def day_of(instant: date) -> int:
    """Number a calendar date."""
    return instant.toordinal() - _EPOCH


def date_of(day: int) -> date:
    """Tell the calendar date of a day's number."""
    return date.fromordinal(day + _EPOCH)


def day_of_us(instant_us: int) -> int:
    """Tell the UTC day of an instant in microseconds."""
    return instant_us // DAY_US


def boundary(anchor: int, index: int, interval: Interval) -> int:
    """Tell the first day of the period number `index` (0 starts at the anchor; negative ones lie before it)."""
    first = date_of(anchor)
    months = first.year * 12 + first.month - 1 + index * interval.months
    year, month = divmod(months, 12)
    return day_of(date(year, month + 1, min(first.day, monthrange(year, month + 1)[1])))


def period_index(anchor: int, day: int, interval: Interval) -> int:
    """Number the period that holds `day`."""
    first, then = date_of(anchor), date_of(day)
    index = ((then.year - first.year) * 12 + then.month - first.month) // interval.months
    while boundary(anchor, index, interval) > day:
        index -= 1
    while boundary(anchor, index + 1, interval) <= day:
        index += 1
    return index


def period_of(anchor: int, day: int, interval: Interval) -> Period:
    """Tell the period that holds `day`."""
    index = period_index(anchor, day, interval)
    return Period(boundary(anchor, index, interval), boundary(anchor, index + 1, interval))


def instant_text(instant_ms: int) -> str:
    """Spell an instant as the wire does: ISO 8601 in UTC with milliseconds and `Z`."""
    seconds, millis = divmod(instant_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{millis:03d}Z"


def parse_instant_us(text: str) -> int:
    """Read an ISO 8601 instant or date in microseconds; without a zone it is UTC.

    Raises ValueError, also for what `instant_text` cannot spell: an instant that in UTC lies outside the years 1 to
    9999.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    instant_us = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    if not _FIRST_US <= instant_us < _AFTER_US:
        raise ValueError("must lie in the years 1 to 9999, in UTC")
    return instant_us
