"""Laws of pools: what is granted is drawn, left or expired; a hard pool is never oversold; order does not matter."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregator.account import Account
from aggregator.fold import fold_event
from aggregator.pool_left import left
from aggregator.standing import Standing
from catalog.terms import TopUp
from ingest.verdict import Verdict
from kernel.period import DAY_MS
from tests.unit.aggregator.pool_case import FEATURES, IMAGES, ONE, TEXTS, balance, chat, day, event, ms, snapshot, terms

FIRST = day("2026-01-01")
WINDOWS = [
    (day(a), day(b))
    for a, b in [("2026-01-01", "2026-02-01"), ("2026-02-01", "2026-03-01"), ("2026-03-01", "2026-04-01")]
]

quantities = st.sampled_from(["0", "1", "2", "0.5", "7", "0.000000001"])
uses = st.tuples(st.just("use"), st.sampled_from([IMAGES, TEXTS]), quantities)
chats = st.tuples(st.just("chat"), st.sampled_from(["0.4", "0.0000000005", "3"]), st.none())
purchases = st.tuples(st.just("buy"), st.integers(1, 30), st.none())
steps = st.tuples(st.integers(0, 89), uses | uses | chats | purchases)


def story(under, what):
    """Judge a story day by day; purchases come with new snapshots. Gives account, snapshot and what counted, by day."""
    account, drawn = Account(rev=1), []
    for number, (since, (kind, subject, quantity)) in enumerate(sorted(what, key=lambda step: step[0])):
        if kind == "buy":
            window = next(begin for begin, end in WINDOWS if begin <= FIRST + since < end)
            bought = (*under.top_ups, TopUp(term=1, window=window, amount=subject * ONE))
            under = replace(under, rev=number + 2, packs=under.packs + subject * ONE, top_ups=bought)
            continue
        at_ms = (FIRST + since) * DAY_MS
        sent = event(subject, quantity) if kind == "use" else chat(subject)
        sent = replace(sent, at_ms=at_ms, event_time_us=at_ms * 1_000)
        outcome = fold_event(account, Standing(under), sent, None, lane_clock_ms=at_ms, at_ms=at_ms)
        if outcome.verdict is Verdict.COUNTED:
            drawn.append((since, outcome.drawn))
    return account, under, drawn


def of_window(drawn, index):
    begin, end = WINDOWS[index]
    return [one for since, one in drawn if begin <= FIRST + since < end]


@given(st.integers(0, 100), st.lists(steps, max_size=30))
def test_credits_are_conserved(granted, what):
    """R-CREDIT-2, R-CREDIT-3, R-CREDIT-4."""
    account, under, drawn = story(snapshot(terms(pool=granted)), what)
    for index in range(len(WINDOWS)):
        own = of_window(drawn, index)
        assert all(one.cost == one.plan + one.packs for one in own)
        assert sum(one.plan for one in own) <= granted * ONE
    end = left(account, under, ms("2026-03-31"))
    assert end.plan == granted * ONE - sum(one.plan for one in of_window(drawn, 2))
    assert under.packs == sum(one.packs for _, one in drawn) + end.extra


@given(st.integers(0, 20), st.booleans(), st.sampled_from([1, 3, 0]), st.lists(steps, max_size=30))
def test_money_is_conserved(granted, overdraft, months, what):
    """R-BAL-3, R-BAL-5, R-TOPUP-3: bought = drawn + paid of overdrafts + expired + left."""
    plan = balance(pool=granted, overdraft=overdraft, months=months)
    account, under, drawn = story(snapshot(plan), what)
    carried = expired = used = 0
    for index, (begin, _) in enumerate(WINDOWS):
        own = of_window(drawn, index)
        if months == 1:
            expired, carried = expired + carried, 0
        bought = sum(one.amount for one in under.top_ups if one.window == begin)
        beyond = sum(one.top_ups + one.overdraft for one in own)
        taken = min(beyond, carried + bought)
        used, carried = used + taken, carried + bought - taken
        assert sum(one.plan for one in own) <= granted * ONE
        if not overdraft:
            assert beyond == sum(one.top_ups for one in own) <= taken
    end = left(account, under, ms("2026-03-31"))
    assert end.extra == carried
    assert sum(one.amount for one in under.top_ups) == used + expired + end.extra
    assert end.plan == granted * ONE - sum(one.plan for one in of_window(drawn, 2))


@given(st.integers(0, 40), st.lists(uses | chats | purchases, max_size=8), st.data())
def test_the_order_of_one_window_does_not_matter(granted, what, data):
    """R-TOPUP-4: whatever came first, uses and purchases leave the same."""
    under = snapshot(balance(pool=granted, overdraft=True))
    ends = []
    for order in (what, data.draw(st.permutations(what))):
        account, bought, drawn = story(under, [(5, step) for step in order])
        ends.append((left(account, bought, ms("2026-01-31")), sum(one.cost for _, one in drawn)))
    assert ends[0] == ends[1]


@given(st.integers(0, 40), st.lists(uses, max_size=20))
def test_a_use_is_blocked_only_when_the_pool_does_not_cover_it(granted, what):
    """R-CREDIT-5, R-TRACK-23."""
    price = {one.feature: int(one.credits) for one in FEATURES}
    spent = 0
    account, under = Account(rev=1), snapshot(terms(pool=granted))
    for _, feature, quantity in what:
        cost = round(price[feature] * float(quantity) * ONE)
        sent = event(feature, quantity)
        outcome = fold_event(account, Standing(under), sent, None, lane_clock_ms=sent.at_ms, at_ms=sent.at_ms)
        assert (outcome.verdict is Verdict.COUNTED) is (spent + cost <= granted * ONE)
        spent += cost if outcome.verdict is Verdict.COUNTED else 0
    assert left(account, under, ms("2026-01-31")).plan == granted * ONE - spent
