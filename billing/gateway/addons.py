"""Switching add-ons on and off: the transaction that charges, changes the terms and raises the account.

Invariants: what is on was paid for, or counts as paid in mode `none`; a declined card leaves nothing behind
(R-ADDON-15). Source: section 20 of the rules; contract rows 34 and 35.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.addon_moving import SUBSCRIPTION_ADDON_ID
from billing.gateway.current import loaded, to_change
from billing.gateway.paying import must_collect
from billing.gateway.simulator import gateway_of
from billing.life.frozen import PeriodTerms, raised
from billing.life.lifecycle import as_of
from billing.life.paused import days_of
from billing.life.showing import shown_terms
from billing.life.subscription import Subscription
from billing.money.addon_invoice import activation_invoice
from billing.money.invoice import Invoice
from billing.sale.addon import (
    ActivationCharge,
    SubscriptionAddon,
    activation_charge,
    frozen_addon,
    refusal_of,
    shut,
    switched_on,
)
from billing.store import account as accounts
from billing.store import addon as addons
from billing.store import invoice as invoices
from billing.store import payment as payments
from billing.store import terms
from billing.store.begin import put_announced
from billing.store.plan import offered
from catalog.addon import model_word
from catalog.definition import Addon, Organization
from catalog.store.addon import list_addons, load_addon
from kernel import ids
from kernel.errors import Rejected, rejected
from kernel.period import day_of_us


class Activated(NamedTuple):
    """An add-on that was switched on, its first charge, and the invoice of it."""

    addon: SubscriptionAddon
    charge: ActivationCharge
    invoice: Invoice


async def activate_addon(
    connection: AsyncConnection, organization: Organization, subscription_id: str, reference: str, real_ms: int
) -> Activated:
    """Switch an add-on (id or slug) on: its share of the base price is charged at once, its feature is there at once.

    Raises Rejected: `subscription_not_found`, `addon_not_found`, `addon_already_active`, what `refusal_of` says,
    `plan_unavailable`, `missing_regional_price`, `no_payment_method`, `charge_failed`. The caller shows the account.
    """
    now_ms = organization.now_ms(real_ms)
    subscription = await to_change(connection, organization, subscription_id, now_ms)
    addon = await load_addon(connection, organization.id, reference)
    if any(one.addon_id == addon.id for one in await addons.active_of(connection, subscription.id)):
        raise rejected("addon_already_active", f"The add-on {addon.slug} is active already.", param="addonId")
    periods = await terms.of(connection, subscription.id)
    current = shown_terms(subscription, periods, now_ms)
    plan = await offered(connection, organization.id_text, current.plan_id)
    if plan is None:
        raise rejected("plan_unavailable", f"Plan {current.plan_name} is not sold any more.")
    refused = refusal_of(addon, plan, current, subscription.status, started=subscription.started)
    if refused is not None:
        raise Rejected(refused)
    granted = frozen_addon(addon, plan, current)
    if granted is None:
        raise rejected(
            "missing_regional_price", f"{addon.slug} has no price in {current.currency} on plan {plan.code}."
        )
    if gateway_of(organization) is not None and await payments.card_of(connection, subscription.customer_id) is None:
        raise rejected("no_payment_method", "The customer has no saved card: save one first.")
    begun, granted = switched_on(current, granted)
    begun = raised(current, begun, day_of_us(now_ms * 1000))
    charge = activation_charge(current, granted.base_minor, day_of_us(now_ms * 1000), days_of(periods, current))
    row = SubscriptionAddon(
        id=ids.new_id(SUBSCRIPTION_ADDON_ID, real_ms),
        organization_id=organization.id_text,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        addon_id=addon.id,
        feature_id=granted.feature,
        slug=addon.slug,
        name=addon.name,
        model=model_word(addon),
        activated_ms=now_ms,
        ended_ms=None,
        next_day=charge.period.end if current.free else None,
    )
    await addons.add(connection, row)
    await terms.put(connection, subscription.id, begun)
    await _follow(connection, subscription, periods, begun)
    account = await accounts.read(connection, subscription.customer_id)
    assert account is not None, "who has a subscription has an account"
    draft = activation_invoice(row, granted, current, days_of(periods, current), account.cut)
    invoice = await invoices.write(connection, draft, now_ms)
    await must_collect(connection, organization, invoice, real_ms)
    await accounts.raise_rev(connection, [subscription.customer_id])
    return Activated(row, charge, invoice)


class Offered(NamedTuple):
    """An add-on that may be switched on now, its price a billing period, and what it costs at once."""

    addon: Addon
    base_minor: int
    charge: ActivationCharge


async def offered_addons(
    connection: AsyncConnection, organization: Organization, subscription_id: str, real_ms: int
) -> list[Offered]:
    """List what may be switched on, with the charge to confirm (R-ADDON-9, R-ADDON-10).

    Those that the plan has, that do not fit it or have no price in its currency are hidden, as are active ones. Of a
    subscription that has ended all are, though its final close is still to come (R-ADDON-7). Raises Rejected
    `subscription_not_found`.
    """
    subscription = await loaded(connection, organization, subscription_id)
    now_ms = organization.now_ms(real_ms)
    subscription = as_of(subscription, now_ms * 1000) or subscription
    periods = await terms.of(connection, subscription.id)
    current = shown_terms(subscription, periods, now_ms)
    plan = await offered(connection, organization.id_text, current.plan_id)
    active = {one.addon_id for one in await addons.active_of(connection, subscription.id)}
    found = []
    for addon in await list_addons(connection, organization.id):
        if plan is None or addon.id in active:
            continue
        granted = frozen_addon(addon, plan, current)
        refused = refusal_of(addon, plan, current, subscription.status, started=subscription.started)
        if granted is not None and refused is None:
            _, granted = switched_on(current, granted)
            charge = activation_charge(current, granted.base_minor, day_of_us(now_ms * 1000), days_of(periods, current))
            found.append(Offered(addon, granted.base_minor, charge))
    return found


async def deactivate_addon(
    connection: AsyncConnection, organization: Organization, subscription_id: str, reference: str, real_ms: int
) -> SubscriptionAddon:
    """Switch an add-on (id or slug) off at once, without refund; its usage is billed at the next invoice (R-ADDON-5).

    Raises Rejected: `subscription_not_found`, `addon_not_found`, `addon_not_active`. The caller shows the account.
    """
    now_ms = organization.now_ms(real_ms)
    subscription = await to_change(connection, organization, subscription_id, now_ms)
    active = [] if subscription.over else await addons.active_of(connection, subscription.id)
    row = next((one for one in active if reference in (one.addon_id, one.slug)), None)
    if row is None:
        addon = await load_addon(connection, organization.id, reference)
        raise rejected("addon_not_active", f"The add-on {addon.slug} is not active.", param="addonId")
    periods = await terms.of(connection, subscription.id)
    current = shown_terms(subscription, periods, now_ms)
    await addons.end(connection, row, now_ms)
    current = shut(current, row.addon_id)
    await terms.put(connection, subscription.id, current)
    await _follow(connection, subscription, periods, current)
    await accounts.raise_rev(connection, [subscription.customer_id])
    return msgspec.structs.replace(row, ended_ms=now_ms, next_day=None)


async def _follow(
    connection: AsyncConnection, subscription: Subscription, periods: Sequence[PeriodTerms], current: PeriodTerms
) -> None:
    """Bring the announced terms up to what is active; `current` are those in force, changed already."""
    for period in periods:
        if period.since_day > current.since_day:
            later = await addons.frozen_anew(connection, subscription, period, current)
            await put_announced(connection, subscription, current, period, later)
