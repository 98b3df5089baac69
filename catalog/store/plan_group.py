"""Plan groups: plans in order, each in at most one (R-GROUP-1, R-GROUP-2)."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Plan, PlanGroup
from catalog.store.version import raise_version
from catalog.tables import plan_group_members, plan_groups, plans
from kernel import ids
from kernel.errors import rejected


async def create_group(conn: AsyncConnection, group: PlanGroup) -> PlanGroup:
    """Store a new group without plans."""
    await conn.execute(
        insert(plan_groups).values(
            id=group.id,
            organization_id=ids.id_text(ids.ORGANIZATION, group.organization),
            created_ms=group.created_ms,
            **_changing(group),
            version=await raise_version(conn),
        )
    )
    return group


async def save_group(conn: AsyncConnection, group: PlanGroup) -> PlanGroup:
    """Store a group's texts and visibility."""
    await conn.execute(
        update(plan_groups)
        .where(plan_groups.c.id == group.id)
        .values(**_changing(group), version=await raise_version(conn))
    )
    return group


async def load_group(conn: AsyncConnection, organization: bytes, group_id: str) -> PlanGroup:
    """Read a group with its plans in order. Raises Rejected `plan_group_not_found`."""
    found = await _read(conn, organization, plan_groups.c.id == group_id)
    if not found:
        raise rejected("plan_group_not_found", f"There is no plan group {group_id}.", param="planGroupId")
    return found[0]


async def list_groups(conn: AsyncConnection, organization: bytes) -> list[PlanGroup]:
    """Read an organization's groups, oldest first."""
    return await _read(conn, organization, plan_groups.c.id != "")


async def order_group(conn: AsyncConnection, group: PlanGroup, plan_ids: Sequence[str], now_ms: int) -> PlanGroup:
    """Make `plan_ids` the group's plans, low to high. A plan of another group breaks the unique key: ask before."""
    version = await raise_version(conn)
    await conn.execute(delete(plan_group_members).where(plan_group_members.c.group_id == group.id))
    if plan_ids:
        members = [{"plan_id": plan, "group_id": group.id, "position": at} for at, plan in enumerate(plan_ids)]
        await conn.execute(insert(plan_group_members), members)
    await conn.execute(
        update(plan_groups).where(plan_groups.c.id == group.id).values(updated_ms=now_ms, version=version)
    )
    moved = {*group.plans, *plan_ids}
    await conn.execute(update(plans).where(plans.c.id.in_(moved)).values(version=version))
    return msgspec.structs.replace(group, plans=tuple(plan_ids), updated_ms=now_ms)


async def remove_group(conn: AsyncConnection, group: PlanGroup, now_ms: int) -> None:
    """Drop a group; its plans stay, without a group."""
    await order_group(conn, group, (), now_ms)
    await conn.execute(
        update(plan_groups)
        .where(plan_groups.c.id == group.id)
        .values(deleted_ms=now_ms, updated_ms=now_ms, version=await raise_version(conn))
    )


async def leave_group(conn: AsyncConnection, plan_id: str) -> None:
    """Take a plan that goes out of its group, if it has one."""
    await conn.execute(delete(plan_group_members).where(plan_group_members.c.plan_id == plan_id))


async def with_groups(conn: AsyncConnection, found: Sequence[Plan]) -> list[Plan]:
    """Tell plans their groups and places in them."""
    member = plan_group_members.c
    statement = select(plan_group_members).where(member.plan_id.in_([plan.id for plan in found]))
    places = {row.plan_id: row for row in await conn.execute(statement)}
    return [
        msgspec.structs.replace(plan, group_id=places[plan.id].group_id, group_position=places[plan.id].position)
        if plan.id in places
        else plan
        for plan in found
    ]


async def _read(conn: AsyncConnection, organization: bytes, chosen: Any) -> list[PlanGroup]:
    own = plan_groups.c.organization_id == ids.id_text(ids.ORGANIZATION, organization)
    statement = select(plan_groups).where(own, chosen, plan_groups.c.deleted_ms == 0)
    rows = list(await conn.execute(statement.order_by(plan_groups.c.created_ms, plan_groups.c.id)))
    members: dict[str, list[str]] = {row.id: [] for row in rows}
    member = plan_group_members.c
    inside = select(member.group_id, member.plan_id).where(member.group_id.in_(members)).order_by(member.position)
    for group_id, plan_id in await conn.execute(inside):
        members[group_id].append(plan_id)
    return [_group(row, members[row.id]) for row in rows]


def _group(row: Row[Any], members: Sequence[str]) -> PlanGroup:
    return PlanGroup(
        id=row.id,
        organization=ids.id_bytes(row.organization_id),
        name=row.name,
        plans=tuple(members),
        description=row.description,
        is_public=row.is_public,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )


def _changing(group: PlanGroup) -> dict[str, Any]:
    return {
        "name": group.name,
        "description": group.description,
        "is_public": group.is_public,
        "updated_ms": group.updated_ms,
    }
