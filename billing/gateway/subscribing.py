"""Subscribing: the transaction that makes a subscription, freezes its terms and writes its start invoice."""

import secrets
from collections.abc import Mapping

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.addon_moving import take_along
from billing.gateway.canceling import carry_out, end_now
from billing.gateway.current import must_give_way
from billing.gateway.discounting import quote, use_code
from billing.gateway.returning import return_top_ups
from billing.gateway.seating import ask_seats, begin_seats, named_seats
from billing.life.beginning import activated, first_frame, on_trial
from billing.life.frozen import PeriodTerms, freeze, in_currency, price_at
from billing.life.lifecycle import Command, decide
from billing.life.showing import in_force
from billing.life.subscription import Subscription
from billing.life.turning import lapsed, replaced
from billing.sale.discount import DiscountSource
from billing.sale.seat_billing import lines_of_start
from billing.store import account as accounts
from billing.store import seat as seats
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.begin import charge_first, open_terms
from billing.store.plan import offered
from catalog.definition import NO_PAYMENTS, Customer, Organization, Plan, PlanPrice
from catalog.local_currency import home_currency, paid_currency
from catalog.plan_rule import check_sold
from catalog.store.customer import load_customer
from catalog.store.plan import load_plan
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.errors import Refusal, Rejected, invalid, rejected
from kernel.limits import REAL_NOW_SLACK_MS
from kernel.period import Interval, day_of_us


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription is asked for: references as the client spells them, `start_ms` None for now.

    `price` is the id of one of the plan's prices; None takes that of `interval`. `trial_days` None takes the price's;
    a `draft` waits for its checkout to be sent (R-SUB-5). `currency` None takes that of the billing address (R-REG-5).
    """

    customer: str
    plan: str
    interval: Interval | None
    price: str | None = None
    name: str | None
    start_ms: int | None
    skip_trial: bool = False
    trial_days: int | None = None
    draft: bool = False
    success_url: str | None = None
    promo: str | None = None
    seats: Mapping[str, int] = msgspec.field(default_factory=dict)
    currency: str | None = None


async def subscribe(
    connection: AsyncConnection, organization: Organization, wish: Wish, real_ms: int
) -> tuple[Subscription, PeriodTerms]:
    """Subscribe a customer from the organization's now on, and return the subscription with its first terms.

    In payments mode `none` it begins at once, its start invoice outstanding (decision 9); else a paid plan waits for
    its checkout. One that did not begin yet is superseded, and a live free one gives way to a paid plan as that one
    begins. Raises Rejected with the contract's codes. Source: R-SUB-1..3, R-CUST-7, R-CUST-8, R-FREE-1, R-FREE-6.
    """
    customer = await load_customer(connection, organization.id, wish.customer)
    plan = await load_plan(connection, organization.id, wish.plan)
    now_ms = organization.now_ms(real_ms)
    _check(customer, plan, wish, now_ms, real_ms)
    price = _price(plan, wish)
    live = await subscriptions.live_of(connection, customer.id_text)
    must_give_way(live, now_ms)
    if live is not None and not (live.free and price is not None):
        raise rejected("already_has_active_subscription", f"Customer {wish.customer} has a live subscription.")
    for unfinished in await subscriptions.unfinished_of(connection, customer.id_text):
        await end_now(connection, unfinished, Command.SUPERSEDE, "superseded", now_ms)
    account = await accounts.new_term(connection, organization.id_text, customer.id_text)
    made = _made(organization, customer, plan, price, wish, account.terms, now_ms, real_ms)
    ready = price is None or organization.payments == NO_PAYMENTS
    price_here = None if price is None else in_currency(price, made.currency)
    named = await named_seats(connection, organization, wish.seats)
    held = {} if live is None else await seats.counts(connection, customer.id_text)
    seated = {**held, **{feature.id_text: count for feature, count in named}}
    extra_minor = 0 if price is None else _seats_minor(plan, made, seated, now_ms)
    discount = await quote(connection, organization, customer, plan, price_here, wish.promo, extra_minor, now_ms)
    if discount is not None and discount.source is DiscountSource.CODE:
        made = replaced(made, promo_code=discount.name)
    subscription = made if wish.draft else _sent(made, now_ms, ready=ready)
    left = None
    if subscription.started and live is not None:
        left = await _give_way(connection, live, now_ms)
    await subscriptions.add(connection, subscription)
    if subscription.started:
        if live is not None:
            await take_along(connection, live, subscription, plan, now_ms)
        await use_code(connection, subscription, now_ms)
    first = await open_terms(connection, subscription, plan, discount, left)
    await ask_seats(connection, subscription, first, named)
    held = await begin_seats(connection, subscription, now_ms, keep=live is not None) if subscription.started else {}
    if subscription.status is SubscriptionStatus.ACTIVE and not subscription.free:
        await charge_first(connection, subscription, first, held, account.cut, now_ms)
    if live is not None and left is not None:
        await return_top_ups(connection, live, left, first, now_ms, real_ms)
    return subscription, first


async def send(
    connection: AsyncConnection, organization: Organization, subscription: Subscription, real_ms: int
) -> Subscription:
    """Send a draft's checkout: it waits for its payment or its card, or begins where none is needed (R-SUB-5).

    Raises Rejected `invalid_subscription_status`, or `plan_unavailable` when its plan takes no new subscribers.
    """
    now_ms = organization.now_ms(real_ms)
    ready = subscription.free or organization.payments == NO_PAYMENTS
    command = Command.SEND_CHECKOUT
    if subscription.free:
        command = Command.START_FREE
    elif subscription.trial_days:
        command = Command.START_TRIAL
    _allowed(subscription, command, now_ms)
    plan = await offered(connection, subscription.organization_id, subscription.plan_id)
    if plan is not None:
        check_sold(plan)
    if not ready:
        return await _rewritten(connection, subscription, _sent(subscription, now_ms, ready=False))
    waiting = await _rewritten(connection, subscription, _sent(subscription, now_ms, ready=False))
    return await activate(connection, waiting, now_ms, real_ms)


async def renew_checkout(
    connection: AsyncConnection, organization: Organization, subscription: Subscription, real_ms: int
) -> Subscription:
    """Make the checkout's link again; the old one is not valid any more, the state stays (R-SUB-10)."""
    now_ms = organization.now_ms(real_ms)
    _allowed(subscription, Command.RENEW_CHECKOUT, now_ms)
    after = replaced(subscription, checkout_token=_token(), updated_ms=now_ms)
    return await _rewritten(connection, subscription, after)


