"""Prices of plans over HTTP (contract rows 60 and 63 to 65)."""

from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, post, put, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import Plan, PlanPrice
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from catalog.routes.plan_shape import price_wire
from catalog.routes.told import told
from kernel import ids
from kernel.errors import invalid, rejected
from kernel.wire import Wire

_RESOURCE: Final = "plan"


class PriceInput(Wire, frozen=True, kw_only=True):
    """A price to be added; `price` is in minor units."""

    billing_interval: str
    price: int | None = None
    is_default: bool | None = None
    metadata: dict[str, Any] | None = None
    trial_days: int | None = None
    included_balance: int | None = None
    included_credits: int | None = None
    market_prices: list[Any] | None = None
    inherits_from_price_id: str | None = None


class PricePatch(Wire, frozen=True, kw_only=True):
    """What changes of a price; absent members stay."""

    price: int | UnsetType = UNSET
    is_default: bool | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    trial_days: int | None = None
    included_balance: int | None = None
    included_credits: int | None = None
    market_prices: list[Any] | None = None


def _check_supported(wanted: PriceInput | PricePatch) -> None:
    unsupported = {
        "trialDays": wanted.trial_days,
        "includedBalance": wanted.included_balance,
        "includedCredits": wanted.included_credits,
        "marketPrices": wanted.market_prices,
        "inheritsFromPriceId": wanted.inherits_from_price_id if isinstance(wanted, PriceInput) else None,
    }
    for field, value in unsupported.items():
        if value:
            raise invalid(field, "is not supported: a price has a monthly amount and nothing else")


def _price_of(plan: Plan, price_id: str) -> PlanPrice:
    for price in plan.prices:
        if price.id == price_id:
            return price
    raise rejected("price_not_found", f"The plan {plan.code} has no price {price_id}.")


@post("/", status_code=200, summary="Add a price to a plan", operation_class=documented(PriceInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]) -> Response[bytes]:
    """One price an interval; the first is the default (R-PLAN-3)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, PriceInput)
    interval = rule.interval_of(made.billing_interval)
    _check_supported(made)
    amount = rule.amount_of(made.price)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        rule.check_priced(plan)
        if plan.price_of(interval) is not None:
            raise rejected("duplicate", f"The plan {plan.code} has a {interval} price.", param="billingInterval")
        changed[:] = [plan.id]
        price = PlanPrice(
            id=ids.new_id(ids.PRICE, caller.real_ms),
            plan=plan.id,
            interval=interval,
            amount_minor=amount,
            currency=caller.organization.currency,
            is_default=bool(made.is_default) or not plan.prices,
            metadata=rule.metadata_of(made.metadata or {}),
            created_ms=caller.now_ms,
            updated_ms=caller.now_ms,
        )
        return price_wire(caller, await store.create_price(conn, caller.organization.id, price))

    return await once(request, caller, work, after=told(caller, changed))


async def _change(
    request: HttpRequest, caller: Caller, plan_ref: str, price_id: str, changes: dict[str, Any]
) -> Response[bytes]:
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        price = _price_of(plan, price_id)
        changed[:] = [plan.id]
        after = msgspec.structs.replace(price, **changes, updated_ms=max(caller.now_ms, price.updated_ms))
        if price.is_default and not after.is_default:
            raise invalid("isDefault", "Make another price the default instead.")
        return price_wire(caller, await store.save_price(conn, after))

    return await once(request, caller, work, after=told(caller, changed))


@route(
    "/{price_id:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change a price",
    operation_class=documented(PricePatch),
)
async def update(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], price_id: FromPath[str]
) -> Response[bytes]:
    """A new amount holds from each subscription's next period on (R-PRICE-1)."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, PricePatch)
    _check_supported(patch)
    changes: dict[str, Any] = {}
    if patch.price is not UNSET:
        changes["amount_minor"] = rule.amount_of(patch.price)
    if patch.is_default is not UNSET:
        changes["is_default"] = patch.is_default
    if patch.metadata is not UNSET:
        changes["metadata"] = rule.metadata_of(patch.metadata or {})
    return await _change(request, caller, plan_ref, price_id, changes)


@put("/{price_id:str}/default", status_code=200, summary="Make a price the default")
async def set_default(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], price_id: FromPath[str]
) -> Response[bytes]:
    """Exactly one price is the default."""
    caller.must_write(_RESOURCE)
    return await _change(request, caller, plan_ref, price_id, {"is_default": True})


@delete("/{price_id:str}", status_code=200, summary="Remove a price")
async def remove(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], price_id: FromPath[str]
) -> Response[bytes]:
    """Subscriptions that have the price keep it (contract row 64)."""
    caller.must_write(_RESOURCE)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        price = _price_of(plan, price_id)
        changed[:] = [plan.id]
        await store.remove_price(conn, price, caller.real_ms)
        return {**caller.object("plan_price"), "id": price.id, "deleted": True}

    return await once(request, caller, work, after=told(caller, changed))


PRICES = Router(
    path="/plans/{plan_ref:str}/prices",
    route_handlers=[create, update, set_default, remove],
    dependencies=DEPENDENCIES,
    tags=["plans"],
)
