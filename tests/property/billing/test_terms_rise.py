"""Numbers of terms rise with time, whatever is asked of a customer's subscriptions in which order."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from aggregator.standing import Place, Standing
from billing.life.subscription import PauseMode
from catalog.terms import LIVE_STATUSES
from kernel.period import DAY_MS, DAY_US, Interval
from tests.property.billing.terms_life import PLANS, TermsLife, seller

plans, intervals = st.sampled_from(PLANS), st.sampled_from([Interval.MONTHLY, Interval.YEARLY])
subscribing = st.tuples(st.just("subscribe"), plans, intervals, st.sampled_from([False, False, True]), st.booleans())
changing = st.tuples(st.just("change"), plans, intervals)
completing = st.tuples(st.just("complete"))
others = st.one_of(
    subscribing,
    st.tuples(st.just("unschedule")),
    st.tuples(st.just("cancel"), st.booleans()),
    st.tuples(st.just("uncancel")),
    st.tuples(st.just("end"), st.sampled_from([0, 10, 45])),
    st.tuples(st.just("pause"), st.sampled_from(PauseMode), st.sampled_from([None, 3, 20])),
    st.tuples(st.just("extend"), st.sampled_from([30, 60])),
    st.tuples(st.just("revoke")),
    st.tuples(st.just("resume")),
)
commands = st.sampled_from([changing, changing, completing, others, others]).flatmap(lambda kind: kind)
waits = st.sampled_from([0, 1, 3, 31, 9])
lives = st.lists(st.tuples(waits, commands), min_size=3, max_size=10)


MONTHLY = Interval.MONTHLY
# What once gave later terms the smaller number, or left an over trial without a period.
KNOWN = {
    "switched in the trial": ("none", [("subscribe", "calls", MONTHLY, False, False), ("change", "money", MONTHLY)]),
    "switched twice": (
        "none",
        [
            ("subscribe", "money", MONTHLY, False, False),
            ("change", "more", MONTHLY),
            ("cancel", False),
            ("uncancel",),
            ("change", "money", Interval.YEARLY),
        ],
    ),
    "switched in the trial, then upgraded, then paused": (
        "none",
        [
            ("subscribe", "calls", MONTHLY, False, False),
            ("change", "money", MONTHLY),
            ("wait", 20),
            ("change", "more", MONTHLY),
            ("pause", PauseMode.IMMEDIATE, 3),
        ],
    ),
    "changed while a checkout waits": (
        "simulator",
        [
            ("subscribe", "free", MONTHLY, False, False),
            ("subscribe", "money", MONTHLY, True, False),
            ("change", "gift", MONTHLY),
            ("complete",),
        ],
    ),
    "changed while the checkout of a trial waits": (
        "simulator",
        [
            ("subscribe", "free", MONTHLY, False, False),
            ("subscribe", "money", MONTHLY, False, False),
            ("change", "gift", MONTHLY),
            ("complete",),
        ],
    ),
    "becomes free at the renewal": (
        "none",
        [("subscribe", "calls", MONTHLY, True, False), ("wait", 40), ("change", "free", MONTHLY), ("wait", 40)],
    ),
    "becomes free at the renewal, which is taken back after it": (
        "none",
        [
            ("subscribe", "calls", MONTHLY, True, False),
            ("change", "free", MONTHLY),
            ("linger", 32),
            ("unschedule",),
            ("wait", 1),
        ],
    ),
    "switched as the trial is over and nothing has closed it": (
        "none",
        [("subscribe", "calls", MONTHLY, False, False), ("linger", 14), ("change", "money", MONTHLY)],
    ),
}


async def played(sql, sold, told) -> TermsLife:
    """Play what is told and some time after it, and look at what was shown and is kept."""
    life = await TermsLife.begun(sql, sold)
    for command in told:
        await life.do(*command)
    await life.do("wait", 45)
    check_shown(life)
    check_late(life)
    await check_rows(life)
    return life


def check_shown(life) -> None:
    """What the account shows, revision after revision: terms, what follows them, what ended before."""
    seen = [one for one in life.shown if one.terms is not None]
    for before, after in pairwise(seen):
        assert before.terms.number <= after.terms.number
    for one in seen:
        terms, following = one.terms, one.next
        ended = [each.terms.number for each in one.ended]
        assert [terms.number, *ended] == sorted({terms.number, *ended}, reverse=True)
        for each in (terms, following):
            if each is not None and each.chain is not None:
                assert (each.chain.term, each.chain.window) <= (each.number, each.anchor)
        if following is not None and following.start_us == terms.start_us:
            assert following.number == terms.number, "the same windows go on"
        elif following is not None:
            assert following.number > terms.number


def check_late(life) -> None:
    """What late usage finds: its own window and the limit that it had, whatever follows (R-TRACK-10, R-TRACK-20)."""
    live = [one for one in life.shown if one.terms is not None and one.status in LIVE_STATUSES]
    for before, after in pairwise(live):
        if before.terms.subscription != after.terms.subscription or before.terms.window_days:
            continue  # what was used in a trial is never billed
        boundary = after.terms.since
        for day in range(boundary - 31, boundary):
            was, now = (_late_place(one, day, boundary) for one in (before, after))
            if isinstance(was, Place) and was.terms is None and after.terms.since > before.terms.since:
                assert isinstance(now, Place), (day, now)
                assert (was.key, was.end, was.limit) == (now.key, now.end, now.limit)


def _late_place(snapshot, day, today):
    [calls] = [one.feature for one in snapshot.terms.features]
    return Standing(snapshot).place(calls, day * DAY_US, today * DAY_MS)


async def check_rows(life) -> None:
    """What SQL keeps: the terms of one subscription lie one after the other in order of their numbers."""
    for periods in await life.periods():
        in_order = sorted(periods, key=lambda one: (one.term, one.since_day))
        assert in_order == sorted(periods, key=lambda one: (one.since_day, one.term))
        assert in_order == sorted(periods, key=lambda one: (one.start_us, one.since_day, one.term))


@pytest.fixture
async def store(tmp_path, tables):
    sql = await tables.sqlite(tmp_path / "terms.sqlite")
    yield sql
    await sql.close()


@pytest.mark.parametrize("name", KNOWN)
async def test_numbers_rise_where_once_they_fell(name, store):
    """ADR 9, R-CHG-14, R-FREE-6: and the life goes on."""
    mode, told = KNOWN[name]
    life = await played(store, await seller(store, mode), told)
    last = life.shown[-1]
    assert last.status in ("active", "past_due"), "who gave no card is past due"
    assert last.terms.number == max(one.terms.number for one in life.shown if one.terms is not None)


def test_numbers_of_terms_rise_with_time(tmp_path, tables):
    """ADR 9, R-BAL-1, R-TRIAL-8: every later reader of terms takes the greater number for the later terms."""
    with asyncio.Runner() as runner:
        sql = runner.run(tables.sqlite(tmp_path / "terms.sqlite"))
        sellers = {mode: runner.run(seller(sql, mode)) for mode in ("none", "simulator")}

        # A life takes a tenth of a second: what fails is told, not shortened.
        @settings(max_examples=25, phases=[Phase.generate])
        @given(st.sampled_from(["none", "simulator"]), subscribing, lives)
        def test(mode, begin, told):
            commands = [begin, ("complete",), *(step for days, asked in told for step in (("wait", days), asked))]
            note(f"{mode}: {commands}")
            runner.run(played(sql, sellers[mode], commands))

        try:
            test()
        finally:
            runner.run(sql.close())
