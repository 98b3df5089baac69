"""One lane's fold: read the log, judge, write LIVE in one step, tell the verdicts, hand on to the sink.

Owns the loop of DESIGN 3.5. Invariants: the state that a write was computed from is LIVE's own, or the write is
refused; a verdict is told only after it is written; what was told is handed to the sink in the log's order; nothing is
skipped. It may be cancelled at any await: the next start reads what LIVE says and goes on from there.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from aggregator.fold import JUDGES, RULES
from aggregator.fold_slice import CustomerState, SliceFold, customer_state
from aggregator.lane_record import FoldedRecord, LaneRecord, groups
from aggregator.store import UsageStore
from aggregator.worker.condenser import KeyCondenser
from aggregator.worker.dead_letter import DeadLetterLimit
from aggregator.worker.key_lookup import looked_up
from aggregator.worker.rebuild import rebuild_lane
from aggregator.worker.sink import Sink
from ingest.verdict import Outcome, Verdict
from kernel.clock import Clock
from kernel.engine.live.base import READY, FoldWrite, Known, LaneHeader, LaneView, Live, Moved, Written
from kernel.engine.log.base import Log, Record
from kernel.engine.pause import Pause
from kernel.errors import Fatal, LogMissing, OffsetGone, Unavailable
from kernel.limits import (
    ACCOUNTS_CACHED_MAX,
    FOLD_READ_RECORDS_MAX,
    FOLD_SLICE_EVENTS,
    KEYS_EXACT_DAYS_MAX,
    REBUILD_STALE_MS,
    SEEN_REFRESH_MS,
)
from kernel.telemetry import CounterName, GaugeName, HistogramName, Telemetry, logger

_log = logger("lane")

Publish = Callable[[int, int, int, Sequence[Outcome]], None]
_REBUILD_LOOK_MS: Final = 50  # many looks within REBUILD_STALE_MS, so that a rebuild that moves is seen to move


class LaneWorker:
    """Folds one lane. `ready` tells that it folds, `stopped` why it does not and an operator has to act."""

    def __init__(
        self,
        lane: int,
        *,
        log: Log,
        live: Live,
        store: UsageStore,
        sink: Sink,
        publish: Publish,
        clock: Clock,
        telemetry: Telemetry,
        gateway: str | None = None,
        exact_days: int = KEYS_EXACT_DAYS_MAX,
        rules: int | None = None,
    ) -> None:
        """Take the parts; `gateway` is the one in this process, None when there is none.

        `exact_days` is how long LIVE keeps keys themselves; older ones become filters. `rules` are those of the log's
        epoch; None: this program's own.

        `publish(epoch, lane, offset, outcomes)` is told every record of usage once it is judged, and at once.
        Records of other gateways are told through LIVE, by the write itself.
        """
        self.lane = lane
        self.ready = False
        self.stopped: str | None = None
        self._log = log
        self._live = live
        self._store = store
        self._sink = sink
        self._publish = publish
        self._gateway = gateway
        self._rules = RULES if rules is None else rules
        self._clock = clock
        self._telemetry = telemetry
        self._exact_days = exact_days
        self._states: dict[bytes, CustomerState] = {}
        self._dead = DeadLetterLimit()
        self._pause = Pause()
        # LIVE's time minus our monotonic one, from its latest answer: never ahead of LIVE's own clock.
        self._live_ahead_ms = 0.0

    async def run(self) -> None:
        """Fold until cancelled; returns only when the lane has to stop, loudly."""
        self._telemetry.set(GaugeName.LANE_STOPPED, 0, lane=str(self.lane))
        try:
            while True:
                try:
                    await self._session()
                except Unavailable as error:
                    self._forget("unavailable")
                    _log.warning("a store is away, trying again", lane=self.lane, error=str(error))
                    await self._pause.wait()
        except Fatal as error:
            self._stop(str(error))
        except Exception as error:
            self._stop(f"{type(error).__name__}: {error}")
            raise
        finally:
            self.ready = False

    def _stop(self, reason: str) -> None:
        self.stopped = reason
        self._telemetry.set(GaugeName.LANE_STOPPED, 1, lane=str(self.lane))
        _log.error("the lane is stopped: an operator has to act", lane=self.lane, reason=reason)

    def _forget(self, reason: str) -> None:
        self.ready = False
        self._states.clear()
        self._telemetry.count(CounterName.FOLD_REPEATS, reason=reason)

    async def _session(self) -> None:
        """Fold from what LIVE says until LIVE says otherwise."""
        header: LaneHeader | None = await self._load()
        if header is None:
            return
        self.ready = True
        start = header.next
        seen_ms, reading = self._read(start)
        condensing = self._condense()
        try:
            while header is not None:
                try:
                    began_ms, records = seen_ms, await reading
                except OffsetGone:
                    # Another owner folded on from here, and what it sank was removed. LIVE knows where the lane stands:
                    # if here, `_load` makes it again from RAW, or stops it.
                    break
                for ended in (task for task in condensing if task.done()):
                    ended.result()  # it ends by an error alone
                self._pause.reset()
                start = records[-1].offset + 1 if records else start
                seen_ms, reading = self._read(start)
                if records:
                    header = await self._fold_all(header, records, began_ms)
                else:
                    header = await self._refresh(header, began_ms)
        finally:
            beside = [reading, *condensing]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        self._forget("moved")

    def _condense(self) -> list["asyncio.Task[None]"]:
        """Begin to condense keys beside the fold, unless all stay exact."""
        if self._exact_days >= KEYS_EXACT_DAYS_MAX:
            return []
        condenser = KeyCondenser(self.lane, self._live, self._exact_days)
        return [asyncio.create_task(condenser.run(), name=f"condenser-{self.lane}")]

    def _read(self, start: int) -> tuple[int, asyncio.Task[list[Record]]]:
        """Begin to read ahead, while what was read before is folded and written; tells LIVE's time at its beginning."""
        reading = self._log.read(self.lane, start, records_max=FOLD_READ_RECORDS_MAX, wait_ms=SEEN_REFRESH_MS)
        return self._live_now_ms(), asyncio.create_task(reading)

    async def _load(self) -> LaneHeader | None:
        """Read the lane's header, and make the lane again when it is absent; None: look again."""
        view = await self._view(())
        header = view.header
        if header is None or header.state != READY:
            await self._make(None)
            return None
        if header.epoch > self._log.epoch:
            raise LogMissing(f"LIVE knows epoch {header.epoch} of lane {self.lane}, the log is epoch {self._log.epoch}")
        if header.rules > self._rules:
            raise Fatal(
                f"lane {self.lane} is folded by rules {header.rules}, this program has {self._rules}: "
                "it is an older Meterline, start the newer one"
            )
        if header.epoch < self._log.epoch:
            # A new epoch has begun: what the lane had is in RAW, and is carried into it.
            await self._make(header.token)
            return None
        if header.rules < self._rules:
            raise Fatal(
                f"lane {self.lane} is folded by rules {header.rules}, this program has {self._rules}: "
                "other rules begin with a new epoch; stop every process and run `meterline epoch`"
            )
        bounds = await self._log.bounds(self.lane)
        if bounds.end < header.next:
            raise LogMissing(
                f"the log of lane {self.lane} ends at {bounds.end}, LIVE folded it up to {header.next}: another log"
            )
        if bounds.end > header.next and self._rules not in JUDGES:
            raise Fatal(
                f"lane {self.lane} has {bounds.end - header.next} records for rules {self._rules} to judge, which this "
                "program has not: start the Meterline that ran before, and stop it once it is ready"
            )
        if bounds.begin > header.next or not await self._sink.begin(self.lane, header):
            await self._make(header.token)
            return None
        return header

    async def _make(self, token: bytes | None) -> None:
        """Rebuild the lane: the one of `token`, an absent one, or one that another process left half done."""
        if token is None:
            under_way = await self._live.rebuild_step(self.lane)
            looked_ms = self._clock.monotonic_ms()
            while under_way is not None and self._clock.monotonic_ms() - looked_ms < REBUILD_STALE_MS:
                await asyncio.sleep(_REBUILD_LOOK_MS / 1_000)
                now = await self._live.rebuild_step(self.lane)
                if now != under_way:
                    return
            token = under_way[0] if under_way is not None else None
        await rebuild_lane(
            self.lane,
            log=self._log,
            live=self._live,
            store=self._store,
            clock=self._clock,
            telemetry=self._telemetry,
            expected_token=token,
            exact_days=self._exact_days,
            rules=self._rules,
        )

    async def _fold_all(self, header: LaneHeader, records: Sequence[Record], seen_ms: int) -> LaneHeader | None:
        """Fold what was read; None when LIVE moved. The log's end was seen if it gave less than was asked for."""
        end = records[-1].offset if len(records) < FOLD_READ_RECORDS_MAX else None
        after: LaneHeader | None = header
        for group in groups(records):
            await self._sink.room()
            if after is not None:
                after = await self._fold(after, group, seen_ms if group[-1].offset == end else 0)
        return after

    async def _fold(self, header: LaneHeader, group: Sequence[LaneRecord], seen_ms: int) -> LaneHeader | None:
        """Fold a group of records in one write; None, and nothing is written, when LIVE moved."""
        if not await self._know_customers(header, group):
            return None
        known: dict[bytes, bytes | None] = {}
        while True:
            fold, folded = await self._judge(header, group, known)
            match await self._write(fold.write(seen_ms, self._elsewhere(group))):
                case Written():
                    break
                case Known(entries=entries, maybe=maybe):
                    assert not entries.keys() | maybe <= known.keys(), "a digest that is known is not taken for new"
                    known.update(entries)
                    if maybe:
                        await self._sink.restored(self.lane)
                        place = (header.epoch, self.lane, group)
                        known.update(await looked_up(self._store, self._telemetry, *place, maybe, entries))
                    self._telemetry.count(CounterName.FOLD_REPEATS, reason="known")
                case Moved():
                    return None
        self._remember(fold.changed)
        for one in folded:
            if one.record.snapshot is None:
                self._publish(header.epoch, self.lane, one.record.offset, one.outcomes)
            self._sink.take(self.lane, one)
        self._count(folded)
        self._dead.check(sum(len(one.outcomes) for one in folded), fold.dead)
        return replace(header, next=fold.next, clock_ms=fold.clock_ms, seen_ms=max(seen_ms, header.seen_ms))

    def _elsewhere(self, group: Sequence[LaneRecord]) -> dict[int, str]:
        """Tell the records that other processes' gateways wait for: offset and gateway."""
        return {
            record.offset: record.gateway
            for record in group
            if record.snapshot is None and record.gateway != self._gateway
        }

    async def _know_customers(self, header: LaneHeader, group: Sequence[LaneRecord]) -> bool:
        """Read the customers that are not remembered; False when LIVE is not what `header` says."""
        customers = dict.fromkeys(customer for record in group for customer in record.customers())
        missing = [customer for customer in customers if customer not in self._states]
        if not missing:
            return True
        view = await self._view(missing)
        if view.header is None or not same_state(view.header, header):
            return False
        for customer, stored in zip(missing, view.accounts, strict=True):
            self._states[customer] = customer_state(stored)
        return True

    async def _judge(
        self, header: LaneHeader, group: Sequence[LaneRecord], known: Mapping[bytes, bytes | None]
    ) -> tuple[SliceFold, list[FoldedRecord]]:
        """Fold a group; after FOLD_SLICE_EVENTS events others get their turn."""
        fold = SliceFold(header, self.lane, self._states, known)
        folded: list[FoldedRecord] = []
        left = FOLD_SLICE_EVENTS
        for record in group:
            cut = fold.account(record.offset, record.snapshot) if record.snapshot is not None else False
            for begin in range(0, len(record.events), FOLD_SLICE_EVENTS):
                part = record.events[begin : begin + FOLD_SLICE_EVENTS]
                fold.usage(record.offset, record.time_ms, part, begin)
                left -= len(part)
                if left <= 0:
                    await asyncio.sleep(0)
                    left = FOLD_SLICE_EVENTS
            outcomes = fold.outcomes.get(record.offset, ())
            folded.append(FoldedRecord(record=record, outcomes=outcomes, clock_ms=fold.clock_ms, cut=cut))
        return fold, folded

    async def _refresh(self, header: LaneHeader, seen_ms: int) -> LaneHeader | None:
        """Say that the log's end is folded, which compares as every write does; None when LIVE moved."""
        idle = SliceFold(header, self.lane, {}, {})
        written = await self._write(idle.write(seen_ms))
        return replace(header, seen_ms=max(seen_ms, header.seen_ms)) if isinstance(written, Written) else None

    async def _view(self, customers: Sequence[bytes]) -> LaneView:
        view = await self._live.view(self.lane, customers)
        self._live_ahead_ms = view.now_ms - self._clock.monotonic_ms()
        return view

    async def _write(self, change: FoldWrite) -> Written | Moved | Known:
        begun_ms = self._clock.monotonic_ms()
        result = await self._live.write(self.lane, change)
        ended_ms = self._clock.monotonic_ms()
        self._telemetry.observe(HistogramName.FOLD_WRITE_SECONDS, (ended_ms - begun_ms) / 1_000)
        if isinstance(result, Written):
            self._live_ahead_ms = result.now_ms - ended_ms
        return result

    def _live_now_ms(self) -> int:
        return int(self._live_ahead_ms + self._clock.monotonic_ms())

    def _remember(self, changed: Mapping[bytes, CustomerState]) -> None:
        for customer, state in changed.items():
            self._states.pop(customer, None)
            self._states[customer] = state
        while len(self._states) > ACCOUNTS_CACHED_MAX:
            del self._states[next(iter(self._states))]

    def _count(self, folded: Sequence[FoldedRecord]) -> None:
        verdicts = Counter([outcome.verdict for one in folded for outcome in one.outcomes])
        for verdict, events in verdicts.items():
            self._telemetry.count(CounterName.EVENTS_FOLDED, events, verdict=verdict.value)
        if dead := verdicts[Verdict.DEAD]:
            self._telemetry.count(CounterName.DEAD_LETTERS, dead)
            _log.error("dead letters", lane=self.lane, events=dead, offset=folded[0].record.offset)


def same_state(there: LaneHeader, computed_from: LaneHeader) -> bool:
    """Tell whether LIVE is what a state was computed from: what the fold's script compares (DESIGN 3.5.3)."""
    return (there.epoch, there.token, there.rules, there.next, there.state) == (
        computed_from.epoch,
        computed_from.token,
        computed_from.rules,
        computed_from.next,
        computed_from.state,
    )
