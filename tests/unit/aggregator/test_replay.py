"""What a replay carries of its dead letter, and which rows may be replayed."""

import pytest

from aggregator.fold_slice import dead_digest
from aggregator.replay import FORGOTTEN, letter_digest, replay_of, why_not
from aggregator.row import EVENT_COLUMNS, EventRow, event_row
from ingest.event import NO_DIGEST, UsageEvent
from ingest.key_entry import EntryKind, KeyEntry, encode_entry
from ingest.verdict import Outcome, Verdict
from kernel.limits import KEY_MEMORY_MS
from kernel.position import Position
from tests.unit.aggregator.pool_case import tokens

AT_MS = 1_767_225_600_000
PLACE, OTHER = Position(1, 3, 9, 2), Position(1, 3, 11, 0)
EVENT = UsageEvent(
    organization=b"o" * 16,
    customer=b"c" * 16,
    feature=b"f" * 16,
    event_time_us=AT_MS * 1_000 - 7,
    at_ms=AT_MS,
    clock_ms=5,
    quantity="1.5",
    key="k",
    digest=b"d" * 16,
    content=b"content1",
    request=b"request1",
    has_timestamp=False,
    properties=(("a", "b"),),
    tokens=tokens("0.00675"),
)


def row(verdict: Verdict = Verdict.DEAD, original: Position | None = None, digest: bytes = EVENT.digest) -> EventRow:
    outcome = Outcome(verdict=verdict, original=b"" if original is None else original.to_bytes())
    sent = UsageEvent(**{name: getattr(EVENT, name) for name in EVENT.__struct_fields__} | {"digest": digest})
    epoch, lane, offset, index = PLACE
    values = event_row(epoch, lane, offset, AT_MS, "gw", index, sent, outcome)
    return EventRow(**dict(zip(EVENT_COLUMNS, values, strict=False)))


def entry(kind: EntryKind, position: Position = PLACE, at_ms: int = AT_MS) -> bytes:
    return encode_entry(
        KeyEntry(kind=kind, position=position, at_ms=at_ms, content=EVENT.content, request=EVENT.request)
    )


def test_a_replay_has_the_letters_facts_and_a_time_of_its_own() -> None:
    again = replay_of(row(), at_ms=AT_MS + 99, clock_ms=6)
    apart = {name for name in EVENT.__struct_fields__ if getattr(again, name) != getattr(EVENT, name)}
    assert apart == {"at_ms", "clock_ms", "replays"}
    assert (again.at_ms, again.clock_ms, again.replayed()) == (AT_MS + 99, 6, PLACE)


def test_a_letter_is_held_under_its_key_or_its_position() -> None:
    assert letter_digest(row()) == EVENT.digest
    keyless = row(digest=NO_DIGEST)
    assert letter_digest(keyless) == dead_digest(PLACE) == replay_of(keyless, at_ms=AT_MS, clock_ms=None).digest


@pytest.mark.parametrize(
    ("letter", "held", "words"),
    [
        (row(), entry(EntryKind.DEAD), None),
        (row(), entry(EntryKind.COUNTED, OTHER), OTHER.event_id()),
        (row(), entry(EntryKind.DEAD, OTHER), OTHER.event_id()),
        (row(), entry(EntryKind.REFUSED, OTHER), OTHER.event_id()),
        (row(), entry(EntryKind.DEAD, at_ms=AT_MS - 1), FORGOTTEN),
        (row(), None, FORGOTTEN),
        (row(Verdict.COUNTED), entry(EntryKind.COUNTED), "counted"),
        (row(Verdict.DEAD, OTHER), entry(EntryKind.DEAD, OTHER), OTHER.event_id()),
    ],
)
def test_only_a_dead_letter_that_waits_is_replayed(letter: EventRow, held: bytes | None, words: str | None) -> None:
    reason = why_not(letter, held, clock_ms=AT_MS + KEY_MEMORY_MS)
    assert reason is None if words is None else words in str(reason)
