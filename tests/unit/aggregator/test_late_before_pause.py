"""Usage of before a pause that arrives when it is over: judged by the terms that the pause ended."""

import pytest
from msgspec.structs import replace

from aggregator.account import Account, decode_account, encode_account
from aggregator.fold import JUDGES, RULES, fold_snapshot
from aggregator.standing import Standing
from catalog.terms import ConsumptionModel, EndedTerms, PoolChain, SubscriptionStatus
from ingest.event import Corrected
from ingest.verdict import Verdict
from kernel.period import parse_instant_us
from tests.unit.aggregator.pool_case import CHAT, FEATURES, ONE, TEXTS, balance, chat, day, event, judge
from tests.unit.aggregator.pool_case import snapshot as snapshot_of
from tests.unit.aggregator.pool_case import terms as terms_of

PAUSED, RESUMED, NOW = "2026-01-11T12:00:00", "2026-01-20T12:00:00", "2026-01-25"
BEFORE, WITHIN = "2026-01-11T11:59:59", "2026-01-15"
LIMITED = replace(FEATURES[0], included=3 * ONE)
METERED = terms_of(ConsumptionModel.METERED, features=(LIMITED, FEATURES[1]))
OPEN = replace(LIMITED, included=100 * ONE)


def after_pause(before, **change):
    """A subscription that was paused for nine days: the rest of its month ends on 10 February."""
    begun = {"number": 2, "start_us": parse_instant_us(RESUMED), "since": day(RESUMED), "anchor": day("2026-02-10")}
    chain = PoolChain(term=1, window=day("2026-01-01")) if before.model is ConsumptionModel.BALANCE else None
    terms = replace(before, **{**begun, "chain": chain, **change})
    ended = EndedTerms(terms=before, until_us=parse_instant_us(PAUSED))
    return snapshot_of(terms, rev=5, cut=1, ended=(ended,))


def told(account, under, *events):
    return [(one.verdict.value, one.code, one.term, one.window) for one in judge(account, under, *events)]


def test_it_counts_in_its_own_window_at_the_limit_of_its_own_terms_and_in_the_next_cut():
    """R-TRACK-20: the window goes on from what it held; usage of after the resume has nothing to do with it."""
    account = Account(rev=1)
    judge(account, snapshot_of(METERED), event(quantity="2"))
    under = after_pause(METERED, features=(OPEN,))
    assert fold_snapshot(account, under)
    counted = judge(account, under, event(at=NOW, happened=BEFORE))[0]
    assert (counted.verdict, counted.term, counted.window, counted.cut) == (Verdict.COUNTED, 1, day("2026-01-01"), 2)
    assert (counted.window_end, counted.limited) == (day("2026-02-01"), True)
    assert told(account, under, event(at=NOW, happened=BEFORE)) == [("blocked", "included_limit_reached", 0, 0)]
    assert told(account, under, event(quantity="50", at=NOW)) == [("counted", "", 2, day("2026-01-10"))]
    held = {key[1:]: (total.now, total.at_cut, total.end) for key, total in account.totals.items()}
    assert held == {
        (1, day("2026-01-01")): (3 * ONE, 2 * ONE, day("2026-02-01")),
        (2, day("2026-01-10")): (50 * ONE, 0, day("2026-02-10")),
    }
    assert decode_account(encode_account(account)) == account


@pytest.mark.parametrize(
    ("happened", "code"),
    [
        (BEFORE, ""),
        (PAUSED, "no_active_subscription"),
        (WITHIN, "no_active_subscription"),
        ("2026-01-20T11:54:59", "no_active_subscription"),
        ("2026-01-20T11:55:00", ""),
        ("2025-12-31T23:55:00", ""),
        ("2025-12-31T23:54:59", "no_active_subscription"),
    ],
)
def test_what_happened_within_the_pause_is_refused(happened, code):
    """R-SUB-13: from the instant of the pause on, up to the slack before the resume."""
    assert judge(Account(), after_pause(METERED), event(at=NOW, happened=happened))[0].code == code


