"""What a lane's queue believes of what LIVE says."""

import pytest

from aggregator.lane_record import FoldedRecord, LaneRecord
from aggregator.worker.lane_queue import LaneQueue
from kernel.engine.live.base import READY, LaneHeader

HEADER = LaneHeader(epoch=1, token=b"t", rules=3, next=3, sunk=2, clock_ms=0, seen_ms=0, state=READY)


def queue_at(next_offset):
    return LaneQueue(start=next_offset, progress=next_offset, clock_ms=0, token=b"t", sunk=next_offset)


@pytest.mark.parametrize(("taken", "folded"), [(False, 3), (True, 5)])
def test_what_was_taken_while_live_was_asked_is_folded(taken, folded):
    """Else `sunk` would stand below it until the lane's next record: keys would not be condensed meanwhile."""
    queue = queue_at(4)
    before = queue.folded
    if taken:
        record = LaneRecord(offset=4, time_ms=0, gateway="gw")
        queue.take(FoldedRecord(record=record, outcomes=[], clock_ms=0))
    queue.see(HEADER, folded=before)
    assert (queue.sunk, queue.folded) == (2, folded)
