"""What one lane has folded and not sunk, and which of its outcomes LIVE still keeps. No I/O; the sink's own memory.

Invariants: records are taken in the log's order, without a gap and none twice; outcomes are given up oldest first.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from aggregator.lane_record import FoldedRecord
from kernel.engine.live.base import LaneHeader
from kernel.limits import OUTCOME_KEEP_MS, OUTCOMES_MAX


class KeptOutcome(msgspec.Struct, frozen=True, gc=False):
    """Outcomes of one record that LIVE keeps: its offset, how many, and when they were sunk (monotonic ms)."""

    offset: int
    events: int
    sunk_ms: float


class LaneQueue:
    """One lane on its way to RAW.

    `next` is the offset to take next, `progress` what RAW holds, `folded` what LIVE has folded, `sunk` what LIVE was
    told; `clock_ms` the lane's clock at `next`; `drop` the offsets whose outcomes LIVE may forget. `owed` is what LIVE
    had been told before: RAW may have lost its last rows below it, until they are written again.
    """

    def __init__(self, *, start: int, progress: int, clock_ms: int, token: bytes, sunk: int) -> None:
        self.next = start
        self.progress = progress
        self.clock_ms = clock_ms
        self.token = token
        self.sunk = sunk
        self.owed = sunk
        self.gone_back = False
        self.folded = start
        self.events = 0
        self.records: deque[FoldedRecord] = deque()
        self.drop: list[int] = []
        self._kept: deque[KeptOutcome] = deque()
        self._kept_events = 0

    def take(self, folded: FoldedRecord) -> bool:
        """Take the next record; one that was taken before is ignored, because it was folded to the same outcomes."""
        offset = folded.record.offset
        self.folded = max(self.folded, offset + 1)
        if offset < self.next:
            return False
        assert offset == self.next, "records are handed on without a gap"
        self.next = offset + 1
        self.clock_ms = folded.clock_ms
        self.events += len(folded.outcomes)
        self.records.append(folded)
        return True

    def see(self, header: LaneHeader, *, folded: int) -> None:
        """Believe what LIVE says of the lane, asked when `folded` stood there: it may have lost the last it was told.

        What was taken while it was asked it may not know of yet.
        """
        self.sunk = header.sunk
        if self.folded == folded:
            self.folded = header.next

    @property
    def restored(self) -> bool:
        """Tell whether RAW holds again all rows that LIVE was told it has."""
        return self.gone_back and self.progress >= self.owed

    def first(self, rows_max: int) -> list[FoldedRecord]:
        """Tell the records of the next round, as many as `rows_max` rows hold, at least one; they stay until `done`."""
        taken: list[FoldedRecord] = []
        for folded in self.records:
            rows_max -= len(folded.outcomes)
            if taken and rows_max < 0:
                break
            taken.append(folded)
        return taken

    def first_offset(self) -> int:
        """Tell the offset of the first record that is not in RAW, `next` when there is none."""
        return self.records[0].record.offset if self.records else self.next

    def done(self, records: int, now_ms: float) -> None:
        """Say that the first `records` are in RAW and `progress` says so."""
        for _ in range(records):
            folded = self.records.popleft()
            self.events -= len(folded.outcomes)
            self.progress = max(self.progress, folded.record.offset + 1)
            if folded.record.snapshot is None:
                self._keep(KeptOutcome(folded.record.offset, len(folded.outcomes), now_ms))

    def keep_older(self, kept: Iterable[KeptOutcome]) -> None:
        """Remember outcomes that a former process left, in order; they are older than all others."""
        older = list(kept)
        self._kept.extendleft(reversed(older))
        self._kept_events += sum(one.events for one in older)

    def expire(self, now_ms: float) -> None:
        """Give up, into `drop`, the outcomes that were sunk OUTCOME_KEEP_MS ago or are too many."""
        while self._kept and (self._kept[0].sunk_ms + OUTCOME_KEEP_MS <= now_ms or self._kept_events > OUTCOMES_MAX):
            gone = self._kept.popleft()
            self._kept_events -= gone.events
            self.drop.append(gone.offset)

    def _keep(self, kept: KeptOutcome) -> None:
        self._kept.append(kept)
        self._kept_events += kept.events