@pytest.mark.parametrize("status", [SubscriptionStatus.PAUSED, SubscriptionStatus.CANCELED])
def test_it_waits_for_the_resume_and_not_for_ever(status):
    """R-TRACK-7, R-TRACK-12: while paused nothing counts, and the same key may be sent again; after the end neither."""
    under = replace(after_pause(METERED), status=status)
    assert told(Account(), under, event(at=NOW, happened=BEFORE)) == [("refused", "no_active_subscription", 0, 0)]
    ended = replace(after_pause(METERED), end_us=parse_instant_us("2026-01-05"))
    assert told(Account(), ended, event(at=NOW, happened=BEFORE)) == [("refused", "no_active_subscription", 0, 0)]
    assert told(Account(), ended, event(at=NOW, happened="2026-01-04")) == [("counted", "", 1, day("2026-01-01"))]


def test_a_window_that_is_forgotten_takes_nothing_more():
    """R-TRACK-6: 36 days after its end nothing could bill it."""
    late = event(at="2026-03-08T23:59:59", happened=BEFORE)
    assert told(Account(), after_pause(METERED), late) == [("counted", "", 1, day("2026-01-01"))]
    late = event(at="2026-03-09", happened=BEFORE)
    assert told(Account(), after_pause(METERED), late) == [("refused", "no_active_subscription", 0, 0)]


def test_what_draws_on_a_pool_draws_on_the_one_of_today():
    """AMB-16: credits, balance and tokens, each at what it costs now; nothing of it touches the window of before."""
    window = day("2026-01-10")
    account, under = Account(), after_pause(terms_of(), pool=25 * ONE)
    assert told(account, under, event(at=NOW, happened=BEFORE)) == [("counted", "", 2, window)]
    assert told(account, under, event(quantity="2", at=NOW, happened=BEFORE))[0][1] == "insufficient_credits"
    account, money = Account(), after_pause(balance(1))
    for one, cents in ((event(TEXTS, "10", at=NOW, happened=BEFORE), 1), (chat("0.5", at=NOW), 60)):
        drawn = judge(account, money, replace(one, event_time_us=parse_instant_us(BEFORE)))[0].drawn
        assert drawn.cost == drawn.plan == cents * ONE // 100
    assert list(account.draws) == [(2, window)]
    assert told(account, money, event(CHAT, at=NOW, happened=BEFORE))[0][1] == "pricing_mode_mismatch"


def test_it_needs_a_plan_that_grants_it_then_and_a_pool_that_gives_it_now():
    """R-TRACK-7: else there is nothing to rate it by."""
    refused = [("refused", "feature_not_in_plan", 0, 0)]
    late = event(at=NOW, happened=BEFORE)
    assert told(Account(), after_pause(replace(METERED, features=()), features=FEATURES), late) == refused
    assert told(Account(), after_pause(terms_of(), features=FEATURES[1:]), late) == refused
    assert told(Account(), after_pause(terms_of(), model=ConsumptionModel.BALANCE), late) == refused
    metered_now = after_pause(METERED, model=ConsumptionModel.CREDITS)
    assert told(Account(), metered_now, late) == [("counted", "", 1, day("2026-01-01"))]


def test_it_is_corrected_where_it_counts():
    """ADR 10: down by any amount, up within the limit of its window."""
    account, under = Account(), after_pause(METERED)
    judge(account, under, event(quantity="2", at=NOW, happened=BEFORE))
    window, end = day("2026-01-01"), day("2026-02-01")
    for quantity, before, said in (("1", "2", ""), ("1", "3", "included_limit_reached"), ("-3", "3", "")):
        corrects = Corrected(
            position=bytes(11), number=1, void=False, term=1, window=window, window_end=end, quantity=before
        )
        late = event(quantity=quantity, at=NOW, happened=BEFORE, corrects=corrects)
        assert judge(account, under, late)[0].code == said
    assert [total.now for total in account.totals.values()] == [0]


def test_rules_2_know_of_no_pause_that_is_over():
    """An epoch that was begun by them is folded to its end as it was; what the pause has no part in is judged alike."""
    under = after_pause(METERED)

    def by(rules, one):
        return JUDGES[rules](Account(), Standing(under), one, None, lane_clock_ms=one.at_ms, at_ms=one.at_ms)

    assert RULES == 3
    late = event(at=NOW, happened=BEFORE)
    assert [by(rules, late).verdict for rules in (1, 2, 3)] == [Verdict.REFUSED, Verdict.REFUSED, Verdict.COUNTED]
    for one in (event(at=NOW), event(at=NOW, happened=WITHIN), event(b"?" * 16, at=NOW)):
        assert by(2, one) == by(3, one)
