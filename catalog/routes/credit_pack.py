"""Credit packs over HTTP (contract 3.20 and rows 87 to 90); buying one is a subscription's (row 40)."""

from decimal import Decimal
from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import CreditPack
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from catalog.terms import ConsumptionModel
from kernel import ids
from kernel.errors import invalid
from kernel.period import instant_text
from kernel.wire import Wire, flag

_RESOURCE: Final = "credit_pack"
_NAME_CHARS_MAX: Final = 200
_QUERY: Final = {"includeInactive": "true: inactive ones too"}


class PackPatch(Wire, frozen=True, kw_only=True):
    """What may change of a pack; absent members stay.

    `price` is in cents of USD, whatever the subscription's currency (R-REG-8); `planIds` (ids or codes) restrict it to
    chosen credits plans, null to none.
    """

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    credits: Decimal | UnsetType = UNSET
    price: int | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET
    plan_ids: list[str] | UnsetType | None = UNSET


class PackInput(PackPatch, frozen=True, kw_only=True):
    """A pack to be made (R-PACK-1)."""

    name: str
    credits: Decimal
    price: int


def pack_wire(caller: Caller, pack: CreditPack) -> dict[str, Any]:
    """Spell a pack; era A reads the first six members (R-PACK-4)."""
    return {
        **caller.object("credit_pack"),
        "id": pack.id,
        "name": pack.name,
        "description": pack.description,
        "credits": pack.credits,
        "price": pack.price_minor,
        "currency": "usd",
        "isActive": pack.active,
        "planIds": None if pack.plans is None else list(pack.plans),
        "createdAt": instant_text(pack.created_ms),
        "updatedAt": instant_text(pack.updated_ms),
    }


@get("/", summary="List credit packs", operation_class=documented(query=_QUERY))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Active packs, the cheapest first; with `includeInactive=true` all."""
    caller.must_read(_RESOURCE)
    every = flag("includeInactive", request.query_params.get("includeInactive")) or False
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.list_packs(conn, caller.organization.id)
    return reply_list(caller.dialect, [pack_wire(caller, pack) for pack in found if every or pack.active])


@post(["/", "/manage"], status_code=200, summary="Define a credit pack", operation_class=documented(PackInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Its name is unique in the organization (R-PACK-1)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, PackInput)
    pack = CreditPack(
        id=ids.new_id(ids.CREDIT_PACK, caller.real_ms),
        organization=caller.organization.id,
        name=made.name,
        credits=made.credits,
        price_minor=made.price,
        created_ms=caller.now_ms,
        updated_ms=caller.now_ms,
    )

    async def work(conn: AsyncConnection) -> object:
        return pack_wire(caller, await store.create_pack(conn, await _patched(conn, pack, made)))

    return await once(request, caller, work)


@route(
    "/{pack_ref:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change a credit pack",
    operation_class=documented(PackPatch),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller], pack_ref: FromPath[str]) -> Response[bytes]:
    """What was bought keeps its credits (R-CREDIT-3)."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, PackPatch)

    async def work(conn: AsyncConnection) -> object:
        before = await store.load_pack(conn, caller.organization.id, pack_ref)
        after = await _patched(conn, before, patch)
        after = msgspec.structs.replace(after, updated_ms=max(caller.now_ms, before.updated_ms))
        return pack_wire(caller, await store.save_pack(conn, after))

    return await once(request, caller, work)


@delete("/{pack_ref:str}", status_code=200, summary="Archive a credit pack")
async def remove(request: HttpRequest, caller: NamedDependency[Caller], pack_ref: FromPath[str]) -> Response[bytes]:
    """Nobody buys it any more; credits that were bought stay."""
    caller.must_write(_RESOURCE)

    async def work(conn: AsyncConnection) -> object:
        pack = await store.load_pack(conn, caller.organization.id, pack_ref)
        await store.remove_pack(conn, pack, caller.real_ms)
        return {**caller.object("credit_pack"), "id": pack.id, "deleted": True}

    return await once(request, caller, work)


async def _patched(conn: AsyncConnection, pack: CreditPack, patch: PackPatch) -> CreditPack:
    changes: dict[str, Any] = {}
    if patch.name is not UNSET:
        changes["name"] = _name_of(patch.name)
    if patch.description is not UNSET:
        changes["description"] = patch.description
    if patch.credits is not UNSET:
        changes["credits"] = _credits_of(patch.credits)
    if patch.price is not UNSET:
        changes["price_minor"] = rule.amount_of(patch.price)
    if patch.is_active is not UNSET:
        changes["active"] = patch.is_active
    if patch.plan_ids is not UNSET:
        named = patch.plan_ids
        changes["plans"] = None if named is None else await _credits_plans(conn, pack.organization, named)
    return msgspec.structs.replace(pack, **changes)


async def _credits_plans(conn: AsyncConnection, organization: bytes, named: list[str]) -> tuple[str, ...]:
    """Find the plans that a pack is for: credits plans alone (R-PACK-1)."""
    found = [await store.load_plan(conn, organization, reference) for reference in named]
    for plan in found:
        if plan.model is not ConsumptionModel.CREDITS:
            raise invalid("planIds", f"The plan {plan.code} is no credits plan.")
    return tuple(dict.fromkeys(plan.id for plan in found))


def _name_of(text: str) -> str:
    if len(text) > _NAME_CHARS_MAX:
        raise invalid("name", f"must have at most {_NAME_CHARS_MAX} characters")
    return rule.name_of(text)


def _credits_of(amount: Decimal) -> Decimal:
    credits_ = rule.included_of(amount, "credits")
    if credits_ == 0:
        raise invalid("credits", "must be greater than 0")
    return credits_


CREDIT_PACKS: Final = Router(
    path="/credit-packs",
    route_handlers=[list_all, create, update, remove],
    dependencies=DEPENDENCIES,
    tags=["credit packs"],
)
