"""Credit packs: names are unique in an organization (R-PACK-1); a removed one frees its name."""

from decimal import Decimal
from typing import Any

from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import CreditPack
from catalog.store.version import raise_version
from catalog.tables import credit_packs
from kernel import ids
from kernel.errors import rejected
from kernel.quantity import canonical


async def create_pack(conn: AsyncConnection, pack: CreditPack) -> CreditPack:
    """Store a new pack. Raises Rejected `duplicate` when its name is taken."""
    await _check_name(conn, pack)
    await conn.execute(
        insert(credit_packs).values(
            id=pack.id,
            organization_id=ids.id_text(ids.ORGANIZATION, pack.organization),
            created_ms=pack.created_ms,
            **_changing(pack),
            version=await raise_version(conn),
        )
    )
    return pack


async def save_pack(conn: AsyncConnection, pack: CreditPack) -> CreditPack:
    """Store a pack; what was bought keeps its credits. Raises Rejected `duplicate` when its name is taken."""
    await _check_name(conn, pack)
    await conn.execute(
        update(credit_packs)
        .where(credit_packs.c.id == pack.id)
        .values(**_changing(pack), version=await raise_version(conn))
    )
    return pack


async def load_pack(conn: AsyncConnection, organization: bytes, reference: str) -> CreditPack:
    """Read a pack by its id or name. Raises Rejected `credit_pack_not_found`."""
    statement = select(credit_packs).where(
        credit_packs.c.organization_id == ids.id_text(ids.ORGANIZATION, organization),
        credit_packs.c.deleted_ms == 0,
        or_(credit_packs.c.id == reference, credit_packs.c.name == reference),
    )
    row = (await conn.execute(statement)).first()
    if row is None:
        raise rejected("credit_pack_not_found", f"There is no credit pack {reference}.", param="creditPackId")
    return _pack(row)


async def list_packs(conn: AsyncConnection, organization: bytes) -> list[CreditPack]:
    """Read an organization's packs, inactive ones too, the cheapest first."""
    statement = (
        select(credit_packs)
        .where(
            credit_packs.c.organization_id == ids.id_text(ids.ORGANIZATION, organization),
            credit_packs.c.deleted_ms == 0,
        )
        .order_by(credit_packs.c.price_minor, credit_packs.c.created_ms, credit_packs.c.id)
    )
    return [_pack(row) for row in await conn.execute(statement)]


async def remove_pack(conn: AsyncConnection, pack: CreditPack, now_ms: int) -> None:
    """Archive a pack: nobody buys it any more."""
    await conn.execute(
        update(credit_packs)
        .where(credit_packs.c.id == pack.id)
        .values(deleted_ms=now_ms, updated_ms=now_ms, version=await raise_version(conn))
    )


async def _check_name(conn: AsyncConnection, pack: CreditPack) -> None:
    statement = select(credit_packs.c.id).where(
        credit_packs.c.organization_id == ids.id_text(ids.ORGANIZATION, pack.organization),
        credit_packs.c.name == pack.name,
        credit_packs.c.deleted_ms == 0,
        credit_packs.c.id != pack.id,
    )
    if (await conn.execute(statement)).first() is not None:
        raise rejected("duplicate", f"A credit pack {pack.name} exists.", param="name")


def _pack(row: Row[Any]) -> CreditPack:
    return CreditPack(
        id=row.id,
        organization=ids.id_bytes(row.organization_id),
        name=row.name,
        credits=Decimal(row.credits),
        price_minor=row.price_minor,
        description=row.description,
        plans=None if row.plans is None else tuple(row.plans),
        active=row.active,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )


def _changing(pack: CreditPack) -> dict[str, Any]:
    return {
        "name": pack.name,
        "description": pack.description,
        "credits": canonical(pack.credits),
        "price_minor": pack.price_minor,
        "plans": None if pack.plans is None else list(pack.plans),
        "active": pack.active,
        "updated_ms": pack.updated_ms,
    }
