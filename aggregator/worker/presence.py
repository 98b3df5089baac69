"""Saying in LIVE that a process is there, for as long as it is: what commands ask that must be alone. Source: ADR 5."""

import asyncio

from kernel.engine.live.base import Live
from kernel.errors import Unavailable
from kernel.limits import MEMBER_BEAT_MS, MEMBER_LASTS_MS
from kernel.telemetry import logger

_log = logger("presence")


class Presence:
    """Beats for `member` (`role:id`). Aggregators do it by `Ownership`, which rests on the same beats."""

    def __init__(self, member: str, live: Live) -> None:
        self._member = member
        self._live = live

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self._live.beat(self._member, lasts_ms=MEMBER_LASTS_MS)
            except Unavailable as error:
                _log.debug("LIVE is away", error=str(error))
            await asyncio.sleep(MEMBER_BEAT_MS / 1_000)

    async def leave(self) -> None:
        """Take the member away. Best effort."""
        try:
            await self._live.beat(self._member, lasts_ms=0)
        except Unavailable as error:
            _log.debug("LIVE is away, we are missed later", error=str(error))
