"""Add-ons over HTTP (contract rows 82 to 86); which are active is a subscription's (rows 34, 35 and 81)."""

from decimal import Decimal
from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import plan_rule, rule, store
from catalog.addon import check_addon, model_of, model_word, slug_from, slug_of
from catalog.definition import Addon, Feature, PlanFeature
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from catalog.routes.feature import type_word
from catalog.terms import ConsumptionModel
from kernel import ids, wire
from kernel.errors import invalid, rejected
from kernel.period import Interval, instant_text
from kernel.wire import Wire, rate_of_unit_price

_RESOURCE: Final = "addon"
_BASIS_POINTS: Final = Decimal(100)  # of a per cent


class AddonPatch(Wire, frozen=True, kw_only=True):
    """What may change of an add-on; absent members stay.

    `overageRate` is a unit price at the rate scale, `unitPriceDecimal` the same as a decimal: beyond `includedUnits` on
    a metered add-on, of every unit on a balance one. `intervalPrices` are prices in cents by billing interval
    (R-ADDON-12); `margin` counts basis points on an AI model's price, `marginPercent` is the same as a decimal.
    """

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    base_price: int | UnsetType = UNSET
    interval_prices: dict[str, int] | UnsetType | None = UNSET
    included_units: Decimal | UnsetType | None = UNSET
    unlimited: bool | UnsetType = UNSET
    overage_rate: int | UnsetType | None = UNSET
    unit_price_decimal: str | UnsetType | None = UNSET
    credit_cost: int | UnsetType | None = UNSET
    credit_cost_decimal: str | UnsetType | None = UNSET
    margin: int | UnsetType | None = UNSET
    margin_percent: str | UnsetType | None = UNSET


class AddonInput(AddonPatch, frozen=True, kw_only=True):
    """An add-on to be made; `featureId` may be the feature's id or code, `slug` is made of the name unless given."""

    name: str
    base_price: int
    feature_id: str
    consumption_model: str
    slug: str | None = None


def addon_wire(caller: Caller, addon: Addon) -> dict[str, Any]:
    """Spell an add-on."""
    granted = addon.granted
    metered = addon.model is not None
    return {
        **caller.object("addon"),
        "id": addon.id,
        "name": addon.name,
        "slug": addon.slug,
        "description": addon.description,
        "basePrice": addon.base_minor,
        "intervalPrices": dict(addon.interval_minor),
        "featureId": granted.feature.id_text,
        "featureCode": granted.feature.code,
        "featureName": granted.feature.name,
        "featureType": type_word(granted.feature.kind, caller.dialect),
        "consumptionModel": model_word(addon),
        "includedUnits": granted.included if metered else None,
        "unlimited": granted.unlimited,
        "overageRate": rate_of_unit_price(granted.unit_price) if granted.overage or granted.unit_price != "0" else None,
        "unitPriceDecimal": granted.unit_price,
        "creditCost": None if granted.credits == "0" else Decimal(granted.credits),
        "creditCostDecimal": None if granted.credits == "0" else granted.credits,
        "margin": None if granted.margin is None else Decimal(granted.margin) * _BASIS_POINTS,
        "marginPercent": granted.margin,
        "createdAt": instant_text(addon.created_ms),
        "updatedAt": instant_text(addon.updated_ms),
    }


