"""Refusals that never reached the log, on their way to RAW: kept for audit, best effort.

Owns what waits in memory, which is bounded. It lives where refusals are given: in a gateway's process.
Source: DESIGN 8.
"""

import asyncio
from typing import Final

from aggregator.store import UsageStore
from ingest.refusal import RefusedRequest
from kernel.errors import Unavailable
from kernel.limits import SINK_ROWS_MAX, SINK_WAIT_MS
from kernel.telemetry import CounterName, Telemetry, logger

_log = logger("refusals")
# What waits while RAW is away: two rounds' worth.
_WAITING_MAX: Final = 2 * SINK_ROWS_MAX


class RefusalSink:
    """Takes refusals at once and writes them once a second; what does not fit is counted and dropped."""

    def __init__(self, store: UsageStore, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self._waiting: list[RefusedRequest] = []

    def keep(self, refused: RefusedRequest) -> None:
        """Keep a refusal; best effort."""
        if len(self._waiting) < _WAITING_MAX:
            self._waiting.append(refused)
        else:
            self._telemetry.count(CounterName.REFUSALS_DROPPED)

    async def run(self) -> None:
        """Write what waits, once a second, for ever; while RAW is away it goes on waiting."""
        while True:
            await asyncio.sleep(SINK_WAIT_MS / 1_000)
            try:
                await self.flush()
            except Unavailable as error:
                _log.warning("RAW is away, refusals wait", error=str(error))

    async def flush(self) -> None:
        """Write what waits now. Raises Unavailable."""
        refusals = self._waiting[:SINK_ROWS_MAX]
        await self._store.insert_refusals(refusals)
        del self._waiting[: len(refusals)]
