"""Canceling: at the period's end, or now with a final close."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.store import account as accounts
from billing.store import cut as cuts
from billing.store import subscription as subscriptions
from billing.subscription import Command, Decision, Effect, State, Subscription, decide
from catalog.definition import Organization
from catalog.terms import SubscriptionStatus
from kernel.errors import Refusal, Rejected, rejected


class CancelWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a cancellation is asked for."""

    subscription: str
    immediate: bool
    reason: str | None


async def cancel(
    connection: AsyncConnection, organization: Organization, wish: CancelWish, real_ms: int
) -> Subscription:
    """Cancel a subscription and return it as it then is. Raises Rejected with the contract's codes.

    At once means that its final cut is taken here, or, while another cut of the customer is open, as soon as that one
    is settled. Source: R-SUB-6, R-SUB-7; contract 3.17.
    """
    subscription = await subscriptions.read(connection, wish.subscription, organization.id_text)
    if subscription is None:
        raise rejected("subscription_not_found", f"There is no subscription {wish.subscription}.")
    now_ms = organization.now_ms(real_ms)
    command = Command.CANCEL_NOW if wish.immediate else Command.CANCEL_AT_END
    decision = decide(subscription, command, now_ms * 1000)
    if isinstance(decision, Refusal):
        raise Rejected(decision)
    if Effect.SHOW not in decision.effects:
        return subscription
    after = canceled(subscription, decision, wish.reason, now_ms)
    await carry_out(connection, subscription, after)
    if Effect.CUT in decision.effects:
        await cuts.take(connection, after, real_ms)
    return after


def canceled(subscription: Subscription, decision: Decision, reason: str | None, now_ms: int) -> Subscription:
    """Write a decision into the subscription; a final cut is due until it is taken."""
    status = SubscriptionStatus.CANCELED if decision.state is State.CANCELED else SubscriptionStatus.ACTIVE
    return msgspec.structs.replace(
        subscription,
        status=status,
        end_us=decision.end_us,
        final_due=Effect.FINAL in decision.effects,
        cancel_reason=reason if reason is not None else subscription.cancel_reason,
        cancel_requested_ms=now_ms if subscription.cancel_requested_ms is None else subscription.cancel_requested_ms,
        updated_ms=now_ms,
    )


async def carry_out(connection: AsyncConnection, before: Subscription, after: Subscription) -> None:
    """Write the subscription and raise its account's revision."""
    moved = await subscriptions.change(connection, before, after)
    assert moved, "the row was read in this transaction"
    await accounts.raise_rev(connection, [after.customer_id])
