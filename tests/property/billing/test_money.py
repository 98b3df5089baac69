"""Laws of billing's money: lines sum to totals, late lines telescope, the order of arrival changes nothing."""

from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, localcontext

from hypothesis import given
from hypothesis import strategies as st

from billing.money.closing import Billed, Window, WindowUsage, plan_close
from billing.money.rating import Allowance, charge, rate
from kernel.money import minor_places
from kernel.period import Interval, boundary
from kernel.quantity import from_units, to_units
from tests.unit.billing.make import ANCHOR, FEATURE, close, granted, period

units = st.integers(min_value=0, max_value=10**21)
prices = st.decimals(min_value=0, max_value=10**6, places=12, allow_nan=False, allow_infinity=False)
allowances = st.builds(
    Allowance,
    included=st.one_of(st.none(), units),
    overage=st.booleans(),
    unit_price=prices.map(lambda price: format(price, "f")),
    currency=st.sampled_from(["usd", "jpy", "kwd"]),
)


@given(allowances, units)
def test_a_rate_is_the_exact_amount_rounded_once(allowance, total):
    over = 0 if allowance.included is None or not allowance.overage else max(0, total - allowance.included)
    with localcontext(Context(prec=80, traps=[Inexact])):
        exact = Decimal(over) * Decimal(allowance.unit_price) / 10**9
    with localcontext(Context(prec=80)):
        wanted = exact.scaleb(minor_places(allowance.currency)).quantize(Decimal(1), ROUND_HALF_UP)
    assert rate(total, allowance).minor == wanted


@given(allowances, st.lists(units, min_size=1, max_size=8))
def test_all_lines_of_a_window_sum_to_the_rate_of_its_final_total(allowance, arrivals):
    total, billed_units, billed_minor = 0, 0, 0
    for arrived in arrivals:
        total += arrived
        line = charge(total, allowance, billed_units=billed_units, billed_minor=billed_minor)
        assert line.units >= 0
        assert line.amount.minor >= 0
        billed_units += line.units
        billed_minor += line.amount.minor
    assert billed_minor == rate(total, allowance).minor


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 10**13)), max_size=30),
    st.sampled_from(["0.015", "0.0000025", "0.1", "3", "0.333333333333"]),
)
def test_invoices_of_a_year_with_late_events_sum_to_what_its_windows_cost(events, price):
    """Each event is (its window, how many windows late, units); six windows, closed one after the other."""
    periods = [period(index, granted(included="1", unit_price=price)) for index in range(13)]
    billed, invoiced = {}, 0
    for cut in range(1, 12):
        totals = {}
        for window, late, amount in events:
            if window + late < cut:
                key = Window(FEATURE, 1, boundary(ANCHOR, window, Interval.MONTHLY))
                end = boundary(ANCHOR, window + 1, Interval.MONTHLY)
                before = totals[key].units if key in totals else 0
                totals[key] = WindowUsage(end=end, units=before + amount)
        draft = plan_close(close(cut - 1, cut=cut), periods, totals, billed)
        assert draft.total_minor == sum(line.amount_minor for line in draft.lines)
        for line in draft.lines:
            if line.window is not None:
                assert line.amount_minor != 0
                key = Window(FEATURE, 1, line.window.start)
                old = billed.get(key, Billed(units=0, minor=0, cut=0))
                assert line.cut_after == old.cut
                billed[key] = Billed(
                    units=old.units + to_units(line.quantity), minor=old.minor + line.amount_minor, cut=cut
                )
                invoiced += line.amount_minor
    cost = 0
    for window in range(6):
        used = sum(amount for where, _, amount in events if where == window)
        over = max(Decimal(0), from_units(used) - 1)
        cost += int((over * Decimal(price) * 100).quantize(Decimal(1), ROUND_HALF_UP))
    assert invoiced == cost
