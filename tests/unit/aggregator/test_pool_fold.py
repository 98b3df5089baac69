"""The fold on pools: what a use costs, in which window it draws, in which order, and what blocks it."""

import pytest
from msgspec.structs import replace

from aggregator.account import Account, Draws, decode_account, encode_account
from aggregator.fold import fold_snapshot
from aggregator.pool import Left
from aggregator.pool_left import chain_begin, cost_of, left
from catalog.terms import ConsumptionModel, PoolChain, TopUp
from ingest.verdict import Verdict
from kernel.limits import DRAWN_UNITS_MAX
from tests.unit.aggregator.pool_case import (
    CHAT,
    FEATURES,
    FREE,
    IMAGES,
    ONE,
    TEXTS,
    balance,
    chat,
    day,
    event,
    judge,
    ms,
    snapshot,
    terms,
)

JANUARY, FEBRUARY, MARCH = day("2026-01-01"), day("2026-02-01"), day("2026-03-01")
METERED = ConsumptionModel.METERED


def drew(outcome):
    assert outcome.verdict is Verdict.COUNTED, outcome
    told = outcome.drawn
    return tuple(amount / ONE for amount in (told.cost, told.plan, told.packs, told.top_ups, told.overdraft, told.left))


def said(outcome):
    return outcome.verdict, outcome.code


def test_each_use_costs_credits_times_value():
    """R-CREDIT-1, R-CREDIT-6."""
    one, two, half = judge(
        Account(), snapshot(terms(pool=100)), event(IMAGES, "2"), event(TEXTS, "3"), event(TEXTS, "0.5")
    )
    assert drew(one) == (20, 20, 0, 0, 0, 80)
    assert drew(two) == (6, 6, 0, 0, 0, 74)
    assert drew(half) == (1, 1, 0, 0, 0, 73)
    assert (one.term, one.window, one.window_end, one.cut, one.limited) == (1, JANUARY, FEBRUARY, 1, True)


def test_what_a_balance_gives_is_told_in_the_subscriptions_currency():
    """R-REG-5."""
    [of_balance] = judge(Account(), snapshot(balance(currency="jpy")), chat("0.5"))
    [of_credits] = judge(Account(), snapshot(terms(pool=100, currency="jpy")), event())
    assert (of_balance.drawn.currency, of_credits.drawn.currency) == ("jpy", "")


def test_packs_are_drawn_after_the_plan_and_a_use_beyond_both_is_blocked_whole():
    """R-CREDIT-4, R-CREDIT-5, R-TRACK-19."""
    account, under = Account(), snapshot(terms(pool=25), packs=10 * ONE)
    first, second, third, small = judge(account, under, event(), event(IMAGES, "2"), event(), event(TEXTS, "2"))
    assert drew(first) == (10, 10, 0, 0, 0, 25)
    assert drew(second) == (20, 15, 5, 0, 0, 5)
    assert said(third) == (Verdict.BLOCKED, "insufficient_credits")
    assert drew(small) == (4, 0, 4, 0, 0, 1)
    assert account.packs == 9 * ONE
    assert account.totals[IMAGES, 1, JANUARY].now == 3 * ONE


def test_the_plan_part_is_whole_again_in_the_next_window_and_packs_are_not():
    """R-CREDIT-2, R-CREDIT-3."""
    account, under = Account(), snapshot(terms(pool=10), packs=20 * ONE)
    *_, last = judge(
        account,
        under,
        event(),
        event(at="2026-01-20"),
        event(at="2026-02-02"),
        event(at="2026-02-03"),
        event(at="2026-02-04"),
    )
    assert said(last) == (Verdict.BLOCKED, "insufficient_credits")
    assert left(account, under, ms("2026-02-28")) == Left(plan=0, extra=0, overdraft=0)
    assert left(account, under, ms("2026-03-01")) == Left(plan=10 * ONE, extra=0, overdraft=0)


def test_a_late_use_draws_on_todays_pool():
    """R-TRACK-10, AMB-16: the account's clock names the window, not the event's time."""
    account, under = Account(), snapshot(terms(pool=10))
    first, late, later = judge(
        account,
        under,
        event(at="2026-01-20"),
        event(at="2026-02-02", happened="2026-01-31T23:00:00"),
        event(at="2026-02-02T01:00:00", happened="2026-01-31T23:30:00"),
    )
    assert (first.window, late.window) == (JANUARY, FEBRUARY)
    assert account.totals[IMAGES, 1, FEBRUARY].now == ONE
    assert said(later) == (Verdict.BLOCKED, "insufficient_credits")


