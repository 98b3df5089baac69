"""Add-ons: one feature each, and a feature in at most one (R-ADDON-1). An archived one frees its slug and feature."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Addon, Feature, PlanFeature
from catalog.store.feature import feature_of_row
from catalog.store.organization import check_margin
from catalog.store.version import raise_version
from catalog.tables import addons, features
from catalog.terms import ConsumptionModel
from kernel import ids
from kernel.errors import rejected
from kernel.quantity import canonical


async def create_addon(conn: AsyncConnection, addon: Addon) -> Addon:
    """Store a new add-on. Raises Rejected `duplicate` when its slug is taken or its feature has one."""
    await check_margin(conn, addon.organization, addon.granted)
    organization = ids.id_text(ids.ORGANIZATION, addon.organization)
    feature = addon.granted.feature
    for taken, message, param in (
        (addons.c.slug == addon.slug, f"An add-on {addon.slug} exists.", "slug"),
        (addons.c.feature_id == feature.id_text, f"The feature {feature.code} is in another add-on.", "featureId"),
    ):
        statement = select(addons.c.id).where(addons.c.organization_id == organization, addons.c.deleted_ms == 0, taken)
        if (await conn.execute(statement)).first() is not None:
            raise rejected("duplicate", message, param=param)
    await conn.execute(
        insert(addons).values(
            id=addon.id,
            organization_id=organization,
            slug=addon.slug,
            feature_id=feature.id_text,
            model=addon.model,
            created_ms=addon.created_ms,
            **_changing(addon),
            version=await raise_version(conn),
        )
    )
    return addon


async def save_addon(conn: AsyncConnection, addon: Addon) -> Addon:
    """Store an add-on's texts, prices and what it grants; feature, model and slug never change."""
    await check_margin(conn, addon.organization, addon.granted)
    await conn.execute(
        update(addons).where(addons.c.id == addon.id).values(**_changing(addon), version=await raise_version(conn))
    )
    return addon


async def load_addon(conn: AsyncConnection, organization: bytes, reference: str, *, archived: bool = False) -> Addon:
    """Read an add-on by its id or slug, an archived one by its id and only with `archived`.

    Raises Rejected `addon_not_found`.
    """
    lives = addons.c.deleted_ms == 0
    named = or_(addons.c.id == reference, (addons.c.slug == reference) & lives)
    found = await _read(conn, organization, named if archived else named & lives)
    if not found:
        raise rejected("addon_not_found", f"There is no add-on {reference}.", param="addonId")
    return found[0]


async def list_addons(conn: AsyncConnection, organization: bytes) -> list[Addon]:
    """Read an organization's add-ons, oldest first."""
    return await _read(conn, organization, addons.c.deleted_ms == 0)


async def archive_addon(conn: AsyncConnection, addon: Addon, now_ms: int) -> None:
    """Archive an add-on; whether a subscription uses it is asked before (R-ADDON-11)."""
    await conn.execute(
        update(addons)
        .where(addons.c.id == addon.id)
        .values(deleted_ms=now_ms, updated_ms=now_ms, version=await raise_version(conn))
    )


async def _read(conn: AsyncConnection, organization: bytes, chosen: Any) -> list[Addon]:
    own = addons.c.organization_id == ids.id_text(ids.ORGANIZATION, organization)
    statement = select(addons).where(own, chosen).order_by(addons.c.created_ms, addons.c.id)
    rows = list(await conn.execute(statement))
    named = select(features).where(features.c.id.in_({row.feature_id for row in rows}))
    known = {feature.id_text: feature for feature in map(feature_of_row, await conn.execute(named))}
    return [_addon(row, known) for row in rows]


def _addon(row: Row[Any], known: Mapping[str, Feature]) -> Addon:
    return Addon(
        id=row.id,
        organization=ids.id_bytes(row.organization_id),
        slug=row.slug,
        name=row.name,
        base_minor=row.base_minor,
        granted=PlanFeature(
            feature=known[row.feature_id],
            included=Decimal(row.included),
            unlimited=row.unlimited,
            overage=row.overage,
            unit_price=row.unit_price,
            credits=row.credits,
            margin=row.margin,
        ),
        description=row.description,
        model=None if row.model is None else ConsumptionModel(row.model),
        interval_minor=row.interval_minor,
        archived=bool(row.deleted_ms),
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )


def _changing(addon: Addon) -> dict[str, Any]:
    granted = addon.granted
    return {
        "name": addon.name,
        "description": addon.description,
        "base_minor": addon.base_minor,
        "interval_minor": dict(addon.interval_minor),
        "included": canonical(granted.included),
        "unlimited": granted.unlimited,
        "overage": granted.overage,
        "unit_price": granted.unit_price,
        "credits": granted.credits,
        "margin": granted.margin,
        "updated_ms": addon.updated_ms,
    }
