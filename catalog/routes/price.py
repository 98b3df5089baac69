"""Prices of plans over HTTP (contract rows 60 and 63 to 65)."""

from decimal import Decimal
from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, post, put, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import plan_rule, rule, store
from catalog.definition import IntroOffer, Plan, PlanPrice
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from catalog.offer import intro_of_offer
from catalog.routes.plan_shape import price_wire
from catalog.routes.told import told
from kernel import ids
from kernel.errors import invalid, rejected
from kernel.wire import Wire

_RESOURCE: Final = "plan"


class IntroOfferInput(Wire, frozen=True, kw_only=True):
    """What a price takes off its first billing periods; `enabled: false` takes the offer back.

    `discountValue` counts basis points of a `percentage` and minor units of an `amount`; `discountValueDecimal` is the
    percentage, or the amount in the major unit, exactly, and wins.
    """

    enabled: bool = True
    discount_type: str | None = None
    discount_value: int | None = None
    discount_value_decimal: str | None = None
    duration_cycles: int | None = None

    def offer(self, currency: str) -> IntroOffer | None:
        """Read it; None when it is not enabled."""
        if not self.enabled:
            return None
        value, exact = self.discount_value, self.discount_value_decimal
        return plan_rule.intro_of(self.discount_type, value, exact, self.duration_cycles, currency)


class PriceInput(Wire, frozen=True, kw_only=True):
    """A price to be added; `price` and `includedBalance` are in minor units, `includedBalanceDecimal` is exact."""

    billing_interval: str
    price: int | None = None
    is_default: bool | None = None
    metadata: dict[str, Any] | None = None
    trial_days: int | None = None
    included_balance: int | UnsetType | None = UNSET
    included_balance_decimal: str | UnsetType | None = UNSET
    included_credits: Decimal | UnsetType | None = UNSET
    intro_offer: IntroOfferInput | None = None
    offer_id: str | None = None
    market_prices: list[Any] | None = None
    inherits_from_price_id: str | None = None


class PricePatch(Wire, frozen=True, kw_only=True):
    """What changes of a price; absent members stay."""

    price: int | UnsetType = UNSET
    is_default: bool | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    trial_days: int | UnsetType = UNSET
    included_balance: int | UnsetType | None = UNSET
    included_balance_decimal: str | UnsetType | None = UNSET
    included_credits: Decimal | UnsetType | None = UNSET
    intro_offer: IntroOfferInput | UnsetType | None = UNSET
    offer_id: str | UnsetType | None = UNSET
    market_prices: list[Any] | None = None


def _check_supported(wanted: PriceInput | PricePatch) -> None:
    unsupported = {
        "marketPrices": wanted.market_prices,
        "inheritsFromPriceId": wanted.inherits_from_price_id if isinstance(wanted, PriceInput) else None,
    }
    for field, value in unsupported.items():
        if value:
            raise invalid(field, "is not supported: a price stands for itself")


def _pool(plan: Plan, wanted: PriceInput | PricePatch, currency: str) -> Decimal | UnsetType | None:
    return plan_rule.pool_of(
        plan.model,
        currency,
        units=wanted.included_credits,
        balance=wanted.included_balance,
        balance_exact=wanted.included_balance_decimal,
    )


