"""What an operator reads of dead letters: which there are, where one stands, what became of it.

The reads skip by the set of verdicts and by `replays` instead of merging with FINAL: there are few dead letters among
all rows. Whether one may be replayed is LIVE's to say, so a row that another has replaced does no harm.
"""

from typing import Any, Final

from aggregator.row import EventRow
from aggregator.store.event import COLUMNS, event_row
from aggregator.tables import EVENTS
from kernel.engine.raw.base import Raw
from kernel.limits import OPEN_LETTERS_MAX
from kernel.position import Position

_PLACE: Final = "epoch, lane, `offset`, `index`"
_FIRST: Final = (-1, -1, -1, -1)
# Other attempts on a dead letter name it as their original.
_LETTER: Final = "verdict = 'dead' AND original = '' AND toUnixTimestamp64Milli(at) >= {since:Int64}"

_AT: Final = f"""
SELECT {COLUMNS} FROM {EVENTS} FINAL
WHERE epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}} AND `offset` = {{offset:UInt64}}
    AND `index` = {{index:UInt16}}"""

_PAGE: Final = f"""
SELECT {COLUMNS} FROM {EVENTS}
WHERE {_LETTER} AND ({{organization:String}} = '' OR organization = {{organization:String}})
    AND ({_PLACE}) > ({{epoch:Int16}}, {{lane:Int32}}, {{offset:Int64}}, {{index:Int32}})
ORDER BY {_PLACE} LIMIT 1 BY {_PLACE} LIMIT {{limit:UInt32}}"""

# A replay has the facts of its dead letter, so the primary index finds it.
_REPLAYS: Final = f"""
SELECT {COLUMNS} FROM {EVENTS} FINAL
WHERE organization = {{organization:String}} AND customer = {{customer:String}} AND feature = {{feature:String}}
    AND event_time = fromUnixTimestamp64Micro({{time_us:Int64}}, 'UTC') AND replays = {{id:String}}
ORDER BY {_PLACE}"""

_NEWEST: Final = f"""
SELECT {_PLACE} FROM {EVENTS} WHERE {_LETTER}
ORDER BY at DESC, {_PLACE} LIMIT 1 BY {_PLACE} LIMIT {{limit:UInt32}}"""

_REPLAYED: Final = f"""
SELECT DISTINCT replays FROM {EVENTS}
WHERE replays > '' AND verdict = 'counted' AND toUnixTimestamp64Milli(at) >= {{since:Int64}}"""


class LetterReads:
    """Dead letters and their replays, of all organizations."""

    raw: Raw

    async def event_at(self, position: Position) -> EventRow | None:
        """Read one event of any organization; None when it is not in RAW."""
        rows = await self.raw.query(_AT, position._asdict())
        return event_row(rows[0]) if rows else None

    async def dead_letters(
        self, organization: str | None, *, since_ms: int, after: Position | None, limit: int
    ) -> list[EventRow]:
        """List dead letters that took effect at `since_ms` or later, replayed ones too, in order of position."""
        place = dict(zip(Position._fields, after or _FIRST, strict=True))
        where: dict[str, Any] = {"organization": organization or "", "since": since_ms, "limit": limit, **place}
        return [event_row(row) for row in await self.raw.query(_PAGE, where)]

    async def replays_of(self, letter: EventRow) -> list[EventRow]:
        """List the replays of a dead letter, in order of position."""
        facts = {name: getattr(letter, name) for name in ("organization", "customer", "feature")}
        event_id = Position(letter.epoch, letter.lane, letter.offset, letter.index).event_id()
        rows = await self.raw.query(_REPLAYS, {**facts, "time_us": letter.event_time, "id": event_id})
        return [event_row(row) for row in rows]

    async def open_letters(self, since_ms: int) -> int:
        """Count the dead letters since `since_ms` whose replay does not count: of the newest OPEN_LETTERS_MAX."""
        newest = await self.raw.query(_NEWEST, {"since": since_ms, "limit": OPEN_LETTERS_MAX})
        if not newest:
            return 0
        replayed = {name for (name,) in await self.raw.query(_REPLAYED, {"since": since_ms})}
        return len({Position(*map(int, place)).event_id() for place in newest} - replayed)