def test_a_use_ahead_of_the_boundary_draws_on_todays_pool():
    """AMB-16."""
    [ahead] = judge(Account(), snapshot(terms()), event(at="2026-01-31T23:58:00", happened="2026-02-01T00:01:00"))
    assert ahead.window == JANUARY


def test_what_costs_nothing_counts_when_the_pool_is_empty():
    """R-ACC-9, R-TRACK-3."""
    free, nothing, one = judge(Account(), snapshot(terms(pool=0)), event(FREE), event(IMAGES, "0"), event())
    assert drew(free) == (0, 0, 0, 0, 0, 0)
    assert not free.limited
    assert drew(nothing) == (0, 0, 0, 0, 0, 0)
    assert said(one) == (Verdict.BLOCKED, "insufficient_credits")


def test_a_use_of_nothing_leaves_no_draws():
    account = Account()
    judge(account, snapshot(terms()), event(IMAGES, "0"), event(FREE))
    assert (account.draws, account.packs) == ({}, 0)


def test_a_balance_is_drawn_by_unit_price_and_goes_into_overdraft():
    """R-BAL-2, R-BAL-3, R-BAL-5."""
    account = Account()
    under = snapshot(balance(pool=1, overdraft=True), top_ups=(TopUp(term=1, window=JANUARY, amount=ONE // 2),))
    one, two = judge(account, under, event(IMAGES, "3"), event(IMAGES, "4"))
    assert drew(one) == (0.75, 0.75, 0, 0, 0, 0.75)
    assert drew(two) == (1, 0.25, 0, 0.5, 0.25, -0.25)
    assert not two.limited
    assert left(account, under, ms("2026-01-31")).overdraft == ONE // 4
    assert left(account, under, ms("2026-02-01")) == Left(plan=ONE, extra=0, overdraft=0)


def test_a_hard_balance_blocks_a_unit_price_whole_and_lets_an_ai_event_take_the_rest():
    """R-BAL-6, R-BAL-7, R-BAL-8."""
    account, under = Account(), snapshot(balance(pool=1))
    blocked, taken, empty, image = judge(account, under, event(IMAGES, "5"), chat("2"), chat("0.000001"), event())
    assert said(blocked) == (Verdict.BLOCKED, "insufficient_balance")
    assert drew(taken) == (2.4, 1, 0, 0, 0, 0)
    assert said(empty) == said(image) == (Verdict.BLOCKED, "insufficient_balance")
    assert account.totals[CHAT, 1, JANUARY].now == 1_500 * ONE


def test_overdraft_and_plan_part_end_with_the_window():
    """R-BAL-3, R-BAL-4."""
    account, under = Account(), snapshot(balance(pool=1, overdraft=True))
    judge(account, under, event(IMAGES, "8"))
    [after] = judge(account, under, event(at="2026-02-02"))
    assert drew(after) == (0.25, 0.25, 0, 0, 0, 0.75)
    assert account.draws[1, JANUARY].now == Draws(plan=ONE, overdraft=ONE)


def test_a_top_up_pays_the_overdraft_first():
    """R-TOPUP-4."""
    account, terms_ = Account(), balance(pool=0, overdraft=True)
    judge(account, snapshot(terms_), event(IMAGES, "4"))
    paid = snapshot(terms_, top_ups=(TopUp(term=1, window=JANUARY, amount=3 * ONE),))
    assert left(account, paid, ms("2026-01-31")) == Left(plan=0, extra=2 * ONE, overdraft=0)


@pytest.mark.parametrize(
    ("months", "free", "kept"),
    [(1, False, 0), (3, False, 2), (12, False, 2), (0, True, 2)],
)
def test_what_is_left_of_a_top_up_ends_with_the_billing_period(months, free, kept):
    """R-BAL-5, R-TOPUP-3, R-FREE-8."""
    account = Account()
    bought = (TopUp(term=1, window=JANUARY, amount=3 * ONE),)
    under = snapshot(balance(pool=0, months=months, free=free), top_ups=bought)
    judge(account, under, event(IMAGES, "4"))
    assert left(account, under, ms("2026-01-31")).extra == 2 * ONE
    assert left(account, under, ms("2026-02-01")).extra == kept * ONE
    assert left(account, under, ms("2026-03-31")).extra == kept * ONE
    renewed = left(account, under, ms("2026-04-01")).extra
    assert renewed == (kept * ONE if months != 3 else 0)


def test_a_new_number_takes_over_what_is_left_until_its_first_renewal():
    """AMB-20, R-TRIAL-8: the terms' chain says from where."""
    account = Account()
    old = balance(pool=1)
    bought = (TopUp(term=1, window=JANUARY, amount=3 * ONE),)
    judge(account, snapshot(old, top_ups=bought), event(IMAGES, "8"))
    upgraded = replace(
        old, number=2, start_us=ms("2026-01-15") * 1_000, pool=10 * ONE, chain=PoolChain(term=1, window=JANUARY)
    )
    under = snapshot(upgraded, rev=2, top_ups=bought)
    assert left(account, under, ms("2026-01-16")) == Left(plan=10 * ONE, extra=2 * ONE, overdraft=0)
    assert left(account, under, ms("2026-02-01")).extra == 0
    alone = snapshot(replace(upgraded, chain=None), rev=2, top_ups=bought)
    assert left(account, alone, ms("2026-01-16")).extra == 0


def test_a_chain_reaches_over_the_windows_of_a_year():
    """R-TOPUP-3."""
    yearly = balance(months=12, chain=PoolChain(term=1, window=JANUARY), number=2, start_us=ms("2026-03-10") * 1_000)
    assert chain_begin(yearly, MARCH) == (1, JANUARY)
    assert chain_begin(yearly, day("2026-12-01")) == (1, JANUARY)
    assert chain_begin(yearly, day("2027-01-01")) == (2, day("2027-01-01"))
    assert chain_begin(yearly, day("2027-06-01")) == (2, day("2027-01-01"))


def test_a_trial_resets_every_so_many_days_and_its_last_window_is_cut():
    """R-TRIAL-7, R-TRIAL-8."""
    trial = terms(pool=10, window_days=30, months=0)
    paid = terms(
        pool=100, number=2, anchor=day("2026-02-15"), since=day("2026-02-15"), start_us=ms("2026-02-15") * 1_000
    )
    under = snapshot(trial, next=paid)
    places = [
        (one.term, one.window, one.window_end)
        for one in judge(
            Account(),
            under,
            event(at="2026-01-30"),
            event(at="2026-01-31"),
            event(at="2026-02-14T23:59:59"),
            event(at="2026-02-15"),
        )
        if one.verdict is Verdict.COUNTED
    ]
    second = day("2026-01-31")
    assert places == [(1, JANUARY, second), (1, second, day("2026-02-15")), (2, day("2026-02-15"), day("2026-03-15"))]


def test_late_metered_usage_of_the_terms_before_counts_in_its_own_window():
    """R-TRACK-20."""
    before = terms(METERED)
    after = terms(pool=100, number=2, since=FEBRUARY, start_us=ms("2026-02-01") * 1_000)
    [late] = judge(
        Account(), snapshot(before, next=after), event(FREE, at="2026-02-02", happened="2026-01-31T20:00:00")
    )
    assert (late.verdict, late.code) == (Verdict.BLOCKED, "included_limit_reached")
    open_feature = tuple(replace(one, overage=True) for one in FEATURES[:3])
    [late] = judge(
        Account(),
        snapshot(replace(before, features=open_feature), next=after),
        event(at="2026-02-02", happened="2026-01-31T20:00:00"),
    )
    assert (late.term, late.window, late.drawn) == (1, JANUARY, None)


@pytest.mark.parametrize("change", [{"model": METERED}, {"features": FEATURES[1:]}])
def test_a_late_use_of_a_pool_that_ended_draws_on_its_last_window(change):
    before = terms(pool=100)
    after = replace(before, number=2, since=FEBRUARY, start_us=ms("2026-02-01") * 1_000, **change)
    [late] = judge(Account(), snapshot(before, next=after), event(at="2026-02-02", happened="2026-01-31T20:00:00"))
    assert (late.term, late.window) == (1, JANUARY)


def test_no_use_draws_on_a_window_that_begins_when_access_has_ended():
    ended = snapshot(terms(pool=10), end_us=ms("2026-02-01") * 1_000)
    account = Account()
    first, late = judge(account, ended, event(at="2026-01-31"), event(at="2026-02-02", happened="2026-01-31T20:00:00"))
    assert first.window == JANUARY
    assert said(late) == (Verdict.BLOCKED, "insufficient_credits")


def test_tokens_and_the_pricing_of_a_feature_have_to_fit():
    """R-AI-1, R-AI-9."""
    mismatch = (Verdict.REFUSED, "pricing_mode_mismatch")
    metered = tuple(replace(one, overage=True) for one in FEATURES)
    for under, sent in [
        (balance(), event(CHAT)),
        (balance(), replace(chat("1"), feature=IMAGES)),
        (terms(), chat("1")),
        (terms(METERED, features=metered), chat("1")),
    ]:
        account = Account()
        assert said(judge(account, snapshot(under), sent)[0]) == mismatch
        assert (account.totals, account.draws) == ({}, {})


@pytest.mark.parametrize(
    ("base", "margin", "cost"),
    [
        ("0.00675", "20", 8_100_000),  # the documents' sample: 0.0081
        ("0.0000000005", "0", 1),
        ("0.0000000004", "0", 0),
        ("0.00000000125", "20", 2),  # 1.5 of the last place
        ("0.001", "0.00001", 1_000_000),
    ],
)
def test_the_margin_is_added_and_the_total_is_rounded_once(base, margin, cost):
    """R-AI-2, R-AI-4, R-AI-10."""
    assert cost_of(balance(), replace(FEATURES[3], margin=margin), 1, base) == cost


def test_a_price_times_a_quantity_is_rounded_once_half_up():
    """R-GEN-4."""
    price = replace(FEATURES[0], unit_price="0.0000000015")
    assert [cost_of(balance(), price, units * ONE) for units in (1, 2, 3)] == [2, 3, 5]


def test_no_balance_is_overdrawn_beyond_what_an_outcome_can_say():
    dear = replace(FEATURES[0], unit_price="1000000000")
    under = snapshot(balance(overdraft=True, features=(dear,)))
    account = Account()
    *_, last, fits = judge(account, under, event(IMAGES, "9"), event(IMAGES, "1"), event(IMAGES, "0.1"))
    assert said(last) == (Verdict.BLOCKED, "insufficient_balance")
    assert fits.verdict is Verdict.COUNTED
    assert account.draws[1, JANUARY].now.overdraft < DRAWN_UNITS_MAX


def test_a_cut_freezes_the_draws():
    account, under = Account(), snapshot(terms(pool=100), packs=0)
    judge(account, under, event())
    assert fold_snapshot(account, replace(under, rev=2, cut=1))
    judge(account, under, event(), event())
    drawn = account.draws[1, JANUARY]
    assert (drawn.now, drawn.at_cut) == (Draws(plan=30 * ONE), Draws(plan=10 * ONE))


def test_windows_are_forgotten_unless_a_chain_needs_them_and_packs_never():
    account, under = Account(), snapshot(terms(pool=10), packs=50 * ONE)
    judge(account, under, event(IMAGES, "2"), event(at="2026-03-20"))
    assert list(account.draws) == [(1, MARCH)]
    assert account.packs == 10 * ONE
    top_up = (TopUp(term=1, window=JANUARY, amount=3 * ONE),)
    account, free = Account(), snapshot(balance(pool=1, months=0, free=True), top_ups=top_up)
    judge(account, free, event(IMAGES, "8"), event(at="2026-02-20"), event(at="2026-06-20"))
    assert list(account.draws) == [(1, JANUARY), (1, day("2026-06-01"))]
    assert left(account, free, ms("2026-06-20")).extra == 2 * ONE


def test_an_account_with_draws_reads_back_and_one_without_keeps_its_old_bytes():
    account, under = Account(rev=7), snapshot(terms(pool=10), packs=50 * ONE)
    judge(account, under, event(IMAGES, "0"))
    plain = encode_account(account)
    assert plain[8] & 0x0F == 3, "clock, cut and totals alone"
    judge(account, under, event(IMAGES, "2"))
    assert decode_account(encode_account(account)) == account
    assert decode_account(plain).draws == {}
