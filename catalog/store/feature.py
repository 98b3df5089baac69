"""Features: what plans grant. The code never changes; a removed feature frees it (R-FEAT-6, R-FEAT-7)."""

from typing import Any

from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Feature, FeatureKind
from catalog.store.version import raise_version
from catalog.tables import addons, features, plan_features
from kernel import ids
from kernel.errors import rejected


def feature_of_row(row: Row[Any]) -> Feature:
    """Turn a row into its value."""
    return Feature(
        id=ids.id_bytes(row.id),
        organization=ids.id_bytes(row.organization_id),
        code=row.code,
        event_code=row.event_code,
        name=row.name,
        kind=FeatureKind(row.kind),
        unit_name=row.unit_name,
        description=row.description,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        seat_type=row.seat_type,
    )


async def create_feature(conn: AsyncConnection, feature: Feature) -> Feature:
    """Store a new feature. Raises Rejected `feature_already_exists` when its code or event code is taken."""
    taken = select(features.c.id).where(
        features.c.organization_id == ids.id_text(ids.ORGANIZATION, feature.organization),
        features.c.deleted_ms == 0,
        or_(features.c.code == feature.code, features.c.event_code == feature.event_code),
    )
    if (await conn.execute(taken)).first() is not None:
        raise rejected("feature_already_exists", f"A feature with the code {feature.code} exists.", param="code")
    await conn.execute(
        insert(features).values(
            id=feature.id_text,
            organization_id=ids.id_text(ids.ORGANIZATION, feature.organization),
            code=feature.code,
            event_code=feature.event_code,
            name=feature.name,
            kind=feature.kind.value,
            unit_name=feature.unit_name,
            description=feature.description,
            seat_type=feature.seat_type,
            version=await raise_version(conn),
            created_ms=feature.created_ms,
            updated_ms=feature.updated_ms,
        )
    )
    return feature


async def load_feature(conn: AsyncConnection, organization: bytes, reference: str) -> Feature:
    """Read a feature by its id or code. Raises Rejected `feature_not_found`."""
    statement = select(features).where(
        features.c.organization_id == ids.id_text(ids.ORGANIZATION, organization),
        features.c.deleted_ms == 0,
        or_(features.c.id == reference, features.c.code == reference),
    )
    row = (await conn.execute(statement)).first()
    if row is None:
        raise rejected("feature_not_found", f"There is no feature {reference}.", param="feature")
    return feature_of_row(row)


async def list_features(conn: AsyncConnection, organization: bytes) -> list[Feature]:
    """Read an organization's features, oldest first."""
    statement = (
        select(features)
        .where(features.c.organization_id == ids.id_text(ids.ORGANIZATION, organization), features.c.deleted_ms == 0)
        .order_by(features.c.created_ms, features.c.id)
    )
    return [feature_of_row(row) for row in await conn.execute(statement)]


async def save_feature(conn: AsyncConnection, feature: Feature) -> Feature:
    """Store a feature's name, description and unit name: all that may change (R-FEAT-7)."""
    await conn.execute(
        update(features)
        .where(features.c.id == feature.id_text)
        .values(
            name=feature.name,
            description=feature.description,
            unit_name=feature.unit_name,
            updated_ms=feature.updated_ms,
            version=await raise_version(conn),
        )
    )
    return feature


async def plans_with_feature(conn: AsyncConnection, feature: Feature) -> list[str]:
    """Read the ids of the plans that have the feature."""
    statement = select(plan_features.c.plan_id).where(plan_features.c.feature_id == feature.id_text)
    return list((await conn.execute(statement)).scalars())


async def remove_feature(conn: AsyncConnection, feature: Feature, now_ms: int) -> None:
    """Remove a feature that no plan has. Raises Rejected `feature_in_use` (R-FEAT-6)."""
    if await plans_with_feature(conn, feature):
        raise rejected("feature_in_use", f"A plan has the feature {feature.code}: take it out of all plans first.")
    brought = select(addons.c.slug).where(addons.c.feature_id == feature.id_text, addons.c.deleted_ms == 0)
    if (slug := await conn.scalar(brought)) is not None:
        raise rejected("feature_in_use", f"The add-on {slug} brings the feature {feature.code}: archive it first.")
    await conn.execute(
        update(features)
        .where(features.c.id == feature.id_text)
        .values(deleted_ms=now_ms, updated_ms=now_ms, version=await raise_version(conn))
    )
