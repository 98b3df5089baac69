"""Which discount a new subscription runs: the price's introductory offer, else the code that was entered.

Invariant: never both; an introductory offer wins and the code is not redeemed (R-DISC-1). Source: section 19 of the
rules.
"""

from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.life.subscription import Subscription
from billing.sale.discount import Discount, DiscountSource, amount_off, leaves_enough
from billing.store import subscription as subscriptions
from catalog.definition import Customer, IntroOffer, Organization, Plan, PlanPrice, PromoCode
from catalog.promo import cycles_of, redeemed_before, redemption_refusal_of, refusal_of, value_in
from catalog.store.promo import has_redeemed, load_promo, redeem
from kernel import ids
from kernel.errors import Refusal, Rejected, rejected
from kernel.money import Money
from kernel.period import day_of_us


async def quote(
    connection: AsyncConnection,
    organization: Organization,
    customer: Customer,
    plan: Plan,
    price: PlanPrice | None,
    code: str | None,
    seats_minor: int,
    now_ms: int,
) -> Discount | None:
    """Tell the discount that a checkout shows, frozen from now on (R-DISC-15); None when there is none.

    `seats_minor` is what the checkout charges beside the base, for extra seats: a code takes nothing off it, but it
    counts in what must be left (AMB-30).

    Raises Rejected: `promo_code_not_found`, `promo_code_expired`, or `offer_not_applicable` for a code that is not for
    this plan or customer, leaves less than can be charged (R-DISC-9), or is an amount of another currency than the
    price's and cannot be converted.
    """
    if price is None:
        if code is not None:
            raise rejected("offer_not_applicable", "A free plan has nothing to take off.", param="promoCode")
        return None
    intro = await intro_of(connection, customer.id_text, price)
    if intro is not None:
        return intro
    if code is None:
        return None
    promo = await load_promo(connection, organization.id, code)
    refused = refusal_of(promo, plan.id, price.interval, day_of_us(now_ms * 1000))
    if refused is None and await has_redeemed(connection, promo, customer.id):
        refused = redeemed_before(promo)
    if refused is not None:
        raise Rejected(refused)
    discount = _code(promo, value_in(promo, plan, price.currency, organization.currency))
    base = Money(price.amount_minor, price.currency)
    if not leaves_enough(base.minor - amount_off(base, discount).minor + seats_minor):
        why = f"The code {promo.code} leaves too little to charge."
        raise rejected("offer_not_applicable", why, param="promoCode", rule="R-DISC-9")
    return discount


async def intro_of(connection: AsyncConnection, customer_id: str, price: PlanPrice) -> Discount | None:
    """Tell a price's introductory offer to a customer who never had a paid subscription (R-DISC-4); None for others."""
    if price.intro is None or await subscriptions.ever_paid(connection, customer_id):
        return None
    return _intro(price.intro)


async def use_code(connection: AsyncConnection, subscription: Subscription, now_ms: int) -> None:
    """Redeem the code that the subscription's discount came from, as its checkout completes (R-DISC-12).

    Raises Rejected `promo_code_expired` when its last day is over, `offer_not_applicable` when its last slot went to
    another; then nothing begins, since another price was shown. Without its code the checkout still can be completed.
    """
    if subscription.promo_code is None:
        return
    promo = await load_promo(connection, ids.id_bytes(subscription.organization_id), subscription.promo_code)
    await redeem(connection, promo, ids.id_bytes(subscription.customer_id), now_ms)


async def lost_code(connection: AsyncConnection, subscription: Subscription, now_ms: int) -> Refusal | None:
    """Tell why the code of a checkout would not be redeemed now; None when it would, or there is none."""
    if subscription.promo_code is None:
        return None
    promo = await load_promo(connection, ids.id_bytes(subscription.organization_id), subscription.promo_code)
    refused = redemption_refusal_of(promo, day_of_us(now_ms * 1000))
    if refused is None and await has_redeemed(connection, promo, ids.id_bytes(subscription.customer_id)):
        refused = redeemed_before(promo)
    return refused


def _intro(offer: IntroOffer) -> Discount:
    return Discount(
        source=DiscountSource.INTRO,
        name="Introductory offer",
        type=offer.type,
        value=offer.value,
        cycles_left=offer.cycles,
    )


def _code(promo: PromoCode, value: Decimal) -> Discount:
    return Discount(
        source=DiscountSource.CODE,
        name=promo.code,
        type=promo.type,
        value=value,
        cycles_left=cycles_of(promo),
    )
