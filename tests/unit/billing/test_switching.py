"""A change of plan, decided and priced: paths, frames, and the invoice of one that is charged."""

import msgspec
import pytest

from billing.life.beginning import next_frame
from billing.life.frozen import PeriodTerms
from billing.life.subscription import ChangeKind, ScheduledChange
from billing.life.turning import Bill
from billing.money.closing import Close, DrawWindow, Window, WindowDrawn, WindowUsage
from billing.money.invoice import InvoiceType
from billing.sale.change import Side, Target
from billing.sale.discount import Discount, DiscountSource
from billing.sale.seat import SeatBook, SeatChange
from billing.sale.switching import (
    Held,
    Path,
    base_paid_minor,
    charged_change,
    frame_of_change,
    path_of,
    returns_top_ups,
    switched,
)
from catalog.definition import DayCount, DiscountType, Organization, UpgradeCharge
from catalog.terms import ConsumptionModel, SubscriptionStatus
from kernel.errors import Refusal
from kernel.period import DAY_US, Interval
from tests.unit.billing.make import FEATURE, day, granted, subscription

MONTHLY, YEARLY = Interval.MONTHLY, Interval.YEARLY
SINCE, CHANGED, UNTIL = day("2026-01-01"), day("2026-01-15"), day("2026-02-01")
STARTER, PRO, FREE = (
    Side(plan_id="starter", base_minor=2900, interval=MONTHLY),
    Side(plan_id="pro", base_minor=9900, interval=MONTHLY),
    Side(plan_id="free", base_minor=0, interval=None),
)


def terms(**changes) -> PeriodTerms:
    """The terms of `starter` in January."""
    values = {
        "term": 1,
        "since_day": SINCE,
        "until_day": UNTIL,
        "start_us": SINCE * DAY_US,
        "anchor_day": SINCE,
        "currency": "usd",
        "interval": MONTHLY,
        "plan_id": "starter",
        "plan_code": "starter",
        "plan_name": "Starter",
        "price_id": "pp_1",
        "base_minor": 2900,
        "features": (granted(),),
    }
    return PeriodTerms(**{**values, **changes})


def to_pro(current: PeriodTerms, **changes) -> PeriodTerms:
    """The terms of `pro` as a change on 15 January begins them."""
    frame = frame_of_change(current, changes.get("interval", MONTHLY), current.model, 2, CHANGED * DAY_US)
    own = {name: getattr(frame, name) for name in type(frame).__struct_fields__}
    values = {"plan_id": "pro", "plan_code": "pro", "plan_name": "Pro", "base_minor": 9900}
    return msgspec.structs.replace(current, **{**own, "discount": None, "paid_minor": None, **values, **changes})


def row(**changes):
    january = {
        "anchor_day": SINCE,
        "start_us": SINCE * DAY_US,
        "period_start_day": SINCE,
        "period_end_day": UNTIL,
        "next_day": UNTIL,
        "closed_day": SINCE,
    }
    return subscription(**{**january, **changes})


def seller(**changes) -> Organization:
    made = Organization(id=b"o" * 16, name="Test", environment="sandbox")
    return msgspec.structs.replace(made, **changes)


def carried_out(current, following, organization=None, *, cut=1, on=CHANGED, **held):
    """Carry out a change, and return (lines as (kind, minor), draft)."""
    bill = Bill(
        kind=InvoiceType.PLAN_CHANGE,
        start_day=SINCE,
        through_day=on,
        end_us=on * DAY_US,
        change=Target(plan_id="pro", interval=following.interval),
    )
    found = Held(**{"periods": [current], "totals": {}, "billed": {}, **held})
    draft = charged_change(
        Close(subscription=row(), cut=cut, bill=bill), current, following, found, organization or seller()
    )
    return [(line.kind.value, line.amount_minor) for line in draft.lines], draft


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (STARTER, PRO, Path.CHARGED),
        (PRO, STARTER, Path.RENEWAL),
        (PRO, FREE, Path.RENEWAL),
        (FREE, PRO, Path.CHECKOUT),
        (FREE, Side(plan_id="other", base_minor=0, interval=None), Path.FREELY),
        (PRO, msgspec.structs.replace(PRO, interval=YEARLY, base_minor=89_900), Path.CHARGED),
    ],
)
def test_a_change_takes_the_path_of_its_direction(old, new, path):
    """R-CHG-3, R-CHG-6, R-CHG-7."""
    assert path_of(row(), old, new) is path


def test_in_a_trial_a_change_is_free_and_at_once_whichever_way():
    """R-CHG-14."""
    trial = row(status=SubscriptionStatus.TRIALING, trial_end_day=UNTIL)
    assert path_of(trial, STARTER, PRO) is path_of(trial, PRO, STARTER) is Path.FREELY
    refused = path_of(trial, PRO, FREE)
    assert isinstance(refused, Refusal)
    assert refused.code == "free_plan_change_not_supported"


