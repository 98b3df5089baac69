"""Admission: from requests that wait together to durable events and their verdicts.

Owns the group commit: one look at LIVE, one record a lane, then the wait for the fold. Decides nothing about usage.
Invariants: no answer rests on a catalog older than the look; nothing is answered as accepted before it is durable; what
was appended is settled as judged, pending or unknown, whoever still listens. Source: DESIGN 3.4; ADR 2.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec

from ingest.answer import Judged
from ingest.chunk import chunks
from ingest.event import UsageEvent
from ingest.gateway.call import Call, CatalogReader
from ingest.gateway.hub import VerdictHub
from ingest.gateway.record import Part, SentRecord
from ingest.key_entry import filtered
from ingest.pressure import OVERLOADED
from ingest.verdict import Outcome, decode_outcomes
from kernel import limits
from kernel.clock import Clock
from kernel.engine.live.base import Live, Look
from kernel.engine.log.base import Log
from kernel.errors import LogSealed, MeterlineError, Refusal, Unavailable, Unknown
from kernel.telemetry import CounterName, Telemetry, logger

_log = logger("admission")

# Requests do not wait for the fsync of those before them: one group at the log, one on its way there, one at LIVE, one
# being sorted. More would only make groups smaller.
GROUPS_IN_FLIGHT_MAX: Final = 4
# About 2 ms of sorting and encoding, the longest synchronous stretch that is permitted.
GROUP_EVENTS_MAX: Final = 2_000
# A look takes under a millisecond; LIVE is away when it takes this long, and is asked again after the same time.
LOOK_WAIT_MS: Final = 500

NOT_READY: Final = Refusal(
    code="service_unavailable",
    message="This gateway's clock differs from the store's by more than a second; nothing was recorded.",
)

EPOCH_ENDED: Final = "The log's epoch has ended, a newer one goes on; start this process again."


class _Seen(msgspec.Struct, frozen=True):
    """What a look found: the catalog's version (None: not known there), lanes that are ready, entries by digest.

    A lane that was not asked about, because only a newer catalog led there, counts as ready while LIVE is reached.
    """

    reached: bool
    catalog: int | None
    ready: Mapping[int, bool]
    entries: Mapping[bytes, bytes]


_NOTHING_SEEN: Final = _Seen(reached=False, catalog=None, ready={}, entries={})


class Admission:
    """The gateway's way to the log, for one event loop."""

    def __init__(
        self,
        log: Log,
        live: Live,
        catalog: CatalogReader,
        hub: VerdictHub,
        clock: Clock,
        telemetry: Telemetry,
        gateway_id: str,
        *,
        overloaded: Callable[[int], bool] = lambda _: False,
        verdict_wait_ms: int = limits.VERDICT_WAIT_MS,
    ) -> None:
        """`overloaded` tells of a lane whether its backlog reaches half of what the log can hold."""
        self._log = log
        self._live = live
        self._catalog = catalog
        self._hub = hub
        self._clock = clock
        self._telemetry = telemetry
        self._gateway_id = gateway_id
        self._overloaded = overloaded
        self._verdict_wait_ms = verdict_wait_ms
        self._waiting: deque[Call] = deque()
        self._groups = 0
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_ms = 0
        self._live_away_until_ms = -math.inf
        self._sql_asked_ms = -math.inf
        self._skewed = False
        self._ended = False

    def stamp(self) -> int:
        """Tell `at` for a request that was just read: real time, which never falls within this process."""
        self._at_ms = max(self._at_ms, self._clock.now_ms())
        return self._at_ms

    def not_ready(self) -> str | None:
        """Say why usage is not taken now, by what the last look saw; None: it is."""
        if self._ended:
            return EPOCH_ENDED
        return NOT_READY.message if self._skewed else None

    async def probe(self) -> str | None:
        """Look at LIVE for its clock alone, then say what `not_ready` says; for a readiness check without traffic."""
        await self._look([])
        return self.not_ready()

    async def submit(self, call: Call) -> None:
        """Take a call through its group; returns when each of its events is settled, or the call refused.

        Going away does not cancel the group. Raises what the catalog raises when SQL is away.
        """
        await call.resolve(self._catalog)
        self._waiting.append(call)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start)
        await call.done

    async def close(self) -> None:
        """Wait for everything that is under way."""
        while self._tasks or self._waiting:
            await asyncio.wait(self._tasks) if self._tasks else await asyncio.sleep(0)

    def _start(self) -> None:
        """Make groups of what waits, as many as may be under way."""
        self._scheduled = False
        while self._waiting and self._groups < GROUPS_IN_FLIGHT_MAX:
            group, events = [self._waiting.popleft()], 0
            while self._waiting and events < GROUP_EVENTS_MAX:
                events += len(group[-1].events)
                group.append(self._waiting.popleft())
            self._groups += 1
            self._spawn(self._run(group))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, group: list[Call]) -> None:
        try:
            seen = await self._look(group)
            await self._freshen(group, seen.catalog)
            parts = self._sort(group, seen)
            if len(parts) > 1:
                await asyncio.gather(*(self._append(lane, part, seen) for lane, part in parts.items()))
            else:
                for lane, part in parts.items():
                    await self._append(lane, part, seen)
        except Exception as error:  # noqa: BLE001 - the edge of a task: whoever waits is told
            _log.error("a group failed", exc_info=error)
            for call in group:
                call.fail(error)
        finally:
            self._groups -= 1
            self._start()

    # The look

    async def _look(self, group: Sequence[Call]) -> _Seen:
        """Ask LIVE for the catalog's version, its time, and the entries of the group's keys."""
        if self._clock.monotonic_ms() < self._live_away_until_ms:
            return _NOTHING_SEEN
        digests: dict[int, list[bytes]] = {}
        for call in group:
            events = call.events
            for lane, indexes in call.by_lane.items():
                asked = digests.setdefault(lane, [])
                asked += [
                    event.digest for index in indexes if type(event := events[index]) is UsageEvent and event.digest
                ]
        before_ms = self._clock.now_ms()
        generation = before_ms // limits.GENERATION_MS
        try:
            async with asyncio.timeout(LOOK_WAIT_MS / 1_000):
                look = await self._live.look(digests, [generation - back for back in range(limits.GENERATIONS_FILTER)])
        except (Unavailable, TimeoutError) as error:
            self._lost_live(error)
            return _NOTHING_SEEN
        self._compare_clocks(before_ms, look)
        entries = {
            digest: entry
            for lane, asked in digests.items()
            for digest, entry in zip(asked, look.entries.get(lane, ()), strict=False)
            if entry is not None
        }
        return _Seen(reached=True, catalog=look.catalog, ready=look.ready, entries=entries)

    def _compare_clocks(self, before_ms: int, look: Look) -> None:
        """Compare with LIVE's time, which was read between the two readings of ours."""
        skew_ms = max(before_ms - look.now_ms, look.now_ms - self._clock.now_ms())
        skewed = skew_ms > limits.CLOCK_SKEW_MS_MAX
        if skewed and not self._skewed:
            _log.error("the clock is off; usage is refused", skew_ms=skew_ms)
        self._skewed = skewed

    def _lost_live(self, error: Exception) -> None:
        _log.warning("LIVE is away", reason=str(error) or type(error).__name__)
        self._live_away_until_ms = self._clock.monotonic_ms() + LOOK_WAIT_MS

    async def _freshen(self, group: Sequence[Call], version: int | None) -> None:
        """Bring the catalog to `version` (None: SQL's, at most 200 ms old); match again what was matched before it."""
        if version is None:
            now_ms = self._clock.monotonic_ms()
            if now_ms - self._sql_asked_ms > limits.CATALOG_STALE_MS_MAX:
                await self._catalog.refresh()
                self._sql_asked_ms = now_ms
        elif version > self._catalog.version:
            await self._catalog.refresh(version)
        for call in group:
            if call.version < self._catalog.version:
                await call.resolve(self._catalog)

    # Sorting and appending

    def _sort(self, group: Sequence[Call], seen: _Seen) -> dict[int, Part]:
        """Settle what the catalog and the filter answer, and sort the rest by lane, in the order of the requests."""
        parts: dict[int, Part] = {}
        for call in group:
            refusal = NOT_READY if self._skewed else call.refusal or self._shed(call)
            if refusal is not None:
                call.refuse(refusal)
                continue
            for index, event in enumerate(call.events):
                if type(event) is Refusal:
                    call.settle(index, event)
            for lane, indexes in call.by_lane.items():
                fresh = self._filter(call, indexes, seen.entries) if seen.entries else indexes
                if fresh:
                    parts.setdefault(lane, Part()).add(call, fresh)
        return parts

    def _shed(self, call: Call) -> Refusal | None:
        return OVERLOADED if any(self._overloaded(lane) for lane in call.by_lane) else None

    def _filter(self, call: Call, indexes: Sequence[int], entries: Mapping[bytes, bytes]) -> Sequence[int]:
        """Settle the events whose key is known to be counted; tell the others."""
        fresh: list[int] = []
        for index in indexes:
            event = call.events[index]
            assert type(event) is UsageEvent, "what is sorted by lane is an event"
            known = filtered(entries.get(event.digest), event.content, event.request)
            if known is None:
                fresh.append(index)
            else:
                call.settle(index, Judged(event, known))
        return fresh

    async def _append(self, lane: int, part: Part, seen: _Seen) -> None:
        """Append a lane's events, record after record; after an unknown end the rest is not sent, to keep the order."""
        lost = False
        for start, end, data in chunks(self._gateway_id, part.events):
            chunk = SentRecord(lane, part.events[start:end], part.cut(start, end))
            if not lost:
                try:
                    chunk.offset = await self._log.append(lane, data)
                except MeterlineError as error:
                    lost = True
                    self._count_lost(lane, error)
            if lost:
                chunk.settle_lost()
            else:
                self._spawn(self._conclude(chunk, wait=seen.ready.get(lane, seen.reached)))

    def _count_lost(self, lane: int, error: MeterlineError) -> None:
        if isinstance(error, LogSealed):
            self._ended = True
        if isinstance(error, Unknown):
            self._telemetry.count(CounterName.APPENDS_UNKNOWN)
        _log.error("an append did not succeed", lane=lane, reason=str(error) or type(error).__name__)

    # The verdict

    async def _conclude(self, chunk: SentRecord, *, wait: bool) -> None:
        """Settle the events of a durable record: judged, else pending or unknown."""
        epoch = self._log.epoch
        try:
            chunk.settle_async(epoch)
            outcomes = await self._outcomes(chunk) if wait else None
            if outcomes is None:
                chunk.settle_late(epoch, self._hub)
            else:
                chunk.settle_judged(epoch, outcomes, self._hub)
        except Exception as error:  # noqa: BLE001 - the edge of a task: whoever waits is told
            _log.error("a record's verdicts failed", lane=chunk.lane, offset=chunk.offset, exc_info=error)
            for call, _ in chunk.owners:
                call.fail(error)

    async def _outcomes(self, chunk: SentRecord) -> Sequence[Outcome] | None:
        """Wait for a record's outcomes; after a time-out read what LIVE keeps. None: no verdict yet."""
        outcomes = await self._hub.wait(chunk.lane, chunk.offset, self._verdict_wait_ms)
        if outcomes is not None:
            return outcomes
        try:
            async with asyncio.timeout(LOOK_WAIT_MS / 1_000):
                kept = (await self._live.outcomes(chunk.lane, [chunk.offset], epoch=self._log.epoch))[0]
        except (Unavailable, TimeoutError) as error:
            self._lost_live(error)
            return None
        return None if kept is None else decode_outcomes(kept)
