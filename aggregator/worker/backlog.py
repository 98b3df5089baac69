"""How far fold and sink are behind the log, and whether a lane is so far behind that the gateway has to shed.

Owns the backlog's metric and the word `overloaded`. Invariant: usage is refused (429) before what is not yet folded and
sunk fills half of what the log can hold, because a log without room would refuse everything. Source: DESIGN 3.2.
"""

import asyncio
from typing import Final

from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.errors import MeterlineError
from kernel.telemetry import GaugeName, Telemetry, logger

_log = logger("backlog")
# At the highest rate a lane grows by some 10 MB in this time, a fiftieth of what it may.
LOOK_SECONDS: Final = 0.25


class Backlog:
    """Watches every lane. `overloaded` answers from the latest look."""

    def __init__(self, log: Log, live: Live, telemetry: Telemetry) -> None:
        self._records = log
        self._live = live
        self._telemetry = telemetry
        self._overloaded: set[int] = set()

    def overloaded(self, lane: int) -> bool:
        """Tell whether the lane takes no more usage for now."""
        return lane in self._overloaded

    async def run(self) -> None:
        """Look again and again; while a store is away the latest word stands."""
        while True:
            try:
                await self.look()
            except MeterlineError as error:
                _log.debug("no look at the backlog", reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look at every lane once."""
        lanes = range(self._records.lanes)
        volume = await self._records.volume()
        bounds = [await self._records.bounds(lane) for lane in lanes]
        headers = [(await self._live.view(lane, [])).header for lane in lanes]
        held = max(1, sum(bound.end - bound.begin for bound in bounds))
        overloaded = set()
        for lane in lanes:
            header = headers[lane]
            if header is None:
                continue  # the lane is being made again; what it lacks is known when it is there
            end = bounds[lane].end
            self._telemetry.set(GaugeName.LANE_BACKLOG, max(0, end - header.next), lane=str(lane))
            waiting = max(0, end - min(header.next, header.sunk))
            share = None if volume.bytes_max is None else volume.bytes_max // len(lanes)
            if share is not None and 2 * (waiting * volume.bytes // held) >= share:
                overloaded.add(lane)
        if overloaded - self._overloaded:
            _log.error("lanes are too far behind; usage is shed", lanes=sorted(overloaded))
        self._overloaded = overloaded
