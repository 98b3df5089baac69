"""What the books read of RAW, and where they are kept."""

from collections.abc import Mapping
from typing import Final

from aggregator.books import Books
from aggregator.tables import BOOKS, EVENTS
from kernel.engine.raw.base import Raw

_COLUMNS: Final = ("epoch", "lane", "next", "events", "verdicts", "carried", "difference", "lost", "at")
_KEPT: Final = f"SELECT lane, {', '.join(_COLUMNS[2:-1])} FROM {BOOKS} FINAL WHERE epoch = {{epoch:UInt8}}"

# Every row once, as FINAL would show it: DISTINCT over the sorting key costs only the rows in question, and lets the
# index of offsets skip the rest of the table, which FINAL would merge first.
_ROWS: Final = f"""
SELECT `offset`, verdict, count() FROM (
    SELECT DISTINCT organization, customer, feature, event_time, `offset`, `index`, verdict FROM {EVENTS}
    WHERE epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}}
        AND `offset` >= {{start:UInt64}} AND `offset` < {{stop:UInt64}}
) GROUP BY `offset`, verdict"""

_VERDICTS: Final = f"""
SELECT verdict, count() FROM {EVENTS} FINAL
WHERE epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}}
    AND `offset` >= {{start:UInt64}} AND `offset` < {{stop:UInt64}} GROUP BY verdict"""


class BookReads:
    """Rows by record, and the books themselves."""

    raw: Raw

    async def rows_by_record(self, epoch: int, lane: int, start: int, stop: int) -> list[tuple[int, str, int]]:
        """Count a lane's rows of offsets [start, stop) by record and verdict: (offset, verdict, events)."""
        if start >= stop:
            return []
        parameters = {"epoch": epoch, "lane": lane, "start": start, "stop": stop}
        return [(offset, verdict, events) for offset, verdict, events in await self.raw.query(_ROWS, parameters)]

    async def rows_by_verdict(self, epoch: int, lane: int, start: int, stop: int) -> dict[str, int]:
        """Count a lane's rows of offsets [start, stop) by verdict; reads all of them."""
        parameters = {"epoch": epoch, "lane": lane, "start": start, "stop": stop}
        return dict(await self.raw.query(_VERDICTS, parameters))

    async def books(self, epoch: int) -> dict[int, Books]:
        """Read the books of an epoch by lane; a lane without books is absent."""
        names = _COLUMNS[2:-1]
        return {
            lane: Books(**dict(zip(names, values, strict=True)))
            for lane, *values in await self.raw.query(_KEPT, {"epoch": epoch})
        }

    async def keep_books(self, epoch: int, lanes: Mapping[int, Books], at_ms: int) -> None:
        """Keep the books of lanes; of one lane the ones with the greatest `at_ms` rule."""
        if lanes:
            rows = [
                (epoch, lane, b.next, b.events, dict(b.verdicts), b.carried, b.difference, b.lost, at_ms)
                for lane, b in lanes.items()
            ]
            await self.raw.insert(BOOKS, _COLUMNS, list(zip(*rows, strict=True)))
