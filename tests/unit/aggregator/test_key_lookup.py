"""What the fold decides on a key that LIVE only may know: by RAW's row of it, as on an entry of LIVE."""

from collections.abc import Sequence

import pytest

from aggregator.account import Account, encode_account
from aggregator.fold_slice import SliceFold, customer_state
from aggregator.lane_record import LaneRecord
from aggregator.row import EventColumns, rows_of
from aggregator.worker.key_lookup import first_asked, looked_up
from catalog.terms import encode_snapshot
from ingest.event import UsageEvent
from ingest.key_entry import EntryKind, KeyEntry, encode_entry
from ingest.verdict import Outcome, Verdict
from kernel.engine.live.base import AccountState
from kernel.position import Position
from kernel.telemetry import Telemetry
from tests.simulation.raw import MemoryUsageStore, Tables
from tests.unit.aggregator.test_fold import CUSTOMER, HEADER, NOW_MS, event, snapshot

DIGEST = b"d" * 16
FIRST = Position(1, 0, 5, 3)
EARLIER_MS = NOW_MS - 86_400_000


async def a_store(*rows: tuple[int, int, UsageEvent, Outcome]) -> MemoryUsageStore:
    store = MemoryUsageStore(Tables())
    for offset, index, sent, outcome in rows:
        columns = EventColumns()
        filler = [event(digest=b"", key="")] * index
        columns.extend(
            rows_of(1, 0, offset, NOW_MS, "gw", [*filler, sent], [Outcome(verdict=Verdict.COUNTED)] * index + [outcome])
        )
        await store.insert_events(columns)
    return store


async def verdict_on(store: MemoryUsageStore, sent: UsageEvent, older: bytes | None = None) -> Outcome:
    group: Sequence[LaneRecord] = [LaneRecord(offset=10, time_ms=NOW_MS, gateway="gw", events=[sent])]
    entries = {} if older is None else {DIGEST: older}
    known = await looked_up(store, Telemetry(), 1, 0, group, {DIGEST}, entries)  # type: ignore[arg-type] # the simulation's
    state = customer_state(AccountState(snapshot=encode_snapshot(snapshot()), account=encode_account(Account(rev=1))))
    fold = SliceFold(HEADER, 0, {CUSTOMER: state}, known)
    fold.usage(10, NOW_MS, [sent])
    assert fold.write(0).fresh == []
    return fold.outcomes[10][0]


@pytest.mark.parametrize(
    ("left", "change", "verdict"),
    [
        (None, {}, Verdict.COUNTED),
        (Verdict.COUNTED, {}, Verdict.DUPLICATE),
        (Verdict.COUNTED, {"content": b"content2"}, Verdict.CONFLICT),
        (Verdict.COUNTED, {"request": b"request1"}, Verdict.REPEAT),
        (Verdict.BLOCKED, {}, Verdict.COUNTED),
        (Verdict.BLOCKED, {"at_ms": EARLIER_MS - 1}, Verdict.SUPERSEDED),
        (Verdict.REFUSED, {}, Verdict.COUNTED),
        (Verdict.REFUSED, {"at_ms": EARLIER_MS - 1}, Verdict.SUPERSEDED),
        (Verdict.DEAD, {}, Verdict.DEAD),
        (Verdict.DUPLICATE, {}, Verdict.COUNTED),  # a row that left no entry
        (Verdict.SUPERSEDED, {}, Verdict.COUNTED),
    ],
)
async def test_raws_row_rules_as_its_entry_would(left: Verdict | None, change: dict, verdict: Verdict) -> None:
    first = event(at_ms=EARLIER_MS, request=b"request1")
    store = await a_store(*([] if left is None else [(FIRST.offset, FIRST.index, first, Outcome(verdict=left))]))
    outcome = await verdict_on(store, event(**change))
    assert outcome.verdict is verdict
    names_it = verdict in (Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.REPEAT, Verdict.DEAD)
    assert outcome.original_position() == (FIRST if names_it else None)


@pytest.mark.parametrize("offset", [10, 11])
async def test_a_row_of_the_event_itself_or_after_it_does_not_rule(offset: int) -> None:
    store = await a_store((offset, 0, event(), Outcome(verdict=Verdict.COUNTED)))
    assert (await verdict_on(store, event())).verdict is Verdict.COUNTED


async def test_an_older_entry_of_lives_rules_where_raw_has_none() -> None:
    older = encode_entry(
        KeyEntry(kind=EntryKind.DEAD, position=FIRST, at_ms=EARLIER_MS, content=b"content1", request=bytes(8))
    )
    assert (await verdict_on(await a_store(), event(), older)).verdict is Verdict.DEAD
    store = await a_store((7, 0, event(at_ms=EARLIER_MS), Outcome(verdict=Verdict.COUNTED)))
    assert (await verdict_on(store, event(), older)).verdict is Verdict.DUPLICATE


def test_a_key_is_asked_for_once_at_its_first_event() -> None:
    other = event(digest=b"e" * 16)
    group = [
        LaneRecord(offset=10, time_ms=NOW_MS, gateway="gw", events=[other, event(), event()]),
        LaneRecord(offset=11, time_ms=NOW_MS, gateway="gw", snapshot=snapshot()),
        LaneRecord(offset=12, time_ms=NOW_MS, gateway="gw", events=[event(), other]),
    ]
    [key] = first_asked(group, {DIGEST})
    assert (key.digest, key.offset, key.index, key.customer) == (DIGEST, 10, 1, CUSTOMER)
