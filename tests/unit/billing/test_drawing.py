"""Draws of a balance: the overdraft that is left when a window ends, and the line that bills it."""

import pytest

from aggregator.account import Account, Draws, WindowDraws
from billing.life.turning import turn
from billing.money.agreement import RawDraws, difference
from billing.money.closing import Billed, Close, DrawWindow, Window, WindowDrawn, WindowUsage, plan_close
from billing.money.drawing import draws_of, live_draws
from catalog.terms import ConsumptionModel, TopUp
from kernel.period import DAY_MS, Interval, boundary
from kernel.quantity import to_units
from tests.unit.billing.make import ANCHOR, FEATURE, close, day, granted, period, subscription

UNIT = granted(included="0", overage=False, unit_price="0.001")
BALANCE = {"model": ConsumptionModel.BALANCE, "pool": "50", "overdraft": True}
FIRST, SECOND = (1, ANCHOR), (1, boundary(ANCHOR, 1, Interval.MONTHLY))


def balance(index, **changes):
    return period(index, UNIT, **{**BALANCE, **changes})


def units(text):
    return to_units(text)


def bought(key, amount):
    return TopUp(term=key[0], window=key[1], amount=units(amount))


def overdrafts(sums, *top_ups, periods=None):
    found = draws_of(subscription(), periods or [balance(0), balance(1)], sums, top_ups)
    return {(window.term, window.start): drawn.overdraft for window, drawn in found.items()}


def test_an_overdraft_is_billed_once_when_its_window_ends():
    """R-BAL-3, R-GEN-4: one line, rounded once; a window that is open has none."""
    draws = {
        DrawWindow(*FIRST): WindowDrawn(overdraft=units("4.0251")),
        DrawWindow(*SECOND): WindowDrawn(overdraft=units("9")),
    }
    draft = plan_close(close(0, cut=1), [balance(0), balance(1)], {}, {}, draws)
    base, line = draft.lines
    assert (base.kind, line.kind, line.amount_minor, line.quantity) == ("plan_base", "balance_overage", 403, "4.0251")
    assert (line.feature_id, line.window.start, line.line_type) == (None, ANCHOR, "balance_overage")
    again = {Window("", *FIRST): _billed(line)}
    assert len(plan_close(close(0, cut=1), [balance(0), balance(1)], {}, again, draws).lines) == 1


def _billed(line):
    return Billed(units=units(line.quantity), minor=line.amount_minor, cut=line.cut)


def test_usage_of_a_balance_plan_has_no_lines_of_its_own():
    """R-BAL-2, R-TRACK-9: it was drawn when it was tracked."""
    totals = {Window(FEATURE, *FIRST): _usage("100000")}
    assert [line.kind for line in plan_close(close(0, cut=1), [balance(0), balance(1)], totals, {}).lines] == [
        "plan_base"
    ]


def _usage(quantity):
    return WindowUsage(end=SECOND[1], units=units(quantity))


@pytest.mark.parametrize(("amount", "left"), [("0", "10"), ("4", "6"), ("10", "0"), ("20", "0")])
def test_a_top_up_pays_an_overdraft_of_its_window_first(amount, left):
    """R-TOPUP-4, AMB-20: whatever came first."""
    sums = {FIRST: Draws(plan=units("50"), overdraft=units("10"))}
    assert overdrafts(sums, bought(FIRST, amount)) == {FIRST: units(left)}


def test_a_quarters_top_ups_carry_from_month_to_month_and_overdrafts_do_not():
    """R-BAL-4, R-TOPUP-3, AMB-21."""
    quarter = {"interval": Interval.QUARTERLY, "until_day": day("2026-04-30")}
    periods = [balance(0, **quarter)]
    sums = {
        FIRST: Draws(plan=units("50"), top_ups=units("5")),
        SECOND: Draws(plan=units("50"), top_ups=units("15"), overdraft=units("3")),
    }
    assert overdrafts(sums, bought(FIRST, "20"), periods=periods) == {FIRST: 0, SECOND: units("3")}


def test_a_month_of_a_quarter_bills_its_overdraft_by_itself():
    """R-INV-3, R-INT-4."""
    quarter = {"interval": Interval.QUARTERLY, "until_day": day("2026-04-30")}
    one = subscription(billing_interval=Interval.QUARTERLY, period_end_day=day("2026-04-30"))
    step = turn(one, None)
    draws = {DrawWindow(*FIRST): WindowDrawn(overdraft=units("1.5"))}
    draft = plan_close(Close(subscription=step.after, cut=1, bill=step.bill), [balance(0, **quarter)], {}, {}, draws)
    assert (draft.kind, [(line.kind, line.amount_minor) for line in draft.lines]) == (
        "overage",
        [("balance_overage", 150)],
    )


def test_credits_and_metered_plans_have_no_overdraft():
    """R-CREDIT-2, R-CREDIT-5."""
    sums = {FIRST: Draws(plan=units("50"), packs=units("10"))}
    assert overdrafts(sums, periods=[balance(0, model=ConsumptionModel.CREDITS, overdraft=False)]) == {}


def test_no_invoice_is_written_when_live_and_raw_drew_differently():
    window = WindowDraws(end=SECOND[1], now=Draws(plan=9), at_cut=Draws(plan=5, overdraft=2))
    account = Account(rev=1, clock_ms=ANCHOR * DAY_MS, cut=1, draws={FIRST: window})
    same = {FIRST: RawDraws(end=SECOND[1], drawn=Draws(plan=5, overdraft=2))}
    assert difference(account, {}, same) is None
    found = difference(account, {}, {FIRST: RawDraws(end=SECOND[1], drawn=Draws(plan=5, overdraft=3))})
    name = f"pool/1/{ANCHOR}/overdraft"
    assert (found.live, found.raw) == ({name: "0.000000002"}, {name: "0.000000003"})
    assert live_draws(account) == {FIRST: Draws(plan=9)}
