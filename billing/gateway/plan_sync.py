"""What a change of the catalog means for those who are subscribed: wider at once, everything else at renewal.

Invariant: after `plan_changed` the announced terms of every live subscription are those of the plan, unless their
period has begun. It may run any number of times. Source: R-BH-1, R-BH-3, R-PRICE-1..4, R-CUST-9.
"""

from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.addon_moving import ending
from billing.gateway.canceling import carry_out, end_customer
from billing.gateway.changing import Chosen, change_freely
from billing.life.frozen import PeriodTerms, freeze, raised, refrozen, widened
from billing.life.plan_ending import CANCEL, still_comes
from billing.life.showing import announced, in_force
from billing.life.subscription import Subscription
from billing.life.turning import replaced
from billing.sale.switching import Path
from billing.store import account as accounts
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.addon import with_addons, with_wider_addons
from billing.store.begin import announce, put_announced
from billing.store.plan import Shelf, as_plan_ends, offered
from billing.worker.relay import Relay
from catalog.definition import Customer, Plan
from catalog.store.organization import load_organization
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.clock import Clock
from kernel.engine.sql.base import Sql
from kernel.period import DAY_MS, DAY_US, day_of_us

_PAGE: Final = 100


class PlanSync:
    """Carries changes of plans and customers to subscriptions; the catalog's hooks."""

    def __init__(self, sql: Sql, relay: Relay, clock: Clock) -> None:
        self._sql = sql
        self._relay = relay
        self._clock = clock

    async def plan_changed(self, organization: bytes, plan_id: str) -> None:
        """Follow a plan's change in all its live subscriptions, and wait until LIVE shows it."""
        after = ""
        while True:
            async with self._sql.transaction() as connection:
                found = await load_organization(connection, organization)
                page = await subscriptions.of_plan(connection, plan_id, after, _PAGE)
                if found is None or not page:
                    return
                real_ms = self._clock.now_ms()
                now_ms = found.now_ms(real_ms)
                plan = await offered(connection, found.id_text, plan_id)
                changed = [
                    one for one in page if plan is not None and await _follow(connection, one, plan, now_ms, real_ms)
                ]
                await accounts.raise_rev(connection, [one.customer_id for one in changed])
            await self._relay.show_all(one.customer_id for one in changed)
            after = page[-1].id

    async def end_customer(self, connection: AsyncConnection, customer: Customer) -> None:
        """End what a customer has, within the transaction that archives or deletes it (R-CUST-8, R-CUST-9, AMB-35)."""
        await self._end(connection, customer.organization, customer.id_text)

    async def customer_archived(self, _organization: bytes, customer: bytes) -> None:
        """Wait until LIVE shows that a customer's access is over; the relay goes on with it otherwise."""
        await self._relay.show(ids.id_text(ids.CUSTOMER, customer))

    async def end_archived(self) -> None:
        """End what archived customers still have: a former version may have left some."""
        async with self._sql.snapshot() as connection:
            gone = await subscriptions.archived_owners(connection)
        for organization_id, customer_id in gone:
            async with self._sql.transaction() as connection:
                await self._end(connection, ids.id_bytes(organization_id), customer_id)
            await self._relay.show(customer_id)

    async def _end(self, connection: AsyncConnection, organization: bytes, customer_id: str) -> None:
        found = await load_organization(connection, organization)
        assert found is not None, "an organization is never removed"
        await end_customer(connection, customer_id, found.now_ms(self._clock.now_ms()))


async def _follow(
    connection: AsyncConnection, subscription: Subscription, plan: Plan, now_ms: int, real_ms: int
) -> bool:
    """Bring one subscription's terms up to the plan; tells whether something changed."""
    periods = await terms.of(connection, subscription.id)
    day = day_of_us(_counted_us(subscription, now_ms))
    if subscription.free:
        return await follow_free(connection, subscription, periods, plan, now_ms, real_ms)
    if await _follow_ending(connection, subscription, plan, now_ms):
        return True
    changed = False
    current = now = in_force(subscription, periods)
    for period in (current, announced(subscription, periods)):
        if period is None or (period.until_day is not None and period.until_day <= day):
            continue  # it is over and only waits to be closed
        wanted = period  # another plan's stays as it is
        if period is not current and day < period.since_day:
            if period.plan_id == plan.id:
                wanted = await with_addons(connection, subscription, refrozen(period, plan), current)
            changed = await put_announced(connection, subscription, now, period, wanted) or changed
            continue
        if period.plan_id == plan.id:
            wanted = raised(period, widened(period, plan), day)
        now = wanted if period is current else now
        if wanted != period:
            await terms.put(connection, subscription.id, wanted)
            changed = True
    return changed


