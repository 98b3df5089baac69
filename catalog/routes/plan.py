"""Plans over HTTP (contract 3.9, 3.10 and rows 67 to 72)."""

from decimal import Decimal
from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, get, post, put, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import plan_rule, rule, store
from catalog.definition import Plan
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from catalog.plan_group import placed
from catalog.routes.plan_end import deprecate, in_use, remove
from catalog.routes.plan_shape import plan_wire
from catalog.routes.told import told
from catalog.terms import ConsumptionModel
from kernel import ids, wire
from kernel.wire import Wire

_RESOURCE: Final = "plan"


class PlanInput(Wire, frozen=True, kw_only=True):
    """A plan to be made; prices and features are added to it.

    The pool is what a usage window gets unless the price says more; on a balance plan `includedBalance` is in minor
    units, `includedBalanceDecimal` exact. `blockOnExhaustion` says that a balance never goes below zero.
    """

    name: str
    code: str
    description: str | None = None
    consumption_model: str | None = None
    is_public: bool = True
    is_free: bool = False
    block_on_exhaustion: bool | None = None
    plan_group_id: str | None = None
    metadata: dict[str, Any] | None = None
    included_credits: Decimal | UnsetType | None = UNSET
    included_balance: int | UnsetType | None = UNSET
    included_balance_decimal: str | UnsetType | None = UNSET


class PlanPatch(Wire, frozen=True, kw_only=True):
    """What may change of a plan itself; absent members stay."""

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    is_public: bool | UnsetType = UNSET
    consumption_model: str | UnsetType = UNSET
    block_on_exhaustion: bool | UnsetType | None = UNSET
    included_credits: Decimal | UnsetType | None = UNSET
    included_balance: int | UnsetType | None = UNSET
    included_balance_decimal: str | UnsetType | None = UNSET


class Visibility(Wire, frozen=True, kw_only=True):
    """Whether a plan is shown (R-PLAN-4)."""

    is_public: bool


@post("/", status_code=200, summary="Define a plan", operation_class=documented(PlanInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """A plan has one model (R-PLAN-2); a free one has no prices and no overage (R-PLAN-6)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, PlanInput)
    model = plan_rule.model_of(made.consumption_model)
    pool = _pool(caller, model, made)
    plan = Plan(
        id=ids.new_id(ids.PLAN, caller.real_ms),
        organization=caller.organization.id,
        code=rule.code_of(made.code),
        name=rule.name_of(made.name),
        description=made.description,
        is_public=made.is_public,
        is_free=made.is_free,
        metadata=rule.metadata_of(made.metadata),
        created_ms=caller.now_ms,
        updated_ms=caller.now_ms,
        model=model,
        included=None if pool is UNSET else pool,
        overdraft=plan_rule.overdraft_of(model, made.block_on_exhaustion),
    )

    async def work(conn: AsyncConnection) -> object:
        await store.create_plan(conn, plan)
        if made.plan_group_id is not None:
            group = await store.load_group(conn, caller.organization.id, made.plan_group_id)
            await store.order_group(conn, group, placed(group, plan, None), caller.now_ms)
        return plan_wire(caller, await store.load_plan(conn, caller.organization.id, plan.id))

    return await once(request, caller, work)


@get(
    "/",
    summary="List plans with their prices and features",
    operation_class=documented(query={"includePrivate": "true or false", "includeDeprecated": "true or false", **PAGE}),
)
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Public plans, with `includePrivate=true` the private ones too (R-PLAN-5), and so for deprecated (R-PLAN-8)."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    private = wire.flag("includePrivate", query.get("includePrivate")) or False
    deprecated = wire.flag("includeDeprecated", query.get("includeDeprecated")) or False
    limit = wire.page_limit(query["limit"]) if "limit" in query else None
    async with caller.catalog.sql.snapshot() as conn:
        plans = await store.list_plans(conn, caller.organization.id, private=private, deprecated=deprecated)
    if "cursor" in query:
        after = tuple(wire.decode_cursor(query["cursor"], int, int, str))
        plans = [plan for plan in plans if _place(plan) > after]
    page, cursor = wire.cut_page(plans, limit, _place) if limit is not None else (plans, None)
    return reply_list(caller.dialect, [plan_wire(caller, plan) for plan in page], cursor)


def _place(plan: Plan) -> tuple[int, int, str]:
    return plan.sort_order, plan.created_ms, plan.id


@get("/{plan_ref:str}", summary="Read a plan by its id or code")
async def read(caller: NamedDependency[Caller], plan_ref: FromPath[str]) -> Response[bytes]:
    """A private plan is readable as well (contract 3.10)."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
    return reply(caller.dialect, plan_wire(caller, plan))


def _pool(caller: Caller, model: ConsumptionModel, wanted: PlanInput | PlanPatch) -> Decimal | UnsetType | None:
    return plan_rule.pool_of(
        model,
        caller.organization.currency,
        units=wanted.included_credits,
        balance=wanted.included_balance,
        balance_exact=wanted.included_balance_decimal,
    )


def _patched(caller: Caller, plan: Plan, patch: PlanPatch) -> Plan:
    model = plan.model if patch.consumption_model is UNSET else plan_rule.model_of(patch.consumption_model)
    changes: dict[str, Any] = {
        "name": patch.name if patch.name is UNSET else rule.name_of(patch.name),
        "description": patch.description,
        "metadata": patch.metadata if patch.metadata is UNSET else rule.metadata_of(patch.metadata),
        "is_public": patch.is_public,
        "model": model,
        "included": _pool(caller, model, patch),
    }
    if patch.block_on_exhaustion is not UNSET or model is not plan.model:
        block = None if patch.block_on_exhaustion is UNSET else patch.block_on_exhaustion
        changes["overdraft"] = plan_rule.overdraft_of(model, block)
    if model is not plan.model and changes["included"] is UNSET:
        changes["included"] = None  # a pool of another model is another thing
    changes = {name: value for name, value in changes.items() if value is not UNSET}
    return msgspec.structs.replace(plan, **changes, updated_ms=plan.changed_ms(caller.now_ms))


async def _change(request: HttpRequest, caller: Caller, plan_ref: str, patch: PlanPatch) -> Response[bytes]:
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        changed[:] = [plan.id]
        after = _patched(caller, plan, patch)
        if after.model is not plan.model:
            plan_rule.check_model(after, in_use=await in_use(caller, conn, plan))
        return plan_wire(caller, await store.save_plan(conn, after))

    return await once(request, caller, work, after=told(caller, changed))


@route(
    "/{plan_ref:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change a plan",
    operation_class=documented(PlanPatch),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]) -> Response[bytes]:
    """Texts, metadata, visibility, pool, and the model while nobody is subscribed; absent members stay."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, PlanPatch)
    return await _change(request, caller, plan_ref, patch)


@put(
    "/{plan_ref:str}/visibility", status_code=200, summary="Show or hide a plan", operation_class=documented(Visibility)
)
async def set_visibility(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]
) -> Response[bytes]:
    """A private plan is hidden and can still be assigned (R-PLAN-4)."""
    caller.must_write(_RESOURCE)
    wanted = await read_body(request, Visibility)
    return await _change(request, caller, plan_ref, PlanPatch(is_public=wanted.is_public))


PLANS = Router(
    path="/plans",
    route_handlers=[create, list_all, read, update, set_visibility, deprecate, remove],
    dependencies=DEPENDENCIES,
    tags=["plans"],
)
