"""What the routes of subscriptions share: how one is found, what is waited for, and the object that answers."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.account import Account
from aggregator.pool_answer import subscription_pools
from billing.gateway.upcoming import seen_of
from billing.life.frozen import PeriodTerms
from billing.life.showing import shown_terms
from billing.life.subscription import Subscription
from billing.money.agreement import live_usage
from billing.store import account as accounts
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.wire import subscription as shape
from catalog.gateway.http import Caller, HttpRequest
from catalog.terms import Snapshot
from kernel import ids
from kernel.engine.live.base import Live
from kernel.errors import Retryable, invalid, rejected
from kernel.limits import SUBSCRIPTION_DAYS_MAX
from kernel.period import parse_instant_us

RESOURCE: Final = "subscription"


class LiveAccount(NamedTuple):
    """What LIVE counts of a customer, and the snapshot that tells what was granted; None: none is there yet."""

    account: Account
    snapshot: Snapshot | None


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


def web_address(field: str, text: str | None) -> str | None:
    """Check an address that a customer's browser is sent to. Raises Rejected `validation_error`."""
    if text is None:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc or not text.isprintable() or " " in text:
        raise invalid(field, "must be an http or https address")
    return text


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


async def live_account(caller: Caller, live: Live, customer_id: str) -> LiveAccount | None:
    """Read what LIVE counts; None while it is away, and then neither usage nor pools are shown."""
    try:
        return LiveAccount(*await seen_of(live, caller.catalog.deployment.lanes, customer_id))
    except Retryable:
        return None


async def whole(
    caller: Caller, request: HttpRequest, live: Live, found: Subscription, periods: list[PeriodTerms]
) -> dict[str, Any]:
    """Make the object with the usage that LIVE counts now."""
    seen = await live_account(caller, live, found.customer_id)
    return members(caller, request, found, shown_terms(found, periods, caller.now_ms), seen)


async def changed(
    connection: AsyncConnection, caller: Caller, request: HttpRequest, found: Subscription, seen: LiveAccount | None
) -> dict[str, Any]:
    """Make the object within the transaction that changes it: SQL's own snapshot with what LIVE counted before."""
    periods = await terms.of(connection, found.id)
    if seen is not None:
        seen = LiveAccount(seen.account, await accounts.snapshot(connection, found.customer_id))
    return members(caller, request, found, shown_terms(found, periods, caller.now_ms), seen)


def members(
    caller: Caller,
    request: HttpRequest,
    found: Subscription,
    current: PeriodTerms,
    seen: LiveAccount | None = None,
) -> dict[str, Any]:
    """Make the whole object that every era reads; without `seen` it has neither usage nor pools."""
    usage = None if seen is None else live_usage(seen.account)
    return {
        **caller.object("subscription"),
        **shape.subscription_members(found, current, caller.now_ms, caller.dialect),
        "checkoutUrl": checkout_url(request, found),
        "features": shape.feature_members(caller.dialect, found, current, usage, caller.now_ms, _seats(found, seen)),
        **_pools(found, seen, caller.now_ms),
    }


def _pools(found: Subscription, seen: LiveAccount | None, now_ms: int) -> Mapping[str, Any]:
    """Spell `credits` and `balance`, where the pool is this subscription's (contract 3.16)."""
    snapshot = _snapshot_of(found, seen)
    if seen is None or snapshot is None:
        return {"credits": None, "balance": None}
    return subscription_pools(snapshot, seen.account, now_ms, found.currency)


def _seats(found: Subscription, seen: LiveAccount | None) -> Mapping[str, int] | None:
    """Tell the seats held by feature id; None while LIVE does not tell."""
    if seen is None:
        return None
    snapshot = _snapshot_of(found, seen)
    return {} if snapshot is None else {ids.id_text(ids.FEATURE, held.feature): held.count for held in snapshot.seats}


def _snapshot_of(found: Subscription, seen: LiveAccount | None) -> Snapshot | None:
    """Tell the customer's snapshot, where its terms are this subscription's."""
    snapshot = None if seen is None else seen.snapshot
    ours = snapshot is not None and snapshot.terms is not None and snapshot.terms.subscription == found.id
    return snapshot if ours else None


def checkout_url(request: HttpRequest, found: Subscription) -> str | None:
    """Tell where the customer pays; None when nothing waits for it."""
    return None if found.checkout_token is None else f"{request.base_url}checkout/{found.checkout_token}"
