"""Dated prices of AI models, and the editions they came from: rows are added, none is ever changed (R-AI-8)."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import ModelPrice
from catalog.model_price import ModelPriceBook
from catalog.store.version import raise_version
from catalog.tables import model_prices, price_editions
from kernel import ids

_CATALOG: Final = ""
_AT_ONCE: Final = 500  # rows an insert: 12 columns each stay below SQLite's 32,766 variables


def model_price_of_row(row: Row[Any]) -> ModelPrice:
    """Turn a row into its value."""
    return ModelPrice(
        model=row.model,
        since_ms=row.since_ms,
        input=row.input,
        output=row.output,
        cache_read=row.cache_read,
        cache_write=row.cache_write,
        version=row.edition,
        organization=None if row.scope == _CATALOG else ids.id_bytes(row.scope),
        recorded_ms=row.recorded_ms,
        ended=row.ended,
        aliases=tuple(row.aliases),
    )


async def add_model_prices(conn: AsyncConnection, prices: Sequence[ModelPrice]) -> int:
    """Add dated prices and return how many; none raises no version."""
    if not prices:
        return 0
    version = await raise_version(conn)
    for at in range(0, len(prices), _AT_ONCE):
        rows = [_values(price, version) for price in prices[at : at + _AT_ONCE]]
        await conn.execute(insert(model_prices), rows)
    return len(prices)


async def load_price_book(conn: AsyncConnection) -> ModelPriceBook:
    """Read all dated prices; for who is about to add some."""
    book = ModelPriceBook()
    book.take([model_price_of_row(row) for row in await conn.execute(select(model_prices))])
    return book


async def save_edition(conn: AsyncConnection, edition: str, *, models: int, added: int, now_ms: int) -> None:
    """Record that an edition was taken in, with its models and how many prices it added; the last time counts."""
    values = {"recorded_ms": now_ms, "models": models, "added": added}
    known = price_editions.c.edition == edition
    if (await conn.execute(update(price_editions).where(known).values(**values))).rowcount == 0:
        await conn.execute(insert(price_editions).values(edition=edition, **values))


async def list_editions(conn: AsyncConnection) -> list[str]:
    """Read the names of the editions that were taken in, oldest first."""
    statement = select(price_editions.c.edition).order_by(price_editions.c.recorded_ms, price_editions.c.edition)
    return list((await conn.execute(statement)).scalars())


def _values(price: ModelPrice, version: int) -> dict[str, Any]:
    return {
        "scope": _CATALOG if price.organization is None else ids.id_text(ids.ORGANIZATION, price.organization),
        "model": price.model,
        "since_ms": price.since_ms,
        "recorded_ms": price.recorded_ms,
        "input": price.input,
        "output": price.output,
        "cache_read": price.cache_read,
        "cache_write": price.cache_write,
        "edition": price.version,
        "ended": price.ended,
        "aliases": list(price.aliases),
        "version": version,
    }


async def last_edition_ms(conn: AsyncConnection) -> int | None:
    """Read when an edition was last taken in; None before the first."""
    found: int | None = await conn.scalar(select(func.max(price_editions.c.recorded_ms)))
    return found
