from datetime import date
from decimal import Decimal

import pytest

from billing.sale.proration import Share, share_left, share_of_amount, share_of_change
from catalog.definition import DayCount
from kernel.period import Interval, Period, day_of, period_of


def day(text):
    return day_of(date.fromisoformat(text))


@pytest.mark.parametrize(
    ("anchor", "on", "interval", "share"),
    [
        ("2026-01-01", "2026-01-15", Interval.MONTHLY, (15, 30)),  # DOC-PRO-01
        ("2026-01-01", "2026-02-15", Interval.QUARTERLY, (45, 90)),  # DOC-PRO-05
        ("2026-01-01", "2026-01-01", Interval.MONTHLY, (29, 30)),  # the day of the change is used
        ("2026-01-01", "2026-01-30", Interval.MONTHLY, (0, 30)),
        ("2026-01-01", "2026-01-31", Interval.MONTHLY, (0, 30)),  # min(30, day 31): never below 0
        ("2026-02-01", "2026-02-28", Interval.MONTHLY, (2, 30)),
        ("2025-12-15", "2026-02-14", Interval.YEARLY, (300, 360)),  # day 31 of the second month counts as 30
        ("2026-01-31", "2026-02-28", Interval.MONTHLY, (29, 30)),  # the clamped boundary begins a period
        ("2026-01-01", "2026-12-31", Interval.YEARLY, (0, 360)),
    ],
)
def test_a_change_of_plan_counts_months_of_30_days(anchor, on, interval, share):
    """R-PRO-2, R-PRO-4."""
    assert share_of_change(day(anchor), day(on), interval, DayCount.MONTHS_OF_30) == share


@pytest.mark.parametrize(
    ("anchor", "on", "interval", "share"),
    [
        ("2026-01-01", "2026-01-15", Interval.MONTHLY, (16, 31)),
        ("2026-02-01", "2026-02-15", Interval.MONTHLY, (13, 28)),
        ("2026-01-01", "2026-02-15", Interval.QUARTERLY, (44, 90)),
        ("2026-01-01", "2026-01-31", Interval.MONTHLY, (0, 31)),
    ],
)
def test_the_switch_counts_actual_days(anchor, on, interval, share):
    """R-PRO-5."""
    assert share_of_change(day(anchor), day(on), interval, DayCount.ACTUAL) == share


def test_a_part_of_a_period_counts_actual_days():
    """R-PRO-3: bought on day 11 of 31, 20 are left; DOC-ADD-01."""
    march = period_of(day("2026-03-01"), day("2026-03-11"), Interval.MONTHLY)
    share = share_left(march, day("2026-03-11"))
    assert share == (20, 31)
    assert share_of_amount(Decimal("50.00"), share, "usd").minor == 3226
    assert share_of_amount(Decimal("15.00"), share, "usd").minor == 968


@pytest.mark.parametrize(
    ("amount", "share", "currency", "minor"),
    [
        ("29", Share(15, 30), "usd", 1450),
        ("-29", Share(15, 30), "usd", -1450),
        ("0.01", Share(15, 30), "usd", 1),  # half a cent, away from zero
        ("-0.01", Share(15, 30), "usd", -1),
        ("0.01", Share(14, 30), "usd", 0),
        ("100", Share(1, 3), "jpy", 33),
        ("0.000001", Share(1, 1), "usd", 0),
        ("99", Share(0, 30), "usd", 0),
    ],
)
def test_a_share_is_rounded_once_away_from_zero(amount, share, currency, minor):
    """R-PRO-1, R-GEN-2."""
    assert share_of_amount(Decimal(amount), share, currency).minor == minor


@pytest.mark.parametrize(
    ("on", "count", "share"),
    [
        ("2026-02-07", DayCount.MONTHS_OF_30, (29, 30)),
        ("2026-02-09", DayCount.MONTHS_OF_30, (27, 30)),
        ("2026-03-09", DayCount.MONTHS_OF_30, (0, 30)),
        ("2026-02-09", DayCount.ACTUAL, (28, 31)),
    ],
)
def test_a_period_that_was_paused_is_counted_from_the_first_of_its_days(on, count, share):
    """R-PRO-2, R-PRO-5, contract T56: 31 days up to 10 March, which a month up to it has not."""
    days = Period(day("2026-02-07"), day("2026-03-10"))
    assert share_of_change(days.end, day(on), Interval.MONTHLY, count, days) == share
