"""What an event met when it was judged: the snapshot in force at its place, and what had counted before it."""

from typing import Final

from aggregator.judgement import Before
from aggregator.row import EventRow
from aggregator.store.draws import DRAWS, draws_of
from aggregator.tables import ACCOUNT_RECORDS, EVENTS
from catalog.terms import Snapshot, decode_snapshot
from kernel.engine.raw.base import Raw
from kernel.quantity import to_units

_STOOD: Final = f"""
SELECT snapshot FROM {ACCOUNT_RECORDS} FINAL
WHERE customer = {{customer:String}} AND (epoch, `offset`) < ({{epoch:UInt8}}, {{offset:UInt64}})
ORDER BY rev DESC LIMIT 1"""

_EARLIER: Final = f"""
FROM {EVENTS} FINAL
WHERE organization = {{organization:String}} AND customer = {{customer:String}}
    AND (epoch, `offset`, `index`) < ({{epoch:UInt8}}, {{offset:UInt64}}, {{index:UInt16}})"""
_USED: Final = f"""
SELECT countIf(mine), sumIf(quantity, mine), toInt64(max(toUnixTimestamp64Milli(accepted_at))) FROM (
    SELECT quantity, accepted_at, verdict = 'counted' AND feature = {{feature:String}} AND term = {{term:UInt32}}
        AND toInt32(window) = {{window:Int32}} AS mine
    {_EARLIER}
)"""
_DREW: Final = f"""
SELECT term, toInt32(window), {DRAWS} {_EARLIER} AND verdict = 'counted' AND pool != ''
GROUP BY term, window"""


class JudgedReads:
    """Reads for whoever asks why an event counts or not."""

    raw: Raw

    async def stood_at(self, row: EventRow) -> Snapshot | None:
        """Read the snapshot that was in force when an event was folded; None when its customer had none yet."""
        rows = await self.raw.query(_STOOD, {"customer": row.customer, "epoch": row.epoch, "offset": row.offset})
        return decode_snapshot(bytes.fromhex(rows[0][0])) if rows else None

    async def counted_before(self, row: EventRow, term: int, window: int) -> Before:
        """Sum what of its feature had counted in a window, and what its customer had drawn, before an event."""
        place = {name: getattr(row, name) for name in ("organization", "customer", "epoch", "offset", "index")}
        asked = {**place, "feature": row.feature, "term": term, "window": window}
        [[count, quantity, clock_ms]] = await self.raw.query(_USED, asked)
        drew = await self.raw.query(_DREW, place)
        draws = {(term, window): draws_of(sums) for term, window, *sums in drew}
        return Before(count=count, units=to_units(quantity), clock_ms=clock_ms, draws=draws)
