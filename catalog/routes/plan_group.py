"""Plan groups over HTTP (contract rows 73 to 80)."""

from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, get, post, put, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import PlanGroup
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from catalog.plan_group import placed, reordered
from kernel import ids, wire
from kernel.errors import rejected
from kernel.period import instant_text
from kernel.wire import Wire

_RESOURCE: Final = "plan_group"


class GroupPatch(Wire, frozen=True, kw_only=True):
    """What may change of a group itself; absent members stay."""

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    is_public: bool | UnsetType = UNSET


class GroupInput(GroupPatch, frozen=True, kw_only=True):
    """A group to be made; plans are put in it."""

    name: str


class MemberInput(Wire, frozen=True, kw_only=True):
    """A plan (id or code) to be put in a group; `sortOrder` counts from 0, the lowest; absent is the highest."""

    plan_id: str
    sort_order: int | None = None


class OrderInput(Wire, frozen=True, kw_only=True):
    """All plans of a group (ids or codes), low to high (R-GROUP-1)."""

    plan_ids: list[str]


def group_wire(caller: Caller, group: PlanGroup) -> dict[str, Any]:
    """Spell a group without its plans."""
    return {
        **caller.object("plan_group"),
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "isPublic": group.is_public,
        "createdAt": instant_text(group.created_ms),
        "updatedAt": instant_text(group.updated_ms),
    }


@post("/", status_code=200, summary="Define a plan group", operation_class=documented(GroupInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """A customer changes between plans of one group (R-GROUP-1, R-GROUP-3)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, GroupInput)
    group = PlanGroup(
        id=ids.new_id(ids.PLAN_GROUP, caller.real_ms),
        organization=caller.organization.id,
        name=made.name,
        created_ms=caller.now_ms,
        updated_ms=caller.now_ms,
    )

    async def work(conn: AsyncConnection) -> object:
        return group_wire(caller, await store.create_group(conn, _patched(group, made)))

    return await once(request, caller, work)


@get("/", summary="List plan groups", operation_class=documented(query=PAGE))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Oldest first."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.list_groups(conn, caller.organization.id)
    page, cursor = wire.page_of(found, request.query_params, _place)
    return reply_list(caller.dialect, [group_wire(caller, group) for group in page], cursor)


def _place(group: PlanGroup) -> tuple[int, str]:
    return group.created_ms, group.id


@get("/{group_id:str}", summary="Read a plan group with its plans in order")
async def read(caller: NamedDependency[Caller], group_id: FromPath[str]) -> Response[bytes]:
    """Low to high: the order of upgrades and of display (R-GROUP-1)."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        group = await store.load_group(conn, caller.organization.id, group_id)
        plans = [await store.load_plan(conn, caller.organization.id, plan) for plan in group.plans]
    members = [{"id": plan.id, "code": plan.code, "name": plan.name, "sortOrder": at} for at, plan in enumerate(plans)]
    return reply(caller.dialect, {**group_wire(caller, group), "plans": members})


@route(
    "/{group_id:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change a plan group",
    operation_class=documented(GroupPatch),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller], group_id: FromPath[str]) -> Response[bytes]:
    """Texts and visibility."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, GroupPatch)

    async def work(conn: AsyncConnection) -> object:
        before = await store.load_group(conn, caller.organization.id, group_id)
        after = msgspec.structs.replace(_patched(before, patch), updated_ms=max(caller.now_ms, before.updated_ms))
        return group_wire(caller, await store.save_group(conn, after))

    return await once(request, caller, work)


@delete("/{group_id:str}", status_code=200, summary="Drop a plan group; its plans stay")
async def remove(request: HttpRequest, caller: NamedDependency[Caller], group_id: FromPath[str]) -> Response[bytes]:
    """Without a group no plan change is offered (R-GROUP-3)."""
    caller.must_write(_RESOURCE)

    async def work(conn: AsyncConnection) -> object:
        group = await store.load_group(conn, caller.organization.id, group_id)
        await store.remove_group(conn, group, caller.real_ms)
        return {**caller.object("plan_group"), "id": group.id, "deleted": True}

    return await once(request, caller, work)


@post(
    "/{group_id:str}/plans", status_code=200, summary="Put a plan in a group", operation_class=documented(MemberInput)
)
async def add(request: HttpRequest, caller: NamedDependency[Caller], group_id: FromPath[str]) -> Response[bytes]:
    """A plan is in at most one group, and has no regional prices (R-GROUP-2)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, MemberInput)

    async def work(conn: AsyncConnection) -> object:
        group = await store.load_group(conn, caller.organization.id, group_id)
        plan = await store.load_plan(conn, caller.organization.id, made.plan_id)
        await store.order_group(conn, group, placed(group, plan, made.sort_order), caller.now_ms)
        return {**caller.object("plan_group_membership"), "success": True, "id": plan.id}

    return await once(request, caller, work)


@delete("/{group_id:str}/plans/{plan_ref:str}", status_code=200, summary="Take a plan out of a group")
async def take_out(
    request: HttpRequest, caller: NamedDependency[Caller], group_id: FromPath[str], plan_ref: FromPath[str]
) -> Response[bytes]:
    """The plan itself stays."""
    caller.must_write(_RESOURCE)

    async def work(conn: AsyncConnection) -> object:
        group = await store.load_group(conn, caller.organization.id, group_id)
        plan = await store.load_plan(conn, caller.organization.id, plan_ref)
        if plan.group_id != group.id:
            raise rejected("plan_not_found", f"The plan {plan.code} is not in this group.", param="planId")
        rest = [other for other in group.plans if other != plan.id]
        await store.order_group(conn, group, rest, caller.now_ms)
        return {**caller.object("plan_group_membership"), "id": plan.id, "removed": True}

    return await once(request, caller, work)


@put(
    "/{group_id:str}/plans/reorder",
    status_code=200,
    summary="Set the whole order of a group",
    operation_class=documented(OrderInput),
)
async def reorder(request: HttpRequest, caller: NamedDependency[Caller], group_id: FromPath[str]) -> Response[bytes]:
    """Low to high (R-GROUP-1)."""
    caller.must_write(_RESOURCE)
    wanted = await read_body(request, OrderInput)

    async def work(conn: AsyncConnection) -> object:
        group = await store.load_group(conn, caller.organization.id, group_id)
        named = [(await store.load_plan(conn, caller.organization.id, plan)).id for plan in wanted.plan_ids]
        await store.order_group(conn, group, reordered(group, named), caller.now_ms)
        return {**caller.object("plan_group_order"), "id": group.id, "reordered": True}

    return await once(request, caller, work)


def _patched(group: PlanGroup, patch: GroupPatch) -> PlanGroup:
    given = {name: getattr(patch, name) for name in GroupPatch.__struct_fields__}
    changes = {name: value for name, value in given.items() if value is not UNSET}
    if "name" in changes:
        rule.name_of(changes["name"])
    return msgspec.structs.replace(group, **changes)


PLAN_GROUPS: Final = Router(
    path="/plan-groups",
    route_handlers=[create, list_all, read, update, remove, add, take_out, reorder],
    dependencies=DEPENDENCIES,
    tags=["plan groups"],
)
