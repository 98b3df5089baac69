"""Promo codes over HTTP (contract rows 96 to 99)."""

from decimal import Decimal
from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import store
from catalog.definition import DiscountType, PromoCode, PromoDuration
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from catalog.offer import OfferDiscount, discount_of, taken_off
from catalog.promo import check_promo, cycles_of, promo_text
from kernel import ids, wire
from kernel.errors import invalid
from kernel.money import minor_places
from kernel.period import DAY_MS, DAY_US, Interval, instant_text, parse_instant_us
from kernel.quantity import EXACT
from kernel.wire import Wire

_RESOURCE: Final = "promo_code"
_TYPES: Final = {"percentage": DiscountType.PERCENT, "amount": DiscountType.FIXED}
_BASIS_POINTS: Final = Decimal(100)  # of a per cent


class PromoPatch(Wire, frozen=True, kw_only=True):
    """What may change of a code: restrictions, limits and the switch; absent members stay.

    `expiresAt` names the last day, in UTC, through whose end it is valid; `planIds` may be ids or codes.
    """

    billing_interval: str | UnsetType | None = UNSET
    max_redemptions: int | UnsetType | None = UNSET
    expires_at: str | UnsetType | None = UNSET
    active: bool | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET
    plan_ids: list[str] | UnsetType | None = UNSET


class PromoInput(PromoPatch, frozen=True, kw_only=True):
    """A code to be made. `discountType` is `percentage` (in basis points: 5000 is 50 %) or `amount` (in cents).

    `durationCycles` counts billing periods: 1 is once, null for ever; absent is once. `offerId` says all three: the
    code takes the offer's terms as they are.
    """

    code: str
    offer_id: str | None = None
    discount_type: str | None = None
    discount_value: int | None = None
    duration_cycles: int | UnsetType | None = UNSET


def promo_wire(caller: Caller, promo: PromoCode) -> dict[str, Any]:
    """Spell a code with the members of every era."""
    percent = promo.type is DiscountType.PERCENT
    places = minor_places(caller.organization.currency)
    return {
        **caller.object("promo_code"),
        "id": promo.id,
        "code": promo.code,
        "offerId": promo.offer_id,
        "discountType": "percentage" if percent else "amount",
        "discountValue": int(promo.value * _BASIS_POINTS if percent else EXACT.scaleb(promo.value, places)),
        "durationCycles": cycles_of(promo),
        "duration": promo.duration.value,
        "billingInterval": None if promo.interval is None else promo.interval.value,
        "maxRedemptions": promo.max_redemptions,
        "expiresAt": None if promo.expires_day is None else instant_text((promo.expires_day + 1) * DAY_MS - 1),
        "isActive": promo.active,
        "active": promo.active,
        "redemptionCount": promo.redemptions,
        "planIds": None if promo.plans is None else list(promo.plans),
        "createdAt": instant_text(promo.created_ms),
        "updatedAt": instant_text(promo.updated_ms),
    }


