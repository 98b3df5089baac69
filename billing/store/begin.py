"""Terms that begin, and those that are announced for after them, in the transaction that changes the subscription.

Invariant: a live paid subscription that goes on has exactly one row of terms after the one in force, frozen from the
catalog as it was last seen. Source: R-PRICE-1 to R-PRICE-3, R-SUB-14, R-DISC-5, R-DISC-7; ADR 9.
"""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.life.beginning import after_trial, begun_anew, first_frame, keeps_number, next_frame
from billing.life.frozen import Frame, PeriodTerms, chain_to, framed, freeze, price_at
from billing.life.plan_ending import still_comes
from billing.life.showing import in_force
from billing.life.subscription import Subscription
from billing.money.first_invoice import first_invoice
from billing.sale.addon import joined
from billing.sale.discount import Discount
from billing.store import account as accounts
from billing.store import invoice as invoices
from billing.store import terms
from billing.store.addon import with_addons
from billing.store.plan import Shelf
from catalog.definition import Plan
from catalog.terms import SubscriptionStatus


async def open_terms(
    connection: AsyncConnection,
    subscription: Subscription,
    plan: Plan,
    discount: Discount | None,
    left: PeriodTerms | None = None,
    seen: PeriodTerms | None = None,
) -> PeriodTerms:
    """Freeze the terms with which a subscription begins, and what follows; those that its checkout showed go.

    `left` are those of the free plan that it takes the place of: top-ups live on until the first renewal (AMB-20).
    `seen` are those that its checkout showed: a price that the plan lost since stays as it was (contract row 64).
    """
    await terms.drop_all(connection, subscription.id)
    frame = first_frame(subscription, chain_to(left, plan.model, subscription.currency))
    first = freeze(plan, frame, seen, discount)
    first = await with_addons(connection, subscription, first, first)
    await terms.put(connection, subscription.id, first)
    if subscription.started:
        await announce(connection, subscription, shelf=Shelf(connection, plan), periods=[first])
    return first


async def charge_first(
    connection: AsyncConnection,
    subscription: Subscription,
    first: PeriodTerms,
    held: Mapping[str, int],
    cut: int,
    now_ms: int,
) -> None:
    """Bill a first period in advance, and the extra seats `held` by feature id (R-INV-2, R-INV-8, R-SEAT-6).

    `cut` is the number of cuts taken before.
    """
    await invoices.write(connection, first_invoice(subscription, first, held, cut), now_ms)


async def announce(
    connection: AsyncConnection,
    subscription: Subscription,
    *,
    shelf: Shelf | None = None,
    periods: Sequence[PeriodTerms] | None = None,
) -> None:
    """Freeze anew what follows the current period, from the catalog as it is; nothing when nothing follows.

    `shelf` has what the transaction read of plans before, `periods` all terms of the subscription as they are now.
    """
    shelf = shelf or Shelf(connection)
    periods = await terms.of(connection, subscription.id) if periods is None else periods
    following = await to_announce(connection, subscription, shelf, periods)
    if following is not None:
        await terms.add(connection, subscription.id, following)


async def to_announce(
    connection: AsyncConnection,
    subscription: Subscription,
    shelf: Shelf,
    periods: Sequence[PeriodTerms],
    *,
    addons: bool = True,
) -> PeriodTerms | None:
    """Do what `announce` does, but for writing the terms that follow, which the caller does; None when nothing follows.

    Without `addons` the subscription is known to have none that is active.
    """
    current = in_force(subscription, periods)
    later = [period for period in periods if period.since_day > current.since_day]
    for period in later:
        await terms.drop(connection, subscription.id, period)
    if subscription.free or not subscription.renews or subscription.pausing:
        return None
    following = None
    if subscription.status is SubscriptionStatus.TRIALING:
        # A switch within the trial took a number after the announced one, and what follows has a greater one than that.
        number = _announced(current, later) or await _new_term(connection, subscription)
        frame = after_trial(subscription, current, number)
        following = await _same_plan(shelf, subscription, current, frame, current.discount)
    elif subscription.scheduled is not None:
        following = await _other_plan(shelf, subscription, current, later)
    if following is None:
        spent = None if current.discount is None else current.discount.spent()
        frame = next_frame(current, current.interval)
        following = await _same_plan(shelf, subscription, current, frame, spent)
    if not addons:
        following = joined(following, ())
    else:
        following = await with_addons(connection, subscription, following, current, shelf)
    return await _numbered(connection, subscription, current, following, later)


async def put_announced(
    connection: AsyncConnection,
    subscription: Subscription,
    current: PeriodTerms,
    before: PeriodTerms,
    after: PeriodTerms,
) -> bool:
    """Write announced terms in place of what they were `before`; False when nothing changed.

    `current` are those in force as they are now: what the announced ones grant otherwise may give them a number.
    """
    after = await _numbered(connection, subscription, current, after, [before])
    if after == before:
        return False
    await terms.drop(connection, subscription.id, before)
    await terms.add(connection, subscription.id, after)
    return True


async def _numbered(
    connection: AsyncConnection,
    subscription: Subscription,
    current: PeriodTerms,
    following: PeriodTerms,
    later: Sequence[PeriodTerms],
) -> PeriodTerms:
    """Give terms that follow a number of their own where they cannot go on under that of the current ones.

    One that was announced, among `later`, stays: usage may be counted under it already.
    """
    if following.term > current.term:
        return following
    number = _announced(current, later)
    if number is None and keeps_number(current, following):
        return following
    return begun_anew(following, number or await _new_term(connection, subscription))


def _announced(current: PeriodTerms, later: Sequence[PeriodTerms]) -> int | None:
    return next((one.term for one in later if one.term > current.term), None)


async def _new_term(connection: AsyncConnection, subscription: Subscription) -> int:
    return (await accounts.new_term(connection, subscription.organization_id, subscription.customer_id)).terms


async def _same_plan(
    shelf: Shelf,
    subscription: Subscription,
    current: PeriodTerms,
    frame: Frame,
    discount: Discount | None,
) -> PeriodTerms:
    plan = await shelf.offered(subscription.organization_id, subscription.plan_id)
    return frozen_or_kept(plan, current, frame, discount)


def frozen_or_kept(plan: Plan | None, current: PeriodTerms, frame: Frame, discount: Discount | None) -> PeriodTerms:
    """Freeze a plan for a coming period, or keep the last terms when the plan is gone (R-PRICE-3, R-PLAN-8)."""
    if plan is not None:
        return freeze(plan, frame, current, discount)
    return msgspec.structs.replace(framed(current, frame), discount=discount, paid_minor=None)


async def _other_plan(
    shelf: Shelf,
    subscription: Subscription,
    current: PeriodTerms,
    later: Sequence[PeriodTerms],
) -> PeriodTerms | None:
    """Freeze a scheduled change; it clears the discount (R-CHG-10). None when it cannot come: its price is gone.

    One that was announced in `later`, at a price that the plan has lost since, comes at that price (contract row 64).
    """
    change = subscription.scheduled
    assert change is not None, "a change is scheduled"
    plan = await shelf.offered(subscription.organization_id, change.plan_id)
    seen = next((one for one in later if (one.plan_id, one.interval) == (change.plan_id, change.interval)), None)
    if plan is None or not still_comes(change, plan):
        return None
    if change.interval is not None and seen is None and not price_at(plan, change.interval, current.currency):
        return None
    return freeze(plan, next_frame(current, change.interval), seen, None)
