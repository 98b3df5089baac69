"""What a lane takes over from older epochs: its customers, where their events lie, and the lowest clock it may have.

A customer's lane cannot be computed in SQL, and it may be another one in every epoch. So the first rebuild of a lane in
its epoch writes down which customers of older epochs are its own. Invariants: older epochs never change any more, so
whoever asks, whenever, gets the same; a list is used only once it is whole. Source: DESIGN 3.2, 3.9.
"""

from collections.abc import Sequence
from typing import Final

from aggregator.tables import ACCOUNT_RECORDS, CARRIED, EVENTS, PROGRESS
from kernel import ids
from kernel.engine.raw.base import Raw
from kernel.lane import lane_of

_PAGE_CUSTOMERS: Final = 100_000  # some 10 MB of ids
_COLUMNS: Final = ("epoch", "lane", "customer")
# No customer has this id; its row says that all others are there.
_WHOLE: Final = ""

_MINE: Final = f"customer IN (SELECT customer FROM {CARRIED} WHERE epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}})"
# The rows that a lane stands on: its own below an offset, and everything of its customers in older epochs.
STANDS_ON: Final = f"""
    (epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}} AND `offset` < {{before:UInt64}}
        OR epoch < {{epoch:UInt8}} AND {_MINE})"""
# The rows of one older lane that are this lane's to carry.
CARRIED_FROM: Final = f"""
    epoch = {{from_epoch:UInt8}} AND lane = {{from_lane:UInt16}} AND {_MINE}"""

_IS_WHOLE: Final = f"""
SELECT count() FROM {CARRIED}
WHERE epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}} AND customer = {{whole:String}}"""
_CUSTOMERS: Final = f"""
SELECT DISTINCT customer FROM (
    SELECT customer FROM {EVENTS} WHERE epoch < {{epoch:UInt8}} AND customer > {{after:String}}
    UNION ALL
    SELECT customer FROM {ACCOUNT_RECORDS} WHERE epoch < {{epoch:UInt8}} AND customer > {{after:String}}
) ORDER BY customer LIMIT {{limit:UInt32}}"""
_SOURCES: Final = f"""
SELECT epoch, lane, max(`offset`) + 1 FROM {EVENTS} WHERE epoch < {{epoch:UInt8}}
GROUP BY epoch, lane ORDER BY epoch, lane"""
_CLOCK: Final = f"SELECT max(clock_ms) FROM {PROGRESS} WHERE epoch < {{epoch:UInt8}}"


class CarriedReads:
    """Reads of older epochs, for `rebuild`."""

    raw: Raw

    async def carry(self, epoch: int, lane: int, lanes: int) -> int:
        """Write down which customers of older epochs are this lane's, unless that is done; returns its first clock.

        The clock is the greatest of all older lanes, milliseconds: below none that judged one of its customers.
        """
        place = {"epoch": epoch, "lane": lane}
        [(clock_ms,)] = await self.raw.query(_CLOCK, {"epoch": epoch})
        [(whole,)] = await self.raw.query(_IS_WHOLE, {**place, "whole": _WHOLE})
        if whole:
            return int(clock_ms)
        after = _WHOLE
        while rows := await self.raw.query(_CUSTOMERS, {"epoch": epoch, "after": after, "limit": _PAGE_CUSTOMERS}):
            after = rows[-1][0]
            await self._take(epoch, lane, [who for (who,) in rows if lane_of(ids.id_bytes(who), lanes) == lane])
        await self._take(epoch, lane, [_WHOLE])
        return int(clock_ms)

    async def carried_from(self, epoch: int) -> list[tuple[int, int, int]]:
        """List the lanes of epochs before `epoch` that have events, in order: epoch, lane, offset after the last."""
        return [(e, lane, end) for e, lane, end in await self.raw.query(_SOURCES, {"epoch": epoch})]

    async def _take(self, epoch: int, lane: int, customers: Sequence[str]) -> None:
        if customers:
            await self.raw.insert(
                CARRIED, _COLUMNS, [[epoch] * len(customers), [lane] * len(customers), list(customers)]
            )
