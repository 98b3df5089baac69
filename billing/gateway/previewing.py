"""Previewing a change of plan: what it would charge now, from LIVE's totals, by the function that will charge it.

Invariant: nothing changes. Source: contract row 48; R-PORTAL-5.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from aggregator.account import Account
from billing.gateway.changing import ChangeWish, Chosen, choose, frozen_for
from billing.gateway.upcoming import account_of
from billing.life.frozen import PeriodTerms
from billing.life.turning import Bill
from billing.money.agreement import live_usage
from billing.money.closing import Close
from billing.money.drawing import live_draws
from billing.money.first_invoice import first_invoice
from billing.money.invoice import InvoiceType, Line
from billing.sale.change import Target
from billing.sale.switching import Path, charged_change
from billing.store import account as accounts
from billing.store import seat as seats
from billing.store.change import held_at
from catalog.definition import Organization
from kernel.engine.live.base import Live
from kernel.engine.sql.base import Sql
from kernel.errors import rejected
from kernel.period import day_of_us

_NOTHING: Final[tuple[Line, ...]] = ()


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a change would write: its lines, and the days that they prorate (0 of 0 where nothing is prorated).

    `following` are the terms that it would bring, None where a trial's switch brings no charge; `held` the customer's
    seats by feature id, to which they would apply.
    """

    chosen: Chosen
    currency: str
    lines: tuple[Line, ...]
    following: PeriodTerms | None = None
    held: Mapping[str, int] = msgspec.field(default_factory=dict)
    days_remaining: int = 0
    days_in_cycle: int = 0


async def preview_change(
    sql: Sql, live: Live, lanes: int, organization: Organization, wish: ChangeWish, real_ms: int
) -> Preview:
    """Tell what a change would charge now.

    Raises Rejected like `choose`, and `plan_change_scheduled` for one that waits for the renewal; Unavailable while
    LIVE is.
    """
    now_ms = organization.now_ms(real_ms)
    async with sql.snapshot() as connection:
        first = await choose(connection, organization, wish, now_ms)
    counted = Account()
    if first.path is Path.CHARGED:
        counted = await account_of(live, lanes, first.subscription.customer_id)
    async with sql.snapshot() as connection:
        chosen = await choose(connection, organization, wish, now_ms)
        subscription, current = chosen.subscription, chosen.current
        if chosen.path is Path.RENEWAL:
            raise rejected("plan_change_scheduled", "The change takes effect at the renewal: nothing is charged now.")
        if chosen.path is Path.FREELY:
            return Preview(chosen=chosen, currency=subscription.currency, lines=_NOTHING)
        account = await accounts.read(connection, subscription.customer_id)
        assert account is not None, "who has a subscription has an account"
        now_us = now_ms * 1000
        following = await frozen_for(
            connection, subscription, current, chosen.plan, chosen.interval, account.terms + 1, now_us
        )
        seated = await seats.counts(connection, subscription.customer_id)
        if chosen.path is Path.CHECKOUT:
            lines = first_invoice(subscription, following, seated, account.cut).lines
            return Preview(chosen=chosen, currency=following.currency, lines=lines, following=following, held=seated)
        held = await held_at(connection, subscription, current, live_usage(counted), live_draws(counted), now_us)
    bill = Bill(
        kind=InvoiceType.PLAN_CHANGE,
        start_day=subscription.closed_day,
        through_day=day_of_us(now_us),
        end_us=now_us,
        change=Target(plan_id=chosen.plan.id, interval=chosen.interval),
    )
    close = Close(subscription=subscription, cut=account.cut + 1, bill=bill)
    draft = charged_change(close, current, following, held, organization)
    return Preview(
        chosen=chosen,
        currency=draft.currency,
        lines=draft.lines,
        following=following,
        held=seated,
        days_remaining=draft.days_remaining or 0,
        days_in_cycle=draft.days_in_cycle or 0,
    )
