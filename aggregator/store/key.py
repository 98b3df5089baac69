"""What RAW says of keys that LIVE keeps in filters alone: the entry that rules below a position."""

from collections.abc import Sequence
from typing import Final

import msgspec

from aggregator.store.account import KEYED, KeyRow, key_row
from aggregator.tables import EVENTS
from ingest.verdict import Verdict
from kernel import ids
from kernel.engine.raw.base import Raw
from kernel.position import Position

# Rows are found by the table's order, (organization, customer, …). The row that left a key's ruling entry is the last
# one in the log's order, older epochs first; a further attempt on a dead letter names its `original` and left none, a
# replay left one only if it counts. The same row twice is the same answer, so nothing has to be merged first (FINAL).
# The bound of a digest is its event's own place: what the fold knew when it came there, whatever was sunk since.
_RULING: Final = f"""
WITH {{digests:Array(String)}} AS asked, indexOf(asked, digest) AS place,
    ({{offsets:Array(UInt64)}}[place], {{indexes:Array(UInt16)}}[place]) AS bound
SELECT digest, argMax((epoch, lane, `offset`, `index`, toUnixTimestamp64Milli(at), verdict, content, request),
    (epoch, `offset`, `index`))
FROM {EVENTS}
WHERE (organization, customer) IN arrayZip({{organizations:Array(String)}}, {{customers:Array(String)}})
    AND digest IN {{digests:Array(String)}} AND verdict IN {{verdicts:Array(String)}} AND original = ''
    AND (replays = '' OR verdict = 'counted')
    AND (epoch < {{epoch:UInt8}} OR epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}} AND (`offset`, `index`) < bound)
GROUP BY digest"""
_LEFT_ENTRY: Final = sorted({*KEYED, Verdict.DEAD})


class AskedKey(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One key to look up: whose it is, and the place of the event that asks, below which it is looked for."""

    organization: bytes
    customer: bytes
    digest: bytes
    offset: int
    index: int


class KeyReads:
    """Look-ups of single keys, for the fold."""

    raw: Raw

    async def ruling_rows(self, epoch: int, lane: int, asked: Sequence[AskedKey]) -> dict[bytes, KeyRow]:
        """Tell by digest the row that left the ruling entry below the event's place; absent: none did.

        `clock_ms` of these rows is when they took effect: no generation follows from it.
        """
        parameters = {
            "epoch": epoch,
            "lane": lane,
            "organizations": [ids.id_text(ids.ORGANIZATION, key.organization) for key in asked],
            "customers": [ids.id_text(ids.CUSTOMER, key.customer) for key in asked],
            "digests": [key.digest.hex() for key in asked],
            "offsets": [key.offset for key in asked],
            "indexes": [key.index for key in asked],
            "verdicts": _LEFT_ENTRY,
        }
        found: dict[bytes, KeyRow] = {}
        for digest, (of, where, offset, index, at_ms, verdict, content, request) in await self.raw.query(
            _RULING, parameters
        ):
            row = key_row(Position(of, where, offset, index), at_ms, at_ms, verdict, digest, content, request)
            found[row.digest] = row
        return found
