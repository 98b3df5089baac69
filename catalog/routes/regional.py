"""Prices of plans in other currencies over HTTP (contract rows 61, 62 and 66)."""

from collections.abc import Collection
from decimal import Decimal
from typing import Final

import msgspec
from litestar import Response, Router, delete, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import plan_rule, rule, store
from catalog.definition import DiscountType, Plan, PlanPrice
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from catalog.offer import taken_off
from catalog.regional import ManualPrice, check_ungrouped, currency_of, intro_by_hand, rate_of
from catalog.routes.told import told
from kernel.errors import invalid, rejected
from kernel.money import minor_places
from kernel.quantity import EXACT
from kernel.wire import Wire

_RESOURCE: Final = "plan"
_TYPES: Final = {"percentage": DiscountType.PERCENT, "amount": DiscountType.FIXED}


class RegionalPriceInput(Wire, frozen=True, kw_only=True):
    """A price set by hand, in minor units of the currency; `synced` lets it follow the rate again."""

    price_id: str
    price: int | None = None
    included_balance: int | None = None
    synced: bool = False


class RegionalRateInput(Wire, frozen=True, kw_only=True):
    """A feature's unit price set by hand: at the rate scale, or a decimal; `synced` lets it follow the rate again."""

    feature_id: str
    overage_unit_price: int | None = None
    unit_price_decimal: str | None = None
    synced: bool = False


class RegionalIntroInput(Wire, frozen=True, kw_only=True):
    """An intro offer of this currency: `percentage` in basis points, `amount` in minor units (R-DISC-14)."""

    price_id: str
    discount_type: str
    discount_value: int
    duration_cycles: int | None = None


class RegionInput(Wire, frozen=True, kw_only=True):
    """A currency of a plan: its rate, and what is set by hand; what is not named stays as it was."""

    currency: str
    exchange_rate: Decimal
    prices: tuple[RegionalPriceInput, ...] = ()
    features: tuple[RegionalRateInput, ...] = ()
    intro_offers: tuple[RegionalIntroInput, ...] = ()


class OverrideInput(Wire, frozen=True, kw_only=True):
    """A price set by hand in one currency."""

    currency: str
    price: int
    included_balance: int | None = None


class OverridesInput(Wire, frozen=True, kw_only=True):
    """What is set by hand of one price, whole: a currency that is not named is not set by hand any more."""

    overrides: list[OverrideInput]


@put(
    "/{plan_ref:str}/regional",
    status_code=200,
    summary="Price a plan in one currency",
    operation_class=documented(RegionInput),
)
async def set_region(request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]) -> Response[bytes]:
    """Prices follow the exchange rate but for those that are set by hand (R-REG-3)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, RegionInput)
    rate = rate_of(made.exchange_rate)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = check_ungrouped(await store.load_plan(conn, caller.organization.id, plan_ref))
        currency = currency_of(made.currency, caller.organization.currency)
        await store.put_exchange_rate(conn, plan, currency, rate, caller.now_ms)
        await _set_prices(conn, caller, plan, currency, made)
        await _set_rates(conn, caller, plan, currency, made)
        changed[:] = [plan.id]
        after = await store.load_plan(conn, caller.organization.id, plan.id)
        return {
            **caller.object("plan_regional_pricing"),
            "id": after.id,
            "planId": after.id,
            "currency": currency,
            "exchangeRate": Decimal(rate),
            "pricesConfigured": sum(price.in_currency(currency) is not None for price in after.prices),
            "featuresConfigured": sum(
                any(one.currency == currency for one in granted.regional) for granted in after.features
            ),
        }

    return await once(request, caller, work, after=told(caller, changed))


async def _set_prices(conn: AsyncConnection, caller: Caller, plan: Plan, currency: str, made: RegionInput) -> None:
    by_hand: dict[str, ManualPrice] = {}
    for wanted in made.prices:
        price = plan_rule.price_of(plan, wanted.price_id)
        before = by_hand.get(price.id) or await store.manual_price(conn, price, currency)
        if not wanted.synced and wanted.price is None and wanted.included_balance is None:
            raise invalid("prices.price", "is required, unless the price is synced")
        amount = None if wanted.price is None else rule.amount_of(wanted.price, "prices.price")
        pool = _balance(wanted.included_balance, currency, "prices")
        by_hand[price.id] = msgspec.structs.replace(
            before,
            amount_minor=None if wanted.synced else amount,
            included=None if wanted.synced else before.included if pool is None else pool,
        )
    for offer in made.intro_offers:
        price = plan_rule.price_of(plan, offer.price_id)
        if offer.discount_type not in _TYPES:
            raise invalid("introOffers.discountType", f"{offer.discount_type} is not supported: use percentage, amount")
        kind = _TYPES[offer.discount_type]
        value = taken_off(kind, offer.discount_value, currency, "introOffers.discountValue")
        before = by_hand.get(price.id) or await store.manual_price(conn, price, currency)
        intro = intro_by_hand(price, kind, value, offer.duration_cycles)
        by_hand[price.id] = msgspec.structs.replace(before, intro=intro)
    for price_id, manual in by_hand.items():
        await store.put_regional_price(conn, plan_rule.price_of(plan, price_id), currency, manual, caller.now_ms)


async def _set_rates(conn: AsyncConnection, caller: Caller, plan: Plan, currency: str, made: RegionInput) -> None:
    for wanted in made.features:
        granted = plan_rule.granted_of(plan, wanted.feature_id)
        if not wanted.synced and wanted.overage_unit_price is None and wanted.unit_price_decimal is None:
            raise invalid("features.overageUnitPrice", "is required, unless the price is synced")
        rate, exact = wanted.overage_unit_price, wanted.unit_price_decimal
        fields = ("features.overageUnitPrice", "features.unitPriceDecimal")
        unit_price = None if wanted.synced else rule.unit_price_of(rate, exact, *fields)
        await store.put_regional_rate(conn, plan, granted, currency, unit_price, caller.now_ms)


@delete("/{plan_ref:str}/regional/{currency:str}", status_code=200, summary="Drop a currency of a plan")
async def drop_region(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], currency: FromPath[str]
) -> Response[bytes]:
    """New subscribers pay the plan's own currency; refused while a subscription pays in it (R-REG-4)."""
    caller.must_write(_RESOURCE)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        await _unused(conn, caller, plan, None, {currency.lower()})
        await store.remove_currency(conn, plan, currency.lower(), caller.now_ms)
        changed[:] = [plan.id]
        return {**caller.object("plan_regional_pricing"), "id": plan.id, "deleted": True}

    return await once(request, caller, work, after=told(caller, changed))


