"""Why an event counts or not, in numbers: what is told is what the fold decided by."""

from decimal import Decimal

import pytest

from aggregator.access import feature_access
from aggregator.access_answer import can_use_wire
from aggregator.access_reason import access_why
from aggregator.account import Account
from aggregator.judgement import Before, judgement_wire, place_of
from aggregator.row import EVENT_COLUMNS, EventRow, event_row
from catalog.terms import ConsumptionModel, FeatureTerms, TopUp
from ingest.verdict import Outcome, Verdict
from kernel.reason import ACCESS_RULES
from tests.unit.aggregator.pool_case import (
    CHAT,
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
from tests.unit.aggregator.test_access_table import NOW_MS, ROWS, case

CALLS = (FeatureTerms(feature=IMAGES, code="calls", kind="metered", included=10 * ONE),)
METERED = snapshot(terms(ConsumptionModel.METERED, 0, features=CALLS))
# A subscription's snapshot, the events that it meets, and what is told of the last one: verdict, rule, inputs, result.
LIVES = {
    "within": (
        METERED,
        [event(quantity="8"), event(quantity="2")],
        ("counted", "R-TRACK-8", {"usedBefore": "8", "value": "2", "limit": "10", "eventsBefore": 1}, "10"),
    ),
    "beyond": (
        METERED,
        [event(quantity="8"), event(quantity="2.5")],
        ("blocked", "R-METER-4", {"usedBefore": "8", "value": "2.5", "limit": "10", "eventsBefore": 1}, "10.5"),
    ),
    "credits": (
        snapshot(terms(pool=25), packs=10 * ONE),
        [event(quantity="2.8"), event(TEXTS, "2")],
        ("counted", "R-TRACK-8", {"value": "2", "price": "2", "leftOfPlan": "0", "leftOfPurchases": "7"}, "4"),
    ),
    "credits gone": (
        snapshot(terms(pool=25)),
        [event(quantity="2"), event()],
        ("blocked", "R-CREDIT-5", {"value": "1", "price": "10", "leftOfPlan": "5", "leftOfPurchases": "0"}, "10"),
    ),
    "free of charge": (
        snapshot(terms(pool=25)),
        [event(quantity="2.5"), event(FREE)],
        ("counted", "R-TRACK-8", {"price": "0", "leftOfPlan": "0"}, "0"),
    ),
    "balance, hard": (
        snapshot(balance(1)),
        [event(quantity="3"), event(quantity="2")],
        ("blocked", "R-BAL-7", {"price": "0.25", "leftOfPlan": "0.25", "overdraftAllowed": False}, "0.5"),
    ),
    "balance, topped up and overdrawn": (
        snapshot(balance(1, overdraft=True), top_ups=(TopUp(term=1, window=day("2026-01-01"), amount=ONE),)),
        [event(quantity="9"), event()],
        ("counted", "R-TRACK-8", {"leftOfPurchases": "0", "overdraftBefore": "0.25", "overdraftAllowed": True}, "0.25"),
    ),
    "tokens": (
        snapshot(balance(1)),
        [chat("0.5"), chat("0.5")],
        ("counted", "R-TRACK-8", {"baseCost": "0.5", "marginPercent": "20", "leftOfPlan": "0.4"}, "0.6"),
    ),
    "no tokens": (snapshot(balance(1)), [chat("5"), chat("0.5")], ("blocked", "R-BAL-7", {"leftOfPlan": "0"}, "0.6")),
}


def row_of(one, outcome) -> EventRow:
    values = event_row(1, 0, 5, one.at_ms, "gw", 0, one, outcome)
    return EventRow(**dict(zip(EVENT_COLUMNS, values, strict=True)))


@pytest.mark.parametrize("name", LIVES)
def test_what_is_told_is_what_the_fold_decided_by(name):
    """R-TRACK-19, R-TRACK-8, R-BAL-7."""
    under, events, (verdict, rule, inputs, result) = LIVES[name]
    account = Account()
    *earlier, last = events
    judge(account, under, *earlier)
    place = place_of(row_of(last, Outcome(verdict=Verdict.COUNTED)), under, 0)
    used = account.totals.get(place.key)
    before = Before(
        count=len(earlier),
        units=0 if used is None else used.now,
        clock_ms=earlier[-1].at_ms,
        draws={key: one.now for key, one in account.draws.items()},
    )
    [outcome] = judge(account, under, last)
    told = judgement_wire(row_of(last, outcome), under, before)
    assert (outcome.verdict, told["rule"]) == (verdict, rule)
    asked = told["arithmetic"]
    assert {name: asked["inputs"][name] for name in inputs} == inputs
    assert (asked["result"], asked["fits"]) == (result, outcome.verdict is Verdict.COUNTED)
    if outcome.drawn is not None:
        assert Decimal(asked["result"]) * ONE == outcome.drawn.cost
    assert (told["window"]["start"], told["window"]["end"]) == ("2026-01-01", "2026-02-01")
    assert (told["terms"]["number"], told["terms"]["status"]) == (1, "active")


@pytest.mark.parametrize(
    ("one", "under", "rule", "feature"),
    [
        (event(), None, "R-TRACK-7", None),
        (event(b"x" * 16), METERED, "R-TRACK-7", None),
        (event(IMAGES, happened="2025-12-01"), METERED, "R-TRACK-7", "calls"),
        (event(CHAT, "5"), snapshot(balance(1)), "R-AI-9", "chat"),
    ],
)
def test_what_falls_nowhere_has_a_rule_and_no_arithmetic(one, under, rule, feature):
    """R-TRACK-7, R-AI-9."""
    code = {None: "no_active_subscription", "calls": "no_active_subscription", "chat": "pricing_mode_mismatch"}[feature]
    if under is not None:
        [outcome] = judge(Account(), under, one)
        code = outcome.code
    told = judgement_wire(row_of(one, Outcome(verdict=Verdict.REFUSED, code=code)), under, Before())
    assert (told["rule"], told["arithmetic"]) == (rule, None)
    found = None if told["terms"] is None else told["terms"]["feature"]
    assert (None if found is None else found["featureCode"]) == feature


def test_an_event_is_judged_by_the_window_of_the_accounts_clock_where_it_draws():
    """R-CREDIT-2: an event of January that comes when February's usage is there draws on February."""
    late = event(at="2026-01-31", happened="2026-01-31")
    told = judgement_wire(
        row_of(late, Outcome(verdict=Verdict.COUNTED)), snapshot(terms()), Before(clock_ms=ms("2026-02-02"))
    )
    assert told["window"]["start"] == "2026-02-01"


@pytest.mark.parametrize("name", ROWS)
def test_access_is_explained_as_it_is_answered(name):
    """R-ACC-8, R-ACC-11."""
    what, under, account = case(name)
    access = feature_access(what, under, account, NOW_MS)
    told, answered = access_why(access, under, day("2026-01-10"), "usd"), can_use_wire(access)
    assert {one: told[one] for one in ("allowed", "willBeCharged")} == {
        one: answered[one] for one in ("allowed", "willBeCharged")
    }
    assert told["reason"] == answered.get("reason")
    assert told["rule"] == ("R-ACC-8" if told["allowed"] else ACCESS_RULES[answered["reason"]])
    assert told["why"].endswith(".")
