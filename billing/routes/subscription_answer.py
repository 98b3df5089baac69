"""What the routes of subscriptions share: how one is found, what is waited for, and the object that answers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing import subscription_shape as shape
from billing.agreement import live_usage
from billing.closing import Window, WindowUsage
from billing.frozen import PeriodTerms
from billing.gateway.upcoming import account_of
from billing.showing import shown_terms
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.subscription import Subscription
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.gateway.http import Caller, HttpRequest
from kernel import ids
from kernel.engine.live.base import Live
from kernel.errors import Retryable, invalid, rejected
from kernel.limits import SUBSCRIPTION_DAYS_MAX, VISIBLE_WAIT_MS
from kernel.period import parse_instant_us

RESOURCE: Final = "subscription"
NOT_VISIBLE: Final = {"x-meterline-visible": "false"}


def instant_ms(field: str, text: str) -> int:
    """Read an instant of a body in unix milliseconds. Raises Rejected `validation_error`."""
    try:
        return parse_instant_us(text) // 1000
    except (ValueError, OverflowError) as error:
        raise invalid(field, "must be an ISO 8601 instant") from error


def in_days(field: str, days: int | None, least: int) -> int | None:
    """Check a number of days. Raises Rejected `validation_error`."""
    if days is not None and not least <= days <= SUBSCRIPTION_DAYS_MAX:
        raise invalid(field, f"must lie between {least} and {SUBSCRIPTION_DAYS_MAX}")
    return days


def shown(
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


async def load(
    connection: AsyncConnection, caller: Caller, subscription_id: str
) -> tuple[Subscription, list[PeriodTerms]]:
    """Read a subscription of the caller's with its terms. Raises Rejected `subscription_not_found`."""
    found = None
    if ids.is_id(ids.SUBSCRIPTION, subscription_id):
        found = await subscriptions.read(connection, subscription_id, caller.organization.id_text)
    if found is None:
        raise rejected("subscription_not_found", f"There is no subscription {subscription_id}.")
    return found, await terms.of(connection, found.id)


async def usage_of(caller: Caller, live: Live, found: Subscription) -> Mapping[Window, WindowUsage] | None:
    """Read what LIVE counts; None while it is away, and then no usage is shown."""
    try:
        return live_usage(await account_of(live, caller.catalog.deployment.lanes, found.customer_id))
    except Retryable:
        return None


async def whole(
    caller: Caller, request: HttpRequest, live: Live, found: Subscription, periods: list[PeriodTerms]
) -> dict[str, Any]:
    """Make the object with the usage that LIVE counts now."""
    usage = await usage_of(caller, live, found)
    return members(caller, request, found, shown_terms(found, periods, caller.now_ms), usage)


def members(
    caller: Caller,
    request: HttpRequest,
    found: Subscription,
    current: PeriodTerms,
    usage: Mapping[Window, WindowUsage] | None = None,
) -> dict[str, Any]:
    """Make the whole object that every era reads."""
    return {
        **caller.object("subscription"),
        **shape.subscription_members(found, current, caller.now_ms, caller.dialect),
        "checkoutUrl": checkout_url(request, found),
        "features": shape.feature_members(caller.dialect, found, current, usage, caller.now_ms),
        "credits": None,
        "balance": None,
    }


def checkout_url(request: HttpRequest, found: Subscription) -> str | None:
    """Tell where the customer pays; None when nothing waits for it."""
    return None if found.checkout_token is None else f"{request.base_url}checkout/{found.checkout_token}"
