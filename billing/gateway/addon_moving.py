"""Taking add-ons along from a free plan to the paid one that takes its place (R-CHG-13, R-FREE-6).

Those that fit the paid plan go on in its terms, the others end. Of a month that was paid on the free plan, what is left
is given back as account credit, unless the add-on goes on and nothing is charged for it now (a trial).
"""

from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.addon import SubscriptionAddon, frozen_addon, month_left
from billing.beginning import first_frame
from billing.gateway.paying import unpaid
from billing.invoice import Invoice
from billing.store import addon as addons
from billing.store import credit
from billing.store import invoice as invoices
from billing.subscription import Subscription
from catalog import addon as rule
from catalog.definition import Plan
from catalog.store.addon import load_addon
from catalog.store.organization import load_organization
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.period import DAY_MS

SUBSCRIPTION_ADDON_ID: Final = "sad_"


async def take_along(
    connection: AsyncConnection, free: Subscription, paid: Subscription, plan: Plan, now_ms: int
) -> None:
    """Move what is active on a free subscription to the paid one that has begun; its terms are frozen after this."""
    charged = paid.status is SubscriptionStatus.ACTIVE
    for one in await addons.active_of(connection, free.id):
        await addons.end(connection, one, now_ms)
        sold = await load_addon(connection, ids.id_bytes(free.organization_id), one.addon_id, archived=True)
        goes_on = rule.offered(sold, plan) and frozen_addon(sold, plan, first_frame(paid)) is not None
        if goes_on:
            moved = msgspec.structs.replace(
                one, id=ids.new_id(SUBSCRIPTION_ADDON_ID, now_ms), subscription_id=paid.id, next_day=None
            )
            await addons.add(connection, moved)
        if charged or not goes_on:
            await _give_back(connection, one, now_ms)


async def _give_back(connection: AsyncConnection, addon: SubscriptionAddon, now_ms: int) -> None:
    """Grant what is left of the month that the add-on's last invoice charged, if that was paid."""
    invoice = await invoices.last_of_addon(connection, addon.id)
    organization = await load_organization(connection, ids.id_bytes(addon.organization_id))
    assert organization is not None, "an organization is never removed"
    if invoice is None or unpaid(organization, invoice):
        return
    amount, share = month_left(invoice, await _charged(connection, invoice), now_ms // DAY_MS)
    if not amount.minor:
        return
    granted = credit.AccountCredit(
        id=ids.new_id(credit.CREDIT_ID, now_ms),
        organization_id=invoice.organization_id,
        customer_id=invoice.customer_id,
        currency=invoice.currency,
        amount_minor=amount.minor,
        left_minor=amount.minor,
        reason=f"{addon.name} ({addon.slug}): {share.remaining} of {share.days} days",
        origin=credit.Origin.PLAN_CHANGE,
        invoice_id=invoice.id,
        created_ms=now_ms,
    )
    await credit.grant(connection, granted)


async def _charged(connection: AsyncConnection, invoice: Invoice) -> int:
    lines = await invoices.lines(connection, invoice.id)
    return sum(line.amount_minor for _, line in lines if line.feature_id is not None)