@post("/", status_code=200, summary="Add a price to a plan", operation_class=documented(PriceInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]) -> Response[bytes]:
    """One price an interval; the shortest is the default while none is said to be it (R-PLAN-3, R-SUB-2)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, PriceInput)
    interval = rule.interval_of(made.billing_interval)
    _check_supported(made)
    amount = rule.amount_of(made.price)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        currency = caller.organization.currency
        included = _pool(plan, made, currency)
        price = PlanPrice(
            id=ids.new_id(ids.PRICE, caller.real_ms),
            plan=plan.id,
            interval=interval,
            amount_minor=amount,
            currency=currency,
            is_default=bool(made.is_default),
            metadata=rule.metadata_of(made.metadata or {}),
            created_ms=caller.now_ms,
            updated_ms=caller.now_ms,
            trial_days=plan_rule.trial_days_of(made.trial_days or 0),
            included=None if included is UNSET else included,
        )
        wanted = made.intro_offer or UNSET
        price = msgspec.structs.replace(price, **await _intro(conn, plan, currency, wanted, made.offer_id or UNSET))
        plan_rule.check_price(plan, price)
        if plan.price_of(interval) is not None:
            raise rejected("duplicate", f"The plan {plan.code} has a {interval} price.", param="billingInterval")
        changed[:] = [plan.id]
        await store.create_price(conn, caller.organization.id, price)
        after = await store.load_plan(conn, caller.organization.id, plan.id)
        return price_wire(caller, after, plan_rule.price_of(after, price.id))

    return await once(request, caller, work, after=told(caller, changed))


async def _intro(
    conn: AsyncConnection,
    plan: Plan,
    currency: str,
    said: IntroOfferInput | UnsetType | None,
    offer_id: str | UnsetType | None,
) -> dict[str, Any]:
    """Read the intro offer that a price is to have: said itself, or an offer by id; null takes it back."""
    if said not in (UNSET, None) and offer_id not in (UNSET, None):
        raise invalid("offerId", "is an intro offer, and introOffer is there too: one of them")
    if isinstance(offer_id, str):
        offer = await store.load_offer(conn, plan.organization, offer_id)
        return {"intro": intro_of_offer(offer, currency), "offer_id": offer.id}
    if isinstance(said, IntroOfferInput):
        return {"intro": said.offer(currency), "offer_id": None}
    return {} if said is UNSET and offer_id is UNSET else {"intro": None, "offer_id": None}


def _patched(plan: Plan, price: PlanPrice, patch: PricePatch) -> PlanPrice:
    changes: dict[str, Any] = {"is_default": patch.is_default, "included": _pool(plan, patch, price.currency)}
    if patch.price is not UNSET:
        changes["amount_minor"] = rule.amount_of(patch.price)
    if patch.metadata is not UNSET:
        changes["metadata"] = rule.metadata_of(patch.metadata or {})
    if patch.trial_days is not UNSET:
        changes["trial_days"] = plan_rule.trial_days_of(patch.trial_days)
    changes = {name: value for name, value in changes.items() if value is not UNSET}
    return plan_rule.check_price(plan, msgspec.structs.replace(price, **changes))


async def _change(
    request: HttpRequest, caller: Caller, plan_ref: str, price_id: str, patch: PricePatch
) -> Response[bytes]:
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        price = plan_rule.price_of(plan, price_id)
        changed[:] = [plan.id]
        updated_ms = max(caller.now_ms, price.updated_ms)
        intro = await _intro(conn, plan, price.currency, patch.intro_offer, patch.offer_id)
        after = msgspec.structs.replace(_patched(plan, price, patch), **intro, updated_ms=updated_ms)
        if price.is_default and not after.is_default:
            raise invalid("isDefault", "Make another price the default instead.")
        return price_wire(caller, plan, await store.save_price(conn, after, made_default=patch.is_default is True))

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
    return await _change(request, caller, plan_ref, price_id, patch)


@put("/{price_id:str}/default", status_code=200, summary="Make a price the default")
async def set_default(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], price_id: FromPath[str]
) -> Response[bytes]:
    """Exactly one price is the default."""
    caller.must_write(_RESOURCE)
    return await _change(request, caller, plan_ref, price_id, PricePatch(is_default=True))


@delete("/{price_id:str}", status_code=200, summary="Remove a price")
async def remove(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], price_id: FromPath[str]
) -> Response[bytes]:
    """Subscriptions that have the price keep it, and so does what waits for it (contract row 64)."""
    caller.must_write(_RESOURCE)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        price = plan_rule.price_of(plan, price_id)
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
