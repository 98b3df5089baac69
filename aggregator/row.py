"""Rows of RAW, made from what the log and the fold say. Pure.

Owns the order of the columns and the conversion of an event with its outcome into them: ids and positions to text,
digests to hexadecimal, quantities as the decimal strings that they are (exact, never through a float). Events are
collected by column, because inserts by column are four times as fast as by row. Source: DESIGN 3.6.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from catalog.terms import Snapshot, encode_snapshot
from ingest.event import UsageEvent
from ingest.refusal import RefusedRequest
from ingest.verdict import Outcome
from kernel import ids

# One sink's insert names few organizations and features and some thousand customers; spelling base32 again and again
# would cost more than the rest of a row.
_SPELLINGS_MAX: Final = 65_536


class EventRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of `events`, as inserted. Field order is EVENT_COLUMNS.

    Since 1970: `event_time` in microseconds, `at` (effective at), `accepted_at` and `original_at` in milliseconds,
    `window` and `window_end` in days. `quantity` is a decimal string; digest, content and request are hexadecimal.
    `original` and `replays` are ids of events, or empty.
    """

    organization: str
    customer: str
    feature: str
    event_time: int
    epoch: int
    lane: int
    offset: int
    index: int
    at: int
    accepted_at: int
    clock_ms: int | None
    has_timestamp: bool
    quantity: str
    key: str
    digest: str
    content: str
    request: str
    properties: tuple[tuple[str, str], ...]
    gateway: str
    verdict: str
    code: str
    term: int
    window: int
    window_end: int
    cut: int
    original: str
    original_at: int
    limited: bool
    replays: str


class AccountRecordRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of `account_records`. `time` is the record's in milliseconds; `snapshot` its body in hexadecimal."""

    epoch: int
    lane: int
    offset: int
    time: int
    organization: str
    customer: str
    rev: int
    cut: int
    snapshot: str


class RefusalRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of `refusals`. `at` in milliseconds; customer, feature, quantity and key are what the client sent."""

    organization: str
    at: int
    id: str
    customer: str
    feature: str
    quantity: str
    key: str
    code: str
    message: str
    body: str


EVENT_COLUMNS: Final = EventRow.__struct_fields__
ACCOUNT_RECORD_COLUMNS: Final = AccountRecordRow.__struct_fields__
REFUSAL_COLUMNS: Final = RefusalRow.__struct_fields__


@lru_cache(maxsize=_SPELLINGS_MAX)
def _text(prefix: str, raw: bytes) -> str:
    return ids.id_text(prefix, raw)


def event_row(
    epoch: int,
    lane: int,
    offset: int,
    record_time_ms: int,
    gateway: str,
    index: int,
    event: UsageEvent,
    outcome: Outcome,
) -> tuple[Any, ...]:
    """Make one row in the order of EVENT_COLUMNS."""
    at = min(event.at_ms, record_time_ms)
    original, replayed = outcome.original_position(), event.replayed()
    return (
        _text(ids.ORGANIZATION, event.organization),
        _text(ids.CUSTOMER, event.customer),
        _text(ids.FEATURE, event.feature),
        event.event_time_us,
        epoch,
        lane,
        offset,
        index,
        at,
        at if event.clock_ms is None else event.clock_ms,
        event.clock_ms,
        event.has_timestamp,
        event.quantity,
        event.key,
        event.digest.hex(),
        event.content.hex(),
        event.request.hex(),
        event.properties,
        gateway,
        outcome.verdict.value,
        outcome.code,
        outcome.term,
        outcome.window,
        outcome.window_end,
        outcome.cut,
        original.event_id() if original is not None else "",
        outcome.original_at_ms,
        outcome.limited,
        replayed.event_id() if replayed is not None else "",
    )


def rows_of(
    epoch: int,
    lane: int,
    record_offset: int,
    record_time_ms: int,
    gateway: str,
    events: Sequence[UsageEvent],
    outcomes: Sequence[Outcome],
) -> list[tuple[Any, ...]]:
    """Join one record's events with their outcomes: one row each, in the order of EVENT_COLUMNS."""
    assert len(events) == len(outcomes), "one event has one outcome"
    return [
        event_row(epoch, lane, record_offset, record_time_ms, gateway, index, event, outcome)
        for index, (event, outcome) in enumerate(zip(events, outcomes, strict=True))
    ]


class EventColumns:
    """Rows on their way to one insert, collected by column; `data` has one list a column of EVENT_COLUMNS."""

    def __init__(self) -> None:
        self.data: list[list[Any]] = [[] for _ in EVENT_COLUMNS]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.data[0])

    def extend(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows that `rows_of` made."""
        for column, values in zip(self.data, zip(*rows, strict=True), strict=False):
            column.extend(values)


def account_record_row(epoch: int, lane: int, offset: int, time_ms: int, snapshot: Snapshot) -> AccountRecordRow:
    """Make the row of an account record of the log."""
    return AccountRecordRow(
        epoch=epoch,
        lane=lane,
        offset=offset,
        time=time_ms,
        organization=_text(ids.ORGANIZATION, snapshot.organization),
        customer=_text(ids.CUSTOMER, snapshot.customer),
        rev=snapshot.rev,
        cut=snapshot.cut,
        snapshot=encode_snapshot(snapshot).hex(),
    )


def refusal_row(refused: RefusedRequest) -> RefusalRow:
    """Make the row of a request that the catalog alone refused."""
    return RefusalRow(
        organization=_text(ids.ORGANIZATION, refused.organization),
        at=refused.at_ms,
        id=refused.id,
        customer=refused.customer,
        feature=refused.feature,
        quantity=refused.quantity,
        key=refused.key,
        code=refused.code,
        message=refused.message,
        body=refused.body,
    )
