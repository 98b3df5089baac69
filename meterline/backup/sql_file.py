"""SQL's tables as files and back: all of `metadata`, in an order in which every row's parent comes first.

Values are spelled alike for every database: numbers, text, truth values and JSON as JSON has them, bytes as
hexadecimal text.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, LargeBinary, Table, delete, func, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kernel.errors import Fatal
from meterline.backup.manifest import TableFile
from meterline.backup.row_file import PAGE_ROWS, Row, read_rows, write_rows
from meterline.schema import metadata

# Rows of one statement: with 26 columns below the 32,767 values that PostgreSQL takes.
_INSERT_ROWS: Final = 500


async def dump_sql(connection: AsyncConnection, folder: Path) -> list[TableFile]:
    """Write all tables of one snapshot."""
    return [
        await write_rows(folder, table.name, [column.name for column in table.columns], _pages(connection, table))
        for table in metadata.sorted_tables
    ]


async def load_sql(connection: AsyncConnection, root: Path, entries: Sequence[TableFile]) -> None:
    """Put the files' rows in the place of everything that is there, in the caller's transaction, and count them.

    Raises Fatal for tables or rows that the database cannot take.
    """
    tables = metadata.sorted_tables
    files = {entry.table: entry for entry in entries}
    if files.keys() != {table.name for table in tables}:
        raise Fatal(f"the backup's tables are not those of this program: {sorted(files)}")
    for table in reversed(tables):
        await connection.execute(delete(table))
    for table in tables:
        entry = files[table.name]
        columns = [table.columns[name] for name in entry.columns]
        async for page in read_rows(root, entry, _INSERT_ROWS):
            rows = [
                {column.name: _loaded(column, value) for column, value in zip(columns, row, strict=True)}
                for row in page
            ]
            try:
                await connection.execute(insert(table), rows)
            except DBAPIError as error:
                raise Fatal(f"the database does not take a row of {table.name}: {error.orig}") from error
        found = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
        if found != entry.rows:
            raise Fatal(f"{table.name} holds {found} rows, the backup {entry.rows}")


async def _pages(connection: AsyncConnection, table: Table) -> AsyncIterator[list[Row]]:
    columns = list(table.columns)
    async with connection.stream(select(*columns).order_by(*table.primary_key.columns)) as found:
        async for part in found.partitions(PAGE_ROWS):
            yield [[_dumped(column, value) for column, value in zip(columns, row, strict=True)] for row in part]


def _dumped(column: Column[Any], value: Any) -> Any:
    return value.hex() if value is not None and isinstance(column.type, LargeBinary) else value


def _loaded(column: Column[Any], value: Any) -> Any:
    return bytes.fromhex(value) if value is not None and isinstance(column.type, LargeBinary) else value