@post("/", status_code=200, summary="Create a promo code", operation_class=documented(PromoInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """A code is the same in upper and lower case (R-DISC-12)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, PromoInput)
    code = promo_text(made.code)

    async def work(conn: AsyncConnection) -> object:
        discount = await _discount(conn, caller, made)
        cycles = discount.cycles
        promo = PromoCode(
            id=ids.new_id(ids.PROMO_CODE, caller.real_ms),
            organization=caller.organization.id,
            code=code,
            type=discount.type,
            value=discount.value,
            duration={None: PromoDuration.FOREVER, 1: PromoDuration.ONCE}.get(cycles, PromoDuration.REPEATING),
            cycles=cycles,
            created_ms=caller.now_ms,
            updated_ms=caller.now_ms,
            offer_id=made.offer_id,
        )
        return promo_wire(caller, await store.create_promo(conn, await _patched(conn, promo, made)))

    return await once(request, caller, work)


@get("/", summary="List promo codes", operation_class=documented(query=PAGE))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Newest first."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.list_promos(conn, caller.organization.id)
    page, cursor = wire.page_of(found, request.query_params, _place, newest_first=True)
    return reply_list(caller.dialect, [promo_wire(caller, promo) for promo in page], cursor)


def _place(promo: PromoCode) -> tuple[int, str]:
    return promo.created_ms, promo.id


@get("/{promo:str}", summary="Read a promo code by its id or itself")
async def read(caller: NamedDependency[Caller], promo: FromPath[str]) -> Response[bytes]:
    """Its `redemptionCount` counts checkouts that completed (R-DISC-12)."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.load_promo(conn, caller.organization.id, promo)
    return reply(caller.dialect, promo_wire(caller, found))


@route(
    "/{promo:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change a promo code's limits, or switch it",
    operation_class=documented(PromoPatch),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller], promo: FromPath[str]) -> Response[bytes]:
    """Subscriptions that use it keep their discount (R-DISC-15)."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, PromoPatch)

    async def work(conn: AsyncConnection) -> object:
        before = await store.load_promo(conn, caller.organization.id, promo)
        changed = await _patched(conn, before, patch)
        changed = msgspec.structs.replace(changed, updated_ms=max(caller.now_ms, before.updated_ms))
        return promo_wire(caller, await store.save_promo(conn, changed))

    return await once(request, caller, work)


async def _patched(conn: AsyncConnection, promo: PromoCode, patch: PromoPatch) -> PromoCode:
    changes: dict[str, Any] = {}
    if patch.billing_interval is not UNSET:
        changes["interval"] = None if patch.billing_interval is None else _interval_of(patch.billing_interval)
    if patch.max_redemptions is not UNSET:
        changes["max_redemptions"] = patch.max_redemptions
    if patch.expires_at is not UNSET:
        changes["expires_day"] = None if patch.expires_at is None else _day_of(patch.expires_at)
    for switch in (patch.is_active, patch.active):
        if switch is not UNSET:
            changes["active"] = switch
    if patch.plan_ids is not UNSET:
        named = patch.plan_ids or None
        changes["plans"] = None if named is None else await store.plan_ids(conn, promo.organization, named)
    return check_promo(msgspec.structs.replace(promo, **changes))


async def _discount(conn: AsyncConnection, caller: Caller, made: PromoInput) -> OfferDiscount:
    """Read what a code takes off: an offer's terms by id, or its own members."""
    if made.offer_id is not None:
        if made.discount_type is not None or made.discount_value is not None or made.duration_cycles is not UNSET:
            raise invalid("offerId", "says what the discount is: leave out its members")
        offer = await store.load_offer(conn, caller.organization.id, made.offer_id)
        return discount_of(offer, caller.organization.currency)
    if made.discount_value is None:
        raise invalid("discountValue", "is required, or offerId")
    kind = _type_of(made.discount_type)
    return OfferDiscount(
        type=kind,
        value=taken_off(kind, made.discount_value, caller.organization.currency, "discountValue"),
        cycles=1 if made.duration_cycles is UNSET else made.duration_cycles,
    )


def _type_of(word: str | None) -> DiscountType:
    if word not in _TYPES:
        raise invalid("discountType", f"{word} is not supported: use percentage or amount")
    return _TYPES[word]


def _interval_of(word: str) -> Interval:
    try:
        return Interval(word)
    except ValueError as error:
        raise invalid("billingInterval", f"{word} is not supported: use {', '.join(Interval)}") from error


def _day_of(text: str) -> int:
    try:
        return parse_instant_us(text) // DAY_US
    except ValueError as error:
        raise invalid("expiresAt", "must be a day or an instant of ISO 8601") from error


PROMO_CODES: Final = Router(
    path="/promo-codes",
    route_handlers=[create, list_all, read, update],
    dependencies=DEPENDENCIES,
    tags=["promo codes"],
)
