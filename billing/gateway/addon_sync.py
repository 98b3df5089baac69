"""What a change of an add-on means for who has it: wider at once, prices at renewal (R-BH-1, R-PRICE-3).

It may run any number of times.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.plan_sync import follow_free
from billing.life.frozen import raised
from billing.life.showing import shown_terms
from billing.life.subscription import Subscription
from billing.store import account as accounts
from billing.store import addon as addons
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.addon import frozen_anew, with_wider_addons
from billing.store.begin import put_announced
from billing.store.plan import offered
from billing.worker.relay import Relay
from catalog.store.organization import load_organization
from kernel.clock import Clock
from kernel.engine.sql.base import Sql
from kernel.period import DAY_MS

_PAGE: Final = 100


class AddonSync:
    """Carries changes of add-ons to subscriptions; the catalog's hook."""

    def __init__(self, sql: Sql, relay: Relay, clock: Clock) -> None:
        self._sql = sql
        self._relay = relay
        self._clock = clock

    async def addon_changed(self, organization: bytes, addon_id: str) -> None:
        """Follow an add-on's change in all subscriptions that have it, and wait until LIVE shows it."""
        after = ""
        while True:
            async with self._sql.transaction() as connection:
                found = await load_organization(connection, organization)
                page = await addons.using(connection, addon_id, after, _PAGE)
                if found is None or not page:
                    return
                real_ms = self._clock.now_ms()
                now_ms = found.now_ms(real_ms)
                own = await subscriptions.read_all(connection, page)
                changed = [one.customer_id for one in own.values() if await _follow(connection, one, now_ms, real_ms)]
                await accounts.raise_rev(connection, changed)
            await self._relay.show_all(changed)
            after = page[-1]


async def _follow(connection: AsyncConnection, subscription: Subscription, now_ms: int, real_ms: int) -> bool:
    """Bring one subscription's terms up to its add-ons; tells whether something changed."""
    periods = await terms.of(connection, subscription.id)
    plan = await offered(connection, subscription.organization_id, subscription.plan_id) if subscription.free else None
    if plan is not None:
        return await follow_free(connection, subscription, periods, plan, now_ms, real_ms)
    current = shown_terms(subscription, periods, now_ms)
    now = await with_wider_addons(connection, subscription, current, current)
    now = raised(current, now, now_ms // DAY_MS)
    changed = now != current
    if changed:
        await terms.put(connection, subscription.id, now)
    for period in periods:
        if period.since_day > current.since_day:
            later = await frozen_anew(connection, subscription, period, current)
            changed = await put_announced(connection, subscription, now, period, later) or changed
    return changed
