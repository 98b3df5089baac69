"""Records of a lane, decoded, alone and with what the fold said of them. Pure.

Owns how a record of the log becomes usage or a snapshot, and how records are grouped into writes. Invariant: a record
that does not decode ends the group before it and is never skipped. Source: DESIGN 3.2, 3.5.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from catalog.terms import Snapshot, decode_account_record
from ingest.event import UsageEvent, decode_usage
from ingest.verdict import Outcome
from kernel.engine.log.base import Record
from kernel.errors import RecordUnreadable
from kernel.limits import FOLD_WRITE_EVENTS_MAX
from kernel.record import USAGE, decode_record


class LaneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record: `events` of usage, or one account's `snapshot`. `time_ms` is the log's own time."""

    offset: int
    time_ms: int
    gateway: str
    events: Sequence[UsageEvent] = ()
    snapshot: Snapshot | None = None

    def customers(self) -> Iterator[bytes]:
        """Name the customers that the record concerns, with repetitions."""
        if self.snapshot is not None:
            yield self.snapshot.customer
        for event in self.events:
            yield event.customer


class FoldedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record with its outcomes; `clock_ms` is the lane's clock after it, `cut` tells that it took a cut."""

    record: LaneRecord
    outcomes: Sequence[Outcome]
    clock_ms: int
    cut: bool = False


def decode_lane_record(record: Record) -> LaneRecord:
    """Decode a record of the log. Raises RecordUnreadable, naming the offset."""
    try:
        envelope = decode_record(record.data)
        usage = envelope.kind == USAGE
        return LaneRecord(
            offset=record.offset,
            time_ms=record.time_ms,
            gateway=envelope.gateway,
            events=decode_usage(envelope) if usage else (),
            snapshot=None if usage else decode_account_record(envelope),
        )
    except RecordUnreadable as error:
        raise RecordUnreadable(f"offset {record.offset}: {error}") from error


def groups(records: Iterable[Record]) -> Iterator[list[LaneRecord]]:
    """Group records for one write each: at most FOLD_WRITE_EVENTS_MAX events, and as many account records.

    Raises RecordUnreadable after the group that lies before the record at fault.
    """
    group: list[LaneRecord] = []
    size = 0
    for raw in records:
        try:
            record = decode_lane_record(raw)
        except RecordUnreadable:
            if group:
                yield group
            raise
        weight = max(1, len(record.events))
        if group and size + weight > FOLD_WRITE_EVENTS_MAX:
            yield group
            group, size = [], 0
        group.append(record)
        size += weight
    if group:
        yield group
