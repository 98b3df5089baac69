"""Plans, read whole with prices and features; their prices and features are stored by the neighbour modules."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import DiscountType, Feature, IntroOffer, Plan, PlanFeature, PlanPrice
from catalog.store.feature import feature_of_row
from catalog.store.plan_group import leave_group, with_groups
from catalog.store.region import with_regions
from catalog.store.version import raise_version
from catalog.tables import features, plan_features, plan_prices, plans
from catalog.terms import ConsumptionModel
from kernel import ids
from kernel.errors import rejected
from kernel.period import Interval
from kernel.quantity import canonical

T = TypeVar("T")
_IN_ONE_QUERY: Final = 500  # SQLite takes 32,766 variables, PostgreSQL's driver as many


async def create_plan(conn: AsyncConnection, plan: Plan) -> Plan:
    """Store a new plan without prices and features. Raises Rejected `duplicate` when its code is taken (R-PLAN-11)."""
    organization = ids.id_text(ids.ORGANIZATION, plan.organization)
    taken = select(plans.c.id).where(
        plans.c.organization_id == organization, plans.c.code == plan.code, plans.c.deleted_ms == 0
    )
    if (await conn.execute(taken)).first() is not None:
        raise rejected("duplicate", f"A plan with the code {plan.code} exists.", param="code")
    await conn.execute(
        insert(plans).values(
            id=plan.id,
            organization_id=organization,
            code=plan.code,
            name=plan.name,
            description=plan.description,
            is_public=plan.is_public,
            is_free=plan.is_free,
            is_default=plan.is_default,
            sort_order=plan.sort_order,
            metadata=plan.metadata,
            **_terms(plan),
            version=await raise_version(conn),
            created_ms=plan.created_ms,
            updated_ms=plan.updated_ms,
        )
    )
    return plan


async def load_plan(conn: AsyncConnection, organization: bytes, reference: str) -> Plan:
    """Read a plan whole by its id or code. Raises Rejected `plan_not_found`."""
    statement = select(plans).where(
        plans.c.organization_id == ids.id_text(ids.ORGANIZATION, organization),
        or_(plans.c.id == reference, plans.c.code == reference),
        plans.c.deleted_ms == 0,
    )
    row = (await conn.execute(statement)).first()
    if row is None:
        raise rejected("plan_not_found", f"There is no plan {reference}.", param="planId")
    return (await _whole(conn, [row]))[0]


async def plan_ids(conn: AsyncConnection, organization: bytes, references: Sequence[str]) -> tuple[str, ...]:
    """Read the ids of plans that are named by id or code, each once. Raises Rejected `plan_not_found`."""
    found = [(await load_plan(conn, organization, reference)).id for reference in references]
    return tuple(dict.fromkeys(found))


async def list_plans(
    conn: AsyncConnection, organization: bytes, *, private: bool, deprecated: bool = False
) -> list[Plan]:
    """Read an organization's plans whole, in their order.

    Private ones only with `private` (R-PLAN-5), deprecated and ending ones only with `deprecated` (R-PLAN-8).
    """
    statement = (
        select(plans)
        .where(plans.c.organization_id == ids.id_text(ids.ORGANIZATION, organization), plans.c.deleted_ms == 0)
        .order_by(plans.c.sort_order, plans.c.created_ms, plans.c.id)
    )
    if not private:
        statement = statement.where(plans.c.is_public)
    if not deprecated:
        statement = statement.where(~plans.c.deprecated)
    return await _whole(conn, list(await conn.execute(statement)))


async def save_plan(conn: AsyncConnection, plan: Plan) -> Plan:
    """Store all that may change of a plan itself: texts, visibility, metadata, model, pool, and its end."""
    await conn.execute(
        update(plans)
        .where(plans.c.id == plan.id)
        .values(
            name=plan.name,
            description=plan.description,
            is_public=plan.is_public,
            metadata=plan.metadata,
            **_terms(plan),
            updated_ms=plan.updated_ms,
            version=await raise_version(conn),
        )
    )
    return plan


async def plans_moving_to(conn: AsyncConnection, plan_id: str) -> list[str]:
    """Read the codes of the plans whose subscribers move to a plan when they renew (R-PLAN-9)."""
    statement = select(plans.c.code).where(plans.c.ending == plan_id, plans.c.deleted_ms == 0).order_by(plans.c.code)
    return list((await conn.execute(statement)).scalars())


async def remove_plan(conn: AsyncConnection, plan: Plan, now_ms: int) -> None:
    """Remove a plan; whether a subscription has it is asked before (R-PLAN-10). Its features may then be removed."""
    version = await raise_version(conn)
    for table, own in ((plans, plans.c.id), (plan_prices, plan_prices.c.plan_id)):
        await conn.execute(
            update(table)
            .where(own == plan.id, table.c.deleted_ms == 0)
            .values(deleted_ms=now_ms, updated_ms=now_ms, version=version)
        )
    await conn.execute(plan_features.delete().where(plan_features.c.plan_id == plan.id))
    await leave_group(conn, plan.id)


def price_of_row(row: Row[Any]) -> PlanPrice:
    """Turn a row into its value."""
    return PlanPrice(
        id=row.id,
        plan=row.plan_id,
        interval=Interval(row.interval),
        amount_minor=row.amount_minor,
        currency=row.currency,
        is_default=row.is_default,
        metadata=row.metadata,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        trial_days=row.trial_days,
        included=None if row.included is None else Decimal(row.included),
        intro=_intro(row),
        offer_id=row.offer_id,
    )


def _with_default(prices: Sequence[PlanPrice]) -> tuple[PlanPrice, ...]:
    """Tell the prices with one default: the one that was said, else that of the shortest interval (R-SUB-2)."""
    if not prices or any(price.is_default for price in prices):
        return tuple(prices)
    shortest = min(prices, key=lambda price: price.interval.months)
    return tuple(msgspec.structs.replace(price, is_default=price is shortest) for price in prices)


def _intro(row: Row[Any]) -> IntroOffer | None:
    if row.intro_type is None:
        return None
    return IntroOffer(type=DiscountType(row.intro_type), value=Decimal(row.intro_value), cycles=row.intro_cycles)


def _terms(plan: Plan) -> dict[str, Any]:
    """Spell model, pool and end as columns."""
    return {
        "model": plan.model.value,
        "included": None if plan.included is None else canonical(plan.included),
        "overdraft": plan.overdraft,
        "deprecated": plan.deprecated,
        "ending": plan.ending,
    }


async def _whole(conn: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Plan]:
    prices: dict[str, list[PlanPrice]] = {row.id: [] for row in rows}
    granted: dict[str, list[PlanFeature]] = {row.id: [] for row in rows}
    for some in _slices([row.id for row in rows]):
        for price in await conn.execute(
            select(plan_prices)
            .where(plan_prices.c.plan_id.in_(some), plan_prices.c.deleted_ms == 0)
            .order_by(plan_prices.c.created_ms, plan_prices.c.id)
        ):
            prices[price.plan_id].append(price_of_row(price))
        known = {feature.id_text: feature for feature in await _features_of(conn, some)}
        for link in await conn.execute(
            select(plan_features)
            .where(plan_features.c.plan_id.in_(some))
            .order_by(plan_features.c.created_ms, plan_features.c.feature_id)
        ):
            granted[link.plan_id].append(_plan_feature(link, known[link.feature_id]))
    found = [
        Plan(
            id=row.id,
            organization=ids.id_bytes(row.organization_id),
            code=row.code,
            name=row.name,
            description=row.description,
            is_public=row.is_public,
            is_free=row.is_free,
            is_default=row.is_default,
            sort_order=row.sort_order,
            metadata=row.metadata,
            prices=_with_default(prices[row.id]),
            features=tuple(granted[row.id]),
            created_ms=row.created_ms,
            updated_ms=row.updated_ms,
            model=ConsumptionModel(row.model),
            included=None if row.included is None else Decimal(row.included),
            overdraft=row.overdraft,
            deprecated=row.deprecated,
            ending=row.ending,
        )
        for row in rows
    ]
    whole: list[Plan] = []
    for some_plans in _slices(found):
        whole += await with_regions(conn, await with_groups(conn, some_plans))
    return whole


async def _features_of(conn: AsyncConnection, plan_ids: Sequence[str]) -> list[Feature]:
    used = select(plan_features.c.feature_id).where(plan_features.c.plan_id.in_(plan_ids))
    return [feature_of_row(row) for row in await conn.execute(select(features).where(features.c.id.in_(used)))]


def _plan_feature(row: Row[Any], feature: Feature) -> PlanFeature:
    return PlanFeature(
        feature=feature,
        enabled=row.enabled,
        included=Decimal(row.included),
        unlimited=row.unlimited,
        overage=row.overage,
        unit_price=row.unit_price,
        credits=row.credits,
        margin=row.margin,
    )


def _slices(everything: Sequence[T]) -> Iterable[Sequence[T]]:
    return (everything[at : at + _IN_ONE_QUERY] for at in range(0, len(everything), _IN_ONE_QUERY))
