"""What plans grant, over HTTP (contract rows 57 to 59)."""

from decimal import Decimal
from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import Plan, PlanFeature
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from catalog.routes.plan_shape import plan_feature_wire
from catalog.routes.told import told
from kernel.errors import invalid, rejected
from kernel.wire import Wire

_RESOURCE: Final = "plan"


class OverageInput(Wire, frozen=True, kw_only=True):
    """Usage beyond what is included: taken or not, and at which price a unit (decision 6)."""

    enabled: bool | UnsetType = UNSET
    unit_price: int | None = None
    unit_price_decimal: str | None = None


class PlanFeaturePatch(Wire, frozen=True, kw_only=True):
    """What a plan grants; absent members stay. The flat overage members are older eras' spelling."""

    enabled: bool | UnsetType = UNSET
    included_amount: Decimal | UnsetType = UNSET
    unlimited: bool | UnsetType = UNSET
    overage: OverageInput | None = None
    overage_enabled: bool | UnsetType = UNSET
    overage_unit_price: int | None = None
    credits_per_unit: int | None = None
    pricing_mode: str | None = None
    margin: int | None = None


class PlanFeatureInput(PlanFeaturePatch, frozen=True, kw_only=True):
    """A feature to be put in a plan."""

    feature_id: str


def _granted(plan: Plan, before: PlanFeature, patch: PlanFeaturePatch) -> PlanFeature:
    if patch.credits_per_unit or patch.margin or patch.pricing_mode not in (None, "fixed"):
        raise invalid("pricingMode", "Credits and AI models are not supported: use fixed unit prices.")
    overage = patch.overage or OverageInput(enabled=patch.overage_enabled, unit_price=patch.overage_unit_price)
    changes: dict[str, Any] = {"enabled": patch.enabled, "unlimited": patch.unlimited, "overage": overage.enabled}
    changes = {name: value for name, value in changes.items() if value is not UNSET}
    if patch.included_amount is not UNSET:
        changes["included"] = rule.included_of(patch.included_amount)
    if overage.unit_price is not None or overage.unit_price_decimal is not None:
        changes["unit_price"] = rule.unit_price_of(overage.unit_price, overage.unit_price_decimal)
    return rule.check_granted(plan, msgspec.structs.replace(before, **changes))


def _find(plan: Plan, reference: str) -> PlanFeature:
    for granted in plan.features:
        if reference in (granted.feature.id_text, granted.feature.code):
            return granted
    raise rejected("feature_not_found", f"The plan {plan.code} has no feature {reference}.", param="featureId")


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
        granted = _granted(plan, _find(plan, feature_ref), patch)
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
        granted = _find(plan, feature_ref)
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
