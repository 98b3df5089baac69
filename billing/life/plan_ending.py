"""What a plan's end means for who is on it, and for who is to come to it. Pure.

Invariant: nobody comes to a plan that is not sold, and nobody stays on a deleted one beyond a renewal.
Source: R-PLAN-8, R-PLAN-9, R-SUB-14, AMB-46.
"""

from typing import Final

from billing.life.subscription import ChangeKind, PauseMode, ScheduledChange, Subscription
from billing.life.turning import replaced
from catalog.definition import Plan
from catalog.terms import SubscriptionStatus
from kernel.period import DAY_MS, DAY_US

# What a plan's `ending` says when its subscribers are canceled; else it names the plan that they move to.
CANCEL: Final = "cancel"


def ended_with(subscription: Subscription, plan: Plan, target: Plan | None, now_ms: int) -> Subscription:
    """Schedule what its plan's deletion does to a paid subscription at its renewal; the same one when that is nothing.

    `target` is the plan that subscribers move to, as it is sold now. The renewal is the end of the billing period that
    ran when the plan was deleted, or of a later one. A trial is canceled at its own end; one that moves is charged as
    it was agreed first, and moves at its first renewal, which the end of a trial is not (R-TRIAL-5, AMB-20). Who is
    paused waits for the resume; where the pause began at a period's end that would be a renewal, and who is canceled
    ends where it began. An end that comes earlier stays, and so does a change that was asked for after the deletion
    (R-SUB-14).
    """
    if plan.ending is None or subscription.plan_id != plan.id or subscription.free or not subscription.live:
        return subscription
    if subscription.status is SubscriptionStatus.PAUSED:
        return _paused(subscription, plan, now_ms)
    assert subscription.period_end_day is not None, "a paid plan's period ends"
    if subscription.period_end_day * DAY_MS <= plan.updated_ms or _leaves(subscription.scheduled, plan):
        return subscription
    if plan.ending == CANCEL:
        return _canceled(subscription, subscription.period_end_day * DAY_US, now_ms)
    return _moved(subscription, target, now_ms)


def _paused(subscription: Subscription, plan: Plan, now_ms: int) -> Subscription:
    pause = subscription.pause
    if plan.ending == CANCEL and pause is not None and pause.mode is PauseMode.PERIOD_END:
        return _canceled(subscription, pause.effective_us, now_ms)
    return subscription


def _leaves(change: ScheduledChange | None, plan: Plan) -> bool:
    """Tell whether a change that is newer than the deletion takes the subscriber away from the plan."""
    return change is not None and change.plan_id != plan.id and change.requested_ms > plan.updated_ms


def _canceled(subscription: Subscription, end_us: int, now_ms: int) -> Subscription:
    if subscription.end_us is not None and subscription.end_us <= end_us:
        return subscription
    return replaced(
        subscription,
        end_us=end_us,
        scheduled=None,
        cancel_reason="plan deleted",
        cancel_requested_ms=now_ms,
        updated_ms=now_ms,
    )


def _moved(subscription: Subscription, target: Plan | None, now_ms: int) -> Subscription:
    if target is None or not subscription.renews:
        return subscription
    change = subscription.scheduled
    if change is not None and change.plan_id == target.id:
        return subscription
    price = target.price_of(subscription.billing_interval)
    if price is None and not target.is_free:
        price = min(target.prices, key=lambda one: one.interval.months, default=None)
        if price is None:
            return subscription
    change = ScheduledChange(
        kind=ChangeKind.MIGRATION,
        plan_id=target.id,
        plan_name=target.name,
        interval=None if price is None else price.interval,
        requested_ms=now_ms,
    )
    return replaced(subscription, scheduled=change, updated_ms=now_ms)


def still_comes(change: ScheduledChange, plan: Plan) -> bool:
    """Tell whether a scheduled change still comes: a downgrade does not once its plan takes no new subscribers.

    A migration does, which the seller chose, and a shorter interval of the plan that a subscriber has.
    """
    return change.kind is not ChangeKind.DOWNGRADE or not plan.deprecated
