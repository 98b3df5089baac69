"""Changes of plan on request: chosen in one read, then done at once, scheduled, or begun with a cut.

A change that is charged is carried out by the closer at its settled cut (`worker.changing`); every other one in the
transaction that asks for it. Source: section 17 of the rules; contract rows 39 and 48; ADR 9.
"""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.addon_moving import end_with_credit
from billing.gateway.canceling import decided
from billing.gateway.current import to_change
from billing.gateway.discounting import intro_of
from billing.gateway.returning import return_top_ups
from billing.gateway.scheduling import schedule
from billing.gateway.subscribing import Wish, subscribe
from billing.life.frozen import PeriodTerms, freeze, in_currency, price_at
from billing.life.lifecycle import Command
from billing.life.showing import in_force
from billing.life.subscription import ChangeKind, ScheduledChange, Subscription
from billing.life.turning import Bill
from billing.money.invoice import InvoiceType
from billing.sale.change import Side, Target
from billing.sale.switching import Path, frame_of_change, path_of
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import terms
from billing.store.addon import with_addons
from billing.store.change import write_switch
from billing.store.close import CloseRow
from billing.store.cut import open_close
from billing.store.plan import offered
from catalog.definition import Organization, Plan, PlanPrice
from catalog.gateway.once import mismatch
from catalog.plan_rule import check_kept, check_sold
from catalog.store.plan import load_plan
from kernel.errors import Refusal, Rejected, rejected
from kernel.limits import IDEMPOTENT_KEEP_MS
from kernel.period import Interval, day_of_us


class ChangeWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a change is asked for: `plan` as the client spells it, None for the one it is on; so with `interval`."""

    subscription: str
    plan: str | None
    interval: Interval | None
    success_url: str | None = None


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """A change that is allowed: what it comes from, what it goes to, and how it takes effect.

    `current` are the terms in force; `interval` is None for a free plan.
    """

    subscription: Subscription
    current: PeriodTerms
    plan: Plan
    interval: Interval | None
    path: Path


def check_changeable(subscription: Subscription, now_ms: int) -> None:
    """Raise Rejected unless the plan may change now: not while past due, paused, or about to be (R-CHG-14)."""
    decided(subscription, Command.CHANGE, now_ms)
    if subscription.pause is not None:
        raise rejected("already_scheduled", f"Subscription {subscription.id} is to be paused: take that back first.")


async def choose(connection: AsyncConnection, organization: Organization, wish: ChangeWish, now_ms: int) -> Chosen:
    """Decide how a change takes effect. Raises Rejected with the contract's codes (row 39)."""
    subscription = await to_change(connection, organization, wish.subscription, now_ms)
    check_changeable(subscription, now_ms)
    current = in_force(subscription, await terms.of(connection, subscription.id))
    old = await offered(connection, organization.id_text, subscription.plan_id)
    plan = await load_plan(connection, organization.id, wish.plan or subscription.plan_id)
    if plan.id != subscription.plan_id:
        check_sold(plan)
        if old is None or old.group_id is None or old.group_id != plan.group_id:
            raise rejected("plans_not_in_same_group", "A change stays within one plan group.", param="newPlanId")
    else:
        check_kept(plan)
    price = _price(plan, wish.interval, current)
    new = Side(
        plan_id=plan.id,
        base_minor=0 if price is None else in_currency(price, subscription.currency).amount_minor,
        interval=None if price is None else price.interval,
        position=plan.group_position,
    )
    before = Side(
        plan_id=subscription.plan_id,
        base_minor=current.base_minor,
        interval=current.interval,
        position=None if old is None else old.group_position,
    )
    path = path_of(subscription, before, new)
    if isinstance(path, Refusal):
        raise Rejected(path)
    if path is not Path.CHECKOUT:  # which is paid in a currency of its own
        _priced(plan, new.interval, subscription.currency)
    return Chosen(subscription=subscription, current=current, plan=plan, interval=new.interval, path=path)


def _price(plan: Plan, interval: Interval | None, current: PeriodTerms) -> PlanPrice | None:
    """Tell the price to change to: of the interval that is asked for, else of the current one, else the only one."""
    if plan.is_free:
        return None
    if not plan.prices:
        raise rejected("no_prices_configured", f"Plan {plan.code} has no price yet.", param="newPlanId")
    price = plan.price_of(interval or current.interval)
    if price is None and interval is None and (current.free or len(plan.prices) == 1):
        price = min(plan.prices, key=lambda one: one.interval.months)
    if price is None:
        wanted = interval or current.interval
        raise rejected("price_not_found", f"Plan {plan.code} has no {wanted} price.", param="newBillingInterval")
    return price


def _priced(plan: Plan, interval: Interval | None, currency: str) -> PlanPrice | None:
    """Tell the price in the subscription's currency, None on a free plan. Raises Rejected `price_not_found`."""
    price = price_at(plan, interval, currency)
    if price is None and interval is not None:
        why = f"Plan {plan.code} has no {interval} price in {currency.upper()}."
        raise rejected("price_not_found", why, param="newBillingInterval")
    return price


