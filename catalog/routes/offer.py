"""Offers over HTTP (contract rows 91 to 95)."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from catalog.offer import Offer, Phase, check_offer, intro_of_offer
from catalog.routes.told import told
from kernel import ids, wire
from kernel.errors import invalid
from kernel.period import instant_text, parse_instant_us
from kernel.wire import Wire

_RESOURCE: Final = "offer"


class OfferInput(Wire, frozen=True, kw_only=True):
    """An offer; a change replaces name and phases, other members stay when they are absent.

    Percentages are basis points, amounts minor units, durations billing periods (null in the last phase: for ever).
    """

    name: str
    phases: tuple[Phase, ...]
    metadata: dict[str, Any] | UnsetType | None = UNSET
    starts_at: str | UnsetType | None = UNSET
    ends_at: str | UnsetType | None = UNSET
    active: bool | UnsetType = UNSET


def offer_wire(caller: Caller, offer: Offer) -> dict[str, Any]:
    """Spell an offer."""
    return {
        **caller.object("offer"),
        "id": offer.id,
        "name": offer.name,
        "phases": msgspec.to_builtins(offer.phases),
        "metadata": offer.metadata,
        "startsAt": None if offer.starts_ms is None else instant_text(offer.starts_ms),
        "endsAt": None if offer.ends_ms is None else instant_text(offer.ends_ms),
        "active": offer.active,
        "createdAt": instant_text(offer.created_ms),
        "updatedAt": instant_text(offer.updated_ms),
    }


def _said(before: Offer, said: OfferInput) -> Offer:
    changes: dict[str, Any] = {
        "name": said.name,
        "phases": said.phases,
        "metadata": UNSET if said.metadata is UNSET else rule.metadata_of(said.metadata or {}),
        "starts_ms": _instant(said.starts_at, "startsAt"),
        "ends_ms": _instant(said.ends_at, "endsAt"),
        "active": said.active,
    }
    given = {name: value for name, value in changes.items() if value is not UNSET}
    return check_offer(msgspec.structs.replace(before, **given))


def _instant(text: str | UnsetType | None, field: str) -> int | UnsetType | None:
    if not isinstance(text, str):
        return text
    try:
        return parse_instant_us(text) // 1000
    except ValueError as error:
        raise invalid(field, "must be an ISO 8601 date or instant") from error


@post("/", status_code=200, summary="Define an offer", operation_class=documented(OfferInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """A price names it by `offerId`."""
    caller.must_write(_RESOURCE)
    said = await read_body(request, OfferInput)
    made = Offer(
        id=ids.new_id(ids.OFFER, caller.real_ms),
        organization=caller.organization.id,
        name=said.name,
        phases=said.phases,
        created_ms=caller.now_ms,
        updated_ms=caller.now_ms,
    )
    offer = _said(made, said)

    async def work(conn: AsyncConnection) -> object:
        return offer_wire(caller, await store.create_offer(conn, offer))

    return await once(request, caller, work)


@get("/", summary="List offers, newest first", operation_class=documented(query={"active": "true or false", **PAGE}))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Archived ones are not in it."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    limit = wire.page_limit(query.get("limit"))
    active = wire.flag("active", query.get("active"))
    async with caller.catalog.sql.snapshot() as conn:
        found: Sequence[Offer] = await store.list_offers(conn, caller.organization.id, active=active)
    if "cursor" in query:
        after = tuple(wire.decode_cursor(query["cursor"], int, str))
        found = [offer for offer in found if (offer.created_ms, offer.id) < after]
    page, cursor = wire.cut_page(found, limit, lambda offer: (offer.created_ms, offer.id))
    return reply_list(caller.dialect, [offer_wire(caller, offer) for offer in page], cursor)


@get("/{offer_id:str}", summary="Read an offer")
async def read(caller: NamedDependency[Caller], offer_id: FromPath[str]) -> Response[bytes]:
    """One offer."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.load_offer(conn, caller.organization.id, offer_id)
    return reply(caller.dialect, offer_wire(caller, found))


@route(
    "/{offer_id:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Replace an offer's terms",
    operation_class=documented(OfferInput),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller], offer_id: FromPath[str]) -> Response[bytes]:
    """Prices that have it follow; subscriptions that use it keep their discount (R-DISC-15)."""
    caller.must_write(_RESOURCE)
    said = await read_body(request, OfferInput)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        before = await store.load_offer(conn, caller.organization.id, offer_id)
        after = msgspec.structs.replace(_said(before, said), updated_ms=max(caller.now_ms, before.updated_ms))
        changed[:] = await _follow(conn, caller, after)
        return offer_wire(caller, await store.save_offer(conn, after))

    return await once(request, caller, work, after=told(caller, changed))


@delete("/{offer_id:str}", status_code=200, summary="Archive an offer")
async def remove(request: HttpRequest, caller: NamedDependency[Caller], offer_id: FromPath[str]) -> Response[bytes]:
    """Prices lose it; subscriptions that use it keep their discount (R-DISC-15)."""
    caller.must_write(_RESOURCE)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        gone = await store.load_offer(conn, caller.organization.id, offer_id)
        changed[:] = await _follow(conn, caller, gone, kept=False)
        await store.remove_offer(conn, gone, caller.real_ms)
        return {**caller.object("offer"), "id": gone.id, "deleted": True}

    return await once(request, caller, work, after=told(caller, changed))


async def _follow(conn: AsyncConnection, caller: Caller, offer: Offer, *, kept: bool = True) -> list[str]:
    """Bring the prices that have an offer to what it says now, and return their plans."""
    plans = await store.plans_with_offer(conn, offer)
    for plan_id in plans:
        plan = await store.load_plan(conn, caller.organization.id, plan_id)
        for price in plan.prices:
            if price.offer_id == offer.id:
                intro = intro_of_offer(offer, price.currency) if kept else None
                named = offer.id if kept else None
                after = msgspec.structs.replace(price, intro=intro, offer_id=named, updated_ms=caller.now_ms)
                await store.save_price(conn, after)
    return plans


OFFERS = Router(
    path="/offers",
    route_handlers=[create, list_all, read, update, remove],
    dependencies=DEPENDENCIES,
    tags=["offers"],
)
