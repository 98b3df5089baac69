"""Purchases in SQL, and what customers hold beside their terms as an account's snapshot shows it.

Invariant: a purchase is written with its invoice, once. Source: sections 10, 21 and 22 of the rules; ADR 9.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.money.invoice import VOID
from billing.sale.purchase import PackPurchase, TopUpPurchase, top_up_units
from billing.store import seat
from catalog.terms import SeatCount, TopUp
from kernel import ids
from kernel.quantity import to_units

_p = tables.pack_purchases.c
_t = tables.top_ups.c


async def add_pack(connection: AsyncConnection, bought: PackPurchase) -> None:
    """Write a pack that was bought. Raises IntegrityError when its invoice granted it already (R-PACK-3)."""
    await connection.execute(insert(tables.pack_purchases).values(**msgspec.structs.asdict(bought)))


async def pack_name(connection: AsyncConnection, invoice_id: str) -> str | None:
    """Tell the name of the pack that an invoice bought, as it was then; None when it bought none."""
    row = (await connection.execute(select(_p.pack_name).where(_p.invoice_id == invoice_id))).first()
    return None if row is None else str(row.pack_name)


async def add_top_up(connection: AsyncConnection, bought: TopUpPurchase) -> None:
    """Write a top-up that was bought. Raises IntegrityError when its invoice granted it already (R-TOPUP-2)."""
    await connection.execute(insert(tables.top_ups).values(**msgspec.structs.asdict(bought)))


async def packs_of(connection: AsyncConnection, customer_ids: Sequence[str]) -> dict[str, int]:
    """Sum all packs that customers ever bought, in 1e-9 credits; 0 for who bought none (R-CREDIT-3)."""
    sums = dict.fromkeys(customer_ids, 0)
    query = select(_p.customer_id, _p.credits).where(_p.customer_id.in_(customer_ids))
    for customer_id, credits_bought in await connection.execute(query):
        sums[customer_id] += to_units(credits_bought)
    return sums


async def top_ups_of(
    connection: AsyncConnection, customer_ids: Sequence[str], *, void: bool = True
) -> dict[str, tuple[TopUp, ...]]:
    """Read customers' top-ups, one a draw window, in order of (term, window); without `void`, none nobody pays."""
    sums: dict[str, dict[tuple[int, int], int]] = {customer_id: {} for customer_id in customer_ids}
    columns = (_t.customer_id, _t.term, _t.window_day, _t.amount_minor, _t.currency)
    query = select(*columns).where(_t.customer_id.in_(customer_ids))
    if not void:
        invoices = tables.invoices
        query = query.join(invoices, invoices.c.id == _t.invoice_id).where(invoices.c.status != VOID)
    for row in await connection.execute(query):
        windows = sums[row.customer_id]
        key = (row.term, row.window_day)
        windows[key] = windows.get(key, 0) + top_up_units(row.amount_minor, row.currency)
    return {
        customer_id: tuple(TopUp(term=term, window=day, amount=windows[term, day]) for term, day in sorted(windows))
        for customer_id, windows in sums.items()
    }


async def seats_of(connection: AsyncConnection, customer_ids: Sequence[str]) -> dict[str, tuple[SeatCount, ...]]:
    """Read the seats that customers hold, by customer, in order of the features' ids."""
    held = await seat.counts_of_all(connection, customer_ids)
    return {
        customer_id: tuple(
            SeatCount(feature=ids.id_bytes(feature_id), count=count) for feature_id, count in sorted(counts.items())
        )
        for customer_id, counts in held.items()
    }
