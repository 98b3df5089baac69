"""Canceling: at the period's end, or now with a final close; and taking a cancellation back."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.current import to_change
from billing.life.lifecycle import Command, Decision, Effect, decide
from billing.life.plan_ending import CANCEL
from billing.life.subscription import ENDED, Subscription
from billing.life.turning import replaced
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import cut as cuts
from billing.store import subscription as subscriptions
from billing.store.begin import announce
from billing.store.plan import as_plan_ends, offered
from catalog.definition import Organization
from catalog.plan_rule import check_kept
from kernel.errors import Refusal, Rejected
from kernel.period import DAY_MS, DAY_US


class CancelWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a cancellation is asked for."""

    subscription: str
    immediate: bool
    reason: str | None


def decided(subscription: Subscription, command: Command, now_ms: int) -> Decision:
    """Decide a command at the organization's `now_ms`. Raises Rejected with the reason."""
    decision = decide(subscription, command, now_ms * 1000)
    if isinstance(decision, Refusal):
        raise Rejected(decision)
    return decision


async def cancel(
    connection: AsyncConnection, organization: Organization, wish: CancelWish, real_ms: int
) -> Subscription:
    """Cancel a subscription and return it as it then is. Raises Rejected with the contract's codes.

    At once means that its final cut is taken here, or, while another cut of the customer is open, as soon as that one
    is settled. A change that was scheduled is dropped, and an upgrade that waits for its cut does not come (R-SUB-14).
    An end date that comes no later stays the end: it is canceled there. What is to be canceled already stays as it is.
    Source: R-SUB-6, R-SUB-7; contract 3.17; AMB-37.
    """
    now_ms = organization.now_ms(real_ms)
    subscription = await to_change(connection, organization, wish.subscription, now_ms)
    decision = decided(subscription, Command.CANCEL_NOW if wish.immediate else Command.CANCEL, now_ms)
    if decision.status not in ENDED:
        await closes.refuse_change(connection, subscription.id, "already_scheduled")
    if subscription.ending and decision.status is subscription.status:
        return subscription
    after = canceled(subscription, decision, wish.reason, now_ms)
    await carry_out(connection, subscription, after)
    if Effect.CUT in decision.effects:
        await cuts.take(connection, after, real_ms)
    elif not after.over:
        await announce(connection, after)
    return after


async def uncancel(
    connection: AsyncConnection, organization: Organization, subscription_id: str, real_ms: int
) -> Subscription:
    """Take back a cancellation that has not come: the subscription goes on, as its plan is now (AMB-37).

    Raises Rejected `not_scheduled_for_cancellation`, or `plan_unavailable` where its plan's deletion cancels.
    """
    now_ms = organization.now_ms(real_ms)
    subscription = await to_change(connection, organization, subscription_id, now_ms)
    decision = decided(subscription, Command.UNCANCEL, now_ms)
    plan = await offered(connection, subscription.organization_id, subscription.plan_id)
    if plan is not None and plan.ending == CANCEL:
        check_kept(plan)
    after = replaced(
        subscription, end_us=decision.end_us, cancel_reason=None, cancel_requested_ms=None, updated_ms=now_ms
    )
    after = await as_plan_ends(connection, after, now_ms)
    await carry_out(connection, subscription, after)
    await announce(connection, after)
    return after


async def set_end(
    connection: AsyncConnection, organization: Organization, subscription_id: str, end_ms: int | None, real_ms: int
) -> Subscription:
    """Set the date at which a subscription expires, or take it back with None (R-SUB-5: active to expired).

    Raises Rejected `invalid_subscription_status`.
    """
    now_ms = organization.now_ms(real_ms)
    subscription = await to_change(connection, organization, subscription_id, now_ms)
    decided(subscription, Command.SET_END, now_ms)
    expires_us = None if end_ms is None else end_ms * 1000
    canceled_us = subscription.end_us if subscription.ending else None
    if subscription.ending and not subscription.free:
        canceled_us = subscription.period_of(now_ms // DAY_MS).end * DAY_US
    ends = [one for one in (expires_us, canceled_us) if one is not None]
    after = replaced(subscription, expires_us=expires_us, end_us=min(ends, default=None), updated_ms=now_ms)
    after = await as_plan_ends(connection, after, now_ms)  # an earlier date stood before what the deletion does
    await carry_out(connection, subscription, after)
    await announce(connection, after)
    return after


def canceled(subscription: Subscription, decision: Decision, reason: str | None, now_ms: int) -> Subscription:
    """Write a decision into the subscription; a final cut is due until it is taken."""
    over = decision.status in ENDED
    return replaced(
        subscription,
        status=decision.status,
        end_us=decision.end_us,
        final_due=Effect.FINAL in decision.effects,
        scheduled=None,
        pause=None if over else subscription.pause,
        checkout_token=None if over else subscription.checkout_token,
        cancel_reason=reason if reason is not None else subscription.cancel_reason,
        cancel_requested_ms=now_ms if subscription.cancel_requested_ms is None else subscription.cancel_requested_ms,
        updated_ms=now_ms,
    )


async def end_now(
    connection: AsyncConnection, subscription: Subscription, command: Command, reason: str, now_ms: int
) -> Subscription:
    """End a subscription at once and bill nothing: it was superseded, replaced, or its customer is gone.

    Raises Rejected when its state does not allow it.
    """
    decision = decided(subscription, command, now_ms)
    ended = replaced(canceled(subscription, decision, reason, now_ms), final_due=False)
    await carry_out(connection, subscription, ended)
    return ended


async def end_customer(connection: AsyncConnection, customer_id: str, now_ms: int) -> None:
    """End what a customer has, within the transaction that archives or deletes it (R-CUST-8, R-CUST-9, AMB-35).

    Nothing is billed: a close of before that is not settled yet is settled without an invoice (`worker.settling`).
    """
    live = await subscriptions.live_of(connection, customer_id)
    unfinished = await subscriptions.unfinished_of(connection, customer_id)
    for one in [*unfinished, *([] if live is None else [live])]:
        await end_now(connection, one, Command.DELETE, "customer archived", now_ms)


async def carry_out(connection: AsyncConnection, before: Subscription, after: Subscription) -> None:
    """Write the subscription and raise its account's revision."""
    moved = await subscriptions.change(connection, before, after)
    assert moved, "the row was read in this transaction"
    await accounts.raise_rev(connection, [after.customer_id])
