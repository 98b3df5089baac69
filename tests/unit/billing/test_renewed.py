"""Terms that follow a period: when they go on under its number, and what late usage of before them then finds."""

import msgspec
import pytest

from aggregator.account import Account
from aggregator.pool_left import left
from aggregator.standing import NO_SUBSCRIPTION, NOT_IN_PLAN, Standing
from billing.life.beginning import begun_anew, keeps_number, next_frame
from billing.life.frozen import framed
from billing.life.showing import AccountRow, Bought, ended_terms, snapshot_of
from billing.life.turning import entered
from catalog.terms import ConsumptionModel, TopUp
from kernel import ids
from kernel.period import DAY_MS, DAY_US, Interval, parse_instant_us
from kernel.quantity import to_units
from tests.unit.billing.make import ANCHOR, FEATURE, day, granted, period, subscription

OTHER = ids.id_text(ids.FEATURE, b"g" * 16)
RENEWED = day("2026-02-28")
PRO = granted(included="1000", overage=True), granted(feature=OTHER, included=None)
BALANCE = {"model": ConsumptionModel.BALANCE, "pool": "20"}
ACCOUNT = AccountRow(
    customer_id=subscription().customer_id,
    organization_id=subscription().organization_id,
    rev=9,
    shown_rev=9,
    cut=1,
    open_cut=None,
    terms=9,
)


def follows(current, *features, interval=Interval.MONTHLY, **changes):
    """What follows a period, numbered as the transaction does that announces it."""
    after = framed(current, next_frame(current, interval))
    after = msgspec.structs.replace(after, features=features or current.features, **changes)
    return after if keeps_number(current, after) else begun_anew(after, current.term + 1)


def shown(*periods, top_ups=()):
    """The snapshot of a subscription that is in the last of its periods."""
    return snapshot_of(ACCOUNT, entered(subscription(), periods[-1]), periods, Bought(top_ups=top_ups))


def place(snapshot, happened, feature=FEATURE):
    clock_ms = day("2026-03-02") * DAY_MS
    return Standing(snapshot).place(ids.id_bytes(feature), parse_instant_us(happened), clock_ms)


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (PRO, True),
        ((granted(included="100", overage=True, unit_price="9"), PRO[1]), True),
        ((*PRO, granted(feature=ids.id_text(ids.FEATURE, b"b" * 16), kind="boolean")), True),
        ((*PRO, granted(feature=ids.id_text(ids.FEATURE, b"h" * 16), enabled=False)), True),
        ((granted(included="1000", overage=False), PRO[1]), False),
        ((PRO[0], granted(feature=OTHER, included="5", overage=False)), False),
        (PRO[:1], False),
        ((PRO[0], granted(feature=OTHER, included=None, enabled=False)), False),
        ((*PRO, granted(feature=ids.id_text(ids.FEATURE, b"h" * 16))), False),
    ],
)
def test_a_renewal_that_judges_usage_as_before_goes_on_under_its_number(after, kept):
    """R-TRACK-20: prices and allowances are told apart by the window; features and hard limits are not."""
    assert follows(period(0, *PRO), *after).term == (1 if kept else 2)


def test_terms_that_begin_anew_say_when_those_before_them_ended():
    """ADR 9: at the boundary, which is an instant; a renewal under the same number ends nothing."""
    after = follows(period(0, *PRO), PRO[0])
    assert (after.since_day, after.start_us, after.ended_us) == (RENEWED, RENEWED * DAY_US, RENEWED * DAY_US)
    assert follows(period(0, *PRO)).ended_us is None
    again = follows(after)
    assert (again.term, again.ended_us, again.start_us) == (2, None, after.start_us)
    assert [one.until_us for one in shown(period(0, *PRO), after, again).ended] == [RENEWED * DAY_US]


def test_late_usage_of_before_a_renewal_with_hard_limits_counts_as_it_did():
    """R-TRACK-10, R-TRACK-20: 500 units over what the new plan blocks, of a feature that it does not have too."""
    before = period(0, *PRO)
    snapshot = shown(before, follows(before, granted(included="100", overage=False)))
    [ended] = snapshot.ended
    assert (ended.terms.number, ended.until_us) == (1, RENEWED * DAY_US)
    late = place(snapshot, "2026-02-20T00:00:00Z")
    assert (late.key[1:], late.end, late.limit, late.counted.cut) == ((1, ANCHOR), RENEWED, None, 2)
    assert place(snapshot, "2026-02-27T23:59:59.999999Z", OTHER).key[1:] == (1, ANCHOR)
    now = place(snapshot, "2026-02-28T00:00:00Z")
    assert (now.key[1:], now.limit) == ((2, RENEWED), to_units("100"))
    assert place(snapshot, "2026-02-28T00:00:00Z", OTHER) == NOT_IN_PLAN
    assert place(snapshot, "2026-01-30T23:54:00Z") == NO_SUBSCRIPTION


def test_a_hard_limit_of_before_the_renewal_holds_for_late_usage():
    """R-TRACK-20: what the plan of today lets pass and charges was blocked then."""
    before = period(0, granted(included="100", overage=False))
    snapshot = shown(before, follows(before, *PRO))
    assert place(snapshot, "2026-02-20T00:00:00Z").limit == to_units("100")
    assert place(snapshot, "2026-03-01T00:00:00Z").limit is None


@pytest.mark.parametrize("interval", [Interval.MONTHLY, None])
def test_top_ups_are_lost_at_the_renewal_to_a_free_plan_too(interval):
    """R-TOPUP-3, R-BAL-5: 50 were topped up in the first month; a free plan has no renewals of its own."""
    bought = (TopUp(term=1, window=ANCHOR, amount=to_units("50")),)
    first = period(0, **BALANCE)
    second = follows(first)
    third = follows(second, interval=interval)
    assert second.term == 1
    for periods, on, is_left in (
        ((first,), "2026-02-10", "50"),
        ((first, second), "2026-03-10", "0"),
        ((first, second, third), "2026-04-10", "0"),
    ):
        found = left(Account(), shown(*periods, top_ups=bought), day(on) * DAY_MS)
        assert (found.plan, found.extra) == (to_units("20"), to_units(is_left)), on


def test_a_free_plan_keeps_what_is_topped_up_from_window_to_window():
    """AMB-20: nothing renews there, whatever it grants from its next window on."""
    first = follows(period(0, **BALANCE), interval=None)
    later = msgspec.structs.replace(first, since_day=day("2026-03-31"), pool="10")
    assert keeps_number(first, later)
    bought = (TopUp(term=2, window=RENEWED, amount=to_units("7")),)
    snapshot = shown(period(0, **BALANCE), first, later, top_ups=bought)
    assert left(Account(), snapshot, day("2026-04-10") * DAY_MS).extra == to_units("7")
    assert [one.terms.number for one in snapshot.ended] == [1]
    moved = entered(subscription(), later)
    assert len(ended_terms(moved, [period(0, **BALANCE), first, later])) == 1


def test_another_model_or_other_windows_begin_anew():
    """R-MODEL-3, R-INT-8."""
    pool = period(0, **BALANCE)
    assert follows(pool).term == 1
    assert follows(pool, model=ConsumptionModel.CREDITS).term == 2
    assert follows(pool, anchor_day=RENEWED).term == 2
