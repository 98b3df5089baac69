"""Plans over HTTP (contract 3.9, 3.10 and rows 67 to 72)."""

from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, get, post, put, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import Plan
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from catalog.routes.plan_shape import plan_wire
from catalog.routes.told import told
from kernel import ids, wire
from kernel.errors import invalid, rejected
from kernel.period import instant_text
from kernel.wire import Wire

_RESOURCE: Final = "plan"


class PlanInput(Wire, frozen=True, kw_only=True):
    """A plan to be made; prices and features are added to it."""

    name: str
    code: str
    description: str | None = None
    consumption_model: str | None = None
    is_public: bool = True
    is_free: bool = False
    block_on_exhaustion: bool | None = None
    plan_group_id: str | None = None
    metadata: dict[str, Any] | None = None


class PlanPatch(Wire, frozen=True, kw_only=True):
    """What may change of a plan itself; absent members stay."""

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    is_public: bool | UnsetType = UNSET


class Visibility(Wire, frozen=True, kw_only=True):
    """Whether a plan is shown (R-PLAN-4)."""

    is_public: bool


@post("/", status_code=200, summary="Define a plan", operation_class=documented(PlanInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """A plan is metered; a free one has no prices and no overage (R-PLAN-6)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, PlanInput)
    rule.consumption_of(made.consumption_model)
    if made.plan_group_id is not None:
        raise invalid("planGroupId", "Plan groups are not supported.")
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
    )

    async def work(conn: AsyncConnection) -> object:
        return plan_wire(caller, await store.create_plan(conn, plan))

    return await once(request, caller, work)


@get(
    "/",
    summary="List plans with their prices and features",
    operation_class=documented(query={"includePrivate": "true or false", **PAGE}),
)
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Public plans, and with `includePrivate=true` the private ones too (R-PLAN-5)."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    private = wire.flag("includePrivate", query.get("includePrivate")) or False
    limit = wire.page_limit(query["limit"]) if "limit" in query else None
    async with caller.catalog.sql.snapshot() as conn:
        plans = await store.list_plans(conn, caller.organization.id, private=private)
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


async def _change(request: HttpRequest, caller: Caller, plan_ref: str, changes: dict[str, Any]) -> Response[bytes]:
    if "name" in changes:
        rule.name_of(changes["name"])
    rule.metadata_of(changes.get("metadata"))
    changed: list[str] = []

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        changed[:] = [plan.id]
        after = msgspec.structs.replace(plan, **changes, updated_ms=max(caller.now_ms, plan.updated_ms))
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
    """Texts, metadata and visibility; absent members stay."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, PlanPatch)
    given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not UNSET}
    return await _change(request, caller, plan_ref, given)


@put(
    "/{plan_ref:str}/visibility", status_code=200, summary="Show or hide a plan", operation_class=documented(Visibility)
)
async def set_visibility(
    request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]
) -> Response[bytes]:
    """A private plan is hidden and can still be assigned (R-PLAN-4)."""
    caller.must_write(_RESOURCE)
    wanted = await read_body(request, Visibility)
    return await _change(request, caller, plan_ref, {"is_public": wanted.is_public})


@delete("/{plan_ref:str}", status_code=200, summary="Remove a plan that no subscription has")
async def remove(request: HttpRequest, caller: NamedDependency[Caller], plan_ref: FromPath[str]) -> Response[bytes]:
    """Refused while a subscription has the plan (R-PLAN-10)."""
    caller.must_write(_RESOURCE)

    async def work(conn: AsyncConnection) -> object:
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        in_use = caller.catalog.plan_in_use
        if in_use is not None and await in_use(conn, plan.id):
            raise rejected("plan_in_use", f"Customers are subscribed to the plan {plan.code}: hide it instead.")
        await store.remove_plan(conn, plan, caller.real_ms)
        return {
            **caller.object("plan"),
            "id": plan.id,
            "deleted": True,
            "updatedAt": instant_text(caller.now_ms),
        }

    return await once(request, caller, work)


PLANS = Router(
    path="/plans",
    route_handlers=[create, list_all, read, update, set_visibility, remove],
    dependencies=DEPENDENCIES,
    tags=["plans"],
)
