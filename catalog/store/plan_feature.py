"""The link of a plan and a feature: what the plan grants of it (R-FEAT-5)."""

from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Plan, PlanFeature
from catalog.store.organization import check_margin
from catalog.store.version import touch_plan
from catalog.tables import plan_features
from kernel import ids
from kernel.quantity import canonical


async def put_plan_feature(conn: AsyncConnection, plan: Plan, granted: PlanFeature, now_ms: int) -> PlanFeature:
    """Store what `plan` grants of a feature, new or in place of what it granted. Raises Rejected as `check_margin`."""
    await check_margin(conn, plan.organization, granted)
    version = await touch_plan(conn, plan.id, now_ms)
    values = {
        "enabled": granted.enabled,
        "included": canonical(granted.included),
        "unlimited": granted.unlimited,
        "overage": granted.overage,
        "unit_price": granted.unit_price,
        "credits": granted.credits,
        "margin": granted.margin,
        "version": version,
    }
    link = (plan_features.c.plan_id == plan.id) & (plan_features.c.feature_id == granted.feature.id_text)
    if (await conn.execute(update(plan_features).where(link).values(**values))).rowcount == 0:
        await conn.execute(
            insert(plan_features).values(
                plan_id=plan.id,
                feature_id=granted.feature.id_text,
                organization_id=ids.id_text(ids.ORGANIZATION, plan.organization),
                created_ms=now_ms,
                **values,
            )
        )
    return granted


async def remove_plan_feature(conn: AsyncConnection, plan: Plan, granted: PlanFeature, now_ms: int) -> None:
    """Take a feature out of a plan; terms that are in force keep it (R-PRICE-1)."""
    await touch_plan(conn, plan.id, now_ms)
    await conn.execute(
        delete(plan_features).where(
            plan_features.c.plan_id == plan.id, plan_features.c.feature_id == granted.feature.id_text
        )
    )