def test_nothing_that_differs_is_no_change():
    """Contract row 39."""
    refused = path_of(row(), PRO, msgspec.structs.replace(PRO, base_minor=1))
    assert isinstance(refused, Refusal)
    assert refused.code == "no_change_requested"


def test_an_upgrade_begins_a_period_of_its_own():
    """R-CHG-3, R-INT-8: a new number, the anchor on the day of the change, what was scheduled is dropped."""
    after = to_pro(terms())
    assert (after.term, after.since_day, after.anchor_day, after.until_day) == (2, CHANGED, CHANGED, day("2026-02-15"))
    change = ScheduledChange(kind=ChangeKind.DOWNGRADE, plan_id="x", plan_name="X", interval=MONTHLY, requested_ms=0)
    moved = switched(row(scheduled=change), after, 7)
    assert (moved.plan_id, moved.term, moved.scheduled, moved.next_day) == ("pro", 2, None, day("2026-02-15"))
    assert (moved.closed_day, moved.period_start_day, moved.updated_ms) == (CHANGED, CHANGED, 7)


def test_a_trial_keeps_its_end():
    """R-CHG-14."""
    trial = terms(trial=True, window_days=30)
    frame = frame_of_change(trial, YEARLY, ConsumptionModel.METERED, 2, CHANGED * DAY_US)
    assert (frame.until_day, frame.trial, frame.anchor_day, frame.window_days) == (UNTIL, True, SINCE, 30)


@pytest.mark.parametrize(
    ("old", "new", "chained"),
    [("balance", "balance", True), ("balance", "metered", False), ("credits", "credits", False)],
)
def test_what_was_bought_of_a_balance_goes_to_another_balance_alone(old, new, chained):
    """R-MODEL-3, AMB-20."""
    frame = frame_of_change(terms(model=ConsumptionModel(old)), MONTHLY, ConsumptionModel(new), 2, CHANGED * DAY_US)
    assert (frame.chain_term, frame.chain_window) == ((1, SINCE) if chained else (None, None))


def test_the_documented_upgrade_on_day_15():
    """R-PRO-7, R-CHG-4, R-INV-4: DOC-PRO-01."""
    current = terms()
    lines, draft = carried_out(current, to_pro(current))
    assert lines == [("proration_credit", -1450), ("proration_charge", 4950)]
    assert (draft.kind, draft.days_remaining, draft.days_in_cycle) == ("plan_change", 15, 30)
    assert draft.total_minor == 3500


def test_the_two_switches():
    """R-PRO-5, R-CHG-4: 16 of 31 days by the calendar; the whole new price."""
    current = terms()
    lines, draft = carried_out(current, to_pro(current), seller(day_count=DayCount.ACTUAL))
    assert lines == [("proration_credit", -1497), ("proration_charge", 5110)]
    assert (draft.days_remaining, draft.days_in_cycle) == (16, 31)
    lines, _ = carried_out(current, to_pro(current), seller(upgrade_charge=UpgradeCharge.FULL))
    assert lines == [("proration_credit", -1450), ("proration_charge", 9900)]


def test_a_longer_interval_is_charged_in_full():
    """R-CHG-5."""
    current = terms()
    lines, _ = carried_out(current, to_pro(current, interval=YEARLY, base_minor=89_900))
    assert lines == [("proration_credit", -1450), ("proration_charge", 89_900)]


def test_what_was_paid_is_net_of_the_discount():
    """R-PRO-6, AMB-11: 29.00 less 20 % is 23.20, half of it is back; the discount is gone (R-CHG-10)."""
    half_off = Discount(source=DiscountSource.CODE, name="VIP20", type=DiscountType.PERCENT, value=20, cycles_left=None)
    current = terms(discount=half_off)
    assert base_paid_minor(current) == 2320
    lines, _ = carried_out(current, to_pro(current))
    assert lines == [("proration_credit", -1160), ("proration_charge", 4950)]


def test_the_new_plans_own_offer_is_taken_off_what_is_charged():
    """R-DISC-7, R-DISC-3."""
    offer = Discount(
        source=DiscountSource.INTRO, name="Introductory offer", type=DiscountType.PERCENT, value=50, cycles_left=3
    )
    current = terms()
    lines, _ = carried_out(current, to_pro(current, discount=offer))
    assert lines == [("proration_credit", -1450), ("proration_charge", 4950), ("discount", -2475)]


def test_a_second_change_credits_the_price_of_the_cycle_that_the_first_one_began():
    """R-PRO-8, R-PRO-6: not the half of it that the first one charged."""
    first = to_pro(terms())
    later = msgspec.structs.replace(
        to_pro(terms()),
        term=3,
        since_day=day("2026-01-24"),
        until_day=day("2026-02-24"),
        plan_code="max",
        base_minor=19_900,
    )
    # Day 10 of the cycle that began on the 15th: 20 of 30 days are left.
    lines, draft = carried_out(first, later, on=day("2026-01-24"), cut=2)
    assert lines == [("proration_credit", -6600), ("proration_charge", 13_267)]
    assert (draft.days_remaining, draft.days_in_cycle) == (20, 30)


