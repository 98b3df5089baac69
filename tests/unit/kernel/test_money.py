from decimal import Decimal

import pytest

from kernel.money import UNIT_PRICE_MAX, Money, minor_places, parse_unit_price, round_half_away


@pytest.mark.parametrize(
    ("currency", "places"),
    [("USD", 2), ("eur", 2), ("JPY", 0), ("krw", 0), ("CLP", 0), ("PYG", 0), ("KWD", 3), ("XXX", 2)],
)
def test_minor_places(currency, places):
    assert minor_places(currency) == places


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("32.258064", "USD", 3226),  # R-GEN-2: 50 x 20 / 31
        ("0.005", "USD", 1),
        ("-0.005", "USD", -1),
        ("0.00499999999999999999999999999999", "USD", 0),
        ("2.675", "USD", 268),  # a double would say 2.67
        ("-2.675", "USD", -268),
        ("1.5", "JPY", 2),
        ("0.5", "JPY", 1),
        ("0.4999", "JPY", 0),
        ("1.0005", "KWD", 1001),
        ("0", "USD", 0),
        ("1" + "0" * 40, "USD", 10**42),  # more digits than the ambient decimal context has
    ],
)
def test_halves_round_away_from_zero_at_the_minor_unit(amount, currency, minor):
    assert round_half_away(Decimal(amount), currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("minor", "weights", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (100, [1, 2], [33, 67]),
        (5, [0, 1, 0], [0, 5, 0]),
        (1, [1, 1], [1, 0]),
        (0, [3, 4], [0, 0]),
    ],
)
def test_split_gives_left_over_units_to_the_largest_remainders(minor, weights, parts):
    assert [part.minor for part in Money(minor, "USD").split(weights)] == parts


@pytest.mark.parametrize("weights", [[], [0, 0], [2, -1]])
def test_split_needs_weights(weights):
    with pytest.raises((AssertionError, ValueError)):
        Money(1, "USD").split(weights)


def test_currencies_do_not_mix():
    with pytest.raises(AssertionError):
        Money(1, "USD") + Money(1, "EUR")
    with pytest.raises(AssertionError):
        Money(1, "USD") - Money(1, "EUR")


@pytest.mark.parametrize(
    ("minor", "currency", "major"), [(1234, "USD", "12.34"), (5, "JPY", "5"), (-1, "KWD", "-0.001")]
)
def test_major(minor, currency, major):
    assert Money(minor, currency).major() == Decimal(major)


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("0.0000025", "0.0000025"),
        ("0", "0"),
        ("2.5e-6", "0.0000025"),
        ("1E3", "1000"),
        ("0.10", "0.1"),
        ("1e-12", "1e-12"),
    ],
)
def test_unit_price_is_read_exactly(text, price):
    assert parse_unit_price(text) == Decimal(price)
    assert "E" not in format(parse_unit_price(text).normalize(), "f")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "NaN",
        "sNaN",
        "Infinity",
        "-1",
        "-0",
        "+1",
        "1e-13",
        "0.0000000000001",
        " 1",
        "1_0",
        "\uff11",
        "1e400",
        "1e",
        ".5",
    ],
)
def test_unit_price_is_refused_with_a_reason(text):
    with pytest.raises(ValueError, match="must"):
        parse_unit_price(text)


def test_unit_price_has_a_bound():
    assert parse_unit_price(str(UNIT_PRICE_MAX)) == UNIT_PRICE_MAX
    with pytest.raises(ValueError, match="at most"):
        parse_unit_price(f"{UNIT_PRICE_MAX}.1")
