"""What a checkout charges when it is completed now: shown to the customer before the card is given. It changes nothing.

It is made by the functions that charge it, from the plan as it is sold now and the discount that the checkout froze. A
promo code that would not be redeemed now is told, and takes nothing off: what is shown is the price without it.
A trial, and a first period that costs nothing, only keep the card (R-TRIAL-3, R-DISC-10).
"""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.addon_moving import given_back
from billing.gateway.discounting import intro_of, lost_code
from billing.life.beginning import activated, first_frame, on_trial
from billing.life.frozen import freeze, price_at
from billing.life.showing import in_force
from billing.life.subscription import Subscription
from billing.money.amount_due import Amounts
from billing.money.first_invoice import first_invoice
from billing.money.invoice import InvoiceDraft
from billing.store import account as accounts
from billing.store import credit, terms
from billing.store import seat as seats
from billing.store import subscription as subscriptions
from billing.store.addon import with_addons
from billing.store.plan import offered
from catalog.definition import Organization
from catalog.plan_rule import check_sold
from catalog.terms import SubscriptionStatus
from kernel.errors import Refusal, rejected


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkout charges now; a trial's begins after `trial_end_day`, and has no draft.

    `lost` says why its promo code would not be redeemed (R-DISC-12).
    """

    draft: InvoiceDraft | None
    amounts: Amounts | None
    trial_end_day: int | None = None
    lost: Refusal | None = None


async def quoted(
    connection: AsyncConnection, organization: Organization, subscription: Subscription, real_ms: int
) -> Quote:
    """Tell what completing a subscription's checkout charges now. Raises Rejected `plan_unavailable`."""
    now_ms = organization.now_ms(real_ms)
    plan = await offered(connection, subscription.organization_id, subscription.plan_id)
    if plan is None:
        raise rejected("plan_unavailable", f"Plan {subscription.plan_name} is not sold any more.")
    check_sold(plan)
    lost = await lost_code(connection, subscription, now_ms)
    if subscription.status is SubscriptionStatus.TRIALING:
        begun = on_trial(subscription, now_ms, started=True)
        return Quote(draft=None, amounts=None, trial_end_day=begun.trial_end_day, lost=lost)
    begun = activated(subscription, now_ms)
    seen = in_force(subscription, await terms.of(connection, subscription.id))
    discount = seen.discount
    if lost is not None:
        price = price_at(plan, subscription.billing_interval, subscription.currency)
        discount = None if price is None else await intro_of(connection, subscription.customer_id, price)
    first = freeze(plan, first_frame(begun), seen, discount)
    account = await accounts.read(connection, subscription.customer_id)
    assert account is not None, "who has a subscription has an account"
    live = await subscriptions.live_of(connection, subscription.customer_id)
    held: dict[str, int] = {}
    back_minor = 0
    if live is not None:
        first = await with_addons(connection, live, first, in_force(live, await terms.of(connection, live.id)))
        held = await seats.counts(connection, subscription.customer_id)
        back = await given_back(connection, organization, live, begun, plan, now_ms)
        back_minor = sum(one.amount.minor for one in back)
    asked = await seats.asked(connection, subscription.id)
    held |= {feature: count for feature, (_, count) in asked.items()}
    draft = first_invoice(begun, first, held, account.cut)
    return Quote(draft=draft, amounts=await credit.due_of(connection, draft, more_minor=back_minor), lost=lost)
