import pytest

from billing.money.rating import Allowance, charge, overage_units, rate
from kernel.quantity import to_units

ONE = 10**9


def allowance(included="10", price="0.015", *, overage=True, currency="usd"):
    units = None if included is None else to_units(included)
    return Allowance(included=units, overage=overage, unit_price=price, currency=currency)


@pytest.mark.parametrize(
    ("used", "terms", "over", "minor"),
    [
        ("0", allowance(), "0", 0),
        ("10", allowance(), "0", 0),
        ("10.000000001", allowance(), "0.000000001", 0),
        ("12.5", allowance(), "2.5", 4),  # 0.0375
        ("11", allowance(), "1", 2),  # 0.015: half away from zero
        ("2010", allowance(price="0.01"), "2000", 2000),  # contract 3.25: 2000 x 0.01 = 20.00
        ("5010", allowance(price="0.002"), "5000", 1000),  # R-PRICE-2
        ("1000000", allowance("0", "0.0000025"), "1000000", 250),
        ("1000000000000", allowance("0", "0.000000000001"), "1000000000000", 100),
        ("11.5", allowance(currency="jpy", price="3"), "1.5", 5),  # 4.5 yen, no minor unit
        ("11", allowance(currency="kwd", price="0.0015"), "1", 2),  # thousandths
        ("1000", allowance(None), "0", 0),  # unlimited
        ("1000", allowance(overage=False), "0", 0),  # usage stops at what is included
    ],
)
def test_overage_is_what_exceeds_the_included_at_the_price(used, terms, over, minor):
    """R-METER-2, R-GEN-2."""
    assert overage_units(to_units(used), terms) == to_units(over)
    assert rate(to_units(used), terms).minor == minor


def test_a_later_line_is_what_is_still_to_bill():
    terms = allowance()
    first = charge(11 * ONE, terms, billed_units=0, billed_minor=0)
    assert (first.units, first.amount.minor) == (ONE, 2)
    later = charge(12 * ONE, terms, billed_units=first.units, billed_minor=first.amount.minor)
    assert (later.units, later.amount.minor) == (ONE, 1)  # 0.03 in all
    assert charge(12 * ONE, terms, billed_units=2 * ONE, billed_minor=3).amount.minor == 0


@pytest.mark.parametrize(
    ("used", "units", "minor"),
    [(40, 5, 5), (35, 0, 0), (30, 0, 0), (20, 0, 0), (15, -5, -5), (10, -10, -10), (0, -10, -10)],
)
def test_what_was_void_does_not_come_back(used: int, units: int, minor: int) -> None:
    """R-TRACK-20, ADR 10: 25 beyond 10 were billed, 15 of them void; more is what exceeds all that was billed."""
    terms = Allowance(included=10 * ONE, overage=True, unit_price="0.01", currency="usd")
    before = {"billed_units": 25 * ONE, "billed_minor": 25, "void_units": 15 * ONE, "void_minor": 15}
    due = charge(used * ONE, terms, **before)
    assert (due.units, due.amount.minor) == (units * ONE, minor)
