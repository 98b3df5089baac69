"""The table of R-ACC-8, row by row, and what the wire says of pools and seats."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from aggregator.access import feature_access
from aggregator.access_answer import access_wire, can_use_wire, usage_check_wire
from aggregator.account import Account, Draws, WindowTotal, decode_account, encode_account
from aggregator.pool_answer import subscription_pools
from billing.sale import seat
from catalog.definition import Feature, FeatureKind
from catalog.terms import (
    ConsumptionModel,
    FeatureTerms,
    SeatCount,
    SubscriptionStatus,
    TopUp,
)
from ingest.verdict import Verdict
from kernel.quantity import canonical, from_units, to_units
from kernel.wire import Dialect
from tests.unit.aggregator.pool_case import ONE, chat, day, event, judge, ms, snapshot, terms
from tests.unit.billing.make import granted as frozen

METERED, CREDITS, BALANCE = ConsumptionModel.METERED, ConsumptionModel.CREDITS, ConsumptionModel.BALANCE
JANUARY, FEBRUARY = day("2026-01-01"), day("2026-02-01")
NOW_MS = ms("2026-01-10T12:00:00")
ID = b"i" * 16
KINDS = {"metered": FeatureKind.METERED, "seats": FeatureKind.SEATS, "boolean": FeatureKind.BOOLEAN}
TRIAL, PAST_DUE = {"status": SubscriptionStatus.TRIALING}, {"status": SubscriptionStatus.PAST_DUE}

# A pool of 25 credits, or of 1 dollar; what the case drew of it.
K = {"credits": "10"}
U = {"unit_price": "0.3"}
AI = {"margin": "20"}
PRICED = {"included": 10 * ONE, "overage": True, "unit_price": "0.01"}
HARD = {"included": 10 * ONE}
SEATS = {"kind": "seats", "included": 3 * ONE, "overage": True, "unit_price": "5"}

ROWS = {
    # model, what it says of the feature, used, drawn of the plan's part and beyond, change of snapshot and of terms;
    # check, canUse, willBeCharged; current, included, remaining, overage, unlimited
    "boolean": (METERED, {"kind": "boolean"}, "0", None, {}, {}, "TTF", None),
    "boolean on credits": (CREDITS, {"kind": "boolean"}, "0", None, {}, {}, "TTF", None),
    "unlimited": (METERED, {"included": None}, "7", None, {}, {}, "TTF", ("7", None, None, "0", True)),
    "overage, within": (METERED, PRICED, "9", None, {}, {}, "TTF", ("9", "10", "1", "0", False)),
    "overage, beyond": (METERED, PRICED, "9.5", None, {}, {}, "TTT", ("9.5", "10", "0.5", "0", False)),
    "overage, past due": (METERED, PRICED, "12.5", None, PAST_DUE, {}, "TTT", ("12.5", "10", "0", "2.5", False)),
    "overage without a price": (
        METERED,
        {**PRICED, "unit_price": "0"},
        "12",
        None,
        {},
        {},
        "TTF",
        ("12", "10", "0", "2", False),
    ),
    "hard, within": (METERED, HARD, "9", None, TRIAL, {}, "TTF", ("9", "10", "1", "0", False)),
    "hard, a part is left": (METERED, HARD, "9.5", None, {}, {}, "TFF", ("9.5", "10", "0.5", "0", False)),
    "hard, gone": (METERED, HARD, "10", None, {}, {"free": True}, "FFF", ("10", "10", "0", "0", False)),
    "credits": (CREDITS, K, "1", (10, 0), {}, {}, "TTF", ("1", "2", "1", "0", False)),
    "credits with packs": (CREDITS, K, "2", (20, 0), {"packs": 17 * ONE}, {}, "TTF", ("2", "2", "2", "0", False)),
    "credits, too few": (CREDITS, K, "2", (20, 0), {}, {}, "FFF", ("2", "2", "0", "0", False)),
    "credits, free of charge": (CREDITS, {}, "5", (25, 0), {}, {}, "TTF", ("5", None, None, "0", True)),
    "balance": (BALANCE, U, "2", (0.6, 0), {}, {}, "TTF", ("2", "3", "1", "0", False)),
    "balance, overdraft": (
        BALANCE,
        U,
        "5",
        (1, 0.5),
        {},
        {"overdraft": True},
        "TTT",
        ("5", "3", "0", "2", False),
    ),
    "balance, an exact overdraft": (
        BALANCE,
        U,
        "5",
        (1, 0.6),
        {},
        {"overdraft": True},
        "TTT",
        ("5", "3", "0", "2", False),
    ),
    "balance, too little for one": (
        BALANCE,
        U,
        "3",
        (0.9, 0),
        {},
        {"overdraft": True},
        "TTT",
        ("3", "3", "0", "0", False),
    ),
    "balance, blocked": (BALANCE, U, "3", (0.9, 0), {}, {}, "FFF", ("3", "3", "0", "0", False)),
    "balance, free of charge": (BALANCE, {}, "5", (1, 0), {}, {}, "TTF", ("5", None, None, "0", True)),
    "AI": (BALANCE, AI, "1500", (0.999999999, 0), {}, {}, "TTF", ("1500", None, None, "0", False)),
    "AI, overdraft": (BALANCE, AI, "1500", (1, 2), {}, {"overdraft": True}, "TTT", ("1500", None, None, "0", False)),
    "AI, blocked": (BALANCE, AI, "1500", (1, 0), {}, {}, "FFF", ("1500", None, None, "0", False)),
    "seats, one free": (METERED, SEATS, 2, None, {}, {}, "TTF", ("2", "3", "1", "0", False)),
    "seats, one more costs": (METERED, SEATS, 5, None, PAST_DUE, {}, "TTT", ("5", "3", "0", "2", False)),
    "seats in a trial": (METERED, SEATS, 3, None, TRIAL, {}, "TFF", ("3", "3", "0", "0", False)),
    "seats on a free plan": (METERED, SEATS, 4, None, {}, {"free": True}, "TFF", ("4", "3", "0", "1", False)),
    "seats without a price": (
        METERED,
        {**SEATS, "unit_price": "0"},
        3,
        None,
        {},
        {},
        "TFF",
        ("3", "3", "0", "0", False),
    ),
    "seats, all taken and no more are sold": (
        METERED,
        {**SEATS, "overage": False},
        3,
        None,
        {},
        {},
        "TFF",
        ("3", "3", "0", "0", False),
    ),
    "no seats": (
        METERED,
        {**SEATS, "included": 0, "unit_price": "0"},
        0,
        None,
        {},
        {},
        "FFF",
        ("0", "0", "0", "0", False),
    ),
    "seats without an end": (
        CREDITS,
        {**SEATS, "included": None},
        9,
        None,
        {},
        {},
        "TTF",
        ("9", None, None, "0", True),
    ),
}


def case(name):
    """Make the feature, the snapshot and the account of a row."""
    model, granted, used, drawn, change, of_terms, _, _ = ROWS[name]
    feature = FeatureTerms(**{"feature": ID, "code": "it", "kind": "metered", **granted})
    under = terms(model, {CREDITS: 25, BALANCE: 1}.get(model, 0), features=(feature,), **of_terms)
    account = Account(rev=1, clock_ms=NOW_MS)
    seats = ()
    if feature.kind == "seats":
        seats = (SeatCount(feature=ID, count=used), SeatCount(feature=b"?" * 16, count=50))
    elif feature.kind == "metered":
        account.totals[ID, 1, JANUARY] = WindowTotal(end=FEBRUARY, now=to_units(used), at_cut=0)
    if drawn is not None:
        plan, beyond = (to_units(str(amount)) for amount in drawn)
        account.add_draws((ID, 1, JANUARY), FEBRUARY, Draws(plan=plan, overdraft=beyond))
    what = Feature(id=ID, organization=b"o" * 16, code="it", event_code="it", name="It", kind=KINDS[feature.kind])
    return what, snapshot(under, seats=seats, **change), account


def access(name):
    return feature_access(*case(name), NOW_MS)


@pytest.mark.parametrize("name", ROWS)
def test_the_table(name):
    """R-ACC-8, R-ACC-9, R-MODEL-1."""
    *_, answers, numbers = ROWS[name]
    state = access(name)
    may = can_use_wire(state)
    said = (state.allowed, may["allowed"], may["willBeCharged"])
    assert said == tuple(answer == "T" for answer in answers)
    assert ("reason" in may) is not may["allowed"]
    told = access_wire(state, Dialect.A, "usd")
    assert told["access"] is told["allowed"] is said[0]
    if numbers is None:
        assert not {"current", "included", "remaining", "overage", "unlimited"} & told.keys()
        return
    current, included, remaining, overage = (None if one is None else Decimal(one) for one in numbers[:4])
    shown = (told["current"], told["included"], told["remaining"], told["overage"], told["unlimited"])
    assert shown == (current, included, remaining, overage, numbers[4])


@pytest.mark.parametrize(
    ("name", "word", "code"),
    [
        ("hard, gone", "included_limit_reached", "included_limit_reached"),
        ("credits, too few", "credits_exhausted", "insufficient_credits"),
        ("balance, blocked", "balance_exhausted", "insufficient_balance"),
        ("AI, blocked", "balance_exhausted", "insufficient_balance"),
        ("no seats", "seat_limit_reached", "seat_limit_reached"),
    ],
)
def test_the_words_of_a_refusal(name, word, code):
    """R-ACC-11: access says them so, a dry run with the codes of the usage call."""
    state = access(name)
    assert access_wire(state, Dialect.C, "usd")["reason"] == can_use_wire(state)["reason"] == word
    tried = usage_check_wire(state, Decimal(1), ONE, "usd")
    assert (tried["allowed"], tried["reason"], "message" in tried) == (False, code, True)


def test_what_is_refused_is_not_charged():
    """R-ACC-8: an overdraft has an end too, and beyond it the fold blocks (`within_bounds`)."""
    _, under, account = case("balance, overdraft")
    most = Decimal(10**12)
    tried = usage_check_wire(access("balance, overdraft"), most, to_units(str(most)), "usd")
    [outcome] = judge(account, under, event(ID, str(most)))
    assert (tried["allowed"], tried["willBeCharged"], outcome.verdict) == (False, False, Verdict.BLOCKED)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row[1].get("kind") != "seats"])
def test_the_fold_says_what_can_use_says(name):
    """R-ACC-1, R-TRACK-24."""
    what, under, account = case(name)
    if what.kind is not FeatureKind.METERED:
        return
    may = can_use_wire(feature_access(what, under, account, NOW_MS))["allowed"]
    by_model = under.terms.features[0].margin is not None
    sent = replace(chat("0.000000001"), feature=ID) if by_model else event(ID)
    [outcome] = judge(account, under, replace(sent, at_ms=NOW_MS, event_time_us=NOW_MS * 1_000))
    assert (outcome.verdict is Verdict.COUNTED) is may


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row[1].get("kind") == "seats"])
def test_adding_a_seat_says_what_can_use_says(name):
    """R-ACC-1, R-SEAT-14: of seats the call that adds one judges."""
    what, under, account = case(name)
    [terms], held = under.terms.features, under.seats[0].count
    included = None if terms.included is None else canonical(from_units(terms.included))
    own = frozen(kind="seats", included=included, overage=terms.overage, unit_price=terms.unit_price)
    free = under.terms.free
    refused = seat.refusal_of(own, held, held + 1, status=under.status, free=free, currency="usd")
    may = can_use_wire(feature_access(what, under, account, NOW_MS))["allowed"]
    assert (refused is None) is may


def test_a_read_changes_nothing():
    """R-ACC-10."""
    what, under, account = case("credits with packs")
    before = account.copy()
    feature_access(what, under, account, ms("2026-02-10"))
    assert account == before


def test_the_plan_part_is_whole_again_when_the_window_has_rolled():
    """R-CREDIT-2, R-METER-3."""
    rolled = feature_access(*case("credits, too few"), ms("2026-02-01"))
    assert (rolled.allowed, rolled.current, rolled.remaining) == (True, 0, 2)


def test_a_pool_in_every_era():
    """R-ACC-5."""
    state = access("balance, overdraft")
    pool = {
        "model": "balance",
        "included": 100,
        "remaining": -50,
        "plan": 0,
        "purchased": 0,
        "overdraft": 50,
        "currency": "usd",
        "remainingDecimal": "-0.5",
        "overdraftDecimal": "0.5",
    }
    flat = access_wire(state, Dialect.A, "usd")
    assert (flat["pool"], flat["unitPriceDecimal"], flat["overageEnabled"]) == (pool, "0.3", True)
    tagged = access_wire(state, Dialect.D, "usd")
    assert tagged["pool"] == pool
    assert tagged["consumption"] == {
        "model": "balance",
        "period": {"start": "2026-01-01T00:00:00.000Z", "end": "2026-02-01T00:00:00.000Z"},
        "unitsUsed": 5,
        "spent": {"amount": 150, "currency": "usd"},
        "spentDecimal": "1.5",
        "availableUnits": 0,
        "unitPrice": {"amount": 3000, "currency": "usd", "scale": 10_000},
        "unitPriceDecimal": "0.3",
    }
    spent = access_wire(access("AI, overdraft"), Dialect.D, "usd")["consumption"]
    assert (spent["spentDecimal"], "availableUnits" in spent, "unitPrice" in spent) == ("3", False, False)


def test_each_feature_of_tokens_tells_what_its_own_took():
    """R-BAL-8, R-AI-12: 3.00 of the pool; another chat took 0.72 beside it, and mails at a fixed price 1.50."""
    feature, shown, account = case("AI, overdraft")
    other = FeatureTerms(feature=b"m" * 16, code="other", kind="metered", margin="20")
    mails = FeatureTerms(feature=b"n" * 16, code="mails", kind="metered", unit_price="0.75")
    under = replace(shown, terms=replace(shown.terms, features=(*shown.terms.features, other, mails)))
    judge(
        account,
        under,
        replace(chat("0.5"), feature=other.feature),
        replace(chat("0.1"), feature=other.feature),
        event(mails.feature, "2"),
    )

    def told(id_):
        state = feature_access(replace(feature, id=id_), under, account, NOW_MS)
        return access_wire(state, Dialect.D, "usd")["consumption"]["spentDecimal"]

    assert [told(id_) for id_ in (ID, other.feature, mails.feature)] == ["3", "0.72", "1.5"]
    kept = decode_account(encode_account(account))
    assert kept == account
    account.advance(ms("2026-03-09"))
    assert account.spent == {}, "forgotten with their windows"


def test_credits_in_every_era():
    """R-ACC-5."""
    state = access("credits with packs")
    pool = {"model": "credits", "included": 25, "remaining": 22, "plan": 5, "purchased": 17}
    flat = access_wire(state, Dialect.C, "usd")
    assert (flat["pool"], flat["creditsPerUnit"], flat["creditsPerUnitDecimal"]) == (pool, 10, "10")
    assert "unitPriceDecimal" not in flat
    assert access_wire(state, Dialect.D, "usd")["consumption"] == {
        "model": "credits",
        "period": {"start": "2026-01-01T00:00:00.000Z", "end": "2026-02-01T00:00:00.000Z"},
        "unitsUsed": 2,
        "creditsPerUnit": 10,
        "creditsPerUnitDecimal": "10",
        "creditsConsumed": 20,
        "availableUnits": 2,
    }


def test_what_was_used_before_its_cost_fell_took_what_it_cost_then():
    """R-CREDIT-7, R-CREDIT-1: two at 10 credits and one at 4 took 24 of the 25."""
    feature, under, _ = case("credits")
    account = Account()
    judge(account, under, event(ID), event(ID))
    [granted] = under.terms.features
    lowered = replace(under, terms=replace(under.terms, features=(replace(granted, credits="4"),)))
    judge(account, lowered, event(ID))
    told = access_wire(feature_access(feature, lowered, account, NOW_MS), Dialect.D, "usd")
    assert (told["consumption"]["creditsConsumed"], told["pool"]["plan"]) == (24, 1)


def test_seats_in_era_d():
    told = access_wire(access("seats, one more costs"), Dialect.D, "usd")
    assert told["type"] == "seats"
    assert told["usage"]["unitsUsed"] == 5
    assert told["usage"]["overage"] == {
        "enabled": True,
        "units": 2,
        "unitPrice": {"amount": 50_000, "currency": "usd", "scale": 10_000},
        "unitPriceDecimal": "5",
    }


def test_a_dry_run_on_pools():
    """R-ACC-1."""
    tried = usage_check_wire(access("credits with packs"), Decimal(3), 3 * ONE, "usd")
    assert (tried["allowed"], tried["consumptionModel"], tried["estimatedCredits"]) == (False, "credits", 30)
    assert (tried["planCredits"], tried["purchasedCredits"], tried["totalCredits"]) == (5, 17, 22)
    tried = usage_check_wire(access("balance"), Decimal("1.5"), 3 * ONE // 2, "usd")
    assert (tried["allowed"], tried["consumptionModel"], tried["unitPrice"]) == (False, "balance", 3000)
    assert (tried["estimatedAmount"], tried["estimatedAmountDecimal"]) == (45, "0.45")
    assert (tried["currentBalance"], tried["blockOnExhaustion"], tried["currency"]) == (40, True, "usd")
    tried = usage_check_wire(access("AI, overdraft"), Decimal(1), ONE, "usd")
    assert (tried["allowed"], tried["willBeCharged"], tried["estimatedAmount"]) == (True, True, None)


@pytest.mark.parametrize(("units", "allowed"), [(10**12 * ONE, False), (10**10 * ONE, True), (3 * 10**10 * ONE, True)])
def test_a_dry_run_says_what_the_fold_would_of_more_than_an_outcome_can_say(units, allowed):
    """R-ACC-1: at 0.30 each, 10**12 of them are 300 billion; with an overdraft 9.2 billion are the most."""
    tried = usage_check_wire(access("balance, overdraft"), Decimal(1), units, "usd")
    assert tried["allowed"] is allowed


def test_a_dry_run_counts_the_overdraft_that_is_there():
    """R-ACC-1: one that costs 9 billion goes once, and not again."""
    feature, under, account = case("balance, overdraft")
    account.add_draws((ID, 1, JANUARY), FEBRUARY, Draws(overdraft=9 * 10**9 * ONE))
    state = feature_access(feature, under, account, NOW_MS)
    assert not usage_check_wire(state, Decimal(1), 3 * 10**10 * ONE, "usd")["allowed"]
    assert usage_check_wire(state, Decimal(1), ONE, "usd")["allowed"]


def test_the_blocks_of_a_subscription():
    """R-CREDIT-4, R-BAL-5."""
    _, under, account = case("credits with packs")
    assert subscription_pools(under, account, NOW_MS, "usd") == {
        "credits": {
            "remaining": 22,
            "included": 25,
            "purchased": 17,
            "planDecimal": "5",
            "purchasedDecimal": "17",
        },
        "balance": None,
    }
    _, under, account = case("balance, overdraft")
    bought = replace(under, top_ups=(TopUp(term=1, window=JANUARY, amount=2 * ONE),))
    balances = [subscription_pools(one, account, NOW_MS, "usd")["balance"] for one in (under, bought)]
    assert balances == [
        {
            "remaining": -50,
            "included": 100,
            "currency": "usd",
            "planDecimal": "0",
            "topUpDecimal": "0",
            "overdraftDecimal": "0.5",
        },
        {
            "remaining": 150,
            "included": 100,
            "currency": "usd",
            "planDecimal": "0",
            "topUpDecimal": "1.5",
            "overdraftDecimal": "0",
        },
    ]
    _, metered, account = case("overage, beyond")
    nothing = {"credits": None, "balance": None}
    assert subscription_pools(metered, account, NOW_MS, "usd") == nothing
    assert subscription_pools(None, None, NOW_MS, "usd") == nothing


@pytest.mark.parametrize("status", list(SubscriptionStatus))
def test_access_is_granted_while_active_trialing_or_past_due(status):
    """R-ACC-2, R-ACC-12."""
    what, under, account = case("credits")
    live = status in (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING, SubscriptionStatus.PAST_DUE)
    state = feature_access(what, replace(under, status=status), account, NOW_MS)
    assert state.allowed is live
    if not live:
        assert (state.reason, state.current, state.remaining) == ("subscription_inactive", 0, 0)


def test_a_feature_of_an_add_on_is_like_one_of_the_plan():
    """R-ACC-4, R-ACC-6."""
    what, under, account = case("credits")
    own = under.terms.features[0]
    with_addon = replace(under, terms=replace(under.terms, features=(replace(own, addon="add_1"),)))
    told = [access_wire(feature_access(what, one, account, NOW_MS), Dialect.D, "usd") for one in (under, with_addon)]
    assert told[0] == told[1]
