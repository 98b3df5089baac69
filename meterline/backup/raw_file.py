"""RAW's tables as files and back, through the raw port alone, so that chDB and a server read each other's.

Which columns there are and how rows sort is asked of the store. Pages follow the sorting key, which the primary index
finds at once. Times are numbers of their own unit, amounts decimal strings, as an insert takes them.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from aggregator.tables import BOOKS, PROGRESS, RAW_TABLES
from kernel.engine.raw.base import Raw
from kernel.errors import Fatal, Unavailable
from meterline.backup.manifest import TableFile
from meterline.backup.row_file import PAGE_ROWS, Row, read_rows, write_rows

# All but the books, which are an epoch's own, and a restored deployment begins another one.
TABLES: Final = tuple(
    table for table in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", "".join(RAW_TABLES)) if table != BOOKS
)
_INSERT_ROWS: Final = 20_000
_INSERT_TRIES: Final = 8
_TRY_SECONDS: Final = 0.5
_PLACE: Final = frozenset({"epoch", "lane", "offset"})
# How a type is read, and how a time of a sorting key is made again to be compared.
_READ: Final = {
    "DateTime64(3": "toUnixTimestamp64Milli",
    "DateTime64(6": "toUnixTimestamp64Micro",
    "Date32": "toInt32",
    "Decimal": "toString",
}
_TIME: Final = {"DateTime64(3": "fromUnixTimestamp64Milli", "DateTime64(6": "fromUnixTimestamp64Micro"}
# No lane has this number, and so an array of lanes is never empty.
_NO_LANE: Final = 65_535
_BELOW: Final = """
(epoch < {epoch:UInt8} OR epoch = {epoch:UInt8}
    AND `offset` < transform(lane, {lanes:Array(UInt16)}, {nexts:Array(UInt64)}, toUInt64(0)))"""

_COLUMNS: Final = """
SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} ORDER BY position"""
_KEY: Final = """
SELECT sorting_key FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"""


Columns = Sequence[tuple[str, str]]  # names and types


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """RAW's progress at one moment: rows of the table, and `next` by lane of the epoch that is folded."""

    epoch: int
    rows: list[tuple[Any, ...]]
    next: Mapping[int, int]


async def read_progress(raw: Raw, epoch: int) -> Progress:
    """Read how far RAW is. Raises Unavailable."""
    columns = await _columns(raw, PROGRESS)
    names = [name for name, _ in columns]
    rows = await raw.query(f"SELECT {_read(columns)} FROM {PROGRESS} FINAL ORDER BY epoch, lane")
    places = [dict(zip(names, row, strict=True)) for row in rows]
    return Progress(epoch=epoch, rows=rows, next={one["lane"]: one["next"] for one in places if one["epoch"] == epoch})


async def dump_raw(raw: Raw, folder: Path, progress: Progress) -> list[TableFile]:
    """Write all tables: of rows that stand in the log those below `progress`, and `progress` as it was read."""
    return [await _dump(raw, folder, table, progress) for table in TABLES]


async def is_empty(raw: Raw) -> bool:
    """Tell whether no table has a row; the tables are there."""
    return all([(await raw.query(f"SELECT 1 FROM {table} LIMIT 1")) == [] for table in TABLES])


async def load_raw(raw: Raw, root: Path, entries: Sequence[TableFile]) -> None:
    """Put the files' rows in the place of everything that is there, and count them. Raises Fatal, Unavailable."""
    if {entry.table for entry in entries} != set(TABLES):
        raise Fatal(f"the backup's tables of RAW are not those of this program: {[entry.table for entry in entries]}")
    for entry in entries:
        await raw.command(f"TRUNCATE TABLE {entry.table}")
        async for page in read_rows(root, entry, _INSERT_ROWS):
            await _insert(raw, entry, list(zip(*page, strict=True)))
        [(found,)] = await raw.query(f"SELECT count() FROM {entry.table} FINAL")
        if found != entry.rows:
            raise Fatal(f"{entry.table} holds {found} rows, the backup {entry.rows}")


async def _insert(raw: Raw, entry: TableFile, columns: Sequence[Sequence[Any]]) -> None:
    """Insert; a store that has to catch up with merging is waited for, and the same rows replace themselves."""
    for attempt in range(1, _INSERT_TRIES + 1):
        try:
            await raw.insert(entry.table, entry.columns, columns)
        except Unavailable:
            if attempt == _INSERT_TRIES:
                raise
            await asyncio.sleep(_TRY_SECONDS * attempt)
        else:
            return


async def _dump(raw: Raw, folder: Path, table: str, progress: Progress) -> TableFile:
    columns = await _columns(raw, table)
    pages = _one_page(progress.rows) if table == PROGRESS else _pages(raw, table, columns, progress)
    return await write_rows(folder, table, [name for name, _ in columns], pages)


async def _one_page(rows: Sequence[Row]) -> AsyncIterator[Sequence[Row]]:
    yield rows


async def _pages(raw: Raw, table: str, columns: Columns, progress: Progress) -> AsyncIterator[list[tuple[Any, ...]]]:
    names = [name for name, _ in columns]
    [(sorting,)] = await raw.query(_KEY, {"table": table})
    key = [name.strip("`") for name in sorting.split(", ")]
    order = ", ".join(f"`{name}`" for name in key)
    where, bound = "1", dict[str, Any]()
    if set(names) >= _PLACE:
        where = _BELOW
        bound = {
            "epoch": progress.epoch,
            "lanes": [*progress.next, _NO_LANE],
            "nexts": [*progress.next.values(), 0],
        }
    after, last = "1", dict[str, Any]()
    while True:
        sql = f"SELECT {_read(columns)} FROM {table} FINAL WHERE {where} AND {after} ORDER BY {order} LIMIT {PAGE_ROWS}"
        page = await raw.query(sql, {**bound, **last})
        if page:
            yield page
        if len(page) < PAGE_ROWS:
            return
        after = _after(key, dict(columns))
        last = {f"k{number}": page[-1][names.index(name)] for number, name in enumerate(key)}


async def _columns(raw: Raw, table: str) -> Columns:
    return [(str(name), str(kind)) for name, kind in await raw.query(_COLUMNS, {"table": table})]


def _read(columns: Columns) -> str:
    """Spell columns as what an insert takes."""
    return ", ".join(f"{_READ.get(_family(kind), '')}(`{name}`)" for name, kind in columns)


def _after(key: Sequence[str], kinds: Mapping[str, str]) -> str:
    """Spell "beyond the last row" so that the primary index finds it: a comparison of tuples would read everything."""
    condition = "0"
    for number, name in reversed(list(enumerate(key))):
        make = _TIME.get(_family(kinds[name]))
        value = f"{make}({{k{number}:Int64}}, 'UTC')" if make else f"{{k{number}:{kinds[name]}}}"
        condition = f"(`{name}` > {value} OR `{name}` = {value} AND {condition})"
    return condition


def _family(kind: str) -> str:
    """Name a type without its zone: `DateTime64(6`, `Date32`, `Decimal`."""
    begin = kind.split(",", maxsplit=1)[0]
    return begin if begin.startswith("DateTime64") else begin.split("(", maxsplit=1)[0]