async def lapse(connection: AsyncConnection, subscription: Subscription, now_ms: int) -> Subscription:
    """Take the step that the calendar has for a trial whose card did not come in time, and return it as it then is.

    Its checkout does not wait for it: nothing is billed by it, and no trial begins after its end (R-SUB-5, AMB-24).
    """
    after = lapsed(subscription, now_ms)
    if after != subscription:
        await carry_out(connection, subscription, after)
    return after


async def choose(
    connection: AsyncConnection,
    organization: Organization,
    subscription: Subscription,
    real_ms: int,
    *,
    currency: str | None = None,
    without_code: bool = False,
) -> Subscription:
    """Make a checkout one in another currency, or without its promo code, while nothing is paid.

    The first payment fixes the currency (R-REG-4); the discount is the one that the price has there (R-DISC-14), and
    without a code an introductory offer if there is one (R-DISC-1). A price that the plan lost stays as it was shown
    (contract row 64). Raises Rejected like `quote`.
    """
    plan = await offered(connection, subscription.organization_id, subscription.plan_id)
    if plan is None or subscription.free:
        return subscription
    price = plan.price_of(subscription.billing_interval)
    local = subscription.currency if currency is None or price is None else paid_currency(plan, price, currency)
    code = None if without_code else subscription.promo_code
    if (local, code) == (subscription.currency, subscription.promo_code):
        return subscription
    now_ms = organization.now_ms(real_ms)
    customer = await load_customer(connection, organization.id, subscription.customer_id)
    after = replaced(subscription, currency=local, promo_code=code, updated_ms=now_ms)
    asked = await seats.asked(connection, subscription.id)
    seen = None
    if local == subscription.currency:
        seen = in_force(subscription, await terms.of(connection, subscription.id))
    extra_minor = _seats_minor(plan, after, {feature: count for feature, (_, count) in asked.items()}, now_ms, seen)
    price_here = price_at(plan, after.billing_interval, local)
    discount = await quote(connection, organization, customer, plan, price_here, code, extra_minor, now_ms)
    await carry_out(connection, subscription, after)
    await open_terms(connection, after, plan, discount, seen=seen)
    return after


