from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.quantity import canonical, from_units, parse_quantity, to_units

units_allowed = st.integers(0, 10**21)
units_any = st.integers(-(10**58), 10**58)
exponents = st.integers(-45, 15) | st.integers(-400, 400) | st.sampled_from([-999_999_999, 999_999_999])


@given(units=units_any)
def test_units_come_back(units):
    assert to_units(from_units(units)) == units
    assert to_units(str(from_units(units))) == units


@given(units=units_allowed)
def test_what_units_can_say_is_a_quantity_and_the_spelling_reads_back(units):
    number = parse_quantity(from_units(units))
    assert to_units(canonical(number)) == units
    assert canonical(Decimal(canonical(number))) == canonical(number)


@given(units=units_allowed, zeros=st.integers(0, 20))
def test_equal_quantities_have_one_spelling(units, zeros):
    text = f"{units // 10**9}.{units % 10**9:09d}" + "0" * zeros
    assert canonical(parse_quantity(Decimal(text))) == canonical(from_units(units))


def allowed(digits: int, exponent: int) -> bool:
    """Tell in integers alone whether digits x 10^exponent lies in [0, 1e12] and is a multiple of 1e-9 (R-TRACK-3)."""
    if digits == 0:
        return True
    if digits < 0 or exponent > 12:
        return False
    if exponent < -60:  # more places than 41 digits can end in zeros
        return False
    scaled, rest = divmod(digits * 10 ** (exponent + 60), 10**51)
    return rest == 0 and scaled <= 10**21


@given(digits=st.integers(-(10**40), 10**40) | st.integers(0, 10**15).map(lambda n: n * 10**20), exponent=exponents)
def test_a_number_is_kept_exactly_or_refused(digits, exponent):
    number = Decimal((int(digits < 0), tuple(int(digit) for digit in str(abs(digits))), exponent))
    if not allowed(digits, exponent):
        with pytest.raises(ValueError, match="must"):
            parse_quantity(number)
        return
    quantity = parse_quantity(number)
    assert quantity == number
    text = canonical(quantity)
    assert len(text) <= 23
    assert "E" not in text
    assert Decimal(text) == number


@given(parts=st.lists(units_allowed, max_size=50))
def test_sums_are_the_same_in_units_and_in_decimals(parts):
    assert from_units(sum(parts)) == sum((from_units(part) for part in parts), Decimal(0))
