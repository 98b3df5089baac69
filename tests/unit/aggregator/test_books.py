"""The reckoning, case by case: what is in order, and what each kind of break does to the two identities."""

from typing import Any

import pytest

from aggregator.books import Books, Entry, carried_over, events_in, reckon, told_in
from catalog.terms import Snapshot, SubscriptionStatus, encode_account_record
from ingest.event import NO_DIGEST, NO_REQUEST, UsageEvent, encode_usage
from ingest.verdict import Outcome, Verdict, encode_outcomes
from kernel.errors import RecordUnreadable

# Five records: sunk are 0 (two events), 1 (an account) and 2 (one event); folded is 3 (two); in flight is 4 (three).
ENTRIES = [
    Entry(offset=0, events=2, told={"counted": 1, "duplicate": 1}),
    Entry(offset=1, events=0, told={}),
    Entry(offset=2, events=1, told={"blocked": 1}),
    Entry(offset=3, events=2, told={"counted": 1, "superseded": 1}),
    Entry(offset=4, events=3),
]
ROWS = [(0, "counted", 1), (0, "duplicate", 1), (2, "blocked", 1)]
SUNK, FOLDED = 3, 4


def with_entry(number: int, **changes: Any) -> list[Entry]:
    old = ENTRIES[number]
    new = {"offset": old.offset, "events": old.events, "told": old.told, **changes}
    return [*ENTRIES[:number], Entry(**new), *ENTRIES[number + 1 :]]


def test_what_is_in_order_adds_up() -> None:
    found = reckon(Books(), ENTRIES, ROWS, sunk=SUNK, folded=FOLDED)
    assert found.appended == 8
    assert found.verdicts == {"counted": 2, "duplicate": 1, "blocked": 1, "superseded": 1}
    assert found.in_flight == 3
    assert found.appended == sum(found.verdicts.values()) + found.in_flight
    assert (found.counted_sunk, found.counted_unsunk) == (1, 1)
    assert (found.events_difference, found.counted_difference, found.named, found.undecided) == (0, 0, [], False)
    assert found.books == Books(next=3, events=3, verdicts={"counted": 1, "duplicate": 1, "blocked": 1})


@pytest.mark.parametrize(
    ("what", "entries", "rows", "events", "counted", "named"),
    [
        ("a row is lost", ENTRIES, ROWS[1:], 1, 1, [0]),
        ("a row too many", ENTRIES, [*ROWS, (2, "counted", 1)], 1, 1, [2]),
        ("one lost and one too many elsewhere", ENTRIES, [*ROWS[1:], (2, "counted", 1)], 2, 2, [0, 2]),
        ("rows of an account's record", ENTRIES, [*ROWS, (1, "refused", 1)], 1, 0, [1]),
        ("rows of no record at all", ENTRIES, [*ROWS, (77, "refused", 2)], 2, 0, [77]),
        ("RAW says another verdict than LIVE", with_entry(0, told={"duplicate": 2}), ROWS, 0, 1, [0]),
        ("an outcome of an event is missing", with_entry(3, told={"counted": 1}), ROWS, 1, 0, [3]),
        ("an outcome that is long gone is no difference", with_entry(0, told=None), ROWS, 0, 0, []),
    ],
)
def test_a_break_shows(
    what: str, entries: list[Entry], rows: list[tuple[int, str, int]], events: int, counted: int, named: list[int]
) -> None:
    before = Books(next=0)
    found = reckon(before, entries, rows, sunk=SUNK, folded=FOLDED)
    assert (found.events_difference, found.counted_difference, found.named) == (events, counted, named), what
    if named:
        assert found.books == Books(difference=events + counted), "the books stay where they are until it is explained"
    else:
        assert found.books.next == 3


def test_an_outcome_that_is_not_sunk_and_not_kept_is_missed_and_looked_for_again() -> None:
    found = reckon(Books(), with_entry(3, told=None), ROWS, sunk=SUNK, folded=FOLDED)
    assert found.undecided
    assert found.events_difference == 2


def test_books_go_on_where_they_were() -> None:
    books = Books(next=2, events=2, verdicts={"counted": 1, "duplicate": 1}, carried=1)
    found = reckon(books, ENTRIES[2:], ROWS[2:], sunk=SUNK, folded=FOLDED)
    whole = reckon(Books(), ENTRIES, ROWS, sunk=SUNK, folded=FOLDED)
    assert (found.appended, found.verdicts, found.in_flight) == (whole.appended, whole.verdicts, whole.in_flight)
    assert found.books.carried == 1


def test_nothing_read_changes_nothing() -> None:
    books = Books(next=9, events=4, verdicts={"counted": 4})
    found = reckon(books, [], [], sunk=9, folded=9)
    assert found.books == books
    assert (found.appended, found.in_flight, found.events_difference) == (4, 0, 0)


def test_a_difference_that_the_log_no_longer_explains_stays_a_loss() -> None:
    broken = reckon(Books(), ENTRIES, ROWS[1:], sunk=SUNK, folded=FOLDED).books
    carried = carried_over(broken, {"duplicate": 1, "blocked": 1}, SUNK)
    assert carried == Books(next=3, events=2, verdicts={"duplicate": 1, "blocked": 1}, carried=2, lost=2)
    assert reckon(carried, ENTRIES[3:], [], sunk=SUNK, folded=FOLDED).events_difference == 2


def test_an_explained_difference_is_forgotten() -> None:
    broken = reckon(Books(), ENTRIES, ROWS[1:], sunk=SUNK, folded=FOLDED).books
    assert broken.difference == 2
    assert reckon(broken, ENTRIES, ROWS, sunk=SUNK, folded=FOLDED).books.difference == 0


def event() -> UsageEvent:
    return UsageEvent(
        organization=b"o" * 16,
        customer=b"c" * 16,
        feature=b"f" * 16,
        event_time_us=0,
        at_ms=0,
        clock_ms=None,
        quantity="1",
        key="",
        digest=NO_DIGEST,
        content=bytes(8),
        request=NO_REQUEST,
    )


def test_events_are_counted_without_being_decoded() -> None:
    assert events_in(encode_usage("gw", [event()] * 512)) == 512
    assert events_in(encode_usage("gw", [])) == 0
    status = SubscriptionStatus.ACTIVE
    snapshot = Snapshot(
        organization=b"o" * 16, customer=b"c" * 16, rev=1, status=status, end_us=None, terms=None, next=None, cut=0
    )
    assert events_in(encode_account_record("gw", snapshot)) == 0
    with pytest.raises(RecordUnreadable):
        events_in(b"\xff")


def test_outcomes_are_counted_by_verdict() -> None:
    outcomes = [Outcome(verdict=Verdict.COUNTED, window=5, cut=2), Outcome(verdict=Verdict.DEAD, code="x")] * 2
    assert told_in(encode_outcomes(outcomes)) == {"counted": 2, "dead": 2}
