"""The months of add-ons on free plans: such a plan has no billing period, so each add-on runs its own (R-ADDON-13).

Invariant: a month is charged once, because its invoice is named after the activation and the month's first day. No
usage is in it, so it takes no cut. A card that declines leaves the invoice outstanding.
"""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.paying import collect
from billing.life.frozen import PeriodTerms
from billing.life.showing import shown_terms
from billing.life.subscription import Subscription
from billing.money.addon_invoice import month_invoice
from billing.sale.addon import SubscriptionAddon, cycle_of, opened
from billing.store import account as accounts
from billing.store import addon as addons
from billing.store import invoice as invoices
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.worker.apart import Fault, apart
from catalog.store.organization import load_organization
from kernel import ids
from kernel.engine.sql.base import Sql
from kernel.period import DAY_MS

_BATCH: Final = 50


async def renew_due(
    sql: Sql, organization_id: str | None, real_ms: int, settle_ms: int, stopped: Collection[str]
) -> tuple[int, list[Fault[SubscriptionAddon]]]:
    """Charge the next month of add-ons whose month has ended, but those in `stopped`, in one transaction.

    Returns how many invoices were written, and the add-ons whose month raises, which stay as they are.
    """
    async with sql.snapshot() as connection:
        due = await addons.due(connection, organization_id, real_ms, settle_ms, _BATCH + len(stopped))

    async def together(some: Sequence[SubscriptionAddon]) -> int:
        async with sql.transaction() as connection:
            return sum([await _renew(connection, listed, real_ms) for listed in some])

    written, faults = await apart([one for one in due if one.id not in stopped][:_BATCH], together)
    return sum(written), faults


async def _renew(connection: AsyncConnection, listed: SubscriptionAddon, real_ms: int) -> bool:
    """Charge one month; False when it changed meanwhile, or ends before the month begins."""
    addon = await addons.read(connection, listed.id)
    if addon is None or addon != listed or addon.next_day is None:
        return False
    subscription = await subscriptions.read(connection, addon.subscription_id)
    organization = await load_organization(connection, ids.id_bytes(addon.organization_id))
    assert subscription is not None, "an add-on is switched on for a subscription"
    assert organization is not None, "an organization is never removed"
    month = cycle_of(addon)
    await addons.renewed(connection, addon, month.end)
    if subscription.over or (subscription.end_us is not None and subscription.end_us <= month.start * DAY_MS * 1000):
        return False
    now_ms = organization.now_ms(real_ms)
    current = await _priced(connection, subscription, addon, now_ms)
    account = await accounts.read(connection, subscription.customer_id)
    granted = current.feature(addon.feature_id)
    assert account is not None, "who has a subscription has an account"
    assert granted is not None, "the terms in force have what is active"
    draft = month_invoice(addon, granted, current, account.cut)
    if not draft.total_minor:
        return False
    invoice = await invoices.write(connection, draft, now_ms)
    await collect(connection, organization, invoice, real_ms)
    return True


async def _priced(
    connection: AsyncConnection, subscription: Subscription, addon: SubscriptionAddon, now_ms: int
) -> PeriodTerms:
    """Bring the terms in force up to the add-on's price of today, which the month takes (R-PRICE-3)."""
    current = shown_terms(subscription, await terms.of(connection, subscription.id), now_ms)
    sold = (await addons.with_addons(connection, subscription, current, current)).feature(addon.feature_id)
    if sold is None:
        return current
    priced = opened(current, sold, base_minor=sold.base_minor)
    if priced != current:
        await terms.put(connection, subscription.id, priced)
        await accounts.raise_rev(connection, [subscription.customer_id])
    return priced
