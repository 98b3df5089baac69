"""A close under any usage: its lines sum to its total, it is the same whenever it is made, in whatever order."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from billing.life.turning import turn
from billing.money.closing import Billed, Close, DrawWindow, Window, WindowDrawn, WindowUsage, plan_close
from billing.sale.discount import Discount, DiscountSource
from catalog.definition import DiscountType
from catalog.terms import ConsumptionModel
from kernel.period import Interval, Period, boundary, period_of
from kernel.quantity import to_units
from tests.unit.billing.make import ANCHOR, FEATURE, granted, period, subscription

MONTHS = 4
quantities = st.integers(0, 10**6).map(lambda thousandths: thousandths * 10**6)
prices = st.sampled_from(["0", "0.0005", "0.015", "1", "12.345"])
# (month of the event, cut at which it came, 1e-9 units)
events = st.lists(st.tuples(st.integers(0, MONTHS - 1), st.integers(0, 2), quantities), max_size=30)


@st.composite
def discounts(draw):
    kind = draw(st.sampled_from(DiscountType))
    value = draw(st.decimals(0, 100, places=2))
    cycles = draw(st.none() | st.integers(1, 3))
    return Discount(source=DiscountSource.CODE, name="CODE", type=kind, value=value, cycles_left=cycles)


def start_of(month: int) -> int:
    return boundary(ANCHOR, month, Interval.MONTHLY)


def usage_of(found, upto: int) -> dict[Window, WindowUsage]:
    """Sum events up to a cut by window: no event counts before its window begins."""
    sums: dict[int, int] = defaultdict(int)
    for month, late, units in found:
        if month + 1 + late <= upto:
            sums[month] += units
    return {
        Window(FEATURE, 1, start_of(month)): WindowUsage(end=start_of(month + 1), units=units)
        for month, units in sums.items()
    }


def bills(found, terms, draws):
    """Close month after month, each from what was counted by then and what was billed before."""
    current, billed, made = subscription(), {}, []
    for cut in range(1, MONTHS + 1):
        step = turn(current, terms[cut])
        close = Close(subscription=step.after, cut=cut, bill=step.bill)
        totals = usage_of(found, cut)
        draft = plan_close(close, terms, totals, billed, draws)
        assert plan_close(close, terms[::-1], dict(reversed(totals.items())), billed, draws) == draft
        assert draft.total_minor == sum(line.amount_minor for line in draft.lines)
        for line in draft.lines:
            if line.window is None:
                continue
            window = Window(line.feature_id or "", line.term, line.window.start)
            before = billed.get(window, Billed(units=0, minor=0, cut=0))
            billed[window] = Billed(
                units=before.units + to_units(line.quantity), minor=before.minor + line.amount_minor, cut=cut
            )
        made.append(draft)
        current = step.after
    return made


def terms_with(price: str, included: int, discount: Discount | None, **more):
    one = granted(unit_price=price, included=str(included))
    found = []
    for month in range(MONTHS + 2):
        found.append(period(month, one, discount=discount, **more))
        discount = None if discount is None else discount.spent()
    return found


@given(events, prices, st.integers(0, 500), st.none() | discounts(), st.randoms())
def test_any_order_of_events_gives_the_same_amounts(found, price, included, discount, chance):
    """R-GEN-2, R-TRACK-8, R-TRACK-20."""
    terms = terms_with(price, included, discount)
    made = bills(found, terms, {})
    shuffled = list(found)
    chance.shuffle(shuffled)
    assert bills(shuffled, terms, {}) == made
    for draft in made:
        base, *rest = draft.lines
        off = sum(line.amount_minor for line in rest if line.kind == "discount")
        assert -base.amount_minor <= off <= 0  # R-DISC-11
        assert draft.total_minor >= 0


@given(st.lists(st.integers(0, 10**13), min_size=MONTHS, max_size=MONTHS))
def test_each_overdraft_is_billed_once_and_rounded_once(overdrafts):
    """R-BAL-3, R-GEN-4, R-INV-11."""
    terms = terms_with("0.001", 0, None, model=ConsumptionModel.BALANCE, pool="50", overdraft=True)
    draws = {DrawWindow(1, start_of(month)): WindowDrawn(overdraft=units) for month, units in enumerate(overdrafts)}
    made = bills([], terms, draws)
    amounts = [sum(line.amount_minor for line in one.lines if line.kind == "balance_overage") for one in made]
    assert amounts == [(units + 5 * 10**6) // 10**7 for units in overdrafts]


@given(st.integers(0, 40_000), st.sampled_from(Interval), st.integers(0, 1_500))
def test_periods_and_windows_tile_time_for_every_anchor(anchor, interval, after):
    """R-INT-1, R-INT-2: every day lies in one period and one window, and windows end where periods do."""
    day = anchor + after
    whole, window = period_of(anchor, day, interval), period_of(anchor, day, Interval.MONTHLY)
    assert whole.holds(day)
    assert window.holds(day)
    assert whole.start <= window.start
    assert window.end <= whole.end
    assert period_of(anchor, whole.end, interval).start == whole.end
    assert period_of(anchor, whole.start, interval) == Period(whole.start, whole.end)
