"""Promo codes and their redemptions.

Invariant: a code is redeemed at most `max_redemptions` times, and once a customer. Redemptions are no change of the
catalog: they raise no version.
"""

from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import DiscountType, PromoCode, PromoDuration
from catalog.promo import exhausted, offer_of_promo, redeemed_before, redemption_refusal_of
from catalog.store.offer import create_offer
from catalog.store.version import raise_version
from catalog.tables import organizations, promo_codes, promo_redemptions
from kernel import ids
from kernel.errors import Rejected, rejected
from kernel.period import DAY_MS, Interval
from kernel.quantity import canonical


async def create_promo(conn: AsyncConnection, promo: PromoCode) -> PromoCode:
    """Store a new code; one that names no offer gets one of its own, at the code's id.

    Raises Rejected `duplicate` when it is taken (R-DISC-8).
    """
    organization = ids.id_text(ids.ORGANIZATION, promo.organization)
    taken = select(promo_codes.c.id).where(
        promo_codes.c.organization_id == organization, promo_codes.c.code == promo.code
    )
    if (await conn.execute(taken)).first() is not None:
        raise rejected("duplicate", f"A promo code {promo.code} exists.", param="code")
    if promo.offer_id is None:
        made = offer_of_promo(promo, await _currency(conn, organization))
        await create_offer(conn, made)
        promo = msgspec.structs.replace(promo, offer_id=made.id)
    await conn.execute(
        insert(promo_codes).values(
            id=promo.id,
            offer_id=promo.offer_id,
            organization_id=organization,
            code=promo.code,
            type=promo.type.value,
            value=canonical(promo.value),
            duration=promo.duration.value,
            cycles=promo.cycles,
            redemptions=0,
            created_ms=promo.created_ms,
            **_changing(promo),
            version=await raise_version(conn),
        )
    )
    return promo


async def _currency(conn: AsyncConnection, organization: str) -> str:
    statement = select(organizations.c.currency).where(organizations.c.id == organization)
    return str((await conn.execute(statement)).scalar_one())


async def save_promo(conn: AsyncConnection, promo: PromoCode) -> PromoCode:
    """Store a code's restrictions, limits and switch; what it takes off never changes (R-DISC-15)."""
    await conn.execute(
        update(promo_codes)
        .where(promo_codes.c.id == promo.id)
        .values(**_changing(promo), version=await raise_version(conn))
    )
    return promo


async def load_promo(conn: AsyncConnection, organization: bytes, reference: str) -> PromoCode:
    """Read a code by its id or by itself, in any case (R-DISC-12). Raises Rejected `promo_code_not_found`."""
    statement = select(promo_codes).where(
        promo_codes.c.organization_id == ids.id_text(ids.ORGANIZATION, organization),
        or_(promo_codes.c.id == reference, promo_codes.c.code == reference.strip().upper()),
    )
    row = (await conn.execute(statement)).first()
    if row is None:
        raise rejected("promo_code_not_found", f"There is no promo code {reference}.", param="promoCode")
    return promo_of_row(row)


async def list_promos(conn: AsyncConnection, organization: bytes) -> list[PromoCode]:
    """Read an organization's codes, newest first."""
    statement = (
        select(promo_codes)
        .where(promo_codes.c.organization_id == ids.id_text(ids.ORGANIZATION, organization))
        .order_by(promo_codes.c.created_ms.desc(), promo_codes.c.id.desc())
    )
    return [promo_of_row(row) for row in await conn.execute(statement)]


async def redeem(conn: AsyncConnection, promo: PromoCode, customer: bytes, now_ms: int) -> PromoCode:
    """Redeem a code for a customer, in the transaction that completes the checkout (R-DISC-12).

    The count is raised first, which holds the code until the commit: of any number of redeemers of the last slot one
    wins. `now_ms` is the organization's. Raises Rejected, and then the transaction is to be rolled back:
    `promo_code_expired` after the code's last day, `offer_not_applicable` when it is used up, switched off or was used
    by the customer.
    """
    day = now_ms // DAY_MS
    raised = (
        update(promo_codes)
        .where(
            promo_codes.c.id == promo.id,
            promo_codes.c.active,
            or_(promo_codes.c.expires_day.is_(None), promo_codes.c.expires_day >= day),
            or_(
                promo_codes.c.max_redemptions.is_(None),
                promo_codes.c.redemptions < promo_codes.c.max_redemptions,
            ),
        )
        .values(redemptions=promo_codes.c.redemptions + 1)
        .returning(promo_codes.c.redemptions)
    )
    count = (await conn.execute(raised)).scalar_one_or_none()
    if count is None:
        now = await load_promo(conn, promo.organization, promo.id)
        raise Rejected(redemption_refusal_of(now, day) or exhausted(now))
    customer_id = ids.id_text(ids.CUSTOMER, customer)
    if await has_redeemed(conn, promo, customer):
        raise Rejected(redeemed_before(promo))
    await conn.execute(
        insert(promo_redemptions).values(promo_code_id=promo.id, customer_id=customer_id, redeemed_ms=now_ms)
    )
    return msgspec.structs.replace(promo, redemptions=int(count))


async def has_redeemed(conn: AsyncConnection, promo: PromoCode, customer: bytes) -> bool:
    """Tell whether a customer has redeemed the code: it may once (R-DISC-8)."""
    statement = select(promo_redemptions.c.redeemed_ms).where(
        promo_redemptions.c.promo_code_id == promo.id,
        promo_redemptions.c.customer_id == ids.id_text(ids.CUSTOMER, customer),
    )
    return (await conn.execute(statement)).first() is not None


def promo_of_row(row: Row[Any]) -> PromoCode:
    """Turn a row into its value."""
    return PromoCode(
        id=row.id,
        organization=ids.id_bytes(row.organization_id),
        code=row.code,
        type=DiscountType(row.type),
        value=Decimal(row.value),
        duration=PromoDuration(row.duration),
        cycles=row.cycles,
        max_redemptions=row.max_redemptions,
        redemptions=row.redemptions,
        expires_day=row.expires_day,
        plans=None if row.plans is None else tuple(row.plans),
        active=row.active,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        interval=None if row.interval is None else Interval(row.interval),
        offer_id=row.offer_id,
    )


def _changing(promo: PromoCode) -> dict[str, Any]:
    return {
        "interval": promo.interval,
        "max_redemptions": promo.max_redemptions,
        "expires_day": promo.expires_day,
        "plans": None if promo.plans is None else list(promo.plans),
        "active": promo.active,
        "updated_ms": promo.updated_ms,
    }
