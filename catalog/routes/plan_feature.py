"""What plans grant, over HTTP (contract rows 57 to 59)."""

from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from litestar import HttpMethod, Response, Router, delete, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import plan_rule, rule, store
from catalog.definition import FeatureKind, Plan, PlanFeature
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from catalog.routes.plan_shape import plan_feature_wire
from catalog.routes.told import told
from catalog.terms import ConsumptionModel
from kernel.errors import invalid, rejected
from kernel.wire import Wire

_RESOURCE: Final = "plan"


class OverageInput(Wire, frozen=True, kw_only=True):
    """Usage beyond what is included: taken or not, and at which price a unit (decision 6)."""

    enabled: bool | UnsetType = UNSET
    unit_price: int | None = None
    unit_price_decimal: str | None = None


class PlanFeaturePatch(Wire, frozen=True, kw_only=True):
    """What a plan grants; absent members stay. The flat overage members are older eras' spelling.

    `unitPrice` (10,000 = 1 in the major unit) says the same as `overage.unitPrice`: what a unit beyond the included
    ones, an extra seat a billing period, or on a balance plan every unit costs. `margin` counts basis points. The
    decimal strings beside them are exact and win.
    """

    enabled: bool | UnsetType = UNSET
    included_amount: Decimal | UnsetType = UNSET
    unlimited: bool | UnsetType = UNSET
    overage: OverageInput | None = None
    overage_enabled: bool | UnsetType = UNSET
    overage_unit_price: int | None = None
    unit_price: int | None = None
    unit_price_decimal: str | None = None
    credits_per_unit: int | UnsetType | None = UNSET
    credits_per_unit_decimal: str | None = None
    pricing_mode: Literal["fixed", "ai_model"] | None = None
    margin: int | None = None
    margin_percent: str | None = None


class PlanFeatureInput(PlanFeaturePatch, frozen=True, kw_only=True):
    """A feature to be put in a plan."""

    feature_id: str


def _granted(plan: Plan, before: PlanFeature, patch: PlanFeaturePatch) -> PlanFeature:
    overage = patch.overage or OverageInput(enabled=patch.overage_enabled, unit_price=patch.overage_unit_price)
    changes: dict[str, Any] = {"enabled": patch.enabled, "unlimited": patch.unlimited, "overage": overage.enabled}
    changes = {name: value for name, value in changes.items() if value is not UNSET}
    exact = overage.unit_price_decimal if patch.unit_price_decimal is None else patch.unit_price_decimal
    rate = overage.unit_price if patch.unit_price is None else patch.unit_price
    if patch.included_amount is not UNSET:
        changes["included"] = rule.included_of(patch.included_amount)
    if rate is not None or exact is not None:
        changes["unit_price"] = rule.unit_price_of(rate, exact, *_price_fields(patch))
        if before.feature.kind is FeatureKind.SEATS:
            changes.setdefault("overage", True)  # a price is what makes extra seats possible
    if patch.credits_per_unit is not UNSET or patch.credits_per_unit_decimal is not None:
        integer = None if patch.credits_per_unit is UNSET else patch.credits_per_unit
        changes["credits"] = plan_rule.credits_of(integer, patch.credits_per_unit_decimal)
    changes["margin"] = _margin(before, patch)
    if before.margin is None and changes["margin"] is not None:
        changes.setdefault("unit_price", "0")  # the model's price takes the place of a fixed one
    return plan_rule.check_granted(plan, msgspec.structs.replace(before, **changes))


def _price_fields(patch: PlanFeaturePatch) -> tuple[str, str]:
    """Tell which members said the unit price, at the rate scale and as a decimal."""
    nested = "overageUnitPrice" if patch.overage is None else "overage.unitPrice"
    return (
        nested if patch.unit_price is None else "unitPrice",
        "overage.unitPriceDecimal" if patch.unit_price_decimal is None else "unitPriceDecimal",
    )


def _margin(before: PlanFeature, patch: PlanFeaturePatch) -> str | None:
    """Read the pricing mode: an AI model with a margin (0 unless it is said), or a fixed unit price (R-AI-1)."""
    said = patch.margin is not None or patch.margin_percent is not None
    mode = patch.pricing_mode or ("fixed" if before.margin is None else "ai_model")
    if mode == "fixed":
        if patch.margin or patch.margin_percent is not None:
            raise invalid("margin", "is of features with pricingMode ai_model")
        return None
    return plan_rule.margin_of(patch.margin, patch.margin_percent) if said else before.margin or "0"


def _check_said(plan: Plan, granted: PlanFeature, made: PlanFeaturePatch) -> None:
    """Ask for what a use costs where every use draws on the pool; 0 is an answer, silence is not."""
    if granted.feature.kind is not FeatureKind.METERED:
        return
    if plan.model is ConsumptionModel.CREDITS:
        said = isinstance(made.credits_per_unit, int) or made.credits_per_unit_decimal is not None
        if not said:
            raise invalid("creditsPerUnit", "is required on a credits plan")
    overage = made.overage or OverageInput(unit_price=made.overage_unit_price)
    prices = (made.unit_price, made.unit_price_decimal, overage.unit_price, overage.unit_price_decimal)
    if plan.model is ConsumptionModel.BALANCE and granted.margin is None and prices == (None,) * 4:
        raise invalid("unitPrice", "is required on a balance plan, or pricingMode ai_model")


@post("/", status_code=200, summary="Put a feature in a plan", operation_class=documented(PlanFeatureInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]) -> Response[bytes]:
    """`featureId` may be the feature's id or its code."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, PlanFeatureInput)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        feature = await store.load_feature(conn, caller.organization.id, made.feature_id)
        if any(granted.feature.id == feature.id for granted in plan.features):
            raise rejected("feature_already_exists", f"The plan {plan.code} has {feature.code}.", param="featureId")
        changed[:] = [plan.id]
        granted = _granted(plan, PlanFeature(feature=feature), made)
        _check_said(plan, granted, made)
        return plan_feature_wire(caller, plan, await store.put_plan_feature(conn, plan, granted, caller.now_ms))

    return await once(request, caller, work, after=told(caller, changed))


@route(
    "/{feature_ref:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change what a plan grants of a feature",
    operation_class=documented(PlanFeaturePatch),
)
async def update(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], feature_ref: FromPath[str]
) -> Response[bytes]:
    """What only widens holds at once, the rest from each subscription's next period (R-BH-1)."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, PlanFeaturePatch)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        before = plan_rule.granted_of(plan, feature_ref)
        granted = _granted(plan, before, patch)
        if before.margin is not None and granted.margin is None:
            _check_said(plan, granted, patch)
        changed[:] = [plan.id]
        return plan_feature_wire(caller, plan, await store.put_plan_feature(conn, plan, granted, caller.now_ms))

    return await once(request, caller, work, after=told(caller, changed))


@delete("/{feature_ref:str}", status_code=200, summary="Take a feature out of a plan")
async def remove(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str], feature_ref: FromPath[str]
) -> Response[bytes]:
    """Terms in force keep the feature until their end."""
    caller.must_write(_RESOURCE)
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        granted = plan_rule.granted_of(plan, feature_ref)
        changed[:] = [plan.id]
        await store.remove_plan_feature(conn, plan, granted, caller.now_ms)
        return {**caller.object("plan_feature"), "id": granted.feature.id_text, "removed": True}

    return await once(request, caller, work, after=told(caller, changed))


PLAN_FEATURES = Router(
    path="/plans/{plan_ref:str}/features",
    route_handlers=[create, update, remove],
    dependencies=DEPENDENCIES,
    tags=["plans"],
)