async def activate(connection: AsyncConnection, subscription: Subscription, now_ms: int, real_ms: int) -> Subscription:
    """Begin what waited for its checkout: the first payment came, or a trial's card, at the organization's `now_ms`.

    Terms are frozen as the plan is sold now; the discount is the one that the checkout showed, and so is a price that
    the plan has lost since. A live free subscription ends. The caller shows the account.
    Raises Rejected `invalid_subscription_status`, `plan_unavailable` when the plan is gone or takes no new subscribers
    (R-PLAN-8), `promo_code_expired` or `offer_not_applicable` when its code is redeemed no more; Unavailable like
    `return_top_ups`.
    Source: R-TRIAL-4, R-FREE-6, R-DISC-10, R-DISC-12; AMB-24.
    """
    trial = subscription.status is SubscriptionStatus.TRIALING
    _allowed(subscription, Command.CAPTURE if trial else Command.ACTIVATE, now_ms)
    plan = await offered(connection, subscription.organization_id, subscription.plan_id)
    if plan is None:
        raise rejected("plan_unavailable", f"Plan {subscription.plan_name} is not sold any more.")
    check_sold(plan)
    seen = in_force(subscription, await terms.of(connection, subscription.id))
    live, left = await subscriptions.live_of(connection, subscription.customer_id), None
    must_give_way(live, now_ms)
    if live is not None:
        if not live.free:
            raise rejected("already_has_active_subscription", "The customer has a live subscription.")
        left = await _give_way(connection, live, now_ms)
    await use_code(connection, subscription, now_ms)
    begun = on_trial(subscription, now_ms, started=True) if trial else activated(subscription, now_ms)
    term = await _number(connection, subscription)
    changes = {"term": term, "checkout_token": None, "updated_ms": now_ms}
    after = await _rewritten(connection, subscription, replaced(begun, **changes))
    if live is not None:
        await take_along(connection, live, after, plan, now_ms)
    first = await open_terms(connection, after, plan, seen.discount, left, seen)
    held = await begin_seats(connection, after, now_ms, keep=live is not None)
    if not (trial or after.free):
        account = await accounts.read(connection, after.customer_id)
        assert account is not None, "who has a subscription has an account"
        await charge_first(connection, after, first, held, account.cut, now_ms)
    if live is not None and left is not None:
        await return_top_ups(connection, live, left, first, now_ms, real_ms)
    return after


async def _number(connection: AsyncConnection, waiting: Subscription) -> int:
    """Tell the number of the terms of what begins now: that of its checkout, or a new one where others took one since.

    Such are terms of the free plan that stayed in force, which changed meanwhile: later terms have a greater number.
    """
    account = await accounts.read(connection, waiting.customer_id)
    assert account is not None, "who has a subscription has an account"
    if account.terms > waiting.term:
        account = await accounts.new_term(connection, waiting.organization_id, waiting.customer_id)
    return account.terms


async def _give_way(connection: AsyncConnection, free: Subscription, now_ms: int) -> PeriodTerms:
    """End a free subscription, and tell its terms, from which the one in its place takes over top-ups (AMB-20)."""
    left = in_force(free, await terms.of(connection, free.id))
    await end_now(connection, free, Command.CANCEL_NOW, "replaced by a paid plan", now_ms)
    return left


async def _rewritten(connection: AsyncConnection, before: Subscription, after: Subscription) -> Subscription:
    await carry_out(connection, before, after)
    if after.term == before.term and after.period_start_day != before.period_start_day and not after.started:
        seen = in_force(before, await terms.of(connection, before.id))
        plan = await offered(connection, before.organization_id, before.plan_id)
        if plan is not None:
            await open_terms(connection, after, plan, seen.discount, seen=seen)
    return after


def _allowed(subscription: Subscription, command: Command, now_ms: int) -> None:
    decision = decide(subscription, command, now_ms * 1000)
    if isinstance(decision, Refusal):
        raise Rejected(decision)


def _check(customer: Customer, plan: Plan, wish: Wish, now_ms: int, real_ms: int) -> None:
    if customer.archived:
        raise invalid("customerId", "is archived: an archived customer cannot subscribe again")
    check_sold(plan)
    if wish.start_ms is not None and min(abs(wish.start_ms - now_ms), abs(wish.start_ms - real_ms)) > REAL_NOW_SLACK_MS:
        raise invalid("startDate", "must be now: starts in the past or the future are not supported")
    if wish.trial_days is not None and (wish.skip_trial or plan.is_free):
        raise invalid("customTrialDays", "goes neither with skipTrial nor with a free plan")


def _price(plan: Plan, wish: Wish) -> PlanPrice | None:
    """Tell the price to subscribe at: the plan's default one when none is named (R-SUB-2)."""
    if wish.price is not None:
        return _named_price(plan, wish.price, wish.interval)
    if plan.is_free:
        return None
    if not plan.prices:
        raise rejected("no_prices_configured", f"Plan {plan.code} has no price yet.", param="planCode")
    price = plan.price_of(wish.interval)
    if price is None:
        raise rejected("price_not_found", f"Plan {plan.code} has no {wish.interval} price.", param="billingInterval")
    return price


def _named_price(plan: Plan, price_id: str, interval: Interval | None) -> PlanPrice:
    price = next((price for price in plan.prices if price.id == price_id), None)
    if price is None:
        raise rejected("price_not_found", f"Plan {plan.code} has no price {price_id}.", param="priceId")
    if interval not in (None, price.interval):
        raise invalid("priceId", f"is the plan's {price.interval} price, and billingInterval is {interval}")
    return price


def _seats_minor(
    plan: Plan, made: Subscription, held: Mapping[str, int], now_ms: int, seen: PeriodTerms | None = None
) -> int:
    """Tell what a first period would charge for the extra seats of `held`, counts by feature id.

    `seen` are the terms that its checkout showed, as in `open_terms`.
    """
    first = freeze(plan, first_frame(activated(made, now_ms)), seen)
    return sum(line.amount_minor for line in lines_of_start(first, held, 0))


def _currency(customer: Customer, plan: Plan, price: PlanPrice, asked: str | None) -> str:
    return paid_currency(plan, price, asked or home_currency(customer.address))


def _trial_days(price: PlanPrice | None, wish: Wish) -> int:
    """Tell how long the trial is, 0 for none; every new subscription gets it (R-TRIAL-1, R-TRIAL-2, R-TRIAL-11)."""
    if price is None or wish.skip_trial:
        return 0
    return price.trial_days if wish.trial_days is None else wish.trial_days


def _sent(subscription: Subscription, now_ms: int, *, ready: bool) -> Subscription:
    """Tell the state in which a checkout is issued; `ready` needs none, and begins."""
    if subscription.trial_days:
        begun = on_trial(subscription, now_ms, started=ready)
    elif ready:
        begun = activated(subscription, now_ms)
    else:
        begun = replaced(subscription, status=SubscriptionStatus.PENDING_PAYMENT)
    return replaced(begun, checkout_token=None if ready else _token())


def _token() -> str:
    return secrets.token_urlsafe(24)


def _made(
    organization: Organization,
    customer: Customer,
    plan: Plan,
    price: PlanPrice | None,
    wish: Wish,
    term: int,
    now_ms: int,
    real_ms: int,
) -> Subscription:
    day = day_of_us(now_ms * 1000)
    return Subscription(
        id=ids.new_id(ids.SUBSCRIPTION, real_ms),
        organization_id=organization.id_text,
        customer_id=customer.id_text,
        plan_id=plan.id,
        plan_name=plan.name,
        price_id=None if price is None else price.id,
        name=wish.name or plan.name,
        status=SubscriptionStatus.DRAFT,
        started=False,
        was_paid=False,
        free=price is None,
        billing_interval=None if price is None else price.interval,
        currency=organization.currency.lower() if price is None else _currency(customer, plan, price, wish.currency),
        term=term,
        anchor_day=day,
        start_us=now_ms * 1000,
        period_start_day=day,
        period_end_day=None,
        next_day=None,
        closed_day=day,
        trial_days=_trial_days(price, wish),
        trial_end_day=None,
        end_us=None,
        expires_us=None,
        final_due=False,
        cancel_reason=None,
        cancel_requested_ms=None,
        scheduled=None,
        pause=None,
        checkout_token=None,
        success_url=wish.success_url,
        promo_code=None,
        created_ms=now_ms,
        updated_ms=now_ms,
    )
