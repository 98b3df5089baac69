"""What a change of the catalog means for those who are subscribed: wider at once, everything else at renewal.

Invariant: after `plan_changed` the announced terms of every live subscription are those of the plan, unless their
period has begun. It may run any number of times. Source: R-BH-1, R-BH-3, R-PRICE-1..4, R-CUST-9.
"""

from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.frozen import PeriodTerms, announced, freeze, in_force, widened
from billing.gateway.canceling import canceled, carry_out
from billing.store import account as accounts
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.plan import offered
from billing.subscription import Command, Decision, Subscription, decide
from billing.worker.relay import Relay
from catalog.definition import Plan
from catalog.store.organization import load_organization
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.clock import Clock
from kernel.engine.sql.base import Sql
from kernel.period import day_of_us

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
                day = day_of_us(found.now_ms(self._clock.now_ms()) * 1000)
                plan = await offered(connection, page[0])
                changed = [one for one in page if plan is not None and await _follow(connection, one, plan, day)]
                await accounts.raise_rev(connection, [one.customer_id for one in changed])
            await self._relay.show_all(one.customer_id for one in changed)
            after = page[-1].id

    async def customer_archived(self, organization: bytes, customer: bytes) -> None:
        """End an archived customer's subscription at once; nothing is collected (R-CUST-8, R-CUST-9, AMB-35)."""
        customer_id = ids.id_text(ids.CUSTOMER, customer)
        async with self._sql.transaction() as connection:
            found = await load_organization(connection, organization)
            live = await subscriptions.live_of(connection, customer_id)
            if found is None or live is None:
                return
            now_ms = found.now_ms(self._clock.now_ms())
            decision = decide(live, Command.CANCEL_NOW, now_ms * 1000)
            assert isinstance(decision, Decision), "a live subscription can be canceled"
            ended = canceled(live, decision, "customer archived", now_ms)
            await carry_out(connection, live, msgspec.structs.replace(ended, final_due=False))
        await self._relay.show(customer_id)

    async def follow_all(self) -> None:
        """Follow every plan that has live subscriptions: at a start, for what a process left when it died."""
        s = tables.subscriptions.c
        query = select(s.organization_id, s.plan_id).where(s.status == SubscriptionStatus.ACTIVE).distinct()
        async with self._sql.snapshot() as connection:
            found = list(await connection.execute(query))
        for organization_id, plan_id in found:
            await self.plan_changed(ids.id_bytes(organization_id), plan_id)


async def _follow(connection: AsyncConnection, subscription: Subscription, plan: Plan, day: int) -> bool:
    """Bring one subscription's terms up to the plan; tells whether something changed."""
    periods = await terms.of(connection, subscription.id)
    if subscription.free:
        return await _follow_free(connection, subscription, periods, plan, day)
    changed = False
    following = announced(subscription, periods)
    for period in periods:
        if period.until_day is not None and period.until_day <= day:
            continue  # it is over, and only waits to be closed
        if period is following and day < period.since_day:
            wanted = freeze(plan, subscription, period.since_day, period.until_day, period.base_minor)
        else:
            wanted = widened(period, plan)
        if wanted != period:
            await terms.put(connection, subscription.id, wanted)
            changed = True
    return changed


async def _follow_free(
    connection: AsyncConnection, subscription: Subscription, periods: list[PeriodTerms], plan: Plan, day: int
) -> bool:
    """A free plan has no billing period: what does not widen waits for the next usage window."""
    begun = [period for period in periods if period.since_day <= day]
    current = begun[-1] if begun else periods[0]
    window = subscription.window_of(day)
    now, later = widened(current, plan), freeze(plan, subscription, window.end, None, 0)
    before = {current, *(period for period in periods if period.since_day > day)}
    after = {now} if msgspec.structs.replace(later, since_day=now.since_day) == now else {now, later}
    if before == after and in_force(subscription, periods) == current:
        return False
    for period in before - after:
        await terms.drop(connection, subscription.id, period.since_day)
    for period in after - before:
        await terms.put(connection, subscription.id, period)
    moved = msgspec.structs.replace(subscription, period_start_day=now.since_day)
    await subscriptions.change(connection, subscription, moved)
    return True
