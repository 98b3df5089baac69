"""Seat types: what customers hold seats of. The code never changes; a removed one frees it (R-FEAT-6, R-FEAT-8)."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Feature, FeatureKind, SeatType
from catalog.store.version import raise_version
from catalog.tables import features, seat_types
from kernel import ids
from kernel.errors import rejected


async def create_seat_type(conn: AsyncConnection, made: SeatType) -> SeatType:
    """Store a new seat type. Raises Rejected `duplicate` when its code is taken."""
    if await find_seat_type(conn, made.organization, made.code) is not None:
        raise rejected("duplicate", f"A seat type with the code {made.code} exists.", param="code")
    await conn.execute(
        insert(seat_types).values(
            id=made.id,
            organization_id=ids.id_text(ids.ORGANIZATION, made.organization),
            code=made.code,
            name=made.name,
            description=made.description,
            version=await raise_version(conn),
            created_ms=made.created_ms,
            updated_ms=made.updated_ms,
        )
    )
    return made


async def with_seat_type(conn: AsyncConnection, feature: Feature, real_ms: int) -> Feature:
    """Give a new seats feature its seat type: the one that it names, else one of its own code, made if missing.

    Other features stay as they are. Raises Rejected `seat_type_not_found` for a named one that does not exist
    (R-FEAT-8).
    """
    if feature.kind is not FeatureKind.SEATS:
        return feature
    if feature.seat_type is not None:
        found = await load_seat_type(conn, feature.organization, feature.seat_type)
        return msgspec.structs.replace(feature, seat_type=found.code)
    if await find_seat_type(conn, feature.organization, feature.code) is None:
        made = SeatType(
            id=ids.new_id(ids.SEAT_TYPE, real_ms),
            organization=feature.organization,
            code=feature.code,
            name=feature.name,
            created_ms=feature.created_ms,
            updated_ms=feature.updated_ms,
        )
        await create_seat_type(conn, made)
    return msgspec.structs.replace(feature, seat_type=feature.code)


async def find_seat_type(conn: AsyncConnection, organization: bytes, reference: str) -> SeatType | None:
    """Read a seat type by its id or code; None when there is none."""
    statement = select(seat_types).where(
        _living(organization), or_(seat_types.c.id == reference, seat_types.c.code == reference)
    )
    row = (await conn.execute(statement)).first()
    return None if row is None else _seat_type(row)


async def load_seat_type(conn: AsyncConnection, organization: bytes, reference: str) -> SeatType:
    """Read a seat type by its id or code. Raises Rejected `seat_type_not_found`."""
    found = await find_seat_type(conn, organization, reference)
    if found is None:
        raise rejected("seat_type_not_found", f"There is no seat type {reference}.", param="seatType")
    return found


async def list_seat_types(conn: AsyncConnection, organization: bytes) -> list[SeatType]:
    """Read an organization's seat types, oldest first."""
    statement = select(seat_types).where(_living(organization)).order_by(seat_types.c.created_ms, seat_types.c.id)
    return [_seat_type(row) for row in await conn.execute(statement)]


async def save_seat_type(conn: AsyncConnection, changed: SeatType) -> SeatType:
    """Store a seat type's name and description."""
    await conn.execute(
        update(seat_types)
        .where(seat_types.c.id == changed.id)
        .values(
            name=changed.name,
            description=changed.description,
            updated_ms=changed.updated_ms,
            version=await raise_version(conn),
        )
    )
    return changed


async def remove_seat_type(conn: AsyncConnection, gone: SeatType, now_ms: int) -> None:
    """Remove a seat type that no feature has. Raises Rejected `seat_type_in_use` (R-FEAT-6)."""
    used = select(features.c.code).where(
        features.c.organization_id == ids.id_text(ids.ORGANIZATION, gone.organization),
        features.c.seat_type == gone.code,
        features.c.deleted_ms == 0,
    )
    feature = (await conn.execute(used)).scalars().first()
    if feature is not None:
        raise rejected("seat_type_in_use", f"The feature {feature} has the seat type {gone.code}: remove it first.")
    await conn.execute(
        update(seat_types)
        .where(seat_types.c.id == gone.id)
        .values(deleted_ms=now_ms, updated_ms=now_ms, version=await raise_version(conn))
    )


def _living(organization: bytes) -> ColumnElement[bool]:
    own = seat_types.c.organization_id == ids.id_text(ids.ORGANIZATION, organization)
    return own & (seat_types.c.deleted_ms == 0)


def _seat_type(row: Row[Any]) -> SeatType:
    return SeatType(
        id=row.id,
        organization=ids.id_bytes(row.organization_id),
        code=row.code,
        name=row.name,
        description=row.description,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )
