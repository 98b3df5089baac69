"""Subscribing: the transaction that makes a subscription, freezes its terms and writes its start invoice."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.frozen import PeriodTerms, freeze
from billing.invoice import RECURRING, Basis, InvoiceDraft, Source, base_line, source_of
from billing.store import account as accounts
from billing.store import invoice as invoices
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.subscription import Subscription
from catalog.definition import Customer, Organization, Plan, PlanPrice
from catalog.store.customer import load_customer
from catalog.store.plan import load_plan
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.errors import invalid, rejected
from kernel.limits import REAL_NOW_SLACK_MS
from kernel.period import DAY_MS, Interval, Period, day_of_us, period_of


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription is asked for: references as the client spells them, `start_ms` None for now."""

    customer: str
    plan: str
    interval: Interval | None
    name: str | None
    start_ms: int | None


async def subscribe(
    connection: AsyncConnection, organization: Organization, wish: Wish, real_ms: int
) -> tuple[Subscription, PeriodTerms]:
    """Subscribe a customer from the organization's now on, and return the subscription with its first terms.

    In payments mode `none` it is active at once, its start invoice outstanding (decision 9). Raises Rejected with the
    contract's codes. Source: R-SUB-1..3, R-CUST-7, R-CUST-8, R-FREE-1.
    """
    customer = await load_customer(connection, organization.id, wish.customer)
    plan = await load_plan(connection, organization.id, wish.plan)
    now_ms = organization.now_ms(real_ms)
    _check(customer, wish, now_ms, real_ms)
    price = _price(plan, wish.interval)
    if await subscriptions.live_of(connection, customer.id_text) is not None:
        raise rejected("already_has_active_subscription", f"Customer {wish.customer} has a live subscription.")
    account = await accounts.subscribed(connection, organization.id_text, customer.id_text)
    subscription = _subscription(organization, customer, plan, price, wish, account.terms, now_ms, real_ms)
    await subscriptions.add(connection, subscription)
    first = freeze(plan, subscription, subscription.anchor_day, subscription.period_end_day, _base(price))
    await terms.put(connection, subscription.id, first)
    if subscription.period_end_day is not None:
        after = subscription.period_of(subscription.period_end_day)
        await terms.put(
            connection, subscription.id, freeze(plan, subscription, after.start, after.end, first.base_minor)
        )
        await invoices.write(connection, _start_invoice(subscription, first, account.cut), now_ms)
    return subscription, first


def _check(customer: Customer, wish: Wish, now_ms: int, real_ms: int) -> None:
    if customer.archived:
        raise invalid("customerId", "is archived: an archived customer cannot subscribe again")
    if wish.start_ms is not None and min(abs(wish.start_ms - now_ms), abs(wish.start_ms - real_ms)) > REAL_NOW_SLACK_MS:
        raise invalid("startDate", "must be now: starts in the past or the future are not supported")


def _price(plan: Plan, interval: Interval | None) -> PlanPrice | None:
    """Tell the price to subscribe at; None on a free plan. Usage windows of other intervals are not billed yet."""
    if plan.is_free:
        return None
    if not plan.prices:
        raise rejected("no_prices_configured", f"Plan {plan.code} has no price yet.", param="planCode")
    price = plan.price_of(interval)
    if price is None and interval is None:
        price = min(plan.prices, key=lambda one: one.interval.months)
    if price is None:
        raise rejected("price_not_found", f"Plan {plan.code} has no {interval} price.", param="billingInterval")
    if price.interval is not Interval.MONTHLY:
        raise invalid("billingInterval", "must be monthly: other intervals are not supported")
    return price


def _base(price: PlanPrice | None) -> int:
    return 0 if price is None else price.amount_minor


def _subscription(
    organization: Organization,
    customer: Customer,
    plan: Plan,
    price: PlanPrice | None,
    wish: Wish,
    term: int,
    now_ms: int,
    real_ms: int,
) -> Subscription:
    anchor = day_of_us(now_ms * 1000)
    return Subscription(
        id=ids.new_id(ids.SUBSCRIPTION, real_ms),
        organization_id=organization.id_text,
        customer_id=customer.id_text,
        plan_id=plan.id,
        plan_name=plan.name,
        price_id=None if price is None else price.id,
        name=wish.name or plan.name,
        status=SubscriptionStatus.ACTIVE,
        free=price is None,
        billing_interval=None if price is None else price.interval,
        currency=(organization.currency if price is None else price.currency).lower(),
        term=term,
        anchor_day=anchor,
        start_us=now_ms * 1000,
        period_start_day=anchor,
        period_end_day=None if price is None else period_of(anchor, anchor, price.interval).end,
        end_us=None,
        final_due=False,
        cancel_reason=None,
        cancel_requested_ms=None,
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def _start_invoice(subscription: Subscription, first: PeriodTerms, cut: int) -> InvoiceDraft:
    """Bill the first period's base in advance; `cut` is the number of cuts taken before (R-INV-2, R-INV-8)."""
    assert first.until_day is not None, "a paid plan's period ends"
    period = Period(first.since_day, first.until_day)
    issued_ms = subscription.start_us // 1000
    line = base_line(first.plan_name, first.base_minor, subscription.currency, period, term=subscription.term, cut=cut)
    return InvoiceDraft(
        organization_id=subscription.organization_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        cut=cut,
        kind=RECURRING,
        currency=subscription.currency,
        plan_name=first.plan_name,
        period_start_ms=period.start * DAY_MS,
        period_end_ms=period.end * DAY_MS,
        issued_ms=issued_ms,
        due_ms=issued_ms,
        lines=(line,),
        source=source_of(Source.START, subscription.id),
        basis=Basis(cut=cut, terms=(subscription.term,)),
    )