def test_accrued_overage_is_billed_at_the_old_price():
    """R-CHG-9, R-PRICE-2: 100 calls beyond 10, at 0.015, in the window that the change ends."""
    current = terms()
    dear = granted(unit_price="9", included="10000")
    used = {Window(FEATURE, 1, SINCE): WindowUsage(end=UNTIL, units=110 * 10**9)}
    lines, draft = carried_out(current, to_pro(current, features=(dear,)), totals=used)
    assert lines[2:] == [("overage", 150)]
    assert (draft.lines[2].window.start, draft.lines[2].window.end, draft.lines[2].term) == (SINCE, CHANGED, 1)


SEATS = {"kind": "seats", "code": "member", "name": "Member"}


def test_seats_are_credited_and_measured_anew():
    """R-CHG-12, R-PRO-6: 3 extra at 25.00 paid, of 8 the new plan includes 6: 2 at 20.00 for half the month."""
    current = terms(features=(granted(**SEATS, included="5", unit_price="25"),))
    following = to_pro(current, features=(granted(**SEATS, included="6", unit_price="20"),))
    books = {FEATURE: SeatBook(at_start=8)}
    lines, _ = carried_out(current, following, books=books, parts_paid={FEATURE: 7500})
    assert lines == [
        ("proration_credit", -1450),
        ("proration_credit", -3750),
        ("proration_charge", 4950),
        ("proration_charge", 2000),
    ]


def test_seats_added_meanwhile_are_trued_up_and_credited_for_the_days_left():
    """R-CHG-9, R-SEAT-7, R-PRO-6: 31.00 x 21/31 from day 10, half of it back."""
    current = terms(features=(granted(**SEATS, included="5", unit_price="31"),))
    following = to_pro(current, features=(granted(**SEATS, included="10", unit_price="20"),))
    books = {FEATURE: SeatBook(at_start=5, changes=(SeatChange(day("2026-01-10"), 5, 6),))}
    lines, _ = carried_out(current, following, books=books)
    assert ("seat_true_up", 2100) in lines
    assert ("proration_credit", -1050) in lines


def test_more_credit_than_charge_is_a_total_below_zero():
    """R-CHG-11, R-PRO-4: the rest becomes account credit as the invoice is written."""
    current = terms(features=(granted(**SEATS, included="5", unit_price="25"),))
    following = to_pro(current, base_minor=2900, features=(granted(**SEATS, included="50", unit_price="0"),))
    _, draft = carried_out(current, following, books={FEATURE: SeatBook(at_start=8)}, parts_paid={FEATURE: 7500})
    assert draft.total_minor == -3750


def test_on_the_last_day_nothing_is_left():
    """R-PRO-4, R-INV-7: the upgrade costs nothing and has no lines."""
    current = terms()
    frame = msgspec.structs.replace(to_pro(current), since_day=day("2026-01-31"), until_day=day("2026-02-28"))
    lines, draft = carried_out(current, frame, on=day("2026-01-31"))
    assert (lines, draft.total_minor) == ([], 0)


def test_an_accrued_overdraft_is_billed_and_pools_start_afresh():
    """R-CHG-9, R-BAL-3: 2.50 beyond the balance of January."""
    current = terms(model=ConsumptionModel.BALANCE, pool="29", overdraft=True)
    draws = {DrawWindow(1, SINCE): WindowDrawn(overdraft=2_500_000_000, plan=29 * 10**9)}
    lines, _ = carried_out(current, to_pro(current, pool="99"), draws=draws)
    assert lines[2:] == [("balance_overage", 250)]


@pytest.mark.parametrize(
    ("model", "currency", "returns"),
    [("balance", "usd", False), ("balance", "eur", True), ("metered", "usd", True), ("credits", "usd", True)],
)
def test_top_ups_that_are_left_become_credit_where_no_balance_takes_them_over(model, currency, returns):
    """R-TOPUP-3, R-MODEL-3, AMB-20: nor does one in another currency; only a balance has any."""
    current = terms(model=ConsumptionModel.BALANCE)
    following = msgspec.structs.replace(to_pro(current, model=ConsumptionModel(model)), currency=currency)
    assert returns_top_ups(current, following) is returns
    assert not returns_top_ups(terms(), following)


def test_the_terms_of_a_change_say_when_those_before_them_ended():
    """R-TRACK-10, R-TRACK-20: late usage of before it counts under those, however often the plan changes."""
    first = to_pro(terms())
    assert (first.start_us, first.ended_us, first.counts_us) == (CHANGED * DAY_US, CHANGED * DAY_US, None)
    frame = frame_of_change(first, MONTHLY, first.model, 3, (CHANGED + 5) * DAY_US)
    assert frame.ended_us == (CHANGED + 5) * DAY_US
    assert next_frame(first, MONTHLY).ended_us is None
