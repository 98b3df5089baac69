"""Generations beyond the exact days become key filters in LIVE, a few entries at a time, while the lane is folded.

Owns when: a generation lies beyond the exact days by the lane's clock, and `sunk` has passed the offset where that was
first seen, so that RAW has the row of every entry in it. Invariant: dead letters stay; a dead one without a key has no
row that its digest finds, and they are few. It may end at any await, and begins again at the next start. Source:
DESIGN 3.11; ADR 7.
"""

import asyncio
from typing import Final

from aggregator.fold_slice import condensed_generations
from ingest.key_entry import EntryKind
from kernel.engine.live.base import READY, LaneHeader, Live
from kernel.errors import Unavailable
from kernel.limits import CONDENSE_EVERY_MS, CONDENSE_PAUSE_MS
from kernel.telemetry import logger

_log = logger("condenser")
KEPT: Final = EntryKind.DEAD.value.encode()


class KeyCondenser:
    """Condenses one lane's keys; one for each session of the fold."""

    def __init__(self, lane: int, live: Live, exact_days: int) -> None:
        self._lane = lane
        self._live = live
        self._exact_days = exact_days
        self._marks: dict[int, int] = {}
        self._done: set[int] = set()

    async def run(self) -> None:
        """Look once a minute, until cancelled; while LIVE is away nothing happens."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                _log.debug("keys are not condensed", lane=self._lane, reason=str(error))
            await asyncio.sleep(CONDENSE_EVERY_MS / 1_000)

    async def look(self) -> None:
        """Condense what is due now. Raises Unavailable."""
        header = (await self._live.view(self._lane, ())).header
        if header is None or header.state != READY:
            return
        for generation in condensed_generations(header.clock_ms, self._exact_days):
            mark = self._marks.setdefault(generation, header.next)
            if generation not in self._done and header.sunk >= mark and await self._condense(header, generation, mark):
                self._done.add(generation)

    async def _condense(self, header: LaneHeader, generation: int, mark: int) -> bool:
        """Go through a generation until nothing of it is left to move; False when the lane is another."""
        cursor, moved, total = b"", 0, 0
        while True:
            step = await self._live.condense(
                self._lane,
                token=header.token,
                generation=generation,
                keep=KEPT,
                mark=mark,
                cursor=cursor,
                rebuilding=False,
            )
            if step is None:
                return False
            cursor, moved, total = step.cursor, moved + step.moved, total + step.moved
            if not cursor:
                if not moved:
                    break
                moved = 0
            if step.moved:
                await asyncio.sleep(CONDENSE_PAUSE_MS / 1_000)
        if total:
            _log.info("keys condensed", lane=self._lane, generation=generation, keys=total)
        return True
