"""Changes of a subscription over HTTP: cancel and take back, pause and resume, end date, drafts and their checkout.

Contract 3.17, rows 38, 43 to 45, 51 and 53. Sending a draft, making its checkout's link again and an end date are
additive: no client has them (decision 7).
"""

from collections.abc import Awaitable, Callable
from typing import Final

from litestar import Response, Router, delete, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.canceling import CancelWish, cancel, set_end, uncancel
from billing.gateway.current import loaded
from billing.gateway.pausing import PauseWish, extend_pause, pause, resume, revoke_pause
from billing.gateway.subscribing import renew_checkout, send
from billing.life.subscription import PauseMode, Subscription
from billing.routes.shown import shown
from billing.routes.subscription_answer import RESOURCE, changed, in_days, instant_ms, live_account, load
from billing.worker.catching_up import caught_up
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from kernel.engine.live.base import Live
from kernel.errors import invalid
from kernel.wire import Wire

Change = Callable[[AsyncConnection], Awaitable[Subscription]]


class CancelInput(Wire, frozen=True, kw_only=True):
    """A cancellation; at the period's end unless `immediate`."""

    reason: str | None = None
    immediate: bool = False


class PauseInput(Wire, frozen=True, kw_only=True):
    """A pause: `immediate` or at `period_end`, for some days or (null) until it is resumed."""

    mode: str = PauseMode.PERIOD_END.value
    duration_days: int | None = None


class PauseLength(Wire, frozen=True, kw_only=True):
    """How long a pause lasts in all; null until it is resumed."""

    duration_days: int | None = None


class EndInput(Wire, frozen=True, kw_only=True):
    """The date at which the subscription expires; null takes it back."""

    end_date: str | None


async def _changed(
    request: HttpRequest,
    caller: Caller,
    live: Live,
    relay: Relay,
    closer: Closer,
    subscription_id: str,
    change: Change,
    *,
    final: bool = False,
) -> Response[bytes]:
    """Carry out a change in one transaction, show it, and answer with the subscription as it then is.

    With `final` a final close may be under way, for which the answer waits.
    """
    caller.must_write(RESOURCE)
    async with caller.catalog.sql.snapshot() as connection:
        before, _ = await load(connection, caller, subscription_id)
    customers: list[str] = []

    async def attempt() -> Response[bytes]:
        seen = await live_account(caller, live, before.customer_id)

        async def work(connection: AsyncConnection) -> object:
            after = await change(connection)
            customers[:] = [after.customer_id]
            return await changed(connection, caller, request, after, seen)

        return await once(request, caller, work, after=shown(relay, customers, closer if final else None))

    return await caught_up(closer, attempt)


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
    caller.must_write(RESOURCE)
    asked = await read_body(request, CancelInput)
    wish = CancelWish(subscription=subscription_id, immediate=asked.immediate, reason=asked.reason)

    async def change(connection: AsyncConnection) -> Subscription:
        return await cancel(connection, caller.organization, wish, caller.real_ms)

    # Past due and paused ones end at once as well, so that a final close may be under way.
    return await _changed(request, caller, live, relay, closer, subscription_id, change, final=True)


