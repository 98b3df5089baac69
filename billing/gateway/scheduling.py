"""The one change that may wait for a subscription's renewal: a downgrade, a shorter interval, a migration (R-SUB-14).

Invariant: at most one of them or a cancellation is scheduled; a newer one takes the place of the older. What waits is
what the announced terms say, so the renewal needs no decision of its own.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.canceling import carry_out, decided
from billing.life.lifecycle import Command
from billing.life.subscription import ScheduledChange, Subscription
from billing.life.turning import replaced
from billing.store.begin import announce
from billing.store.plan import as_plan_ends, offered
from catalog.plan_rule import check_kept
from kernel.errors import rejected


async def schedule(
    connection: AsyncConnection, subscription: Subscription, change: ScheduledChange | None, now_ms: int
) -> Subscription:
    """Schedule a change for the renewal in place of what was scheduled; None takes it back. The caller shows it.

    Raises Rejected: `invalid_subscription_status`, or `already_scheduled` while a pause is, or an end no later than the
    renewal at which the change would come; `plan_unavailable` where a deleted plan's migration is to be taken back.
    """
    decided(subscription, Command.CHANGE, now_ms)
    if subscription.pause is not None:
        raise rejected("already_scheduled", f"Subscription {subscription.id} is to be paused: take that back first.")
    after = replaced(subscription, scheduled=change, updated_ms=now_ms)
    if change is not None:
        after = replaced(after, end_us=after.expires_us, cancel_reason=None, cancel_requested_ms=None)
        if not after.renews:
            raise rejected(
                "already_scheduled", f"Subscription {subscription.id} ends before it renews: take that back."
            )
    else:
        plan = await offered(connection, subscription.organization_id, subscription.plan_id)
        if plan is not None and subscription.scheduled is not None and subscription.scheduled.plan_id == plan.ending:
            check_kept(plan)
        after = await as_plan_ends(connection, after, now_ms)
    await carry_out(connection, subscription, after)
    await announce(connection, after)
    return after
