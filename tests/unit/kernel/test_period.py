from datetime import date

import pytest

from kernel.period import (
    DAY_US,
    Interval,
    Period,
    boundary,
    date_of,
    day_of,
    day_of_us,
    instant_text,
    parse_instant_us,
    period_index,
    period_of,
)


def day(text: str) -> int:
    return day_of(date.fromisoformat(text))


@pytest.mark.parametrize(
    ("anchor", "interval", "boundaries"),
    [
        # R-INT-2: clamped to the month's end, counted from the anchor
        ("2023-01-31", Interval.MONTHLY, ["2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31"]),
        ("2024-01-31", Interval.MONTHLY, ["2024-01-31", "2024-02-29", "2024-03-31"]),
        ("2024-01-15", Interval.MONTHLY, ["2024-01-15", "2024-02-15", "2024-03-15"]),
        ("2024-11-30", Interval.QUARTERLY, ["2024-11-30", "2025-02-28", "2025-05-30", "2025-08-30"]),
        ("2024-02-15", Interval.QUARTERLY, ["2024-02-15", "2024-05-15"]),
        ("2024-02-29", Interval.YEARLY, ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
    ],
)
def test_boundaries_are_counted_from_the_anchor(anchor, interval, boundaries):
    found = [date_of(boundary(day(anchor), index, interval)).isoformat() for index in range(len(boundaries))]
    assert found == boundaries


def test_boundaries_before_the_anchor():
    assert date_of(boundary(day("2024-01-31"), -2, Interval.MONTHLY)) == date(2023, 11, 30)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("2023-02-27", "2023-01-31", "2023-02-28"),
        ("2023-02-28", "2023-02-28", "2023-03-31"),
        ("2023-03-30", "2023-02-28", "2023-03-31"),
        ("2023-03-31", "2023-03-31", "2023-04-30"),
        ("2023-01-30", "2022-12-31", "2023-01-31"),
    ],
)
def test_the_period_that_holds_a_day(asked, start, end):
    assert period_of(day("2023-01-31"), day(asked), Interval.MONTHLY) == Period(day(start), day(end))


def test_periods_are_half_open():
    period = Period(10, 12)
    assert [period.holds(each) for each in (9, 10, 11, 12)] == [False, True, True, False]


def test_indexes():
    anchor = day("2023-01-31")
    assert [
        period_index(anchor, day(text), Interval.MONTHLY) for text in ("2023-01-30", "2023-01-31", "2023-02-28")
    ] == [-1, 0, 1]


@pytest.mark.parametrize(("instant_us", "expected"), [(0, 0), (DAY_US - 1, 0), (DAY_US, 1), (-1, -1)])
def test_an_instants_day(instant_us, expected):
    assert day_of_us(instant_us) == expected


@pytest.mark.parametrize(
    ("text", "instant_us"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:01", 1_000_000),
        ("1969-12-31T23:59:59.5Z", -500_000),
        ("2024-02-29T12:00:00.123456Z", 1_709_208_000_123_456),
    ],
)
def test_instants_are_read_in_utc(text, instant_us):
    assert parse_instant_us(text) == instant_us


@pytest.mark.parametrize(
    "text",
    [
        *["", "yesterday", "2023-02-29", "2024-01-01T25:00:00Z", "1700000000"],
        *["9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.999999-00:01", "0001-01-01T00:00:00+00:01"],
    ],
)
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(ValueError):
        parse_instant_us(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"])
def test_what_is_read_can_be_spelled(text):
    instant_us = parse_instant_us(text)
    assert instant_text(instant_us // 1000) == text
    assert day_of(date_of(day_of_us(instant_us))) == day_of_us(instant_us)


@pytest.mark.parametrize(
    ("instant_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_709_208_000_123, "2024-02-29T12:00:00.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_instants_are_spelled_with_milliseconds(instant_ms, text):
    assert instant_text(instant_ms) == text
