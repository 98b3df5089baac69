"""Subscriptions over HTTP: create, read, list, cancel (contract 3.15 to 3.17, rows 38 and 52 to 56)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import wire as shape
from billing.agreement import live_usage
from billing.closing import Window, WindowUsage
from billing.frozen import PeriodTerms, shown_terms
from billing.gateway.canceling import CancelWish, cancel
from billing.gateway.subscribing import Wish, subscribe
from billing.gateway.upcoming import account_of
from billing.routes.customer import customer_of
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.subscription import Subscription
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from kernel import ids, wire
from kernel.engine.live.base import Live
from kernel.errors import Retryable, invalid, rejected
from kernel.limits import VISIBLE_WAIT_MS
from kernel.period import Interval, parse_instant_us
from kernel.wire import Wire

_RESOURCE: Final = "subscription"
# Every era's words (contract 6); those that this version does not reach find nothing.
_STATUSES: Final = ("draft", "pending_payment", "trialing", "active", "paused", "past_due", "canceled", "expired")
NOT_VISIBLE: Final = {"x-meterline-visible": "false"}

_CUSTOMER: Final = {"customerId": "`cus_…` or the seller's own id"}
_QUERY: Final = {**PAGE, **_CUSTOMER, "status": f"one of {', '.join(_STATUSES)}"}


class SubscriptionInput(Wire, frozen=True, kw_only=True):
    """A subscription to be made; what this version does not sell is refused by name, not ignored."""

    customer_id: str
    plan_code: str | None = None
    plan_id: str | None = None
    billing_interval: str | None = None
    name: str | None = None
    start_date: str | None = None
    initial_seats: dict[str, int] | None = None
    custom_trial_days: int | None = None
    promo_code: str | None = None
    offer_id: str | None = None
    prepaid_periods: int | None = None


class CancelInput(Wire, frozen=True, kw_only=True):
    """A cancellation; at the period's end unless `immediate`."""

    reason: str | None = None
    immediate: bool = False


@post("/", status_code=200, summary="Subscribe a customer to a plan", operation_class=documented(SubscriptionInput))
async def create(
    request: HttpRequest, caller: NamedDependency[Caller], relay: NamedDependency[Relay]
) -> Response[bytes]:
    """Active at once, its start invoice outstanding; one live subscription a customer (R-SUB-1, R-SUB-3)."""
    caller.must_write(_RESOURCE)
    wish = _wish(await read_body(request, SubscriptionInput))
    made: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        subscription, first = await subscribe(connection, caller.organization, wish, caller.real_ms)
        made[:] = [subscription.customer_id]
        return _members(caller, subscription, first, {})

    return await once(request, caller, work, after=_shown(relay, made))


