"""The daily refresh of AI prices. Source: R-AI-7; DESIGN 7.

Any number of processes may run it: what an edition adds, it adds once. A source that is away is asked again within the
hour, and fails nothing.
"""

import asyncio
from typing import Final

from catalog.gateway import Catalog
from catalog.gateway.price_refresh import refresh
from catalog.store.model_price import last_edition_ms
from kernel.clock import Clock
from kernel.errors import MeterlineError
from kernel.telemetry import logger

_log = logger("prices")
_AGAIN_MS: Final = 3_600_000  # a source that was away; also how soon a shorter setting is noticed after another process


class PriceWorker:
    """Refreshes AI prices every `every_ms`; 0: never by itself."""

    def __init__(self, catalog: Catalog, clock: Clock, every_ms: int, url: str) -> None:
        self._catalog = catalog
        self._clock = clock
        self._every_ms = every_ms
        self._url = url

    async def begin(self) -> None:
        """Take in the packaged prices where there are none, so that the first event finds its model."""
        if self._every_ms and await self._last_ms() is None:
            await refresh(self._catalog, packaged_only=True)

    async def run(self) -> None:
        """Refresh when the last edition is `every_ms` old, for ever."""
        while self._every_ms:
            last_ms = await self._last_ms()
            due_ms = 0 if last_ms is None else last_ms + self._every_ms - self._clock.now_ms()
            if due_ms <= 0:
                try:
                    await refresh(self._catalog, self._url)
                except MeterlineError as error:
                    _log.warning("AI prices wait for the next refresh", reason=str(error))
                due_ms = self._every_ms
            await asyncio.sleep(min(due_ms, _AGAIN_MS) / 1000)

    async def _last_ms(self) -> int | None:
        async with self._catalog.sql.snapshot() as conn:
            return await last_edition_ms(conn)