async def frozen_for(
    connection: AsyncConnection,
    subscription: Subscription,
    current: PeriodTerms,
    plan: Plan,
    interval: Interval | None,
    term: int,
    now_us: int,
) -> PeriodTerms:
    """Freeze a plan as it is sold for a change at `now_us`, with its own offer or none (R-DISC-7, R-CHG-10).

    Add-ons that fit it go on (R-CHG-13).
    Raises Rejected `price_not_found` when the plan has no price of the interval in the subscription's currency.
    """
    frame = frame_of_change(current, interval, plan.model, term, now_us)
    price = _priced(plan, interval, subscription.currency)
    discount = None if price is None else await intro_of(connection, subscription.customer_id, price)
    following = freeze(plan, frame, discount=discount)
    return await with_addons(connection, subscription, following, current)


async def earlier_of(
    connection: AsyncConnection, subscription_id: str, asked: str | None, real_ms: int
) -> CloseRow | None:
    """Find the close that a request took when it came before; None for one that is new, or has no key.

    It is remembered as long as answers are. Raises Rejected `idempotency_key_mismatch` where its key came with another
    request (contract 1.5).
    """
    if asked is None:
        return None
    scope = asked[: len(asked) // 2]
    earlier = await closes.asked_by(connection, subscription_id, scope, real_ms - IDEMPOTENT_KEEP_MS)
    if earlier is not None and earlier.asked != asked:
        raise mismatch()
    return earlier


async def begin_change(
    connection: AsyncConnection, organization: Organization, wish: ChangeWish, asked: str | None, real_ms: int
) -> CloseRow | None:
    """Take the cut at which a change that is charged is carried out, and return its close (DESIGN 3.8, ADR 9).

    A request that comes again gets the close that it has, which may be over by now, and so does one that asks for the
    same while it is under way. None where the subscription changed since it was looked at, so that this is no charged
    change any more. `asked` names the request, `wish` the subscription by its id. Raises Rejected as `choose` and
    `earlier_of` do, and `charge_in_progress` while another cut is open.
    """
    earlier = await earlier_of(connection, wish.subscription, asked, real_ms)
    if earlier is not None:
        return earlier
    chosen = await choose(connection, organization, wish, organization.now_ms(real_ms))
    if chosen.path is not Path.CHARGED:
        return None
    subscription = chosen.subscription
    target = Target(plan_id=chosen.plan.id, interval=chosen.interval)
    under_way = await closes.open_of(connection, subscription.id)
    if under_way is not None and under_way.change == target and under_way.refusal is None:
        return under_way
    now_us = organization.now_ms(real_ms) * 1000
    bill = Bill(
        kind=InvoiceType.PLAN_CHANGE,
        start_day=subscription.closed_day,
        through_day=day_of_us(now_us),
        end_us=now_us,
        change=target,
    )
    close = await open_close(connection, subscription, bill, real_ms, asked)
    if close is None:
        raise rejected("charge_in_progress", "Another invoice of the customer is being made: try again.")
    return close


async def change_freely(
    connection: AsyncConnection, chosen: Chosen, now_ms: int, real_ms: int
) -> tuple[Subscription, PeriodTerms]:
    """Switch the terms now, without a charge: in a trial, whose end stays, or between free plans (R-CHG-14).

    What is left of top-ups is given back where no balance follows, and of add-ons that end (R-CHG-13). Raises
    Unavailable like `return_top_ups`.
    """
    subscription, current = chosen.subscription, chosen.current
    account = await accounts.new_term(connection, subscription.organization_id, subscription.customer_id)
    following = await frozen_for(
        connection, subscription, current, chosen.plan, chosen.interval, account.terms, now_ms * 1000
    )
    await end_with_credit(connection, subscription, following, now_ms)
    after = await write_switch(connection, subscription, following, now_ms)
    await return_top_ups(connection, subscription, current, following, now_ms, real_ms)
    return after, following


async def change_by_checkout(
    connection: AsyncConnection, organization: Organization, chosen: Chosen, success_url: str | None, real_ms: int
) -> tuple[Subscription, PeriodTerms]:
    """Subscribe to a paid plan in the free one's place: full price from today, no credit (R-FREE-6, R-CHG-7).

    Until its payment comes the free plan stays in force; in payments mode `none` it begins at once.
    """
    wish = Wish(
        customer=chosen.subscription.customer_id,
        plan=chosen.plan.id,
        interval=chosen.interval,
        name=None,
        start_ms=None,
        skip_trial=True,
        success_url=success_url,
    )
    return await subscribe(connection, organization, wish, real_ms)


async def change_at_renewal(connection: AsyncConnection, chosen: Chosen, now_ms: int) -> Subscription:
    """Let a downgrade, a shorter interval or a free plan wait for the renewal (R-CHG-6, R-CHG-7).

    An upgrade that waits for its cut does not come: what is newer takes its place (R-SUB-14).
    """
    await closes.refuse_change(connection, chosen.subscription.id, "already_scheduled")
    same = chosen.plan.id == chosen.subscription.plan_id
    change = ScheduledChange(
        kind=ChangeKind.INTERVAL if same else ChangeKind.DOWNGRADE,
        plan_id=chosen.plan.id,
        plan_name=chosen.plan.name,
        interval=chosen.interval,
        requested_ms=now_ms,
    )
    return await schedule(connection, chosen.subscription, change, now_ms)
