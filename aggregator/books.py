"""The books: every event of the log is judged, waits, or is missed. Pure.

Owns the two identities of a lane, as numbers that nobody else keeps: *appended = counted + repeat + duplicate +
conflict + blocked + refused + superseded + dead + in flight*, and *counted = sunk + not yet sunk*. Each side has a
source of its own: `appended` counts the events in the log's records, the verdicts below `progress` are RAW's rows,
those above it LIVE's outcomes. They are compared record by record, so that a row too many cannot hide one that is lost.
Invariant: what is once reckoned without a difference is never looked at again; a difference is kept until it is
explained.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from ingest.verdict import Verdict
from kernel.record import USAGE, decode_record

# Offsets that a report of a difference names.
NAMED_MAX: Final = 5

_items = msgspec.msgpack.Decoder(list[msgspec.Raw])


class _Word(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The head of an outcome; the rest of it is skipped, not decoded."""

    verdict: str


_words = msgspec.msgpack.Decoder(list[_Word])


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """A lane's books below offset `next`.

    `events` were appended there, by the log's own count, apart from `carried`, for which RAW's word was taken because
    the log did not reach back; `verdicts` is what became of them. `difference` stood when the books were last kept,
    `lost` is what the log can no longer explain.
    """

    next: int = 0
    events: int = 0
    verdicts: Mapping[str, int] = {}
    carried: int = 0
    difference: int = 0
    lost: int = 0


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record of the log: how many events it carries, and by verdict what LIVE's outcome says (None: not kept)."""

    offset: int
    events: int
    told: Mapping[str, int] | None = None


class Reckoning(msgspec.Struct, frozen=True, kw_only=True):
    """A lane as far as it was read. `verdicts` includes what is not yet sunk.

    `events_difference` and `counted_difference` are the events that stand on one side of an identity alone; `named`
    are the first offsets at fault. `undecided`: an outcome went away while we looked; look again. `books` is what to
    keep.
    """

    appended: int
    verdicts: Mapping[str, int]
    in_flight: int
    counted_sunk: int
    counted_unsunk: int
    events_difference: int
    counted_difference: int
    named: Sequence[int]
    undecided: bool
    books: Books


def events_in(data: bytes) -> int:
    """Count the events of a record of the log without decoding them. Raises RecordUnreadable."""
    envelope = decode_record(data)
    return len(_items.decode(envelope.body)) if envelope.kind == USAGE else 0


def told_in(outcomes: bytes) -> Mapping[str, int]:
    """Count a record's outcomes by verdict."""
    return Counter(word.verdict for word in _words.decode(outcomes))


def carried_over(books: Books, rows: Mapping[str, int], upto: int) -> Books:
    """Take RAW's word (events by verdict) for what lies between the books and `upto`; a difference becomes a loss."""
    events = sum(rows.values())
    return Books(
        next=upto,
        events=books.events + events,
        verdicts=_sum(books.verdicts, rows),
        carried=books.carried + events,
        lost=books.lost + books.difference,
    )


def reckon(
    books: Books,
    entries: Sequence[Entry],
    rows: Iterable[tuple[int, str, int]],
    *,
    sunk: int,
    folded: int,
) -> Reckoning:
    """Reckon a lane from the books on.

    `entries` are its records from `books.next` on, all of them up to the last; `rows` RAW's rows of these records
    below `sunk`, as (offset, verdict, events). Records below `folded` are judged.
    """
    stored: dict[int, Counter[str]] = {}
    for offset, verdict, events in rows:
        stored.setdefault(offset, Counter())[verdict] += events
    counted, verdicts = Verdict.COUNTED.value, Counter(books.verdicts)
    below, above = Counter[str](), Counter[str]()
    in_flight = events_difference = counted_difference = 0
    named: list[int] = []
    undecided = False
    for entry in entries:
        if entry.offset >= folded:
            in_flight += entry.events
            continue
        if entry.offset < sunk:
            found: Mapping[str, int] = stored.pop(entry.offset, Counter())
            below.update(found)
            apart = 0 if entry.told is None else abs(entry.told.get(counted, 0) - found.get(counted, 0))
        else:
            undecided = undecided or (entry.told is None and entry.events > 0)
            found, apart = entry.told or {}, 0
            above.update(found)
        missing = abs(entry.events - sum(found.values()))
        events_difference += missing
        counted_difference += apart
        if missing or apart:
            named.append(entry.offset)
    for offset, left in stored.items():  # rows of records that the log never had
        below.update(left)
        events_difference += left.total()
        named.append(offset)
    verdicts.update(below)
    end = min(sunk, entries[-1].offset + 1) if entries else books.next
    difference = events_difference + counted_difference
    return Reckoning(
        appended=books.events + sum(entry.events for entry in entries),
        verdicts=_sum(verdicts, above),
        in_flight=in_flight,
        counted_sunk=verdicts[counted],
        counted_unsunk=above[counted],
        events_difference=events_difference + books.lost,
        counted_difference=counted_difference,
        named=sorted(named)[:NAMED_MAX],
        undecided=undecided,
        books=Books(
            next=max(books.next, end),
            events=books.events + sum(entry.events for entry in entries if entry.offset < sunk),
            verdicts=dict(verdicts),
            carried=books.carried,
            lost=books.lost,
        )
        if not difference
        else msgspec.structs.replace(books, difference=difference),
    )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {verdict: one.get(verdict, 0) + other.get(verdict, 0) for verdict in {**one, **other}}
