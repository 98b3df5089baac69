from decimal import Decimal, Inexact

import pytest

from kernel.limits import QUANTITY_MAX
from kernel.quantity import canonical, fit_places, from_units, parse_quantity, to_units


@pytest.mark.parametrize(
    ("number", "spelled"),
    [
        ("0.5", "0.5"),  # R-TRACK-3: fractions are usage
        ("0", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1.50", "1.5"),
        ("100", "100"),
        ("1E+2", "100"),
        ("1E-9", "0.000000001"),
        ("10E-10", "0.000000001"),  # ten places written, nine needed
        ("0E-999999", "0"),
        ("0E+999999", "0"),
        ("1.0000000000000", "1"),
        ("1E+12", "1000000000000"),
        ("123456789.123456789", "123456789.123456789"),
    ],
)
def test_a_quantity_has_one_spelling(number, spelled):
    assert canonical(parse_quantity(Decimal(number))) == spelled


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("1e400", "at most"),
        ("1000000000000.000000001", "at most"),
        ("NaN", "finite"),
        ("sNaN", "finite"),
        ("Infinity", "finite"),
        ("-Infinity", "finite"),
        ("-1", "negative"),
        ("-1E-9", "negative"),
        ("1E-10", "places"),
        ("1.0000000001", "places"),
        ("1E-999999", "places"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(number, reason):
    with pytest.raises(ValueError, match=reason):
        parse_quantity(Decimal(number))


def test_true_is_not_a_quantity():
    with pytest.raises(ValueError, match="number"):
        parse_quantity(True)


def test_the_greatest_quantity_is_allowed():
    assert parse_quantity(QUANTITY_MAX) == QUANTITY_MAX
    assert parse_quantity(int(QUANTITY_MAX)) == QUANTITY_MAX


@pytest.mark.parametrize(
    ("number", "units"), [("0.5", 500_000_000), ("1E-9", 1), ("0", 0), ("1E+12", 10**21), ("-2", -2 * 10**9)]
)
def test_units(number, units):
    assert to_units(number) == units
    assert to_units(Decimal(number)) == units
    assert from_units(units) == Decimal(number)


def test_a_tenth_place_never_becomes_units():
    with pytest.raises(Inexact):
        to_units("1E-10")


@pytest.mark.parametrize(("units", "text"), [(1_500_000_000, "1.5"), (10**12, "1000"), (0, "0"), (10**9, "1")])
def test_from_units_has_no_trailing_zeros_and_no_exponent_above_one(units, text):
    assert str(from_units(units)) == text


def test_fit_places_keeps_the_value_or_refuses():
    assert str(fit_places(Decimal("1.20"), 2)) == "1.20"
    assert str(fit_places(Decimal("1E+2"), 2)) == "100.00"
    with pytest.raises(ValueError, match="2 decimal places"):
        fit_places(Decimal("1.234"), 2)
