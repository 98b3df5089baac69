"""The sink of all lanes: every folded event becomes one row of RAW, then `progress` rises, then `sunk`.

Owns the rounds of DESIGN 3.6 and what is read again after a start. Invariants: rows are inserted before `progress` says
so, and `progress` rises before LIVE forgets an outcome; both only rise; the same rows inserted again replace
themselves, so a round may be repeated whole. Cancelled at any await, the next start begins at the lower of the two.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from aggregator.lane_record import FoldedRecord, LaneRecord, decode_lane_record
from aggregator.row import AccountRecordRow, EventColumns, account_record_row, rows_of
from aggregator.store import UsageStore
from aggregator.worker.lane_queue import KeptOutcome, LaneQueue
from ingest.event import UsageEvent
from ingest.verdict import Outcome, Verdict, decode_outcomes
from kernel.clock import Clock
from kernel.engine.live.base import READY, LaneHeader, Live
from kernel.engine.log.base import Log
from kernel.engine.pause import Pause
from kernel.errors import Fatal, OffsetGone, Unavailable
from kernel.limits import (
    FOLD_READ_RECORDS_MAX,
    FOLD_SLICE_EVENTS,
    SINK_ROWS_MAX,
    SINK_WAIT_MS,
    TRIM_EVERY_MS,
    UNSUNK_EVENTS_MAX,
)
from kernel.quantity import to_units
from kernel.telemetry import CounterName, GaugeName, HistogramName, Telemetry, logger

_log = logger("sink")
# Outcomes forgotten in one script: a few milliseconds of LIVE.
_DROP_MAX: Final = 5_000
# Rows of one insert of what a former process left. An event between log and RAW takes 6 kB of objects, so this is 60 MB
# beside all else that a start does; RAW gets a hundred parts of a million events, which it merges by the tens.
_AGAIN_ROWS_MAX: Final = 10_000


_Taken = tuple[int, LaneQueue, list[FoldedRecord]]


class Sink:
    """Writes what the lanes have folded. One for all lanes of a process; all calls from one event loop.

    `stopped` tells why it writes no more and an operator has to act.
    """

    def __init__(
        self,
        *,
        log: Log,
        live: Live,
        store: UsageStore,
        clock: Clock,
        telemetry: Telemetry,
        retain_ms: int,
        retain_bytes: int,
    ) -> None:
        """`retain_ms` and `retain_bytes` are what a lane of the log keeps at most below what is folded and sunk."""
        self.stopped: str | None = None
        self._log = log
        self._live = live
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._retain_ms = retain_ms
        self._retain_bytes = retain_bytes
        self._lanes: dict[int, LaneQueue] = {}
        self._behind: asyncio.Queue[tuple[int, int, LaneQueue]] = asyncio.Queue()
        self._due = asyncio.Event()
        self._room = asyncio.Event()
        self._restored = asyncio.Event()
        self._flushes: list[tuple[dict[int, int], asyncio.Future[None]]] = []
        self._trimmed_ms = clock.monotonic_ms()

    # --- what the lanes say

    async def begin(self, lane: int, header: LaneHeader) -> bool:
        """Get ready to take the records from `header.next` on; what was folded before and is not in RAW is read again.

        False when that is not possible, because the log or the outcomes do not reach back: the lane has to be rebuilt.
        """
        queue = self._lanes.get(lane)
        if queue is None or not await self._catch_up(lane, queue, header):
            # A queue that another owner overtook may lack outcomes that are gone by now, while RAW has their rows.
            queue = await self._queue(lane, header)
            if not await self._catch_up(lane, queue, header):
                return False
        self._lanes[lane] = queue
        return True

    async def _catch_up(self, lane: int, queue: LaneQueue, header: LaneHeader) -> bool:
        """Bring a queue up to `header.next` from log and outcomes; False when they do not reach back."""
        queue.token, queue.folded = header.token, header.next
        while queue.next < header.next:
            records = await self._again(lane, queue.next, header.next)
            if not records:
                return False
            await self.room()
            for record, outcomes in records:
                if outcomes is None and record.events:
                    return False
                clock_ms = max([queue.clock_ms, *(min(event.at_ms, record.time_ms) for event in record.events)])
                judged = decode_outcomes(outcomes) if outcomes is not None else []
                queue.take(FoldedRecord(record=record, outcomes=judged, clock_ms=clock_ms))
        return True

    def take(self, lane: int, folded: FoldedRecord) -> None:
        """Take the next record of a lane, once it is written to LIVE. A cut is sunk at once."""
        self._lanes[lane].take(folded)
        if folded.cut or self._unsunk() >= SINK_ROWS_MAX:
            self._due.set()

    def release(self, lane: int) -> None:
        """Forget a lane that this process folds no more; its next owner reads again what is not in RAW."""
        self._lanes.pop(lane, None)
        self._room.set()
        self._restored.set()
        self._answer_flushes()

    async def room(self) -> None:
        """Wait while UNSUNK_EVENTS_MAX events or more are folded and not sunk."""
        while self._unsunk() >= UNSUNK_EVENTS_MAX:
            self._room.clear()
            self._due.set()
            await self._room.wait()

    async def restored(self, lane: int) -> None:
        """Wait until RAW holds all rows that LIVE was told it has: a server that starts again may lack its last ones.

        Before this nobody may conclude from a row's absence that there was no event.
        """
        while (queue := self._lanes.get(lane)) is not None and not queue.restored:
            self._restored.clear()
            self._due.set()
            await self._restored.wait()

    async def flush(self) -> None:
        """Wait until everything taken so far is in RAW and `progress` says so. Raises Fatal once it has stopped."""
        if self.stopped is not None:
            raise Fatal(f"the sink is stopped: {self.stopped}")
        wanted = {lane: queue.next for lane, queue in self._lanes.items() if queue.records}
        if not wanted:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append((wanted, done))
        self._due.set()
        await done

    def _unsunk(self) -> int:
        return sum(queue.events for queue in self._lanes.values())

    # --- rounds

    async def run(self) -> None:
        """Sink until cancelled: once a second, or as soon as there is enough, or at once when asked."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._go_back())
                tasks.create_task(self._rounds())
        except ExceptionGroup as errors:
            self._stop(errors.exceptions[0])
            raise

    def _stop(self, error: Exception) -> None:
        self.stopped = f"{type(error).__name__}: {error}"
        _log.error("the sink is stopped: an operator has to act", reason=self.stopped, exc_info=error)
        for _, done in self._flushes:
            if not done.done():
                done.set_exception(Fatal(f"the sink is stopped: {self.stopped}"))

    async def _rounds(self) -> None:
        pause = Pause()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SINK_WAIT_MS / 1_000):
                    await self._due.wait()
            self._due.clear()
            try:
                await self._round()
                await self._trim()
            except Unavailable as error:
                _log.warning("a store is away, trying again", error=str(error))
                await pause.wait()
            else:
                pause.reset()

    async def _round(self) -> None:
        """Insert what waits, then raise `progress`, then `sunk`; what fails is tried again whole."""
        taken = self._pick()
        if taken:
            await self._insert([(lane, folded) for lane, _, records in taken for folded in records])
            await self._raise_progress(taken)
            for _, queue, records in taken:
                queue.done(len(records), self._clock.monotonic_ms())
            self._room.set()
            self._restored.set()
            self._answer_flushes()
            if self._flushes or self._unsunk() >= SINK_ROWS_MAX:
                self._due.set()
        for lane, queue in list(self._lanes.items()):
            self._telemetry.set(GaugeName.LANE_UNSUNK, len(queue.records), lane=str(lane))
            await self._tell(lane, queue)

    def _pick(self) -> list[_Taken]:
        """Choose the records of a round, each lane's share of SINK_ROWS_MAX, and the queues they stay in until done."""
        waiting = {lane: queue for lane, queue in self._lanes.items() if queue.records}
        return [(lane, queue, queue.first(SINK_ROWS_MAX // len(waiting))) for lane, queue in waiting.items()]

    async def _insert(self, records: Iterable[tuple[int, FoldedRecord]]) -> None:
        columns, accounts, made = EventColumns(), list[AccountRecordRow](), 0
        for lane, folded in records:
            record = folded.record
            if record.snapshot is not None:
                place = (self._log.epoch, lane, record.offset, record.time_ms)
                accounts.append(account_record_row(*place, record.snapshot))
            elif folded.outcomes:
                columns.extend(
                    rows_of(
                        self._log.epoch,
                        lane,
                        record.offset,
                        record.time_ms,
                        record.gateway,
                        [_storable(*judged) for judged in zip(record.events, folded.outcomes, strict=True)],
                        folded.outcomes,
                    )
                )
            if len(columns) - made >= FOLD_SLICE_EVENTS:
                made = len(columns)
                await asyncio.sleep(0)
        begun_ms = self._clock.monotonic_ms()
        await self._store.insert_account_records(accounts)  # who finds an event finds the terms that it was judged by
        await self._store.insert_events(columns)
        self._telemetry.observe(HistogramName.SINK_INSERT_SECONDS, (self._clock.monotonic_ms() - begun_ms) / 1_000)
        self._telemetry.count(CounterName.EVENTS_SUNK, len(columns))

    async def _raise_progress(self, taken: Sequence[_Taken]) -> None:
        risen = {
            lane: (records[-1].record.offset + 1, records[-1].clock_ms)
            for lane, queue, records in taken
            if records[-1].record.offset >= queue.progress
        }
        await self._store.write_progress(self._log.epoch, risen)

    async def _tell(self, lane: int, queue: LaneQueue) -> None:
        """Raise LIVE's `sunk`, never above what it has folded, and let it forget outcomes; or see what it says."""
        queue.expire(self._clock.monotonic_ms())
        sunk = max(queue.sunk, min(queue.progress, queue.folded))
        drop = queue.drop[:_DROP_MAX]
        if sunk == queue.sunk and not drop:
            return
        if await self._live.sank(lane, token=queue.token, begun=queue.sunk, sunk=sunk, drop=drop):
            queue.sunk = sunk
            del queue.drop[: len(drop)]
            return
        folded = queue.folded
        header = (await self._live.view(lane, ())).header
        if header is not None and header.state == READY:
            queue.token = header.token
            queue.see(header, folded=folded)

    def _answer_flushes(self) -> None:
        waiting = []
        for wanted, done in self._flushes:
            if all(self._passed(lane, offset) for lane, offset in wanted.items()):
                if not done.done():
                    done.set_result(None)
            else:
                waiting.append((wanted, done))
        self._flushes = waiting

    def _passed(self, lane: int, offset: int) -> bool:
        queue = self._lanes.get(lane)
        return queue is None or queue.first_offset() >= offset

    async def _trim(self) -> None:
        """Remove what is folded and sunk from the log, now and then."""
        if self._clock.monotonic_ms() - self._trimmed_ms < TRIM_EVERY_MS:
            return
        self._trimmed_ms = self._clock.monotonic_ms()
        for lane, queue in list(self._lanes.items()):
            folded = queue.folded
            header = (await self._live.view(lane, ())).header
            if header is not None and header.state == READY:
                # LIVE may have lost the last that it was told, and nothing else. Or it lost more, and another owner
                # folded it on to where this lane's fold stands, which then notices nothing and hands nothing on.
                queue.see(header, folded=folded)
                before = min(header.next, queue.progress)
                await self._log.trim(lane, before, keep_ms=self._retain_ms, keep_bytes=self._retain_bytes)

    # --- what a former process left

    async def _queue(self, lane: int, header: LaneHeader) -> LaneQueue:
        progress, clock_ms = (await self._store.progress(self._log.epoch)).get(lane, (0, 0))
        start = min(header.sunk, progress)
        queue = LaneQueue(start=start, progress=progress, clock_ms=clock_ms, token=header.token, sunk=header.sunk)
        self._behind.put_nowait((lane, start, queue))
        return queue

    async def _again(self, lane: int, start: int, stop: int) -> list[tuple[LaneRecord, bytes | None]]:
        """Read records from `start` on, below `stop`, with their outcomes; none when the log does not reach back."""
        try:
            read = await self._log.read(lane, start, records_max=FOLD_READ_RECORDS_MAX, wait_ms=0)
        except OffsetGone:
            return []
        records = [decode_lane_record(record) for record in read if record.offset < stop]
        outcomes = await self._live.outcomes(lane, [record.offset for record in records], epoch=self._log.epoch)
        return list(zip(records, outcomes, strict=True))

    async def _go_back(self) -> None:
        """Write the rows of all outcomes that LIVE still keeps once more: RAW may have lost its last inserts."""
        pause = Pause()
        while True:
            lane, stop, queue = await self._behind.get()
            while True:
                try:
                    await self._go_back_in(lane, stop)
                    queue.gone_back = True
                    self._restored.set()
                    break
                except Unavailable as error:
                    _log.warning("a store is away, trying again", lane=lane, error=str(error))
                    await pause.wait()

    async def _go_back_in(self, lane: int, stop: int) -> None:
        oldest = await self._live.oldest_outcome(lane)
        if oldest is None or oldest >= stop:
            return
        now_ms = self._clock.monotonic_ms()
        begin = (await self._log.bounds(lane)).begin
        kept = [KeptOutcome(offset, 0, now_ms) for offset in range(oldest, min(begin, stop))]
        offset = max(oldest, begin)
        judged: list[tuple[int, FoldedRecord]] = []
        rows = 0
        while offset < stop and (found := await self._again(lane, offset, stop)):
            offset = found[-1][0].offset + 1
            for record, kept_outcomes in found:
                if kept_outcomes is not None:
                    outcomes = decode_outcomes(kept_outcomes)
                    kept.append(KeptOutcome(record.offset, len(outcomes), now_ms))
                    judged.append((lane, FoldedRecord(record=record, outcomes=outcomes, clock_ms=0)))
                    rows += len(outcomes)
            if rows >= _AGAIN_ROWS_MAX:
                await self._insert(judged)
                judged, rows = [], 0
        await self._insert(judged)
        if lane in self._lanes:
            self._lanes[lane].keep_older(kept)


def _storable(event: UsageEvent, outcome: Outcome) -> UsageEvent:
    """Give the event as RAW can hold it: what never counted may name a quantity that is none, then its row says 0."""
    if outcome.verdict is Verdict.COUNTED:
        return event
    try:
        to_units(event.quantity)
    except (ArithmeticError, ValueError):
        return replace(event, quantity="0")
    return event