@post("/{subscription_id:str}/uncancel", status_code=200, summary="Take back a cancellation that has not come")
async def uncancel_one(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """The subscription goes on; it is no reactivation (AMB-37)."""

    async def change(connection: AsyncConnection) -> Subscription:
        return await uncancel(connection, caller.organization, subscription_id, caller.real_ms)

    return await _changed(request, caller, live, relay, closer, subscription_id, change)


@patch(
    "/{subscription_id:str}",
    summary="Set or take back the date at which a subscription expires",
    operation_class=documented(EndInput),
)
async def change_end(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """Additive: `endDate`. At that instant the subscription is `expired`, its last usage billed (R-SUB-5)."""
    caller.must_write(RESOURCE)
    asked = await read_body(request, EndInput)
    end_ms = None if asked.end_date is None else instant_ms("endDate", asked.end_date)

    async def change(connection: AsyncConnection) -> Subscription:
        # Within the write, so that a retry gets its first answer although the date has come since.
        if end_ms is not None and end_ms <= caller.now_ms:
            raise invalid("endDate", "must lie in the future: to end it now, cancel it")
        return await set_end(connection, caller.organization, subscription_id, end_ms, caller.real_ms)

    return await _changed(request, caller, live, relay, closer, subscription_id, change)


@post(
    "/{subscription_id:str}/pause",
    status_code=200,
    summary="Pause now or at the period's end",
    operation_class=documented(PauseInput),
)
async def pause_one(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """No billing, no access, no usage until it is resumed (R-SUB-13)."""
    caller.must_write(RESOURCE)
    asked = await read_body(request, PauseInput)
    try:
        mode = PauseMode(asked.mode)
    except ValueError as error:
        raise invalid("mode", f"must be one of {', '.join(PauseMode)}") from error
    wish = PauseWish(
        subscription=subscription_id, mode=mode, days=in_days("durationDays", asked.duration_days, least=1)
    )

    async def change(connection: AsyncConnection) -> Subscription:
        return await pause(connection, caller.organization, wish, caller.real_ms)

    return await _changed(request, caller, live, relay, closer, subscription_id, change)


@patch(
    "/{subscription_id:str}/pause",
    summary="Set how long a pause lasts in all",
    operation_class=documented(PauseLength),
)
async def extend_one(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """The days count from when the pause takes effect."""
    caller.must_write(RESOURCE)
    asked = await read_body(request, PauseLength)
    days = in_days("durationDays", asked.duration_days, least=1)

    async def change(connection: AsyncConnection) -> Subscription:
        return await extend_pause(connection, caller.organization, subscription_id, days, caller.real_ms)

    return await _changed(request, caller, live, relay, closer, subscription_id, change)


@delete("/{subscription_id:str}/pause", status_code=200, summary="Drop a pause that has not taken effect")
async def revoke_one(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """The renewal comes as if it had never been asked for."""

    async def change(connection: AsyncConnection) -> Subscription:
        return await revoke_pause(connection, caller.organization, subscription_id, caller.real_ms)

    return await _changed(request, caller, live, relay, closer, subscription_id, change)


@post("/{subscription_id:str}/resume", status_code=200, summary="End a pause")
async def resume_one(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """The rest of a period goes on free of charge; after a pause at a period's end a new one starts once it is paid."""
    caller.must_write(RESOURCE)
    customers: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        after, invoice = await resume(connection, caller.organization, subscription_id, caller.real_ms)
        customers[:] = [after.customer_id]
        return {
            **caller.object("subscription_resume"),
            "subscriptionId": after.id,
            "invoiceId": None if invoice is None else invoice.id,
            "status": "succeeded",
        }

    return await caught_up(closer, lambda: once(request, caller, work, after=shown(relay, customers)))


@post("/{subscription_id:str}/send", status_code=200, summary="Send a draft's checkout")
async def send_one(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """Additive: the draft waits for its payment or card, or begins where none is needed (R-SUB-5)."""

    async def change(connection: AsyncConnection) -> Subscription:
        found = await loaded(connection, caller.organization, subscription_id)
        return await send(connection, caller.organization, found, caller.real_ms)

    return await _changed(request, caller, live, relay, closer, subscription_id, change)


@post("/{subscription_id:str}/checkout", status_code=200, summary="Make a checkout's link again")
async def renew_link(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """Additive: the old link ends, the state stays (R-SUB-10)."""

    async def change(connection: AsyncConnection) -> Subscription:
        found = await loaded(connection, caller.organization, subscription_id)
        return await renew_checkout(connection, caller.organization, found, caller.real_ms)

    return await _changed(request, caller, live, relay, closer, subscription_id, change)


SUBSCRIPTION_CHANGES: Final = Router(
    path="/subscriptions",
    route_handlers=[
        cancel_one,
        uncancel_one,
        change_end,
        pause_one,
        extend_one,
        revoke_one,
        resume_one,
        send_one,
        renew_link,
    ],
    dependencies=DEPENDENCIES,
    tags=["subscriptions"],
)
