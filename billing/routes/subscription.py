"""Subscriptions over HTTP: create, read, list (contract 3.15, 3.16, rows 52, 54 to 56)."""

from typing import Any, Final

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.subscribing import Wish, subscribe
from billing.life.showing import shown_terms
from billing.routes.customer import customer_of
from billing.routes.shown import shown
from billing.routes.subscription_answer import (
    RESOURCE,
    changed,
    in_days,
    instant_ms,
    live_account,
    load,
    members,
    web_address,
    whole,
)
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.worker.catching_up import caught_up
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from catalog.local_currency import asked_currency
from kernel import wire
from kernel.engine.live.base import Live
from kernel.errors import invalid
from kernel.period import Interval
from kernel.wire import Wire

# Every era's words (contract 6).
_STATUSES: Final = ("draft", "pending_payment", "trialing", "active", "paused", "past_due", "canceled", "expired")

# Members of the newest API that nothing here does, and what does it instead.
_UNSUPPORTED: Final = {
    "offer_id": "use a promo code of the offer",
    "prepaid_periods": "use a longer billingInterval",
    "cancel_at_period_end": "cancel the subscription once it runs",
    "card_promotion_id": "use a promo code",
    "intro_offer": "set it on the plan's price, or use a promo code",
    "custom_intro_offer": "set it on the plan's price, or use a promo code",
}

_CUSTOMER: Final = {"customerId": "`cus_…` or the seller's own id"}
_QUERY: Final = {**PAGE, **_CUSTOMER, "status": f"one of {', '.join(_STATUSES)}"}


class SubscriptionInput(Wire, frozen=True, kw_only=True):
    """A subscription to be made; what this version does not sell is refused by name, not ignored."""

    customer_id: str
    plan_code: str | None = None
    plan_id: str | None = None
    billing_interval: str | None = None
    price_id: str | None = None
    name: str | None = None
    start_date: str | None = None
    skip_trial: bool = False
    custom_trial_days: int | None = None
    success_url: str | None = None
    draft: bool = False
    initial_seats: dict[str, int] | None = None
    promo_code: str | None = None
    currency: str | None = None
    offer_id: str | None = None
    prepaid_periods: int | None = None
    cancel_at_period_end: bool = False
    card_promotion_id: str | None = None
    intro_offer: dict[str, Any] | None = None
    custom_intro_offer: dict[str, Any] | None = None


@post("/", status_code=200, summary="Subscribe a customer to a plan", operation_class=documented(SubscriptionInput))
async def create(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
) -> Response[bytes]:
    """Without payments it is active at once; else a paid plan waits for its checkout (R-SUB-1, R-SUB-3)."""
    caller.must_write(RESOURCE)
    wish = _wish(await read_body(request, SubscriptionInput))
    if not wish.customer:
        raise invalid("customerId", "is required")
    # Who is not found is refused within the write, so that a retry is answered as it was.
    customer = await caller.catalog.customer(caller.organization.id, wish.customer)
    seen = None if customer is None else await live_account(caller, live, customer.id_text)
    made: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        subscription, _ = await subscribe(connection, caller.organization, wish, caller.real_ms)
        made[:] = [subscription.customer_id]
        answer = await changed(connection, caller, request, subscription, seen)
        if wish.promo is not None:  # additive: an introductory offer wins over a code (R-DISC-1)
            answer["promoIgnored"] = subscription.promo_code is None
        return answer

    return await caught_up(closer, lambda: once(request, caller, work, after=shown(relay, made)))


def _wish(asked: SubscriptionInput) -> Wish:
    for name, instead in _UNSUPPORTED.items():
        if getattr(asked, name):
            raise invalid(_camel(name), f"is not supported: {instead}")
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
        price=asked.price_id,
        name=asked.name,
        start_ms=None if asked.start_date is None else instant_ms("startDate", asked.start_date),
        skip_trial=asked.skip_trial,
        trial_days=in_days("customTrialDays", asked.custom_trial_days, 0),
        draft=asked.draft,
        success_url=web_address("successUrl", asked.success_url),
        promo=asked.promo_code,
        seats=asked.initial_seats or {},
        currency=None if asked.currency is None else asked_currency(asked.currency),
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


@get("/active", summary="Read a customer's live subscription", operation_class=documented(query=_CUSTOMER))
async def read_active(
    request: HttpRequest, caller: NamedDependency[Caller], live: NamedDependency[SkipValidation[Live]]
) -> Response[bytes]:
    """Null when nothing is live; one that waits for its checkout is shown (contract 3.16)."""
    caller.must_read(RESOURCE)
    customer = await customer_of(caller, request.query_params.get("customerId"))
    async with caller.catalog.sql.snapshot() as connection:
        found = await subscriptions.current_of(connection, customer.id_text)
        if found is not None and found.over:
            found = None
        periods = [] if found is None else await terms.of(connection, found.id)
    if found is None:
        return reply(caller.dialect, None)
    return reply(caller.dialect, await whole(caller, request, live, found, periods))


@get("/{subscription_id:str}", summary="Read a subscription in any status")
async def read(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """Read one."""
    caller.must_read(RESOURCE)
    async with caller.catalog.sql.snapshot() as connection:
        found, periods = await load(connection, caller, subscription_id)
    return reply(caller.dialect, await whole(caller, request, live, found, periods))


@get("/", summary="List subscriptions, newest first", operation_class=documented(query=_QUERY))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Filter by `customerId` and `status`."""
    caller.must_read(RESOURCE)
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
    items = [members(caller, request, one, shown_terms(one, periods[one.id], caller.now_ms)) for one in page]
    return reply_list(caller.dialect, items, following)


SUBSCRIPTIONS: Final = Router(
    path="/subscriptions",
    route_handlers=[create, read_active, read, list_all],
    dependencies=DEPENDENCIES,
    tags=["subscriptions"],
)
