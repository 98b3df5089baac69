"""What becomes of add-ons in changes of plan that no invoice charges (R-CHG-13, R-FREE-6).

From a free plan to the paid one that takes its place they are taken along: those that fit go on in its terms, the
others end. In a trial and between free plans they stay, but for those that the new plan has or that do not fit it. Of
what was paid for one that ends, what is left is given back as account credit; so is a free plan's month, unless the
add-on goes on and nothing is charged for it now (a trial).
"""

from typing import Final, NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.paying import unpaid
from billing.life.beginning import first_frame
from billing.life.frozen import PeriodTerms
from billing.life.subscription import Subscription
from billing.money.invoice import Invoice
from billing.sale.addon import SubscriptionAddon, frozen_addon, month_left
from billing.store import addon as addons
from billing.store import credit
from billing.store import invoice as invoices
from catalog import addon as rule
from catalog.definition import Organization, Plan
from catalog.store.addon import load_addon
from catalog.store.organization import load_organization
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.money import Money
from kernel.period import DAY_MS

SUBSCRIPTION_ADDON_ID: Final = "sad_"


class GivenBack(NamedTuple):
    """What is left of an add-on's month, the invoice that charged it, and the words that say so."""

    invoice: Invoice
    amount: Money
    reason: str


async def take_along(
    connection: AsyncConnection, free: Subscription, paid: Subscription, plan: Plan, now_ms: int
) -> None:
    """Move what is active on a free subscription to the paid one that has begun; its terms are frozen after this."""
    organization = await load_organization(connection, ids.id_bytes(free.organization_id))
    assert organization is not None, "an organization is never removed"
    for back in await given_back(connection, organization, free, paid, plan, now_ms):
        await _grant(connection, back, now_ms)
    for one in await addons.active_of(connection, free.id):
        await addons.end(connection, one, now_ms)
        if await _goes_on(connection, one, paid, plan):
            moved = msgspec.structs.replace(
                one, id=ids.new_id(SUBSCRIPTION_ADDON_ID, now_ms), subscription_id=paid.id, next_day=None
            )
            await addons.add(connection, moved)


async def given_back(
    connection: AsyncConnection,
    organization: Organization,
    free: Subscription,
    paid: Subscription,
    plan: Plan,
    now_ms: int,
) -> list[GivenBack]:
    """Tell what is left of the months of a free subscription's add-ons as the paid one begins, where it was paid."""
    charged = paid.status is SubscriptionStatus.ACTIVE
    found = []
    for one in await addons.active_of(connection, free.id):
        back = await _left(connection, organization, one, now_ms)
        if back is not None and (charged or not await _goes_on(connection, one, paid, plan)):
            found.append(back)
    return found


async def ending(
    connection: AsyncConnection, subscription: Subscription, following: PeriodTerms
) -> list[SubscriptionAddon]:
    """List the active add-ons that the terms which begin now do not have, oldest first."""
    active = [(one, following.feature(one.feature_id)) for one in await addons.active_of(connection, subscription.id)]
    return [one for one, granted in active if granted is None or granted.addon != one.addon_id]


async def end_with_credit(
    connection: AsyncConnection, subscription: Subscription, following: PeriodTerms, now_ms: int
) -> None:
    """End the add-ons that the terms which begin now do not have, and give back what is left of what was paid."""
    organization = await load_organization(connection, ids.id_bytes(subscription.organization_id))
    assert organization is not None, "an organization is never removed"
    for one in await ending(connection, subscription, following):
        back = await _left(connection, organization, one, now_ms)
        if back is not None:
            await _grant(connection, back, now_ms)
        await addons.end(connection, one, now_ms)


async def _left(
    connection: AsyncConnection, organization: Organization, addon: SubscriptionAddon, now_ms: int
) -> GivenBack | None:
    invoice = await invoices.last_of_addon(connection, addon.id)
    if invoice is None or unpaid(organization, invoice):
        return None
    lines = await invoices.lines(connection, invoice.id)
    charged_minor = sum(line.amount_minor for _, line in lines if line.feature_id is not None)
    amount, share = month_left(invoice, charged_minor, now_ms // DAY_MS)
    reason = f"{addon.name} ({addon.slug}): {share.remaining} of {share.days} days"
    return GivenBack(invoice, amount, reason) if amount.minor else None


async def _goes_on(connection: AsyncConnection, addon: SubscriptionAddon, paid: Subscription, plan: Plan) -> bool:
    sold = await load_addon(connection, ids.id_bytes(addon.organization_id), addon.addon_id, archived=True)
    return rule.offered(sold, plan) and frozen_addon(sold, plan, first_frame(paid)) is not None


async def _grant(connection: AsyncConnection, back: GivenBack, now_ms: int) -> None:
    granted = credit.AccountCredit(
        id=ids.new_id(credit.CREDIT_ID, now_ms),
        organization_id=back.invoice.organization_id,
        customer_id=back.invoice.customer_id,
        currency=back.invoice.currency,
        amount_minor=back.amount.minor,
        left_minor=back.amount.minor,
        reason=back.reason,
        origin=credit.Origin.PLAN_CHANGE,
        invoice_id=back.invoice.id,
        created_ms=now_ms,
    )
    await credit.grant(connection, granted)
