"""How a subscription's row begins: waiting for a payment, on trial, active, resumed. Pure.

Invariant: the anchor is the UTC day on which paid terms begin; nothing but a trial, a resume or a change of plan moves
it. Source: R-INT-1, R-TRIAL-4, R-TRIAL-5, R-FREE-1, R-SUB-13; contract T56; AMB-24.
"""

import msgspec

from billing.life.frozen import Frame, PeriodTerms, chain_of, framed
from billing.life.subscription import TRIAL_WINDOW_DAYS, Pause, Subscription
from billing.life.turning import replaced
from catalog.definition import FeatureKind
from catalog.terms import ConsumptionModel, PoolChain, SubscriptionStatus
from kernel.period import DAY_US, Interval, day_of_us, period_of


def on_trial(subscription: Subscription, now_ms: int, *, started: bool) -> Subscription:
    """Begin a trial now; before the card came (`started` False) its end is provisional and nothing is open yet."""
    day = day_of_us(now_ms * 1000)
    over = day + subscription.trial_days
    return replaced(
        subscription,
        status=SubscriptionStatus.TRIALING,
        started=started,
        trial_end_day=over,
        anchor_day=day,
        start_us=now_ms * 1000,
        period_start_day=day,
        period_end_day=over,
        next_day=over,
        closed_day=day,
    )


def activated(subscription: Subscription, now_ms: int) -> Subscription:
    """Begin now as active: the first payment came, or the plan is free."""
    day = day_of_us(now_ms * 1000)
    interval = subscription.billing_interval
    return replaced(
        subscription,
        status=SubscriptionStatus.ACTIVE,
        started=True,
        was_paid=not subscription.free,
        anchor_day=day,
        start_us=now_ms * 1000,
        period_start_day=day,
        period_end_day=None if interval is None else period_of(day, day, interval).end,
        next_day=None if interval is None else period_of(day, day, Interval.MONTHLY).end,
        closed_day=day,
        checkout_token=None,
    )


def first_frame(subscription: Subscription, chain: PoolChain | None = None) -> Frame:
    """Frame the terms with which a subscription begins, or those that its checkout shows.

    `chain` is where top-ups add up from, when it takes over those of a free plan.
    """
    trial = subscription.status is SubscriptionStatus.TRIALING
    return Frame(
        term=subscription.term,
        since_day=subscription.period_start_day,
        until_day=subscription.period_end_day,
        start_us=subscription.start_us,
        anchor_day=subscription.anchor_day,
        currency=subscription.currency,
        interval=subscription.billing_interval,
        trial=trial,
        window_days=TRIAL_WINDOW_DAYS if trial else 0,
        chain_term=None if chain is None else chain.term,
        chain_window=None if chain is None else chain.window,
    )


def after_trial(subscription: Subscription, current: PeriodTerms, term: int) -> Frame:
    """Frame the first paid period: it starts on the trial's end day, afresh, but for top-ups (R-TRIAL-5, R-TRIAL-8)."""
    assert subscription.trial_end_day is not None, "a trial has an end"
    assert subscription.billing_interval is not None, "only a paid plan has trials"
    day, chain = subscription.trial_end_day, chain_of(current)
    return Frame(
        term=term,
        since_day=day,
        until_day=period_of(day, day, subscription.billing_interval).end,
        start_us=day * DAY_US,
        anchor_day=day,
        currency=current.currency,
        interval=subscription.billing_interval,
        chain_term=chain.term,
        chain_window=chain.window,
    )


def next_frame(current: PeriodTerms, interval: Interval | None) -> Frame:
    """Frame the period that follows `current`, at another interval perhaps (None: it becomes free).

    It goes on with the same number: whether it may, `keeps_number` tells when its terms are known.
    """
    day = current.until_day
    assert day is not None, "a paid plan's period ends"
    anchor = current.anchor_day
    if interval is not None and period_of(anchor, day, interval).start != day:
        anchor = day
    return Frame(
        term=current.term,
        since_day=day,
        until_day=None if interval is None else period_of(anchor, day, interval).end,
        start_us=current.start_us,
        anchor_day=anchor,
        currency=current.currency,
        interval=interval,
        counts_us=current.counts_us,
    )


def keeps_number(current: PeriodTerms, following: PeriodTerms) -> bool:
    """Tell whether terms go on under the number of those before them: with windows, pools and the same limits.

    Of terms with one number the fold knows those in force alone. So where a renewal takes a feature away or moves a
    hard limit, the terms before it end, and late usage still finds them (R-TRACK-10, R-TRACK-20). What draws on a pool
    draws on today's (AMB-16); but a free plan has no renewal at which top-ups are lost: its pool starts afresh
    (R-TOPUP-3).
    """
    if following.model is not current.model or following.anchor_day != current.anchor_day:
        return False
    if current.model is not ConsumptionModel.METERED:
        return current.free or not following.free
    return current.features == following.features or _limits(current) == _limits(following)


def _limits(period: PeriodTerms) -> dict[bytes, int | None]:
    """Tell the hard limit of each feature whose usage counts, in 1e-9 units; None: it has none."""
    metered = [one.terms() for one in period.features if one.enabled and one.kind == FeatureKind.METERED.value]
    return {one.feature: one.included if one.limited else None for one in metered}


def begun_anew(following: PeriodTerms, term: int) -> PeriodTerms:
    """Give terms a number of their own: windows and pools start afresh with them, those before them end there."""
    begin_us = following.since_day * DAY_US
    return msgspec.structs.replace(following, term=term, start_us=begin_us, counts_us=None, ended_us=begin_us)


def continued(subscription: Subscription, current: PeriodTerms, term: int, now_ms: int) -> PeriodTerms:
    """Take up a period whose rest was kept by a pause: its end moves by the days that the pause lasted (contract T56).

    Windows are counted from the moved end, under a new number; what was bought is taken along.
    """
    assert subscription.pause is not None, "it is paused"
    assert subscription.period_end_day is not None, "a paid plan's period ends"
    day = day_of_us(now_ms * 1000)
    end = subscription.period_end_day + day - day_of_us(subscription.pause.effective_us)
    chain = chain_of(current)
    frame = Frame(
        term=term,
        since_day=day,
        until_day=end,
        start_us=now_ms * 1000,
        anchor_day=end,
        currency=current.currency,
        interval=current.interval,
        chain_term=chain.term,
        chain_window=chain.window,
        ended_us=subscription.pause.effective_us,
    )
    return framed(current, frame)


def anew(current: PeriodTerms, pause: Pause, term: int, now_ms: int) -> Frame:
    """Frame a new period that starts today: a resume after a pause that began at a period's end (R-SUB-13)."""
    day = day_of_us(now_ms * 1000)
    assert current.interval is not None, "only a paid plan is paused"
    return Frame(
        term=term,
        since_day=day,
        until_day=period_of(day, day, current.interval).end,
        start_us=now_ms * 1000,
        anchor_day=day,
        currency=current.currency,
        interval=current.interval,
        ended_us=pause.effective_us,
    )