@post("/", status_code=200, summary="Define an add-on", operation_class=documented(AddonInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """An add-on brings exactly one feature, which is in no other add-on (R-ADDON-1)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, AddonInput)
    slug = slug_from(made.name) if made.slug is None else slug_of(made.slug)

    async def work(conn: AsyncConnection) -> object:
        feature = await store.load_feature(conn, caller.organization.id, made.feature_id)
        return addon_wire(caller, await store.create_addon(conn, _patched(_new(caller, made, slug, feature), made)))

    return await once(request, caller, work)


def _new(caller: Caller, made: AddonInput, slug: str, feature: Feature) -> Addon:
    return Addon(
        id=ids.new_id(ids.ADDON, caller.real_ms),
        organization=caller.organization.id,
        slug=slug,
        name=made.name,
        base_minor=made.base_price,
        granted=PlanFeature(feature=feature),
        model=model_of(made.consumption_model),
        created_ms=caller.now_ms,
        updated_ms=caller.now_ms,
    )


@get("/", summary="List add-ons", operation_class=documented(query=PAGE))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Oldest first, without archived ones."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.list_addons(conn, caller.organization.id)
    page, cursor = wire.page_of(found, request.query_params, _place)
    return reply_list(caller.dialect, [addon_wire(caller, addon) for addon in page], cursor)


def _place(addon: Addon) -> tuple[int, str]:
    return addon.created_ms, addon.id


@get("/{addon_ref:str}", summary="Read an add-on by its id or slug")
async def read(caller: NamedDependency[Caller], addon_ref: FromPath[str]) -> Response[bytes]:
    """An archived add-on is not found."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.load_addon(conn, caller.organization.id, addon_ref)
    return reply(caller.dialect, addon_wire(caller, found))


@route(
    "/{addon_ref:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change an add-on",
    operation_class=documented(AddonPatch),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller], addon_ref: FromPath[str]) -> Response[bytes]:
    """Feature, model and slug never change. What helps is there at once for who has it, the rest at renewal."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, AddonPatch)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        before = await store.load_addon(conn, caller.organization.id, addon_ref)
        after = msgspec.structs.replace(_patched(before, patch), updated_ms=max(caller.now_ms, before.updated_ms))
        changed[:] = [after.id]
        return addon_wire(caller, await store.save_addon(conn, after))

    async def told() -> None:
        if caller.catalog.on_addon_changed is not None:
            for addon_id in changed:
                await caller.catalog.on_addon_changed(caller.organization.id, addon_id)

    return await once(request, caller, work, after=told)


@delete("/{addon_ref:str}", status_code=200, summary="Archive an add-on that nobody uses")
async def remove(request: HttpRequest, caller: NamedDependency[Caller], addon_ref: FromPath[str]) -> Response[bytes]:
    """Refused while any subscription uses it (R-ADDON-11)."""
    caller.must_write(_RESOURCE)

    async def work(conn: AsyncConnection) -> object:
        addon = await store.load_addon(conn, caller.organization.id, addon_ref)
        in_use = caller.catalog.addon_in_use
        if in_use is not None and await in_use(conn, addon.id):
            raise rejected("addon_has_activations", f"Subscriptions use the add-on {addon.slug}.", param="addonId")
        await store.archive_addon(conn, addon, caller.real_ms)
        return {**caller.object("addon"), "id": addon.id, "deleted": True}

    return await once(request, caller, work)


def _patched(addon: Addon, patch: AddonPatch) -> Addon:
    changes: dict[str, Any] = {}
    if patch.name is not UNSET:
        changes["name"] = rule.name_of(patch.name)
    if patch.description is not UNSET:
        changes["description"] = patch.description
    if patch.base_price is not UNSET:
        changes["base_minor"] = rule.amount_of(patch.base_price, "basePrice")
    if patch.interval_prices is not UNSET:
        changes["interval_minor"] = _interval_prices(patch.interval_prices or {})
    return check_addon(msgspec.structs.replace(addon, **changes, granted=_granted(addon, patch)))


def _granted(addon: Addon, patch: AddonPatch) -> PlanFeature:
    """Read what the add-on grants: of two spellings of one price the decimal wins, null takes it back."""
    changes: dict[str, Any] = {}
    if patch.included_units is not UNSET:
        changes["included"] = rule.included_of(patch.included_units or Decimal(0), "includedUnits")
    if patch.unlimited is not UNSET:
        changes["unlimited"] = patch.unlimited
    if patch.overage_rate is not UNSET or patch.unit_price_decimal is not UNSET:
        rate, exact = patch.overage_rate or None, patch.unit_price_decimal or None
        changes["unit_price"] = rule.unit_price_of(rate, exact, "overageRate", "unitPriceDecimal")
        said = patch.overage_rate not in (UNSET, None) or exact is not None
        changes["overage"] = said and addon.model is ConsumptionModel.METERED
    if patch.credit_cost is not UNSET or patch.credit_cost_decimal is not UNSET:
        cost, exact = patch.credit_cost or None, patch.credit_cost_decimal or None
        changes["credits"] = plan_rule.credits_of(cost, exact, "creditCost")
    if patch.margin is not UNSET or patch.margin_percent is not UNSET:
        given = patch.margin not in (UNSET, None) or patch.margin_percent not in (UNSET, None)
        margin = plan_rule.margin_of(patch.margin or None, patch.margin_percent or None) if given else None
        changes["margin"] = margin
    return msgspec.structs.replace(addon.granted, **changes)


def _interval_prices(prices: dict[str, int]) -> dict[str, int]:
    for word in prices:
        if word not in list(Interval):
            raise invalid("intervalPrices", f"{word} is not supported: use {', '.join(Interval)}")
    return {word: rule.amount_of(price, f"intervalPrices.{word}") for word, price in prices.items()}


ADDONS: Final = Router(
    path="/addons",
    route_handlers=[create, list_all, read, update, remove],
    dependencies=DEPENDENCIES,
    tags=["add-ons"],
)
