"""Hears the verdicts that other processes' folds publish for this gateway's records, and hands them to the hub.

Invariant: nothing is lost with a connection, because the outcomes stand in LIVE: after each connection what is waited
for is read there. Source: DESIGN 3.4.4; ADR 5.
"""

import asyncio
from typing import Final

from ingest.gateway.hub import VerdictHub
from ingest.verdict import decode_outcomes
from kernel.engine.live.base import Live
from kernel.engine.pause import Pause
from kernel.errors import Unavailable
from kernel.telemetry import logger

_log = logger("listener")
# Outcomes asked for in one call after a reconnection: a waiting record each.
_CATCH_UP_MAX: Final = 500


class VerdictListener:
    """Listens for `gateway`. `listening` tells whether verdicts arrive by themselves now."""

    def __init__(self, gateway: str, lanes: int, live: Live, hub: VerdictHub, epoch: int) -> None:
        self.listening = False
        self._gateway = gateway
        self._lanes = range(lanes)
        self._live = live
        self._hub = hub
        self._epoch = epoch
        self._pause = Pause()
        self._catching_up: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Listen until cancelled, again and again."""
        try:
            while True:
                try:
                    await self._live.listen(self._gateway, self._lanes, self._told, self._begun)
                except Unavailable as error:
                    self.listening = False
                    _log.warning("verdicts do not arrive, they are read instead", error=str(error))
                await self._pause.wait()
        finally:
            self.listening = False
            if self._catching_up is not None:
                self._catching_up.cancel()

    def _told(self, lane: int, epoch: int, offset: int, outcomes: bytes) -> None:
        self._hub.publish(epoch, lane, offset, decode_outcomes(outcomes))

    def _begun(self) -> None:
        self.listening = True
        self._pause.reset()
        self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Read what was published while nobody listened, as far as somebody still waits for it."""
        try:
            for lane, offsets in self._hub.waiting().items():
                asked = offsets[:_CATCH_UP_MAX]
                kept = await self._live.outcomes(lane, asked, epoch=self._epoch)
                for offset, outcomes in zip(asked, kept, strict=True):
                    if outcomes is not None:
                        self._told(lane, self._epoch, offset, outcomes)
        except Unavailable as error:
            _log.warning("verdicts are read when their wait ends", error=str(error))
