"""Waiting for RAW from a process that does not sink: until it holds what LIVE has folded by now.

What a process that sinks does by asking its sink (`Sink.flush`), others do by looking at `progress`. Source: ADR 5.
"""

import asyncio
from typing import Final

from aggregator.store import UsageStore
from kernel.engine.live.base import READY, Live
from kernel.engine.log.base import Log

# A round of the sink takes a second at most, so that some looks suffice; each is one small query.
_LOOK_SECONDS: Final = 0.1


class RawWait:
    """Looks at `progress` until it has passed every lane's `next`; a lane that is not ready is not waited for."""

    def __init__(self, log: Log, live: Live, store: UsageStore) -> None:
        self._records = log
        self._live = live
        self._store = store

    async def flush(self) -> None:
        """Wait until RAW holds everything that was folded when this was called. Raises Unavailable."""
        wanted: dict[int, int] = {}
        for lane in range(self._records.lanes):
            header = (await self._live.view(lane, ())).header
            if header is not None and header.state == READY:
                wanted[lane] = header.next
        while wanted:
            progress = await self._store.progress(self._records.epoch)
            wanted = {lane: end for lane, end in wanted.items() if progress.get(lane, (0, 0))[0] < end}
            if wanted:
                await asyncio.sleep(_LOOK_SECONDS)
