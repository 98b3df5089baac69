"""Cards and payments in SQL. A payment's row never changes; an invoice is paid by one alone."""

from typing import Final

import msgspec
from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.money.invoice import OUTSTANDING, PAID
from billing.money.payment import Payment, PaymentStatus, Refund, SavedCard
from billing.tables import invoices

_p = tables.payments.c
_s = tables.saved_cards.c
_r = tables.refunds.c
_i = invoices.c
_COLUMNS: Final = [_p[name] for name in Payment.__struct_fields__]
_CARD: Final = [_s[name] for name in SavedCard.__struct_fields__]


async def save_card(connection: AsyncConnection, card: SavedCard) -> None:
    """Keep a customer's card in place of the one before."""
    values = msgspec.structs.asdict(card)
    changed = await connection.execute(
        update(tables.saved_cards).where(_s.customer_id == card.customer_id).values(**values)
    )
    if not changed.rowcount:
        await connection.execute(insert(tables.saved_cards).values(**values))


async def card_of(connection: AsyncConnection, customer_id: str) -> SavedCard | None:
    """Read a customer's card; None when there is none."""
    row = (await connection.execute(select(*_CARD).where(_s.customer_id == customer_id))).first()
    return None if row is None else SavedCard(**row._asdict())


async def record(connection: AsyncConnection, payment: Payment) -> None:
    """Write a payment, and with one that succeeded pay its invoice.

    Raises IntegrityError when the invoice is paid by another, or the payment's id was charged before.
    """
    await connection.execute(insert(tables.payments).values(**msgspec.structs.asdict(payment)))
    if payment.status is PaymentStatus.SUCCEEDED:
        change = update(invoices).where(_i.id == payment.invoice_id, _i.status == OUTSTANDING)
        await connection.execute(change.values(status=PAID))


async def refundable(connection: AsyncConnection, customer_id: str, currency: str, amount_minor: int) -> Payment | None:
    """Read the newest payment of a customer of which so much is not refunded yet; None when there is none."""
    returned = (
        select(func.coalesce(func.sum(_r.amount_minor), 0)).where(_r.payment_id == _p.id).correlate(tables.payments)
    ).scalar_subquery()
    query = select(*_COLUMNS).where(
        _p.customer_id == customer_id,
        _p.currency == currency,
        _p.status == PaymentStatus.SUCCEEDED,
        _p.amount_minor - returned >= amount_minor,
    )
    row = (await connection.execute(query.order_by(_p.created_ms.desc(), _p.id.desc()).limit(1))).first()
    return None if row is None else msgspec.convert(row, Payment, from_attributes=True)


async def record_refund(connection: AsyncConnection, refund: Refund) -> None:
    """Write a refund. Raises IntegrityError when its invoice has one."""
    await connection.execute(insert(tables.refunds).values(**msgspec.structs.asdict(refund)))


async def read(connection: AsyncConnection, organization_id: str, payment_id: str) -> Payment | None:
    """Read a payment; None when there is none."""
    query = select(*_COLUMNS).where(_p.organization_id == organization_id, _p.id == payment_id)
    row = (await connection.execute(query)).first()
    return None if row is None else msgspec.convert(row, Payment, from_attributes=True)


async def page(
    connection: AsyncConnection,
    organization_id: str,
    *,
    customer_id: str | None,
    limit: int,
    after: tuple[int, str] | None,
) -> list[Payment]:
    """List payments newest first, those after `(created_ms, id)`."""
    query = select(*_COLUMNS).where(_p.organization_id == organization_id)
    if customer_id is not None:
        query = query.where(_p.customer_id == customer_id)
    if after is not None:
        query = query.where(tuple_(_p.created_ms, _p.id) < after)
    rows = await connection.execute(query.order_by(_p.created_ms.desc(), _p.id.desc()).limit(limit))
    return [msgspec.convert(row, Payment, from_attributes=True) for row in rows]
