"""The catalog's version: one row that every change raises, in the change's own transaction.

Invariant: versions are committed in their order, because the row stays locked until the commit; so whoever has seen a
version has seen every change up to it. Source: DESIGN 3.3, 3.4.
"""

from typing import Any, Final

from sqlalchemy import Row, case, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.tables import api_keys as keys
from catalog.tables import catalog_version, customers, features, model_prices, organizations, plans

_ONLY: Final = 1


async def raise_version(conn: AsyncConnection) -> int:
    """Raise the version by one and return it; rows that change in this transaction are stamped with it."""
    statement = (
        update(catalog_version)
        .where(catalog_version.c.id == _ONLY)
        .values(version=catalog_version.c.version + 1)
        .returning(catalog_version.c.version)
    )
    version = (await conn.execute(statement)).scalar_one_or_none()
    if version is None:
        await conn.execute(insert(catalog_version).values(id=_ONLY, version=1))
        return 1
    return int(version)


async def touch_plan(conn: AsyncConnection, plan_id: str, now_ms: int) -> int:
    """Say that a plan's prices or features changed, and return the catalog's new version.

    When a deleted plan was deleted stays: `Plan.changed_ms`.
    """
    version = await raise_version(conn)
    changed_ms = case((plans.c.ending.is_(None), now_ms), else_=plans.c.updated_ms)
    await conn.execute(update(plans).where(plans.c.id == plan_id).values(updated_ms=changed_ms, version=version))
    return version


async def read_version(conn: AsyncConnection) -> int:
    """Read the version as this connection sees it; 0 before the first change."""
    version = (await conn.execute(select(catalog_version.c.version))).scalar_one_or_none()
    return 0 if version is None else int(version)


async def organizations_since(conn: AsyncConnection, version: int) -> list[Row[Any]]:
    """Read organizations changed after `version`."""
    return list(await conn.execute(select(organizations).where(organizations.c.version > version)))


async def keys_since(conn: AsyncConnection, version: int) -> list[Row[Any]]:
    """Read keys changed after `version`, revoked ones too."""
    return list(await conn.execute(select(keys).where(keys.c.version > version).order_by(keys.c.version)))


async def features_since(conn: AsyncConnection, version: int) -> list[Row[Any]]:
    """Read features changed after `version`, removed ones too, older changes first."""
    return list(await conn.execute(select(features).where(features.c.version > version).order_by(features.c.version)))


async def customers_since(conn: AsyncConnection, version: int) -> list[str]:
    """Read the ids of customers changed after `version`."""
    return list((await conn.execute(select(customers.c.id).where(customers.c.version > version))).scalars())


async def model_prices_since(conn: AsyncConnection, version: int) -> list[Row[Any]]:
    """Read prices of AI models added after `version`."""
    return list(await conn.execute(select(model_prices).where(model_prices.c.version > version)))
