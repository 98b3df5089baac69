from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from kernel.period import (
    Interval,
    boundary,
    date_of,
    day_of,
    day_of_us,
    instant_text,
    parse_instant_us,
    period_index,
    period_of,
)

days = st.integers(day_of(date(1950, 1, 1)), day_of(date(2150, 1, 1)))
intervals = st.sampled_from(list(Interval))
indexes = st.integers(-200, 400)
instants_ms = st.integers(-62_000_000_000_000, 250_000_000_000_000)


@given(anchor=days, day=days, interval=intervals)
def test_periods_tile_time(anchor, day, interval):
    period = period_of(anchor, day, interval)
    assert period.holds(day)
    assert period.start < period.end
    assert period_of(anchor, period.end, interval).start == period.end
    assert period_of(anchor, period.start - 1, interval).end == period.start
    assert period_of(anchor, period.end - 1, interval) == period_of(anchor, period.start, interval) == period


@given(anchor=days, index=indexes, interval=intervals)
def test_index_and_boundary_undo_each_other(anchor, index, interval):
    assert period_index(anchor, boundary(anchor, index, interval), interval) == index
    assert period_index(anchor, boundary(anchor, index + 1, interval) - 1, interval) == index


@given(anchor=days, interval=intervals)
def test_the_first_period_starts_at_the_anchor(anchor, interval):
    assert boundary(anchor, 0, interval) == anchor


@given(anchor=days, index=indexes, interval=intervals)
def test_a_boundary_is_the_anchors_day_or_the_months_last(anchor, index, interval):
    first, found = date_of(anchor), date_of(boundary(anchor, index, interval))
    assert found.day == first.day or (found.day < first.day and date_of(day_of(found) + 1).day == 1)
    months = (found.year - first.year) * 12 + found.month - first.month
    assert months == index * interval.months


@given(anchor=days, index=indexes)
def test_longer_intervals_end_where_a_month_does(anchor, index):
    for interval in (Interval.QUARTERLY, Interval.YEARLY):
        assert boundary(anchor, index, interval) == boundary(anchor, index * interval.months, Interval.MONTHLY)


@given(anchor=days, day=days, later=st.integers(0, 1_000), interval=intervals)
def test_indexes_never_fall(anchor, day, later, interval):
    assert period_index(anchor, day, interval) <= period_index(anchor, day + later, interval)


@given(instant_ms=instants_ms)
def test_instants_read_back_what_was_spelled(instant_ms):
    assert parse_instant_us(instant_text(instant_ms)) == instant_ms * 1_000
    assert date_of(day_of_us(instant_ms * 1_000)).isoformat() == instant_text(instant_ms)[:10]
