"""Ending a pause: the rest of a period goes on free, or a new period begins and is charged at once.

Invariant: a new period's invoice is written in the transaction that begins it, as a subscription's first one is; what
is late for the period before comes on the next close. Whether its charge is a condition is the caller's: a request's
resume needs it (contract row 51), the calendar's leaves the subscription past due. Source: R-SUB-13; contract T56.
"""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.paying import collect, past_due
from billing.life.beginning import anew, continued
from billing.life.frozen import PeriodTerms
from billing.life.showing import in_force
from billing.life.subscription import PauseMode, Subscription
from billing.life.turning import entered
from billing.money.first_invoice import first_invoice
from billing.money.invoice import Invoice
from billing.money.payment import FAILED
from billing.store import account as accounts
from billing.store import invoice as invoices
from billing.store import seat as seats
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.addon import with_addons
from billing.store.begin import announce, frozen_or_kept
from billing.store.plan import as_plan_ends, offered
from catalog.store.organization import load_organization
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.period import DAY_US, day_of_us


async def take_up(
    connection: AsyncConnection, subscription: Subscription, now_ms: int
) -> tuple[Subscription, Invoice | None]:
    """End a pause at the organization's `now_ms`; returns what it is then, and the invoice of a new period.

    A new period has the price of today, and what is left of a discount.
    """
    pause = subscription.pause
    assert pause is not None, "it is paused"
    current = in_force(subscription, await terms.of(connection, subscription.id))
    account = await accounts.new_term(connection, subscription.organization_id, subscription.customer_id)
    resumed = msgspec.structs.replace(subscription, status=SubscriptionStatus.ACTIVE, pause=None, updated_ms=now_ms)
    if pause.mode is PauseMode.IMMEDIATE:
        following = continued(subscription, current, account.terms, now_ms)
        resumed = _with_end(resumed, following)
    else:
        following = await _new_period(connection, subscription, current, account.terms, now_ms)
        resumed = msgspec.structs.replace(resumed, closed_day=day_of_us(now_ms * 1000))
    after = await as_plan_ends(connection, entered(resumed, following), now_ms)
    moved = await subscriptions.change(connection, subscription, after)
    assert moved, "the row was read in this transaction"
    await terms.put(connection, subscription.id, following)
    await announce(connection, after)
    await accounts.raise_rev(connection, [after.customer_id])
    if pause.mode is PauseMode.IMMEDIATE:
        return after, None
    held = await seats.counts(connection, subscription.customer_id)
    draft = first_invoice(after, following, held, account.cut, resumed=True)
    return after, await invoices.write(connection, draft, now_ms)


def _with_end(resumed: Subscription, following: PeriodTerms) -> Subscription:
    """Move the end that a deleted plan set, as the period's moves with the days that the pause lasted."""
    if not resumed.ending:
        return resumed
    assert following.until_day is not None, "a paid plan's period ends"
    return msgspec.structs.replace(resumed, end_us=following.until_day * DAY_US)


async def take_up_when_due(connection: AsyncConnection, subscription: Subscription, due_ms: int, real_ms: int) -> None:
    """End a pause whose days are over, at the instant at which they were; a charge that fails is past due (R-DUN-1)."""
    organization = await load_organization(connection, ids.id_bytes(subscription.organization_id))
    assert organization is not None, "an organization is never removed"
    after, invoice = await take_up(connection, subscription, due_ms)
    if invoice is not None and await collect(connection, organization, invoice, real_ms) in FAILED:
        await past_due(connection, after, organization.now_ms(real_ms))


async def _new_period(
    connection: AsyncConnection, subscription: Subscription, current: PeriodTerms, term: int, now_ms: int
) -> PeriodTerms:
    plan = await offered(connection, subscription.organization_id, subscription.plan_id)
    discount = None if current.discount is None else current.discount.spent()
    assert subscription.pause is not None, "it is paused"
    following = frozen_or_kept(plan, current, anew(current, subscription.pause, term, now_ms), discount)
    return await with_addons(connection, subscription, following, current)
