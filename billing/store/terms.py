"""Frozen terms in SQL: one row a billing period under one number of terms."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.life.frozen import PeriodTerms, standing

_t = tables.subscription_terms.c


async def put(connection: AsyncConnection, subscription_id: str, period: PeriodTerms) -> None:
    """Write a period's terms; those of the same number that start on the same day are replaced."""
    await drop(connection, subscription_id, period)
    await add(connection, subscription_id, period)


async def add(connection: AsyncConnection, subscription_id: str, period: PeriodTerms) -> None:
    """Write terms of which there are none with the same number and start."""
    await connection.execute(insert(tables.subscription_terms).values(subscription_id=subscription_id, **_row(period)))


async def add_all(connection: AsyncConnection, periods: Mapping[str, PeriodTerms]) -> None:
    """Write terms of many subscriptions, one of each, as `add` does."""
    rows = [{"subscription_id": subscription_id, **_row(period)} for subscription_id, period in periods.items()]
    if rows:
        await connection.execute(insert(tables.subscription_terms), rows)


async def drop(connection: AsyncConnection, subscription_id: str, period: PeriodTerms) -> None:
    """Remove terms that were announced and do not come."""
    await connection.execute(
        delete(tables.subscription_terms).where(
            _t.subscription_id == subscription_id, _t.term == period.term, _t.since_day == period.since_day
        )
    )


async def drop_all(connection: AsyncConnection, subscription_id: str) -> None:
    """Remove all terms of a subscription whose terms have not begun."""
    await connection.execute(delete(tables.subscription_terms).where(_t.subscription_id == subscription_id))


async def of(connection: AsyncConnection, subscription_id: str) -> list[PeriodTerms]:
    """Read a subscription's terms, oldest first, without those that were overtaken."""
    return standing(await rating(connection, subscription_id))


async def of_all(connection: AsyncConnection, subscription_ids: Sequence[str]) -> Mapping[str, list[PeriodTerms]]:
    """Read the terms of many subscriptions, as `of` does."""
    return {owner: standing(found) for owner, found in (await rating_all(connection, subscription_ids)).items()}


async def rating(connection: AsyncConnection, subscription_id: str) -> list[PeriodTerms]:
    """Read the terms by which a subscription's usage may have counted, oldest first: with those that were overtaken."""
    return (await rating_all(connection, [subscription_id])).get(subscription_id, [])


async def rating_all(connection: AsyncConnection, subscription_ids: Sequence[str]) -> Mapping[str, list[PeriodTerms]]:
    """Read the terms of many subscriptions, as `rating` does."""
    query = (
        select(tables.subscription_terms)
        .where(_t.subscription_id.in_(subscription_ids))
        .order_by(_t.since_day, _t.term)
    )
    found: dict[str, list[PeriodTerms]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.subscription_id, []).append(msgspec.convert(row, PeriodTerms, from_attributes=True))
    return found


def _row(period: PeriodTerms) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(period)
    return row
