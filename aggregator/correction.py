"""The judge of corrections: what an event counted is taken back, or changed, where it counts. Pure.

Owns what a correction gives back, and to what. What makes an event count more is judged like usage (`aggregator.fold`).
Invariant: a window that an event is taken back from stands as if that one had never been sent, as long as it drew in
the order of its pool. Source: ADR 10.
"""

from typing import Final

from aggregator.account import NOTHING, Account, Draws
from aggregator.pool_left import draw_window, left
from aggregator.standing import NO_SUBSCRIPTION, Standing
from catalog.terms import ConsumptionModel, Snapshot
from ingest.event import Corrected, UsageEvent
from ingest.verdict import Drawn, Outcome, Verdict
from kernel.quantity import to_units

WINDOW_CLOSED: Final = "window_closed"


def judge_correction(
    account: Account, standing: Standing | None, event: UsageEvent, corrects: Corrected
) -> Outcome | None:
    """Judge a correction, changing `account` in place when it counts; None: it adds usage, and is judged like it.

    It is refused when no live subscription covers the event's time, when the event counts for one of before, whose last
    invoice is written, when the window is forgotten, and when more would count in another window than the event does.
    """
    if standing is None or not standing.covers(event.event_time_us) or not standing.owns(corrects.term):
        return _refused(NO_SUBSCRIPTION)
    if account.forgets(corrects.window_end):
        return _refused(WINDOW_CLOSED)
    change = to_units(event.quantity)
    if change <= 0:
        return _give_back(account, standing.snapshot, event, corrects, change)
    place = standing.place(event.feature, event.event_time_us, account.clock_ms)
    if not isinstance(place, str) and place.key != (event.feature, corrects.term, corrects.window):
        return _refused(WINDOW_CLOSED)
    return None


def cost_left(corrects: Corrected, change: int) -> int:
    """Tell what an event costs once `change` (1e-9 units) is added: its share, rounded once, halves up."""
    before = to_units(corrects.quantity)
    if corrects.void or not before:
        return 0
    return (2 * corrects.cost * (before + change) + before) // (2 * before)


def _refused(code: str) -> Outcome:
    return Outcome(verdict=Verdict.REFUSED, code=code)


def _give_back(account: Account, snapshot: Snapshot, event: UsageEvent, corrects: Corrected, change: int) -> Outcome:
    key = (event.feature, corrects.term, corrects.window)
    total = account.totals.get(key)
    assert total is not None, "a window that is not forgotten holds what counts in it"
    assert total.now + change >= 0, "nothing is taken back that does not count"
    draws, cost = NOTHING, 0
    if corrects.pool:
        cost = cost_left(corrects, change) - corrects.cost
        draws = _returned(account, corrects, -corrects.taken if corrects.void else cost)
    account.add_usage(key, corrects.window_end, change)
    account.add_draws(key, corrects.window_end, draws)
    return Outcome(
        verdict=Verdict.COUNTED,
        term=corrects.term,
        window=corrects.window,
        window_end=corrects.window_end,
        cut=account.cut + 1,
        drawn=_told(account, snapshot, corrects.pool, cost, draws) if corrects.pool else None,
    )


def _returned(account: Account, corrects: Corrected, change: int) -> Draws:
    """Spread what comes back over the draws of its window, those that were drawn last first (ADR 10)."""
    drawn = account.draws.get((corrects.term, corrects.window))
    now, rest = NOTHING if drawn is None else drawn.now, -change
    overdraft = min(rest, now.overdraft)
    rest -= overdraft
    top_ups = min(rest, now.top_ups)
    rest -= top_ups
    packs = min(rest, now.packs)
    plan = rest - packs
    assert 0 <= plan <= now.plan, "its window drew what comes back"
    return Draws(plan=-plan, packs=-packs, top_ups=-top_ups, overdraft=-overdraft)


def _told(account: Account, snapshot: Snapshot, pool: str, cost: int, draws: Draws) -> Drawn:
    """Say what came back, and what the pool in force now has left; nothing of one of another kind."""
    found = draw_window(snapshot, account.clock_ms)
    same = found is not None and found[0].model.value == pool
    in_money = pool == ConsumptionModel.BALANCE
    return Drawn(
        pool=pool,
        cost=cost,
        plan=draws.plan,
        packs=draws.packs,
        top_ups=draws.top_ups,
        overdraft=draws.overdraft,
        left=left(account, snapshot, account.clock_ms).told() if same else 0,
        currency=snapshot.terms.currency if in_money and snapshot.terms is not None else "",
    )
