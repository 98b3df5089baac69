"""Taking in prices of AI models: from their source, or from a file's text."""

from typing import TYPE_CHECKING, Any, cast

import msgspec

from catalog.gateway.price_refresh import NOWHERE, import_lines
from catalog.gateway.price_refresh import refresh as refresh_prices
from catalog.price_edition import EDITION_CHARS_MAX, PRICE_FORMATS, PriceFormat, parse_price_file
from kernel.errors import Misconfigured, Rejected
from meterline.operation.organization import chosen

if TYPE_CHECKING:
    from meterline.app import App


async def refresh(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Take in the newest edition; a source that is away is said, and fails nothing."""
    url = app.settings.prices_url
    done = await refresh_prices(app.catalog, url, packaged_only=bool(params.get("packaged")) or url == NOWHERE)
    return cast("dict[str, Any]", msgspec.to_builtins(done))


async def import_file(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Add a file's prices: the catalog's, or with `organization` that organization's own."""
    if params["format"] not in PRICE_FORMATS:
        raise Misconfigured(f"format is {params['format']!r}: use {' or '.join(PRICE_FORMATS)}")
    if not 1 <= len(str(params["version"])) <= EDITION_CHARS_MAX:
        raise Misconfigured(f"the version has more than {EDITION_CHARS_MAX} characters: give a shorter --version")
    own = None if params.get("organization") is None else (await chosen(app, params)).id
    try:
        lines = parse_price_file(str(params["file"]), cast("PriceFormat", params["format"]))
        done = await import_lines(app.catalog, lines, version=str(params["version"]), organization=own)
    except Rejected as error:
        where = f"{error.refusal.param} " if error.refusal.param else ""
        raise Misconfigured(f"the price file: {where}{error.refusal.message}") from error
    return cast("dict[str, Any]", msgspec.to_builtins(done))
