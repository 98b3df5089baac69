"""Which lanes this aggregator folds among others: a hint in LIVE that every member renews and reads.

Owns the beats of one member. Invariants: nothing rests on it but who tries (two owners of a lane are harmless, none
means a wait); a member that leaves is missed at the others' next beat, one that died when its last beat ends. While
LIVE is away everybody keeps what it had. Source: ADR 5.
"""

import asyncio

from aggregator.lane_share import lanes_of
from aggregator.worker.lanes import Lanes
from kernel.engine.live.base import Live
from kernel.errors import Unavailable
from kernel.limits import MEMBER_BEAT_MS, MEMBER_LASTS_MS
from kernel.telemetry import GaugeName, Telemetry, logger

_log = logger("ownership")


class Ownership:
    """Beats for `member` and holds its share of all lanes."""

    def __init__(self, member: str, all_lanes: int, lanes: Lanes, live: Live, telemetry: Telemetry) -> None:
        self.joined = False
        self._member = member
        self._all_lanes = all_lanes
        self._lanes = lanes
        self._live = live
        self._telemetry = telemetry

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self.beat()
            except Unavailable as error:
                _log.warning("LIVE is away, the lanes stay where they are", error=str(error))
            await asyncio.sleep(MEMBER_BEAT_MS / 1_000)

    async def beat(self) -> None:
        """Say that this member is here, see who else is, and hold the share that follows. Raises Unavailable."""
        members = await self._live.beat(self._member, lasts_ms=MEMBER_LASTS_MS)
        share = lanes_of(self._member, members, self._all_lanes)
        if share != self._lanes.workers.keys():
            _log.info("lanes", member=self._member, members=len(members), lanes=sorted(share))
        await self._lanes.hold(sorted(share))
        self._telemetry.set(GaugeName.LANES_OWNED, len(share))
        self.joined = True

    async def leave(self) -> None:
        """Take this member away, so that the others take its lanes at their next beat. Best effort."""
        self.joined = False
        try:
            await self._live.beat(self._member, lasts_ms=0)
        except Unavailable as error:
            _log.warning("LIVE is away, the others miss us later", error=str(error))
