"""What the sink writes, and how far it came."""

from collections.abc import Mapping, Sequence

import msgspec

from aggregator.row import (
    ACCOUNT_RECORD_COLUMNS,
    REFUSAL_COLUMNS,
    AccountRecordRow,
    EventColumns,
    refusal_row,
)
from aggregator.tables import ACCOUNT_RECORDS, EVENTS, PROGRESS, RAW_TABLES, REFUSALS
from ingest.refusal import RefusedRequest
from kernel.engine.raw.base import Raw

_PROGRESS_COLUMNS = ("epoch", "lane", "next", "clock_ms")


class Writes:
    """Inserts. Each is durable when it returns; the same rows again replace themselves."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    async def create(self) -> None:
        """Make the tables; those that exist stay as they are."""
        for statement in RAW_TABLES:
            await self.raw.command(statement)

    async def insert_events(self, columns: EventColumns) -> None:
        """Insert rows of events, of any lanes."""
        if len(columns):
            await self.raw.insert(EVENTS, columns.names, columns.data)

    async def insert_account_records(self, rows: Sequence[AccountRecordRow]) -> None:
        """Insert account records."""
        if rows:
            await self.raw.insert(ACCOUNT_RECORDS, ACCOUNT_RECORD_COLUMNS, _columns(rows))

    async def insert_refusals(self, rows: Sequence[RefusedRequest]) -> None:
        """Insert refusals that never reached the log."""
        if rows:
            await self.raw.insert(REFUSALS, REFUSAL_COLUMNS, _columns([refusal_row(row) for row in rows]))

    async def write_progress(self, epoch: int, lanes: Mapping[int, tuple[int, int]]) -> None:
        """Say of lanes that RAW holds everything below `next`, with the lane's clock there: `{lane: (next, clock_ms)}`.

        A `next` below the one that is there changes nothing.
        """
        if lanes:
            data = [[epoch] * len(lanes), list(lanes), [n for n, _ in lanes.values()], [c for _, c in lanes.values()]]
            await self.raw.insert(PROGRESS, _PROGRESS_COLUMNS, data)

    async def progress(self, epoch: int) -> dict[int, tuple[int, int]]:
        """Tell `(next, clock_ms)` by lane; a lane that was never written is absent."""
        sql = f"SELECT lane, next, clock_ms FROM {PROGRESS} FINAL WHERE epoch = {{epoch:UInt8}}"
        return {lane: (offset, clock_ms) for lane, offset, clock_ms in await self.raw.query(sql, {"epoch": epoch})}


def _columns(rows: Sequence[msgspec.Struct]) -> list[tuple[object, ...]]:
    return list(zip(*(msgspec.structs.astuple(row) for row in rows), strict=True))
