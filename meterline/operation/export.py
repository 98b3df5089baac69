"""Raw events to a file: every attempt that reached the log, with its verdict, in the order of the log.

Invariant: the file appears whole or not at all; the rows come from RAW, after the sink wrote what it held.
"""

import csv
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from sqlalchemy import text

from kernel.errors import Misconfigured
from kernel.position import Position
from meterline.operation.organization import chosen

if TYPE_CHECKING:
    from meterline.app import App

PAGE_ROWS: Final = 5_000
COLUMNS: Final = (
    "id",
    "customerId",
    "externalId",
    "featureCode",
    "value",
    "timestamp",
    "acceptedAt",
    "eventId",
    "verdict",
    "code",
    "window",
    "windowEnd",
    "cut",
    "original",
    "replays",
    "corrects",
    "pool",
    "cost",
    "drawnPlan",
    "drawnPacks",
    "drawnTopUps",
    "overdraft",
    "model",
    "inputTokens",
    "outputTokens",
    "cacheReadTokens",
    "cacheWriteTokens",
    "inputCost",
    "outputCost",
    "cacheReadCost",
    "cacheWriteCost",
    "baseCost",
    "marginPercent",
    "priceVersion",
    "properties",
)
_ISO: Final = "formatDateTime({0}, '%Y-%m-%dT%H:%i:%S.%fZ', 'UTC')"
_PAGE: Final = (
    "SELECT epoch, lane, `offset`, `index`, customer, feature, toString(quantity), "
    + _ISO.format("event_time")
    + ", "
    + _ISO.format("accepted_at")
    + ", key, toString(verdict), toString(code), toString(`window`), toString(window_end), cut, original,"
    " replays, corrects, toString(pool), toString(cost), toString(drawn_plan), toString(drawn_packs),"
    " toString(drawn_top_ups), toString(overdraft), toString(model), input_tokens, output_tokens, cache_read_tokens,"
    " cache_write_tokens, input_cost, output_cost, cache_read_cost, cache_write_cost, base_cost, toString(margin),"
    " toString(price_version),"
    " properties"
    " FROM events FINAL WHERE organization = {organization:String} AND (epoch, lane, `offset`, `index`) >"
    " ({epoch:Int16}, {lane:Int32}, {offset:Int64}, {index:Int32})"
    " ORDER BY epoch, lane, `offset`, `index` LIMIT {limit:UInt32}"
)


async def export(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Write `jsonl` or `csv` to the absolute path `output`; returns the number of rows."""
    organization = await chosen(app, params)
    kind, output = str(params["format"]), Path(str(params["output"]))
    if kind not in ("jsonl", "csv"):
        raise Misconfigured(f"--format is {kind!r}: set it to jsonl, csv or parquet")
    if not output.is_absolute() or not output.parent.is_dir():
        raise Misconfigured(f"there is no folder {output.parent}")
    await app.flush()
    async with app.sql.snapshot() as connection:
        found = await connection.execute(text("SELECT id, code FROM features"))
        codes: dict[str, str] = {row.id: row.code for row in found}
        rows = await connection.execute(
            text("SELECT id, external_id FROM customers WHERE organization_id = :o"), {"o": organization.id_text}
        )
        names: dict[str, str | None] = {row.id: row.external_id for row in rows}
    temporary = output.with_name(output.name + ".part")
    count = 0
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = _Writer(file, kind)
            async for page in _pages(app, organization.id_text):
                for row in page:
                    writer.write(_spelled(row, codes, names))
                count += len(page)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return {"organization": organization.id_text, "rows": count, "file": str(output)}


class _Writer:
    def __init__(self, file: IO[str], kind: str) -> None:
        self._file = file
        self._csv = csv.writer(file) if kind == "csv" else None
        if self._csv is not None:
            self._csv.writerow(COLUMNS)

    def write(self, row: dict[str, Any]) -> None:
        """Write one row."""
        if self._csv is None:
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            return
        properties = json.dumps(row["properties"], ensure_ascii=False)
        self._csv.writerow([properties if name == "properties" else row[name] for name in COLUMNS])


async def _pages(app: "App", organization: str) -> AsyncIterator[list[tuple[Any, ...]]]:
    place = (-1, -1, -1, -1)
    while True:
        epoch, lane, offset, index = place
        page = await app.raw.query(
            _PAGE,
            {
                "organization": organization,
                "epoch": epoch,
                "lane": lane,
                "offset": offset,
                "index": index,
                "limit": PAGE_ROWS,
            },
        )
        if page:
            yield page
        if len(page) < PAGE_ROWS:
            return
        place = (int(page[-1][0]), int(page[-1][1]), int(page[-1][2]), int(page[-1][3]))


def _spelled(row: tuple[Any, ...], codes: dict[str, str], names: dict[str, str | None]) -> dict[str, Any]:
    epoch, lane, offset, index, customer, feature, quantity, event_time, accepted_at, key = row[:10]
    verdict, code, window, window_end, cut, original, replays, corrects, pool, *drawn = row[10:24]
    model, *tokens, properties = row[24:]
    counted = verdict == "counted"
    values = (
        Position(int(epoch), int(lane), int(offset), int(index)).event_id(),
        customer,
        names.get(customer),
        codes.get(feature, feature),
        quantity,
        event_time,
        accepted_at,
        key or None,
        verdict,
        code or None,
        window if counted else None,
        window_end if counted else None,
        int(cut) if counted else None,
        original or None,
        replays or None,
        corrects or None,
        pool or None,
        *(amount if pool else None for amount in drawn),
        model or None,
        *(fact if model else None for fact in tokens),
        {pair[0]: pair[1] for pair in properties},
    )
    return dict(zip(COLUMNS, values, strict=True))
