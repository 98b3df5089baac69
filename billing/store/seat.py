"""Seats in SQL: counts, and the events that led to them.

Invariant: a count is the last event's, since both are written in one transaction. Source: section 10 of the rules.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.life.paused import Part
from billing.sale.seat import SeatBook, SeatEvent, book_of
from kernel.period import Period

_n = tables.seat_counts.c
_e = tables.seat_events.c
_a = tables.initial_seats.c
_COLUMNS: Final = [_e[name] for name in SeatEvent.__struct_fields__]


async def counts(connection: AsyncConnection, customer_id: str) -> dict[str, int]:
    """Read what a customer holds, by feature id."""
    rows = await connection.execute(select(_n.feature_id, _n.count.label("held")).where(_n.customer_id == customer_id))
    return {row.feature_id: row.held for row in rows}


async def counts_of_all(connection: AsyncConnection, customer_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Read what customers hold, by customer and feature id."""
    found: dict[str, dict[str, int]] = {customer_id: {} for customer_id in customer_ids}
    query = select(_n.customer_id, _n.feature_id, _n.count).where(_n.customer_id.in_(customer_ids))
    for customer_id, feature_id, count in await connection.execute(query):
        found[customer_id][feature_id] = count
    return found


async def next_number(connection: AsyncConnection, customer_id: str) -> int:
    """Tell the number of the customer's next event."""
    last = select(func.coalesce(func.max(_e.number), 0)).where(_e.customer_id == customer_id)
    return int((await connection.execute(last)).scalar_one()) + 1


async def record(connection: AsyncConnection, event: SeatEvent) -> None:
    """Write an event and the count after it. Raises IntegrityError when another took its number."""
    await connection.execute(insert(tables.seat_events).values(**msgspec.structs.asdict(event)))
    own = (_n.customer_id == event.customer_id, _n.feature_id == event.feature_id)
    changed = await connection.execute(update(tables.seat_counts).where(*own).values(count=event.after))
    if not changed.rowcount:
        values = {"customer_id": event.customer_id, "feature_id": event.feature_id, "count": event.after}
        await connection.execute(insert(tables.seat_counts).values(**values))


async def history(connection: AsyncConnection, customer_ids: Sequence[str]) -> dict[str, dict[str, list[SeatEvent]]]:
    """Read all seat events of customers, by customer and feature id, in order of their numbers."""
    found: dict[str, dict[str, list[SeatEvent]]] = {customer_id: {} for customer_id in customer_ids}
    query = select(*_COLUMNS).where(_e.customer_id.in_(customer_ids)).order_by(_e.customer_id, _e.number)
    for row in await connection.execute(query):
        event = msgspec.convert(row, SeatEvent, from_attributes=True)
        found[event.customer_id].setdefault(event.feature_id, []).append(event)
    return found


async def ask(
    connection: AsyncConnection, subscription_id: str, feature_id: str, feature_code: str, count: int
) -> None:
    """Note a count with which a subscription is to begin."""
    values = {"feature_id": feature_id, "feature_code": feature_code, "count": count}
    await connection.execute(insert(tables.initial_seats).values(subscription_id=subscription_id, **values))


async def asked(connection: AsyncConnection, subscription_id: str) -> dict[str, tuple[str, int]]:
    """Read the counts with which a subscription is to begin: code and count by feature id."""
    query = select(_a.feature_id, _a.feature_code, _a.count.label("held")).where(_a.subscription_id == subscription_id)
    return {row.feature_id: (row.feature_code, row.held) for row in await connection.execute(query)}


async def books(
    connection: AsyncConnection, customer_id: str, *, parts: Sequence[Part], until_ms: int, days: Period | None
) -> dict[str, SeatBook]:
    """Read the books of a customer's period by feature id, up to, but without, `until_ms`; see `seat.book_of`.

    A feature of which the first seats came later has none: the same books are read whenever they are asked for.
    """
    by_feature = (await history(connection, [customer_id]))[customer_id]
    return {
        feature_id: book_of(events, parts=parts, until_ms=until_ms, days=days)
        for feature_id, events in by_feature.items()
        if any(event.ts_ms < until_ms and event.term <= parts[-1].term for event in events)
    }