@put(
    "/{plan_ref:str}/prices/{price_id:str}/regional",
    status_code=200,
    summary="Set a price by hand in other currencies",
    operation_class=documented(OverridesInput),
)
async def set_overrides(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], price_id: FromPath[str]
) -> Response[bytes]:
    """Prices by hand follow neither the rate nor the price in the plan's own currency (R-REG-3)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, OverridesInput)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = check_ungrouped(await store.load_plan(conn, caller.organization.id, plan_ref))
        price = plan_rule.price_of(plan, price_id)
        dropped = await store.currencies_by_hand(conn, price) - {wanted.currency.lower() for wanted in made.overrides}
        await _unused(conn, caller, plan, price, dropped)
        await store.clear_regional_price(conn, price, caller.now_ms)
        for wanted in made.overrides:
            currency = currency_of(wanted.currency, caller.organization.currency)
            manual = ManualPrice(
                amount_minor=rule.amount_of(wanted.price, "overrides.price"),
                included=_balance(wanted.included_balance, currency, "overrides"),
            )
            await store.put_regional_price(conn, price, currency, manual, caller.now_ms)
        changed[:] = [plan.id]
        return {
            **caller.object("plan_regional_pricing"),
            "id": price.id,
            "priceId": price.id,
            "overrides": [
                {**msgspec.to_builtins(wanted), "currency": wanted.currency.lower()} for wanted in made.overrides
            ],
        }

    return await once(request, caller, work, after=told(caller, changed))


@delete("/{plan_ref:str}/prices/{price_id:str}/regional", status_code=200, summary="Drop a price's overrides")
async def drop_overrides(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], price_id: FromPath[str]
) -> Response[bytes]:
    """From then on the price follows the exchange rates; refused while a subscription pays one of them."""
    caller.must_write(_RESOURCE)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        price = plan_rule.price_of(plan, price_id)
        await _unused(conn, caller, plan, price, await store.currencies_by_hand(conn, price))
        await store.clear_regional_price(conn, price, caller.now_ms)
        changed[:] = [plan.id]
        return {**caller.object("plan_regional_pricing"), "id": price.id, "deleted": True}

    return await once(request, caller, work, after=told(caller, changed))


async def _unused(
    conn: AsyncConnection, caller: Caller, plan: Plan, price: PlanPrice | None, currencies: Collection[str]
) -> None:
    """Raise Rejected `price_in_use` while a subscription pays in one of the currencies (contract row 62, R-REG-4)."""
    asked = caller.catalog.currency_in_use
    used = None if asked is None else await asked(conn, plan.id, None if price is None else price.id, currencies)
    if used is not None:
        raise rejected("price_in_use", f"Customers pay the plan {plan.code} in {used.upper()}.")


def _balance(minor: int | None, currency: str, place: str) -> Decimal | None:
    if minor is None:
        return None
    return EXACT.scaleb(Decimal(rule.amount_of(minor, f"{place}.includedBalance")), -minor_places(currency))


REGIONAL: Final = Router(
    path="/plans",
    route_handlers=[set_region, drop_region, set_overrides, drop_overrides],
    dependencies=DEPENDENCIES,
    tags=["plans"],
)
