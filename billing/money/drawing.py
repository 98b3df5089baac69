"""What a subscription's draw windows took of its pool, as LIVE or RAW counts it: what a close bills of draws. Pure.

Invariant: the arithmetic is the fold's own (`aggregator.pool_left`), on SQL's grants and the draws up to one cut, so
that a live balance and its invoice cannot disagree. Source: ADR 9; R-BAL-3, R-TOPUP-4.
"""

from collections.abc import Mapping, Sequence

from aggregator.account import Account, DrawKey
from aggregator.account import Draws as DrawSum
from aggregator.pool_left import left_in
from billing.life.frozen import PeriodTerms
from billing.life.showing import terms_of
from billing.life.subscription import Subscription
from billing.money.closing import Draws, DrawWindow, WindowDrawn, period_at
from catalog.terms import ConsumptionModel, Snapshot, TopUp

DrawSums = Mapping[DrawKey, DrawSum]


def draws_of(
    subscription: Subscription, periods: Sequence[PeriodTerms], sums: DrawSums, top_ups: Sequence[TopUp]
) -> Draws:
    """Tell what each draw window of a balance took, and the overdraft that its top-ups leave.

    `sums` are what events drew by (term, window) up to a cut, of all windows: top-ups carry from one to the next.
    """
    found: dict[DrawWindow, WindowDrawn] = {}
    for (term, start), drawn in sums.items():
        terms = period_at([one for one in periods if one.term == term], start)
        if terms is None or terms.model is not ConsumptionModel.BALANCE:
            continue
        left = left_in(sums, 0, _granted(top_ups), terms_of(subscription, terms.of_window(start)), start)
        found[DrawWindow(term, start)] = WindowDrawn(overdraft=left.overdraft, plan=drawn.plan, top_ups=drawn.top_ups)
    return found


def top_ups_left(
    subscription: Subscription, current: PeriodTerms, sums: DrawSums, top_ups: Sequence[TopUp], day: int
) -> int:
    """Tell what is left on a day of a balance's top-ups, in 1e-9 of the major unit; 0 under any other model."""
    if current.model is not ConsumptionModel.BALANCE:
        return 0
    terms = terms_of(subscription, current)
    return left_in(sums, 0, _granted(top_ups), terms, current.window_of(day).start).extra


def _granted(top_ups: Sequence[TopUp]) -> Snapshot:
    """Put top-ups where the fold's arithmetic finds them; it asks a snapshot for nothing else here."""
    return Snapshot(
        organization=b"",
        customer=b"",
        rev=0,
        status=None,
        end_us=None,
        terms=None,
        next=None,
        cut=0,
        top_ups=tuple(top_ups),
    )


def live_draws(account: Account) -> DrawSums:
    """Tell what LIVE counts now, by draw window: the source of the upcoming invoice."""
    return {key: drawn.now for key, drawn in account.draws.items()}