def _counted_us(subscription: Subscription, now_ms: int) -> int:
    """Tell how far a subscription's period has come: no further than a pause, whose rest goes on (contract T56)."""
    paused = subscription.pause if subscription.status is SubscriptionStatus.PAUSED else None
    return now_ms * 1000 if paused is None else min(now_ms * 1000, paused.effective_us)


async def _follow_ending(connection: AsyncConnection, subscription: Subscription, plan: Plan, now_ms: int) -> bool:
    """Schedule what the end of a plan does at the renewal to who is on it, or was to come to it (R-PLAN-8, R-PLAN-9).

    Once the period is over by the clock its close decides: what follows has begun. While it is paused none runs.
    """
    end_day, paused = subscription.period_end_day, subscription.status is SubscriptionStatus.PAUSED
    if end_day is None or (now_ms >= end_day * DAY_MS and not paused):
        return False
    after, change = subscription, subscription.scheduled
    if change is not None and change.plan_id == plan.id and not still_comes(change, plan):
        after = replaced(subscription, scheduled=None, updated_ms=now_ms)
    after = await as_plan_ends(connection, after, now_ms, Shelf(connection, plan))
    if after == subscription:
        return False
    await carry_out(connection, subscription, after)
    await announce(connection, after)
    return True


async def follow_free(
    connection: AsyncConnection,
    subscription: Subscription,
    periods: list[PeriodTerms],
    plan: Plan,
    now_ms: int,
    real_ms: int,
) -> bool:
    """Bring terms up to a free plan, and to the add-ons on it; tells whether something changed.

    It has no billing period: what does not widen waits for the next usage window.
    """
    day = day_of_us(now_ms * 1000)
    begun = [period for period in periods if period.since_day <= day]
    current = begun[-1] if begun else periods[0]
    window = current.window_of(day)
    if plan.ending is not None and not subscription.ending:
        return await _end_free(connection, subscription, plan, window.end * DAY_US, now_ms, real_ms)
    now = await with_wider_addons(connection, subscription, widened(current, plan), current)
    later = freeze(plan, msgspec.structs.replace(current, since_day=window.end))
    later = await with_addons(connection, subscription, later, current)
    before = {current, *(period for period in periods if period.since_day > day)}
    after = {now} if msgspec.structs.replace(later, since_day=now.since_day) == now else {now, later}
    if before == after and in_force(subscription, periods) == current:
        return False
    for period in before - after:
        await terms.drop(connection, subscription.id, period)
    for period in after - before:
        await terms.put(connection, subscription.id, period)
    moved = replaced(subscription, period_start_day=now.since_day)
    await subscriptions.change(connection, subscription, moved)
    return True


async def _end_free(
    connection: AsyncConnection, subscription: Subscription, plan: Plan, end_us: int, now_ms: int, real_ms: int
) -> bool:
    """Carry out a deletion on a free plan, which has no renewal: it ends with its window, or moves to a free plan.

    It is not moved to a paid plan, which the catalog refuses to begin with (R-FREE-6). To another model, or where an
    add-on ends, it changes as it would on request: pools start afresh, what is left of top-ups and of the add-on's
    month is given back (R-MODEL-3, R-CHG-13). While a cut of its customer is open it stays until the plan is followed
    again.
    """
    after = subscription
    if plan.ending == CANCEL:
        if subscription.end_us is not None and subscription.end_us <= end_us:
            return False
        after = replaced(subscription, end_us=end_us, cancel_reason="plan deleted", cancel_requested_ms=now_ms)
    elif plan.ending is not None:
        target = await offered(connection, subscription.organization_id, plan.ending)
        if target is None or not target.is_free:
            return False
        after = replaced(subscription, plan_id=target.id, plan_name=target.name)
        current = in_force(subscription, await terms.of(connection, subscription.id))
        moved = await with_addons(connection, subscription, freeze(target, current), current)
        if target.model is not current.model or await ending(connection, subscription, moved):
            account = await accounts.read(connection, subscription.customer_id)
            if account is None or account.open_cut is not None:
                return False
            chosen = Chosen(subscription=subscription, current=current, plan=target, interval=None, path=Path.FREELY)
            await change_freely(connection, chosen, now_ms, real_ms)
            return True
        await terms.put(connection, subscription.id, moved)
    await carry_out(connection, subscription, replaced(after, updated_ms=now_ms))
    return True