def _wish(asked: SubscriptionInput) -> Wish:
    unsupported = ("initial_seats", "custom_trial_days", "promo_code", "offer_id", "prepaid_periods")
    for name in unsupported:
        if getattr(asked, name):
            raise invalid(_camel(name), "is not supported")
    if (asked.plan_code is None) == (asked.plan_id is None):
        raise invalid("planCode", "send exactly one of planCode and planId")
    try:
        interval = None if asked.billing_interval is None else Interval(asked.billing_interval)
    except ValueError as error:
        raise invalid("billingInterval", f"must be one of {', '.join(Interval)}") from error
    return Wish(
        customer=asked.customer_id,
        plan=asked.plan_code or asked.plan_id or "",
        interval=interval,
        name=asked.name,
        start_ms=None if asked.start_date is None else _instant_ms("startDate", asked.start_date),
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _instant_ms(field: str, text: str) -> int:
    try:
        return parse_instant_us(text) // 1000
    except (ValueError, OverflowError) as error:
        raise invalid(field, "must be an ISO 8601 instant") from error


@get("/active", summary="Read a customer's live subscription", operation_class=documented(query=_CUSTOMER))
async def read_active(
    request: HttpRequest, caller: NamedDependency[Caller], live: NamedDependency[SkipValidation[Live]]
) -> Response[bytes]:
    """Null when nothing is live (contract 3.16)."""
    caller.must_read(_RESOURCE)
    customer = await customer_of(caller, request.query_params.get("customerId"))
    async with caller.catalog.sql.snapshot() as connection:
        found = await subscriptions.live_of(connection, customer.id_text)
        periods = [] if found is None else await terms.of(connection, found.id)
    if found is None:
        return reply(caller.dialect, None)
    return reply(caller.dialect, await _whole(caller, live, found, periods))


@get("/{subscription_id:str}", summary="Read a subscription in any status")
async def read(
    caller: NamedDependency[Caller], live: NamedDependency[SkipValidation[Live]], subscription_id: FromPath[str]
) -> Response[bytes]:
    """Read one."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as connection:
        found, periods = await _load(connection, caller, subscription_id)
    return reply(caller.dialect, await _whole(caller, live, found, periods))


@get("/", summary="List subscriptions, newest first", operation_class=documented(query=_QUERY))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Filter by `customerId` and `status`."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    limit = wire.page_limit(query.get("limit"))
    status = query.get("status")
    if status is not None and status not in _STATUSES:
        raise invalid("status", f"must be one of {', '.join(_STATUSES)}")
    reference = query.get("customerId")
    customer_id = None if reference is None else (await customer_of(caller, reference)).id_text
    cursor = query.get("cursor")
    after = None if cursor is None else wire.decode_cursor(cursor, int, str)
    async with caller.catalog.sql.snapshot() as connection:
        rows = await subscriptions.page(
            connection,
            caller.organization.id_text,
            customer_id=customer_id,
            status=status,
            limit=limit + 1,
            after=None if after is None else (after[0], after[1]),
        )
        page, following = wire.cut_page(rows, limit, lambda one: (one.created_ms, one.id))
        periods = await terms.of_all(connection, [one.id for one in page])
    items = [_members(caller, one, shown_terms(one, periods[one.id], caller.now_ms)) for one in page]
    return reply_list(caller.dialect, items, following)


@post(
    "/{subscription_id:str}/cancel",
    status_code=200,
    summary="Cancel at the period's end, or now",
    operation_class=documented(CancelInput),
)
async def cancel_one(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """Access and terms stay until the end; the last usage is billed by a final close (R-SUB-6, R-SUB-7)."""
    caller.must_write(_RESOURCE)
    asked = await read_body(request, CancelInput)
    wish = CancelWish(subscription=subscription_id, immediate=asked.immediate, reason=asked.reason)
    async with caller.catalog.sql.snapshot() as connection:
        before, _ = await _load(connection, caller, subscription_id)
    usage = await _usage(caller, live, before)
    changed: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        after = await cancel(connection, caller.organization, wish, caller.real_ms)
        changed[:] = [after.customer_id]
        periods = await terms.of(connection, after.id)
        return _members(caller, after, shown_terms(after, periods, caller.now_ms), usage)

    return await once(request, caller, work, after=_shown(relay, changed, closer if asked.immediate else None))


def _shown(
    relay: Relay, customers: list[str], closer: Closer | None = None
) -> Callable[[], Awaitable[Mapping[str, str] | None]]:
    """Wait until LIVE shows the change, and with a closer until its final close is settled, as far as it may."""

    async def after() -> Mapping[str, str] | None:
        seen = await relay.show_all(customers)
        if closer is not None and seen:
            # What takes longer goes on behind the answer; it is not cut off in the middle of a transaction.
            await asyncio.wait([closer.close_customer_in_background(customers[0])], timeout=VISIBLE_WAIT_MS / 1000)
        return None if len(seen) == len(customers) else NOT_VISIBLE

    return after


async def _load(
    connection: AsyncConnection, caller: Caller, subscription_id: str
) -> tuple[Subscription, list[PeriodTerms]]:
    found = None
    if ids.is_id(ids.SUBSCRIPTION, subscription_id):
        found = await subscriptions.read(connection, subscription_id, caller.organization.id_text)
    if found is None:
        raise rejected("subscription_not_found", f"There is no subscription {subscription_id}.")
    return found, await terms.of(connection, found.id)


async def _usage(caller: Caller, live: Live, found: Subscription) -> Mapping[Window, WindowUsage] | None:
    """Read what LIVE counts; None while it is away, and then no usage is shown."""
    try:
        return live_usage(await account_of(live, caller.catalog.deployment.lanes, found.customer_id))
    except Retryable:
        return None


async def _whole(caller: Caller, live: Live, found: Subscription, periods: list[PeriodTerms]) -> dict[str, Any]:
    usage = await _usage(caller, live, found)
    return _members(caller, found, shown_terms(found, periods, caller.now_ms), usage)


def _members(
    caller: Caller,
    found: Subscription,
    current: PeriodTerms,
    usage: Mapping[Window, WindowUsage] | None = None,
) -> dict[str, Any]:
    return {
        **caller.object("subscription"),
        **shape.subscription_members(found, current, caller.now_ms),
        "features": shape.feature_members(caller.dialect, found, current, usage, caller.now_ms),
        "credits": None,
        "balance": None,
    }


SUBSCRIPTIONS: Final = Router(
    path="/subscriptions",
    route_handlers=[create, read_active, read, list_all, cancel_one],
    dependencies=DEPENDENCIES,
    tags=["subscriptions"],
)
