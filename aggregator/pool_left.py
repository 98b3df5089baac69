"""What a customer's pool has left, and what an event costs of it: a snapshot's grants against an account's draws. Pure.

Owns how terms, packs and top-ups become the windows of `aggregator.pool`. The fold decides by it, feature access and
subscription answers show it, the closer bills by it: one function, so that they cannot disagree.
Source: ADR 9; R-CREDIT-1 to 6, R-BAL-1 to 8, R-AI-2, R-AI-4, AMB-16, AMB-20.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Final

from aggregator.account import NOTHING, Account, DrawKey, Draws
from aggregator.pool import Left, PoolWindow, left_of
from aggregator.standing import draw_day, pooled, window_at, window_on
from catalog.terms import ConsumptionModel, FeatureTerms, Snapshot, Terms
from kernel.period import Interval, Period, boundary, day_of_us, period_index
from kernel.quantity import EXACT, UNITS_PER_ONE

_HUNDRED: Final = Decimal(100)


def left(account: Account, snapshot: Snapshot, clock_ms: int) -> Left:
    """Tell what the pool has left when the account's clock is `clock_ms`: nothing where there is no pool.

    Credits: plan and packs; balance: plan and top-ups, or the overdraft.
    """
    found = draw_window(snapshot, clock_ms)
    if found is None:
        return Left(plan=0, extra=0, overdraft=0)
    terms, window = found
    drawn = {key: one.now for key, one in account.draws.items()}
    return left_in(drawn, account.packs, snapshot, terms, window.start)


def draw_window(snapshot: Snapshot, clock_ms: int) -> tuple[Terms, Period] | None:
    """Tell the terms and the window that usage draws on at `clock_ms`; None without terms or without a pool."""
    found = window_at(snapshot, draw_day(snapshot, clock_ms))
    return found if found is not None and pooled(found[0]) else None


def left_in(draws: Mapping[DrawKey, Draws], packs_drawn: int, snapshot: Snapshot, terms: Terms, window: int) -> Left:
    """Tell what one window's pool has left: `window` is its first day under `terms`, which are of the snapshot.

    `draws` sum what each window drew, `packs_drawn` what packs gave in all time.
    """
    mine = draws.get((terms.number, window), NOTHING)
    if terms.model is ConsumptionModel.CREDITS:
        return Left(plan=max(0, terms.pool - mine.plan), extra=max(0, snapshot.packs - packs_drawn), overdraft=0)
    bought: dict[DrawKey, int] = {}
    for top_up in snapshot.top_ups:
        key = (top_up.term, top_up.window)
        bought[key] = bought.get(key, 0) + top_up.amount
    first, last = chain_begin(terms, window), (terms.number, window)
    counting = sorted(key for key in {*draws, *bought, last} if first <= key <= last)
    return left_of(
        PoolWindow(
            granted=terms.pool,
            bought=bought.get(key, 0),
            plan=draws.get(key, NOTHING).plan,
            beyond=draws.get(key, NOTHING).beyond,
            renews=False,
        )
        for key in counting
    )


def chain_begin(terms: Terms, window: int) -> DrawKey:
    """Tell from which window on top-ups add up, seen from the one that begins on day `window`.

    From the latest renewal under these terms' number; before the first one from where the terms' chain says.
    """
    first = window_on(terms, day_of_us(terms.start_us)).start
    renewed = _period_begin(terms, window) if terms.months else first
    if renewed > first:
        return terms.number, renewed
    return (terms.number, first) if terms.chain is None else (terms.chain.term, terms.chain.window)


def _period_begin(terms: Terms, window: int) -> int:
    """Tell the first day of the billing period that holds a window: every `months`-th from the anchor begins one."""
    interval = Interval.MONTHLY
    number = period_index(terms.anchor, window, interval)
    return boundary(terms.anchor, number - number % terms.months, interval)


def cost_of(terms: Terms, granted: FeatureTerms, units: int, base_cost: str | None = None) -> int:
    """Tell what an event costs of the pool, in 1e-9 credits or money, rounded once, halves up (R-AI-4).

    `units` is its quantity in 1e-9; `base_cost` the exact cost of its tokens where the feature is priced by model, to
    which the frozen margin is added.
    """
    if base_cost is not None:
        assert granted.margin is not None, "a feature that is priced by model has a margin"
        factor = EXACT.add(Decimal(1), EXACT.divide(Decimal(granted.margin), _HUNDRED))
        cost = EXACT.multiply(EXACT.multiply(Decimal(base_cost), factor), Decimal(UNITS_PER_ONE))
    else:
        price = granted.credits if terms.model is ConsumptionModel.CREDITS else granted.unit_price
        cost = EXACT.multiply(Decimal(units), _price(price))
    return int(cost.to_integral_value(rounding=ROUND_HALF_UP))


_price = lru_cache(maxsize=4_096)(Decimal)
