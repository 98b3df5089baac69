"""Prices of plans: one an interval; exactly one of a plan's prices is its default.

`is_default` is stored where a seller said so; while none is said, the shortest interval is the default (R-SUB-2).
A removed price stays for the subscriptions that have it (contract row 64).
"""

from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import PlanPrice
from catalog.store.version import touch_plan
from catalog.tables import plan_prices
from kernel import ids
from kernel.quantity import canonical


async def create_price(conn: AsyncConnection, organization: bytes, price: PlanPrice) -> PlanPrice:
    """Store a new price; a default one takes the default from the others."""
    version = await touch_plan(conn, price.plan, price.created_ms)
    if price.is_default:
        await _clear_default(conn, price.plan, version)
    await conn.execute(
        insert(plan_prices).values(
            id=price.id,
            organization_id=ids.id_text(ids.ORGANIZATION, organization),
            plan_id=price.plan,
            interval=price.interval.value,
            amount_minor=price.amount_minor,
            currency=price.currency,
            is_default=price.is_default,
            metadata=dict(price.metadata),
            **_terms(price),
            version=version,
            created_ms=price.created_ms,
            updated_ms=price.updated_ms,
        )
    )
    return price


async def save_price(conn: AsyncConnection, price: PlanPrice, *, made_default: bool = False) -> PlanPrice:
    """Store all that may change of a price; one that is `made_default` takes the default from the others."""
    version = await touch_plan(conn, price.plan, price.updated_ms)
    said: dict[str, Any] = {}
    if made_default:
        await _clear_default(conn, price.plan, version)
        said["is_default"] = True
    await _update(
        conn,
        price.id,
        amount_minor=price.amount_minor,
        metadata=dict(price.metadata),
        **_terms(price),
        **said,
        updated_ms=price.updated_ms,
        version=version,
    )
    return price


async def remove_price(conn: AsyncConnection, price: PlanPrice, now_ms: int) -> None:
    """Remove a price; nobody can newly subscribe to it."""
    version = await touch_plan(conn, price.plan, now_ms)
    await _update(conn, price.id, deleted_ms=now_ms, updated_ms=now_ms, is_default=False, version=version)


def _terms(price: PlanPrice) -> dict[str, Any]:
    """Spell trial, pool and intro offer as columns."""
    intro = price.intro
    return {
        "trial_days": price.trial_days,
        "included": None if price.included is None else canonical(price.included),
        "intro_type": None if intro is None else intro.type.value,
        "intro_value": None if intro is None else canonical(intro.value),
        "intro_cycles": None if intro is None else intro.cycles,
        "offer_id": price.offer_id,
    }


async def _update(conn: AsyncConnection, price_id: str, **values: Any) -> None:
    await conn.execute(update(plan_prices).where(plan_prices.c.id == price_id).values(**values))


async def _clear_default(conn: AsyncConnection, plan_id: str, version: int) -> None:
    await conn.execute(
        update(plan_prices)
        .where(plan_prices.c.plan_id == plan_id, plan_prices.c.is_default)
        .values(is_default=False, version=version)
    )
