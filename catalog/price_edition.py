"""Editions of AI model prices: what a source says at one time, and which dated prices that adds. Pure.

Owns what a refresh and an import do to the catalog: they add, and never change what is there (R-AI-8). Prices are exact
decimals in USD per million tokens.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from catalog.definition import ModelPrice
from catalog.model_price import MODEL_CHARS_MAX, ModelPriceBook, model_name
from catalog.rule import unit_price_text
from kernel.errors import invalid
from kernel.period import parse_instant_us

PriceFormat = Literal["json", "csv"]
PRICE_FORMATS: Final = ("json", "csv")
EDITION_CHARS_MAX: Final = 200
_COLUMNS: Final = ("model", "input", "output", "cache_read", "cache_write", "since")


class PriceEdition(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says: `version` names source and edition, `prices` are all its dated prices."""

    version: str
    prices: tuple[ModelPrice, ...]


class PriceLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a price file: USD per million tokens; `since` is a day or an instant, by default now."""

    model: str
    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    since: str | None = None


def added_by(edition: PriceEdition, book: ModelPriceBook, now_ms: int) -> list[ModelPrice]:
    """Tell which prices an edition adds to the catalog's; the same edition twice adds nothing.

    A model that is new comes with its whole history. For one that is known, what began after what is known holds from
    its own day, and so do announced prices; where the source then still says another price for now, it holds from
    `now_ms`. `book` stays as it is.
    """
    by_model: dict[str, list[ModelPrice]] = {}
    for price in edition.prices:
        by_model.setdefault(price.model, []).append(price)
    added: list[ModelPrice] = []
    for model, said in by_model.items():
        timeline = sorted((_stamped(price, edition, now_ms) for price in said), key=lambda price: price.since_ms)
        known = book.timeline(None, model)
        added += _newer(timeline, known, now_ms) if known else timeline
    return added


def _newer(timeline: Sequence[ModelPrice], known: Sequence[ModelPrice], now_ms: int) -> list[ModelPrice]:
    """Tell which of a source's prices of one model change what holds by those that are known."""
    book = ModelPriceBook()
    book.take(known)
    added: list[ModelPrice] = []

    def add(price: ModelPrice) -> None:
        held = book.in_force(None, price.model, price.since_ms)
        if held is None or held.four != price.four:
            price = book.last_recorded(price)
            book.take([price])
            added.append(price)

    current = book.in_force(None, timeline[0].model, now_ms)
    begun = [price for price in timeline if price.since_ms <= now_ms]
    for price in begun:
        if current is None or price.since_ms > current.since_ms:
            add(price)
    if begun:
        add(msgspec.structs.replace(begun[-1], since_ms=now_ms))
    for price in timeline[len(begun) :]:
        add(price)
    return added


def added_lines(
    lines: Iterable[PriceLine],
    book: ModelPriceBook,
    organization: bytes | None,
    version: str,
    *,
    now_ms: int,
    real_ms: int,
) -> list[ModelPrice]:
    """Tell which prices the lines of a file add, the catalog's or an organization's; twice adds nothing.

    `now_ms` is the organization's now, from which a line without `since` holds. Raises Rejected for a line that is no
    price, and for a second one of the same model and instant.
    """
    added: list[ModelPrice] = []
    line_of: dict[tuple[str, int], int] = {}
    for number, line in enumerate(lines, start=1):
        price = ModelPrice(
            model=model_id(line.model, f"line {number}.model"),
            since_ms=now_ms if line.since is None else since_of(line.since, f"line {number}.since"),
            input=unit_price_text(line.input, f"line {number}.input"),
            output=unit_price_text(line.output, f"line {number}.output"),
            cache_read=optional_price(line.cache_read, f"line {number}.cache_read"),
            cache_write=optional_price(line.cache_write, f"line {number}.cache_write"),
            version=version,
            organization=organization,
            recorded_ms=real_ms,
        )
        first = line_of.setdefault((price.model, price.since_ms), number)
        if first != number:
            raise invalid(f"line {number}", f"is of the same model and since as line {first}: keep one of them")
        known = book.own_in_force(organization, price.model, price.since_ms)
        if known is None or known.four != price.four:
            added.append(book.last_recorded(price))
    return added


def parse_price_file(text: str, kind: PriceFormat) -> list[PriceLine]:
    """Read a price file: a JSON list of objects, or CSV with a header; never through a float. Raises Rejected."""
    try:
        if kind == "json":
            return msgspec.json.decode(text, type=list[PriceLine])
        return msgspec.convert(_csv_rows(text), list[PriceLine], strict=False)
    except msgspec.ValidationError as error:
        raise invalid("file", str(error)) from error
    except (msgspec.DecodeError, csv.Error) as error:
        raise invalid("file", f"is not {kind.upper()}: {error}") from error


def model_id(text: str, field: str = "model") -> str:
    """Check the whole name of a model, provider and name. Raises Rejected."""
    provider, name = model_name(text)
    if provider is None or not provider or not name or len(text) > MODEL_CHARS_MAX or not text.isprintable():
        raise invalid(field, f"must be provider/name, of at most {MODEL_CHARS_MAX} characters")
    return f"{provider}/{name}"


def optional_price(value: Decimal | None, field: str) -> str | None:
    """Check a price that may be missing. Raises Rejected."""
    return None if value is None else unit_price_text(value, field)


def since_of(text: str, field: str = "since") -> int:
    """Read a day or an instant. Raises Rejected."""
    try:
        return parse_instant_us(text) // 1000
    except ValueError as error:
        raise invalid(field, "must be a day or an instant of ISO 8601") from error


def _stamped(price: ModelPrice, edition: PriceEdition, now_ms: int) -> ModelPrice:
    return msgspec.structs.replace(price, version=edition.version, recorded_ms=now_ms)


def _csv_rows(text: str) -> Sequence[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text))
    unknown = set(reader.fieldnames or ()) - set(_COLUMNS)
    if unknown:
        raise invalid("file", f"has the columns {', '.join(sorted(unknown))}: use {', '.join(_COLUMNS)}")
    return [{name: value for name, value in row.items() if value} for row in reader]
