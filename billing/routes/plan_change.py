"""Changes of plan over HTTP: change, preview, and taking a scheduled change back (contract rows 39 and 48).

`DELETE …/scheduled-change` is additive: no client has it (decision 7).
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
from litestar import Response, Router, delete, post
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.changing import (
    ChangeWish,
    Chosen,
    begin_change,
    change_at_renewal,
    change_by_checkout,
    change_freely,
    choose,
    earlier_of,
)
from billing.gateway.current import loaded, to_change
from billing.gateway.previewing import preview_change
from billing.gateway.scheduling import schedule
from billing.life.lifecycle import as_of
from billing.life.showing import announced, shown_terms
from billing.money.agreement import live_usage, used_now
from billing.money.invoice import Source, source_of
from billing.routes.shown import shown
from billing.routes.subscription_answer import RESOURCE, LiveAccount, checkout_url, live_account, members, web_address
from billing.sale.switching import Path
from billing.store import close as closes
from billing.store import credit, terms
from billing.store import invoice as invoices
from billing.store import seat as seats
from billing.store.close import CloseRow, CloseState
from billing.wire import change as shape
from billing.worker.catching_up import caught_up
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply
from catalog.gateway.once import name_of, once, replayed
from catalog.gateway.openapi import documented
from catalog.terms import ConsumptionModel
from kernel.engine.live.base import Live
from kernel.errors import Rejected, Unavailable, invalid, rejected
from kernel.limits import CHANGE_WAIT_MS
from kernel.period import Interval
from kernel.wire import Wire

# How a change says why it did not come at its cut (R-CHG-8).
_REFUSED: Final = {
    "already_scheduled": "It was canceled, paused or changed for later meanwhile: this change does not come.",
    "charge_failed": "The card was declined: nothing has changed.",
    "no_payment_method": "The customer has no saved card: save one first.",
    "amount_too_large": "The change would charge more than an invoice can hold: nothing has changed.",
}


class ChangeInput(Wire, frozen=True, kw_only=True):
    """A change to another plan, another interval, or both."""

    new_plan_id: str | None = None
    new_billing_interval: str | None = None
    success_url: str | None = None
    offer_id: str | None = None


class PreviewInput(Wire, frozen=True, kw_only=True):
    """A change that is looked at."""

    plan_id: str
    billing_interval: str | None = None
    offer_id: str | None = None


@post(
    "/{subscription_id:str}/change-plan",
    status_code=200,
    summary="Change plan or interval: now, at the renewal, or by a checkout",
    operation_class=documented(ChangeInput),
)
async def change_one(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    live: NamedDependency[SkipValidation[Live]],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """An upgrade is charged and holds at once, a downgrade waits for the renewal (R-CHG-3, R-CHG-6, R-CHG-7)."""
    caller.must_write(RESOURCE)
    asked = await read_body(request, ChangeInput)
    _no_offer(asked.offer_id)
    wish = ChangeWish(
        subscription=subscription_id,
        plan=asked.new_plan_id,
        interval=_interval("newBillingInterval", asked.new_billing_interval),
        success_url=web_address("successUrl", asked.success_url),
    )
    before = await replayed(request, caller)
    if before is not None:
        return before
    try:
        close = await _begun(request, caller, closer, wish)
    except Rejected as refused:
        return await _refused(request, caller, refused)
    if close is not None:
        await _settled(closer, close)
        return await _answered(request, caller, close)
    async with caller.catalog.sql.snapshot() as connection:
        found = await loaded(connection, caller.organization, wish.subscription)
    seen = await live_account(caller, live, found.customer_id)
    customers: list[str] = []
    returning: list[CloseRow] = []

    async def work(connection: AsyncConnection) -> object:
        chosen = await choose(connection, caller.organization, wish, caller.now_ms)
        customers[:] = [chosen.subscription.customer_id]
        answer = await _uncharged(connection, request, caller, chosen, wish, seen)
        if chosen.current.model is ConsumptionModel.BALANCE:
            close = await closes.open_of(connection, chosen.subscription.id)
            returning[:] = [] if close is None else [close]
        return answer

    async def after() -> Mapping[str, str] | None:
        """Show the account; wait for the credit of top-ups that were left, which comes a little later otherwise."""
        headers = await shown(relay, customers)()
        for close in returning:
            await _settled(closer, close)
        return headers

    return await once(request, caller, work, after=after)


async def _begun(request: HttpRequest, caller: Caller, closer: Closer, wish: ChangeWish) -> CloseRow | None:
    """Take the cut of a change that is charged, or find the one that this request took; None for any other change."""
    asked, sql = await name_of(request, caller), caller.catalog.sql
    async with sql.snapshot() as connection:
        found = await loaded(connection, caller.organization, wish.subscription)
        earlier = await earlier_of(connection, found.id, asked, caller.real_ms)
    if earlier is not None:
        return earlier
    then = as_of(found, caller.now_ms * 1000)
    if then is None or then.live:  # what has ended is not changed, and its final close waits for what comes late
        await closer.catch_up(found.customer_id, caller.now_ms)
    async with sql.snapshot() as connection:
        chosen = await choose(connection, caller.organization, wish, caller.now_ms)
    if chosen.path is not Path.CHARGED:
        return None
    own = msgspec.structs.replace(wish, subscription=found.id)
    async with sql.transaction() as connection:
        return await begin_change(connection, caller.organization, own, asked, caller.real_ms)


async def _refused(request: HttpRequest, caller: Caller, refused: Rejected) -> Response[bytes]:
    """Refuse a change that took no cut, as the first outcome of its `Idempotency-Key`."""

    async def work(_: AsyncConnection) -> object:
        raise refused

    return await once(request, caller, work)


async def _settled(closer: Closer, close: CloseRow) -> None:
    """Wait for the closer; what takes longer goes on behind the answer."""
    await asyncio.wait([closer.close_customer_in_background(close.customer_id)], timeout=CHANGE_WAIT_MS / 1000)


async def _answered(request: HttpRequest, caller: Caller, close: CloseRow) -> Response[bytes]:
    """Answer what became of a change at its cut. Raises Unavailable while it is not settled, Rejected if it failed."""

    async def work(connection: AsyncConnection) -> object:
        [row] = await closes.read_all(connection, [close.id])
        if row.state is not CloseState.SETTLED:
            raise Unavailable("the change waits for the customer's usage to be counted; ask again")
        if row.invoice_id is None:
            code = row.refusal or "charge_failed"
            raise rejected(code, _REFUSED.get(code, "The change was refused: nothing has changed."))
        subscription = await loaded(connection, caller.organization, row.subscription_id)
        periods = {one.term: one for one in await terms.of(connection, subscription.id)}
        invoice = await invoices.read(connection, row.invoice_id)
        assert invoice is not None, "a settled close names an invoice that is there"
        old, new = invoice.basis.terms
        lines = [line for _, line in await invoices.lines(connection, invoice.id)]
        left = await credit.left_of(connection, invoice.customer_id, invoice.currency)
        billing = shape.billing_of(lines, invoice, left)
        done = shape.completed(subscription, periods[old], periods[new], billing, invoice.id)
        return {**caller.object("plan_change"), **done}

    return await once(request, caller, work)


async def _uncharged(
    connection: AsyncConnection,
    request: HttpRequest,
    caller: Caller,
    chosen: Chosen,
    wish: ChangeWish,
    seen: LiveAccount | None,
) -> object:
    """Carry out a change that no cut waits for, and spell it; `seen` None: LIVE does not tell what is used."""
    before, now_ms = chosen.current, caller.now_ms
    match chosen.path:
        case Path.FREELY:
            after, following = await change_freely(connection, chosen, now_ms, caller.real_ms)
            answer = shape.completed(after, before, following, shape.billing_of([], None, 0), None)
        case Path.CHECKOUT:
            made, first = await change_by_checkout(
                connection, caller.organization, chosen, wish.success_url, caller.real_ms
            )
            if not made.started:
                answer = shape.requires_checkout(made, checkout_url(request, made))
            else:
                invoice = await invoices.made_by(connection, source_of(Source.START, made.id))
                lines = [] if invoice is None else [line for _, line in await invoices.lines(connection, invoice.id)]
                left = await credit.left_of(connection, made.customer_id, made.currency)
                billing = shape.billing_of(lines, invoice, left)
                answer = shape.completed(made, before, first, billing, None if invoice is None else invoice.id)
        case Path.RENEWAL:
            after = await change_at_renewal(connection, chosen, now_ms)
            following_terms = announced(after, await terms.of(connection, after.id))
            assert following_terms is not None, "what was scheduled is announced"
            held = await seats.counts(connection, after.customer_id)
            used = {} if seen is None else used_now(before, live_usage(seen.account), now_ms)
            answer = shape.scheduled(after, before, following_terms, held, used)
        case Path.CHARGED:
            raise rejected("charge_in_progress", "The subscription changed at the same time: try again.")
    return {**caller.object("plan_change"), **answer}


@post(
    "/{subscription_id:str}/preview-change",
    status_code=200,
    summary="Tell what a change would charge now",
    operation_class=documented(PreviewInput),
)
async def preview_one(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """Nothing changes; a change that would wait for the renewal is refused (`plan_change_scheduled`).

    A period that is over is closed first, as the change would: else the days that it tells were those of that one.
    """
    caller.must_read(RESOURCE)
    asked = await read_body(request, PreviewInput)
    _no_offer(asked.offer_id)
    interval = _interval("billingInterval", asked.billing_interval)
    wish = ChangeWish(subscription=subscription_id, plan=asked.plan_id, interval=interval)
    lanes = caller.catalog.deployment.lanes
    seen = await caught_up(
        closer,
        lambda: preview_change(caller.catalog.sql, live, lanes, caller.organization, wish, caller.real_ms),
    )
    answer = shape.preview(
        seen.lines,
        # Its usage counts afresh: what may cost more at once are seats.
        [] if seen.following is None else shape.limit_warnings(seen.following, seen.held, {}),
        currency=seen.currency,
        effective_ms=caller.now_ms,
        days=(seen.days_remaining, seen.days_in_cycle),
        upgrade=seen.chosen.path in (Path.CHARGED, Path.CHECKOUT),
    )
    return reply(caller.dialect, {**caller.object("plan_change_preview"), **answer})


@delete(
    "/{subscription_id:str}/scheduled-change", status_code=200, summary="Take back a change that waits for the renewal"
)
async def unschedule(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """Additive: the subscription goes on as it is. Nothing to take back is `no_change_requested`."""
    caller.must_write(RESOURCE)
    customers: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        found = await to_change(connection, caller.organization, subscription_id, caller.now_ms)
        if found.scheduled is None:
            raise rejected("no_change_requested", f"Subscription {subscription_id} has no scheduled change.")
        after = await schedule(connection, found, None, caller.now_ms)
        customers[:] = [after.customer_id]
        periods = await terms.of(connection, after.id)
        return members(caller, request, after, shown_terms(after, periods, caller.now_ms), None)

    return await caught_up(closer, lambda: once(request, caller, work, after=shown(relay, customers)))


def _interval(field: str, text: str | None) -> Interval | None:
    try:
        return None if text is None else Interval(text)
    except ValueError as error:
        raise invalid(field, f"must be one of {', '.join(Interval)}") from error


def _no_offer(offer_id: str | None) -> None:
    if offer_id is not None:
        raise rejected("offer_not_applicable", "A change takes no offer.", param="offerId")


PLAN_CHANGES: Final = Router(
    path="/subscriptions",
    route_handlers=[change_one, preview_one, unschedule],
    dependencies=DEPENDENCIES,
    tags=["subscriptions"],
)
