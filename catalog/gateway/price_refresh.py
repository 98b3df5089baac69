"""Taking in AI prices: by a refresh from their source, from a file, and as a seller's own.

Invariants: what is taken in adds dated prices, so that nothing that was priced is priced anew (R-AI-8); a source that
is away changes nothing and fails nothing.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from catalog.definition import ModelPrice
from catalog.gateway import price_source
from catalog.gateway.catalog import Catalog
from catalog.model_price import ModelPriceBook
from catalog.price_edition import PriceEdition, PriceLine, added_by, added_lines
from catalog.store.model_price import add_model_prices, list_editions, load_price_book, save_edition
from catalog.store.version import read_version
from kernel.telemetry import logger

_log = logger("prices")
NOWHERE: Final = "none"


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken in: the edition (None: there was nothing new), its models, and the dated prices it added.

    `away` says why the source could not be asked.
    """

    edition: str | None = None
    models: int = 0
    added: int = 0
    away: str | None = None


async def refresh(catalog: Catalog, url: str = "", *, packaged_only: bool = False) -> Refreshed:
    """Take in the newest edition: a download where one can be had, else the installed package's, once.

    `url` is where to ask, empty for the source's own address, `none` for nowhere. Never fails for the network.
    """
    away = None
    if not packaged_only and url != NOWHERE:
        try:
            edition = await price_source.downloaded(url, catalog.clock.now_ms())
        except (OSError, ValueError) as error:
            away = str(error)
            _log.warning("no newer AI prices: their source cannot be read", reason=away)
        else:
            return await _take_in(catalog, edition)
    async with catalog.sql.snapshot() as conn:
        known = price_source.packaged_version() in await list_editions(conn)
    if known:
        return Refreshed(away=away)
    taken = await _take_in(catalog, await price_source.packaged())
    return msgspec.structs.replace(taken, away=away)


async def import_lines(
    catalog: Catalog, lines: list[PriceLine], *, version: str, organization: bytes | None = None
) -> Refreshed:
    """Take in the lines of a file, as the catalog's prices or an organization's. Raises Rejected."""
    real_ms = catalog.clock.now_ms()
    now_ms = real_ms if organization is None else catalog.organization(organization).now_ms(real_ms)
    models = len({line.model for line in lines})

    def added(book: ModelPriceBook) -> list[ModelPrice]:
        return added_lines(lines, book, organization, version, now_ms=now_ms, real_ms=real_ms)

    return await _write(catalog, added, version, models, real_ms)


async def _take_in(catalog: Catalog, edition: PriceEdition) -> Refreshed:
    real_ms = catalog.clock.now_ms()
    models = len({price.model for price in edition.prices})

    def added(book: ModelPriceBook) -> list[ModelPrice]:
        return added_by(edition, book, real_ms)

    return await _write(catalog, added, edition.version, models, real_ms)


async def _write(
    catalog: Catalog, added: Callable[[ModelPriceBook], list[ModelPrice]], version: str, models: int, real_ms: int
) -> Refreshed:
    """Add what is new in one transaction, and answer when every gateway sees it."""
    async with catalog.sql.transaction() as conn:
        prices = added(await load_price_book(conn))
        count = await add_model_prices(conn, prices)
        await save_edition(conn, version, models=models, added=count, now_ms=real_ms)
        now = await read_version(conn)
    if now > catalog.version:
        await catalog.published(now)
    return Refreshed(edition=version, models=models, added=count)
