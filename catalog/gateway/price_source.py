"""Where the catalog's AI prices come from: the `genai-prices` package, and the newer catalog that it can download.

Owns the translation of its values: prices of text tokens in USD per million, the lowest of prices in steps, no
discounts by hour or batch. A model without a price for input and for output is left out: it is not usage by tokens.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from catalog.definition import ModelPrice
from catalog.model_price import MODEL_CHARS_MAX
from catalog.price_edition import PriceEdition
from kernel.money import UNIT_PRICE_PLACES_MAX, parse_unit_price
from kernel.period import instant_text
from kernel.quantity import canonical

if TYPE_CHECKING:
    from genai_prices import types

PACKAGE: Final = "genai-prices"
_KINDS: Final = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")


def packaged_version() -> str:
    """Name the edition that is installed."""
    return f"{PACKAGE} {version(PACKAGE)}"


async def packaged() -> PriceEdition:
    """Read the installed edition; takes most of a second of another thread, once a process."""
    return await asyncio.to_thread(_packaged)


async def downloaded(url: str, now_ms: int) -> PriceEdition:
    """Ask for the newest edition, at the package's own address when `url` is empty. Raises OSError, ValueError."""
    return await asyncio.to_thread(_downloaded, url, f"{PACKAGE} of {instant_text(now_ms)}")


def _packaged() -> PriceEdition:
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - half a second, for who refreshes alone

    return PriceEdition(version=packaged_version(), prices=tuple(_prices(get_snapshot().providers)))


def _downloaded(url: str, name: str) -> PriceEdition:
    import httpx2  # noqa: PLC0415 - as above; the package's own client
    from genai_prices import UpdatePrices  # noqa: PLC0415 - as above

    source = UpdatePrices(url=url) if url else UpdatePrices()
    try:
        snapshot = source.fetch()
    except httpx2.HTTPError as error:
        raise OSError(str(error) or type(error).__name__) from error
    if snapshot is None:
        raise ValueError("there is no edition")
    return PriceEdition(version=name, prices=tuple(_prices(snapshot.providers)))


def _prices(providers: "list[types.Provider]") -> Iterator[ModelPrice]:
    for provider in providers:
        own_names = {model.id.lower() for model in provider.models}
        seen: set[str] = set()
        for model in provider.models:
            name = model.id.lower()
            if name in seen or len(provider.id) + len(name) >= MODEL_CHARS_MAX:
                continue
            seen.add(name)
            aliases = tuple(sorted({text.lower() for text in _aliases(model.match)} - own_names))
            yield from _timeline(f"{provider.id}/{name}", model.prices, aliases)


def _timeline(model: str, prices: Any, aliases: tuple[str, ...]) -> Iterator[ModelPrice]:
    from genai_prices.types import StartDateConstraint  # noqa: PLC0415 - as above

    dated: dict[int, ModelPrice] = {}
    for conditional in prices if isinstance(prices, list) else [None]:
        constraint = None if conditional is None else conditional.constraint
        if constraint is not None and not isinstance(constraint, StartDateConstraint):
            continue  # a price by the hour of the day
        said = prices if conditional is None else conditional.prices
        spent, made, read, written = (_text(getattr(said, kind, None)) for kind in _KINDS)
        if spent is None or made is None:
            continue
        since_ms = 0
        if constraint is not None:
            start = constraint.start_date
            since_ms = int(datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp()) * 1000
        dated[since_ms] = ModelPrice(
            model=model,
            since_ms=since_ms,
            input=spent,
            output=made,
            cache_read=read,
            cache_write=written,
            version="",
            aliases=aliases,
        )
    yield from (dated[since_ms] for since_ms in sorted(dated))


def _text(price: Any) -> str | None:
    """Spell a price; a division that the source wrote out loses what lies beyond the places of a unit price."""
    base = getattr(price, "base", price)
    if not isinstance(base, Decimal):
        return None
    exponent = base.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > UNIT_PRICE_PLACES_MAX:
        base = base.quantize(Decimal(1).scaleb(-UNIT_PRICE_PLACES_MAX), rounding=ROUND_HALF_UP)
    return canonical(parse_unit_price(str(base)))


def _aliases(clause: Any) -> Iterator[str]:
    """Tell the whole names that a model's clause names."""
    for member in ("equals", "starts_with"):
        if isinstance(text := getattr(clause, member, None), str):
            yield text
    for part in getattr(clause, "or_", ()):
        yield from _aliases(part)
