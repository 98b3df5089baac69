"""Offers: stored as their phases; an archived one is found by nobody (contract rows 91 to 95)."""

from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.offer import Offer, Phase
from catalog.store.version import raise_version
from catalog.tables import offers, plan_prices
from kernel import ids
from kernel.errors import rejected

_PHASES: Final = tuple[Phase, ...]


async def create_offer(conn: AsyncConnection, offer: Offer) -> Offer:
    """Store a new offer."""
    organization = ids.id_text(ids.ORGANIZATION, offer.organization)
    await conn.execute(
        insert(offers).values(
            id=offer.id,
            organization_id=organization,
            created_ms=offer.created_ms,
            version=await raise_version(conn),
            **_said(offer),
        )
    )
    return offer


async def load_offer(conn: AsyncConnection, organization: bytes, offer_id: str) -> Offer:
    """Read an offer. Raises Rejected `offer_not_found`."""
    row = (await conn.execute(select(offers).where(_living(organization), offers.c.id == offer_id))).first()
    if row is None:
        raise rejected("offer_not_found", f"There is no offer {offer_id}.", param="offerId")
    return _offer(row)


async def list_offers(conn: AsyncConnection, organization: bytes, *, active: bool | None = None) -> list[Offer]:
    """Read an organization's offers, newest first; `active` None reads both kinds."""
    statement = select(offers).where(_living(organization)).order_by(offers.c.created_ms.desc(), offers.c.id.desc())
    if active is not None:
        statement = statement.where(offers.c.active if active else ~offers.c.active)
    return [_offer(row) for row in await conn.execute(statement)]


async def save_offer(conn: AsyncConnection, offer: Offer) -> Offer:
    """Store an offer in place of what it was."""
    version = await raise_version(conn)
    await conn.execute(update(offers).where(offers.c.id == offer.id).values(version=version, **_said(offer)))
    return offer


async def remove_offer(conn: AsyncConnection, offer: Offer, now_ms: int) -> None:
    """Archive an offer; prices that have it are taken care of before."""
    version = await raise_version(conn)
    await conn.execute(
        update(offers).where(offers.c.id == offer.id).values(deleted_ms=now_ms, updated_ms=now_ms, version=version)
    )


async def plans_with_offer(conn: AsyncConnection, offer: Offer) -> list[str]:
    """Read the ids of the plans of which a price has the offer."""
    statement = select(plan_prices.c.plan_id).where(plan_prices.c.offer_id == offer.id, plan_prices.c.deleted_ms == 0)
    return sorted(set((await conn.execute(statement)).scalars()))


def _living(organization: bytes) -> ColumnElement[bool]:
    own = offers.c.organization_id == ids.id_text(ids.ORGANIZATION, organization)
    return own & (offers.c.deleted_ms == 0)


def _said(offer: Offer) -> dict[str, Any]:
    return {
        "name": offer.name,
        "phases": msgspec.to_builtins(offer.phases),
        "metadata": dict(offer.metadata),
        "starts_ms": offer.starts_ms,
        "ends_ms": offer.ends_ms,
        "active": offer.active,
        "updated_ms": offer.updated_ms,
    }


def _offer(row: Row[Any]) -> Offer:
    return Offer(
        id=row.id,
        organization=ids.id_bytes(row.organization_id),
        name=row.name,
        phases=msgspec.convert(row.phases, _PHASES),
        metadata=row.metadata,
        starts_ms=row.starts_ms,
        ends_ms=row.ends_ms,
        active=row.active,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )
