"""What a correction reads of RAW: the events that a key names, and what corrected one of them before."""

from collections.abc import Sequence
from typing import Final

from aggregator.row import EventRow
from aggregator.store.event import COLUMNS, event_row
from aggregator.tables import EVENTS
from aggregator.usage import position_of
from kernel.engine.raw.base import Raw

_PLACE: Final = "epoch, lane, `offset`, `index`"

# Of each key the event that counts; where none does, the latest.
_KEYED: Final = f"""
SELECT {COLUMNS} FROM {EVENTS} FINAL
WHERE organization = {{organization:String}} AND customer = {{customer:String}} AND digest IN {{digests:Array(String)}}
ORDER BY verdict = 'counted' DESC, epoch DESC, `offset` DESC, `index` DESC LIMIT 1 BY digest"""

# A correction has feature and time of the event that it corrects, so the primary index finds it.
_CORRECTIONS: Final = f"""
SELECT {COLUMNS} FROM {EVENTS} FINAL
WHERE organization = {{organization:String}} AND customer = {{customer:String}} AND feature = {{feature:String}}
    AND event_time = fromUnixTimestamp64Micro({{time_us:Int64}}, 'UTC') AND corrects = {{id:String}}
    AND verdict = 'counted'
ORDER BY {_PLACE}"""


class CorrectionReads:
    """Events and their corrections."""

    raw: Raw

    async def keyed_events(self, organization: str, customer: str, digests: Sequence[bytes]) -> list[EventRow]:
        """Read of each of a customer's keys the event that holds it; where none counts, the latest; none: not sent."""
        where = {"organization": organization, "customer": customer, "digests": [digest.hex() for digest in digests]}
        return [event_row(found) for found in await self.raw.query(_KEYED, where)]

    async def corrections_of(self, row: EventRow) -> list[EventRow]:
        """List the corrections of an event that count, in the order of their numbers."""
        facts = {name: getattr(row, name) for name in ("organization", "customer", "feature")}
        where = {**facts, "time_us": row.event_time, "id": position_of(row).event_id()}
        return [event_row(found) for found in await self.raw.query(_CORRECTIONS, where)]
