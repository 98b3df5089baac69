"""The fold, cell by cell: what is known of a key by what comes, every reason to refuse, windows, limits and cuts."""

from typing import Any

import pytest
from msgspec.structs import replace

from aggregator.account import Account, WindowTotal, decode_account, encode_account
from aggregator.fold import RULES, fold_event, fold_snapshot
from aggregator.fold_slice import (
    SliceFold,
    condensed_generations,
    customer_state,
    dead_digest,
    generation_of,
    generations_read,
    oldest_generation,
)
from aggregator.standing import Standing
from catalog.terms import FeatureTerms, Snapshot, SubscriptionStatus, Terms, encode_snapshot
from ingest.event import NO_DIGEST, NO_REQUEST, UsageEvent
from ingest.key_entry import EntryKind, KeyEntry, decode_entry
from ingest.verdict import Outcome, Verdict
from kernel.engine.live.base import READY, AccountState, LaneHeader
from kernel.limits import GENERATION_MS, GENERATIONS_FILTER, KEY_MEMORY_MS, KEYS_EXACT_DAYS_MAX, KEYS_EXACT_DAYS_MIN
from kernel.period import DAY_MS, parse_instant_us
from kernel.position import Position
from kernel.quantity import UNITS_PER_ONE, to_units

ONE = UNITS_PER_ONE
CUSTOMER, ORGANIZATION = b"c" * 16, b"o" * 16
OPEN, LIMITED, PAID, SWITCH, OFF = (letter * 16 for letter in (b"f", b"l", b"p", b"s", b"x"))
START_US = parse_instant_us("2026-01-31T10:00:00")
NOW_US = parse_instant_us("2026-02-10T12:00:00")
NOW_MS = NOW_US // 1_000
MINUTE_US = 60_000_000
FIRST = Position(1, 0, 4, 2)


def day(text: str) -> int:
    return parse_instant_us(text) // (DAY_MS * 1_000)


def terms(**change: Any) -> Terms:
    base = Terms(
        number=3,
        subscription="sub_1",
        plan="pln_1",
        start_us=START_US,
        anchor=day("2026-01-31"),
        since=day("2026-01-31"),
        free=False,
        features=(
            FeatureTerms(feature=OPEN, code="open", kind="metered", included=None),
            FeatureTerms(feature=LIMITED, code="limited", kind="metered", included=10 * ONE),
            FeatureTerms(feature=PAID, code="paid", kind="metered", included=10 * ONE, overage=True, unit_price="0.1"),
            FeatureTerms(feature=SWITCH, code="switch", kind="boolean"),
            FeatureTerms(feature=OFF, code="off", kind="metered", enabled=False),
        ),
    )
    return replace(base, **change)


def snapshot(**change: Any) -> Snapshot:
    base = Snapshot(
        organization=ORGANIZATION,
        customer=CUSTOMER,
        rev=1,
        status=SubscriptionStatus.ACTIVE,
        end_us=None,
        terms=terms(),
        next=None,
        cut=0,
    )
    return replace(base, **change)


def event(**change: Any) -> UsageEvent:
    base = UsageEvent(
        organization=ORGANIZATION,
        customer=CUSTOMER,
        feature=OPEN,
        event_time_us=NOW_US,
        at_ms=NOW_MS,
        clock_ms=None,
        quantity="1",
        key="k",
        digest=b"d" * 16,
        content=b"content1",
        request=NO_REQUEST,
    )
    return replace(base, **change)


def entry(kind: EntryKind, **change: Any) -> KeyEntry:
    base = KeyEntry(kind=kind, position=FIRST, at_ms=NOW_MS - 1_000, content=b"content1", request=b"request1")
    return replace(base, **change)


def judge(
    what: UsageEvent,
    known: KeyEntry | None = None,
    *,
    account: Account | None = None,
    under: Snapshot | None = None,
    lane_clock_ms: int | None = None,
) -> Outcome:
    return fold_event(
        account if account is not None else Account(rev=1),
        Standing(under if under is not None else snapshot()),
        what,
        known,
        lane_clock_ms=what.at_ms if lane_clock_ms is None else lane_clock_ms,
        at_ms=what.at_ms,
    )


OLD = NOW_MS - 1_000 + KEY_MEMORY_MS  # the lane's clock at which the entry is exactly 35 days old

KEYS = [
    # entry, event, lane clock, verdict
    (None, {}, None, Verdict.COUNTED),
    ("n", {}, None, Verdict.DUPLICATE),
    ("n", {"content": b"content2"}, None, Verdict.CONFLICT),
    ("n", {"request": b"request1"}, None, Verdict.REPEAT),
    ("n", {"request": b"request1", "content": b"content2"}, None, Verdict.REPEAT),
    ("n", {"request": b"request2"}, None, Verdict.DUPLICATE),
    ("n", {"at_ms": NOW_MS - 5_000}, None, Verdict.DUPLICATE),
    ("n", {}, OLD, Verdict.DUPLICATE),
    ("n", {}, OLD + 1, Verdict.COUNTED),
    ("r", {}, None, Verdict.COUNTED),
    ("r", {"at_ms": NOW_MS - 1_000}, None, Verdict.COUNTED),
    ("r", {"at_ms": NOW_MS - 1_001}, None, Verdict.SUPERSEDED),
    ("r", {"at_ms": NOW_MS - 1_001}, OLD + 1, Verdict.COUNTED),
    ("d", {}, None, Verdict.DEAD),
    ("d", {"request": b"request1"}, None, Verdict.DEAD),
    ("d", {}, OLD + 1, Verdict.COUNTED),
]


@pytest.mark.parametrize(("kind", "change", "clock", "verdict"), KEYS)
def test_what_an_attempt_of_a_known_key_is(kind: str, change: dict, clock: int | None, verdict: Verdict) -> None:
    """R-TRACK-12, R-TRACK-13, R-TRACK-14."""
    known = entry(EntryKind(kind)) if kind else None
    account = Account(rev=1)
    outcome = judge(event(**change), known, account=account, lane_clock_ms=clock)
    assert outcome.verdict is verdict
    held = verdict in (Verdict.REPEAT, Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.DEAD)
    assert outcome.original_position() == (FIRST if held else None)
    assert outcome.original_at_ms == (NOW_MS - 1_000 if held else 0)
    assert bool(account.totals) is (verdict is Verdict.COUNTED)


def test_a_request_without_a_header_is_no_repeat() -> None:
    known = entry(EntryKind.COUNTED, request=NO_REQUEST)
    assert judge(event(request=NO_REQUEST), known).verdict is Verdict.DUPLICATE


REFUSALS = [
    ("no snapshot", None, {}, "no_active_subscription"),
    ("no terms", {"terms": None, "status": None}, {}, "no_active_subscription"),
    ("canceled", {"status": SubscriptionStatus.CANCELED}, {}, "no_active_subscription"),
    ("before the slack", {}, {"event_time_us": START_US - 5 * MINUTE_US - 1}, "no_active_subscription"),
    ("at its end", {"end_us": NOW_US}, {}, "no_active_subscription"),
    ("unknown feature", {}, {"feature": b"?" * 16}, "feature_not_in_plan"),
    ("boolean", {}, {"feature": SWITCH}, "feature_not_in_plan"),
    ("switched off", {}, {"feature": OFF}, "feature_not_in_plan"),
]


@pytest.mark.parametrize(("change", "asked", "code"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_why_an_event_is_refused(change: dict | None, asked: dict, code: str) -> None:
    """R-TRACK-7."""
    account = Account(rev=1)
    standing = None if change is None else Standing(snapshot(**change))
    outcome = fold_event(account, standing, event(**asked), None, lane_clock_ms=NOW_MS, at_ms=NOW_MS)
    assert (outcome.verdict, outcome.code, outcome.cut) == (Verdict.REFUSED, code, 0)
    assert not account.totals
    assert account.clock_ms == NOW_MS


@pytest.mark.parametrize(
    ("at", "window"),
    [
        ("2026-01-31T09:55:00", ("2026-01-31", "2026-02-28")),
        ("2026-01-31T10:00:00", ("2026-01-31", "2026-02-28")),
        ("2026-02-27T23:59:59.999999", ("2026-01-31", "2026-02-28")),
        ("2026-02-28T00:00:00", ("2026-02-28", "2026-03-31")),
        ("2026-03-31T00:00:00", ("2026-03-31", "2026-04-30")),
    ],
)
def test_the_window_is_the_event_times_month_from_the_anchor(at: str, window: tuple[str, str]) -> None:
    """R-TRACK-10, R-INT-2, R-GEN-5; up to five minutes before the start counts in the first window."""
    account = Account(rev=1)
    outcome = judge(event(event_time_us=parse_instant_us(at)), account=account)
    assert (outcome.window, outcome.window_end) == (day(window[0]), day(window[1]))
    assert list(account.totals) == [(OPEN, 3, day(window[0]))]


def test_a_start_at_midnight_keeps_its_slack_in_the_first_window() -> None:
    start = parse_instant_us("2026-02-01")
    under = snapshot(terms=terms(start_us=start, anchor=day("2026-02-01")))
    outcome = judge(event(event_time_us=start - MINUTE_US), under=under)
    assert (outcome.window, outcome.window_end) == (day("2026-02-01"), day("2026-03-01"))


def test_an_event_just_before_the_end_counts() -> None:
    assert judge(event(), under=snapshot(end_us=NOW_US + 1)).verdict is Verdict.COUNTED


def test_announced_terms_rule_from_their_window_on() -> None:
    following = terms(since=day("2026-02-28"), features=(replace(terms().features[1], included=1 * ONE),))
    under = snapshot(next=following)
    before, after = parse_instant_us("2026-02-27"), parse_instant_us("2026-02-28")
    assert judge(event(feature=LIMITED, quantity="2", event_time_us=before), under=under).verdict is Verdict.COUNTED
    assert judge(event(feature=LIMITED, quantity="2", event_time_us=after), under=under).verdict is Verdict.BLOCKED
    assert judge(event(feature=OPEN, event_time_us=after), under=under).code == "feature_not_in_plan"


@pytest.mark.parametrize(
    ("feature", "used", "quantity", "verdict", "limited"),
    [
        (OPEN, "1000000", "1000000000000", Verdict.COUNTED, False),
        (PAID, "10", "5", Verdict.COUNTED, False),
        (LIMITED, "9", "1", Verdict.COUNTED, True),
        (LIMITED, "9", "1.000000001", Verdict.BLOCKED, True),
        (LIMITED, "9.5", "0.5", Verdict.COUNTED, True),
        (LIMITED, "10", "0", Verdict.COUNTED, True),
        (LIMITED, "12", "0", Verdict.COUNTED, True),
        (LIMITED, "10", "0.000000001", Verdict.BLOCKED, True),
    ],
)
def test_a_limit_blocks_whole_what_would_pass_it(
    feature: bytes, used: str, quantity: str, verdict: Verdict, limited: bool
) -> None:
    """R-METER-4, R-TRACK-3."""
    key = (feature, 3, day("2026-01-31"))
    total = WindowTotal(end=day("2026-02-28"), now=to_units(used), at_cut=0)
    account = Account(rev=1, totals={key: total})
    outcome = judge(event(feature=feature, quantity=quantity), account=account)
    assert (outcome.verdict, outcome.limited) == (verdict, limited)
    assert outcome.code == ("included_limit_reached" if verdict is Verdict.BLOCKED else "")
    counted = to_units(quantity) if verdict is Verdict.COUNTED else 0
    assert account.totals[key].now == to_units(used) + counted


@pytest.mark.parametrize("quantity", ["oops", "1.0000000001", "-1", "NaN", ""])
def test_what_the_code_raises_on_changes_no_total(quantity: str) -> None:
    account = Account(rev=1)
    with pytest.raises((ArithmeticError, ValueError, AssertionError)):
        judge(event(quantity=quantity), account=account)
    assert not account.totals
    assert account.clock_ms == NOW_MS


def test_the_accounts_clock_is_the_greatest_accepted_at() -> None:
    account = Account(rev=1)
    judge(event(clock_ms=NOW_MS + DAY_MS), account=account)
    judge(event(), account=account)
    assert account.clock_ms == NOW_MS + DAY_MS


def test_windows_are_forgotten_36_days_after_their_end_and_never_counted_again() -> None:
    account = Account(rev=1)
    judge(event(), account=account)
    end_ms = day("2026-02-28") * DAY_MS
    later = end_ms + 36 * DAY_MS
    judge(event(at_ms=later - 1, event_time_us=(later - 1) * 1_000), account=account)
    assert day("2026-01-31") in {window for _, _, window in account.totals}
    judge(event(at_ms=later, event_time_us=later * 1_000), account=account)
    assert day("2026-01-31") not in {window for _, _, window in account.totals}
    overtaken = judge(event(), account=account)
    assert (overtaken.verdict, overtaken.code) == (Verdict.REFUSED, "no_active_subscription")


def test_a_snapshot_counts_only_with_a_greater_rev() -> None:
    account = Account(rev=5, cut=1)
    assert not fold_snapshot(account, snapshot(rev=5, cut=9))
    assert not fold_snapshot(account, snapshot(rev=4, cut=9))
    assert (account.rev, account.cut) == (5, 1)
    assert fold_snapshot(account, snapshot(rev=6, cut=1))
    assert (account.rev, account.cut) == (6, 1)


def test_a_cut_freezes_the_totals_and_later_events_get_the_next_one() -> None:
    account = Account(rev=1)
    assert judge(event(quantity="2"), account=account).cut == 1
    assert fold_snapshot(account, snapshot(rev=2, cut=1))
    assert judge(event(quantity="3"), account=account).cut == 2
    [total] = account.totals.values()
    assert (total.at_cut, total.now) == (2 * ONE, 5 * ONE)
    assert fold_snapshot(account, snapshot(rev=3, cut=1))
    assert next(iter(account.totals.values())).at_cut == 2 * ONE
    assert fold_snapshot(account, snapshot(rev=9, cut=4))
    assert next(iter(account.totals.values())).at_cut == 5 * ONE
    assert judge(event(), account=account).cut == 5


def test_an_account_comes_back_from_its_bytes_whatever_order_it_arose_in() -> None:
    totals = {(f, 1, w): WindowTotal(end=w + 30, now=10**21, at_cut=-5) for f in (OPEN, LIMITED) for w in (5, 1)}
    account = Account(rev=7, clock_ms=NOW_MS, cut=2, totals=totals)
    turned = Account(rev=7, clock_ms=NOW_MS, cut=2, totals=dict(reversed(totals.items())))
    assert encode_account(account) == encode_account(turned)
    assert encode_account(account)[:8] == (7).to_bytes(8, "big")
    assert decode_account(encode_account(account)) == account


# --- slices

HEADER = LaneHeader(
    epoch=1, token=b"t", rules=RULES, next=10, sunk=0, clock_ms=NOW_MS - DAY_MS, seen_ms=50, state=READY
)
STORED = AccountState(snapshot=encode_snapshot(snapshot()), account=encode_account(Account(rev=1)))


def a_slice(known: dict[bytes, bytes | None] | None = None, **header: Any) -> SliceFold:
    return SliceFold(replace(HEADER, **header), 0, {CUSTOMER: customer_state(STORED)}, known or {})


def test_a_key_twice_in_one_slice_counts_once() -> None:
    fold = a_slice()
    fold.usage(10, NOW_MS, [event(), event(content=b"content2"), event(digest=b"e" * 16)])
    verdicts = [outcome.verdict for outcome in fold.outcomes[10]]
    assert verdicts == [Verdict.COUNTED, Verdict.CONFLICT, Verdict.COUNTED]
    assert fold.outcomes[10][1].original_position() == Position(1, 0, 10, 0)
    change = fold.write(60)
    assert (change.next, change.clock_ms, change.seen_ms) == (11, NOW_MS, 60)
    assert change.fresh == [b"d" * 16, b"e" * 16]
    assert [decode_entry(key.entry).position.index for key in change.keys] == [0, 2]


def test_the_lower_of_the_gateways_and_the_logs_time_takes_effect() -> None:
    fold = a_slice()
    fold.usage(10, NOW_MS - 500, [event(at_ms=NOW_MS + DAY_MS)])
    assert fold.clock_ms == NOW_MS - 500
    assert decode_entry(fold.write(0).keys[0].entry).at_ms == NOW_MS - 500


def test_nothing_that_a_slice_was_given_changes() -> None:
    fold = a_slice(known := {})
    state = customer_state(STORED)
    fold = SliceFold(HEADER, 0, states := {CUSTOMER: state}, known)
    fold.usage(10, NOW_MS, [event()])
    fold.account(11, snapshot(rev=2, cut=1))
    assert (states, known) == ({CUSTOMER: state}, {})
    assert encode_account(state.account) == STORED.account


def test_a_known_key_is_not_fresh() -> None:
    first = a_slice()
    first.usage(10, NOW_MS, [event()])
    [key] = first.write(0).keys
    fold = a_slice({b"d" * 16: key.entry})
    fold.usage(10, NOW_MS, [event()])
    assert fold.outcomes[10][0].verdict is Verdict.DUPLICATE
    change = fold.write(0)
    assert (change.fresh, change.keys) == ([], [])


def test_a_dead_letter_holds_its_key_or_its_position_and_is_counted_once() -> None:
    fold = a_slice()
    fold.usage(10, NOW_MS, [event(quantity="oops"), event(), event(quantity="oops", digest=NO_DIGEST, key="")])
    assert [outcome.verdict for outcome in fold.outcomes[10]] == [Verdict.DEAD] * 3
    assert [outcome.code for outcome in fold.outcomes[10]] == ["event_unprocessable"] * 3
    assert fold.outcomes[10][1].original_position() == Position(1, 0, 10, 0)
    keys = {key.digest: decode_entry(key.entry).kind for key in fold.write(0).keys}
    assert keys == {b"d" * 16: EntryKind.DEAD, dead_digest(Position(1, 0, 10, 2)): EntryKind.DEAD}
    assert len(fold.dead) == 2


def replay_of(position: Position, **change: object) -> UsageEvent:
    if change.get("digest") == NO_DIGEST:
        change["digest"] = dead_digest(position)
    return event(**{"at_ms": NOW_MS + 10, "replays": position.to_bytes(), **change})


OTHER = Position(1, 0, 9, 9)
REPLAYS = [
    # entry, the dead letter that is named, event, lane clock, verdict, the original that it names
    ("d", FIRST, {}, None, Verdict.COUNTED, None),
    ("d", FIRST, {"feature": b"?" * 16}, None, Verdict.REFUSED, None),
    ("d", FIRST, {}, OLD + 1, Verdict.SUPERSEDED, None),
    ("d", OTHER, {}, None, Verdict.DEAD, FIRST),
    ("n", FIRST, {}, None, Verdict.DUPLICATE, FIRST),
    ("n", FIRST, {"request": b"request1"}, None, Verdict.REPEAT, FIRST),
    ("n", OTHER, {"content": b"content2"}, None, Verdict.CONFLICT, FIRST),
    ("n", FIRST, {}, OLD + 1, Verdict.SUPERSEDED, None),
    ("r", FIRST, {}, None, Verdict.SUPERSEDED, None),
    ("r", FIRST, {}, OLD + 1, Verdict.SUPERSEDED, None),
    (None, FIRST, {}, None, Verdict.SUPERSEDED, None),
]


@pytest.mark.parametrize(("kind", "named", "change", "clock", "verdict", "original"), REPLAYS)
def test_a_replay_is_judged_only_on_the_dead_letter_that_it_names(
    kind: str, named: Position, change: dict, clock: int | None, verdict: Verdict, original: Position | None
) -> None:
    account = Account(rev=1)
    known = entry(EntryKind(kind)) if kind else None
    outcome = judge(replay_of(named, **change), known, account=account, lane_clock_ms=clock)
    assert (outcome.verdict, outcome.original_position()) == (verdict, original)
    assert bool(account.totals) is (verdict is Verdict.COUNTED)


@pytest.mark.parametrize("digest", [b"d" * 16, NO_DIGEST])
def test_of_a_dead_letters_replays_one_counts_and_holds_its_place(digest: bytes) -> None:
    died = Position(1, 0, 10, 0)
    fold = a_slice()
    fold.usage(10, NOW_MS, [event(quantity="oops", digest=digest)])
    before = fold.write(0).keys
    fold.usage(11, NOW_MS + 20, [replay_of(died, digest=digest, quantity="oops")])
    fold.usage(12, NOW_MS + 20, [replay_of(died, digest=digest, feature=b"?" * 16)])
    assert fold.write(0).keys == before
    fold.usage(13, NOW_MS + 20, [replay_of(died, digest=digest), replay_of(died, digest=digest)])
    told = [(one.verdict, one.original_position()) for offset in (11, 12, 13) for one in fold.outcomes[offset]]
    assert told == [
        (Verdict.DEAD, died),
        (Verdict.REFUSED, None),
        (Verdict.COUNTED, None),
        (Verdict.DUPLICATE, Position(1, 0, 13, 0)),
    ]
    assert len(fold.dead) == 1
    [key] = fold.write(0).keys
    assert (decode_entry(key.entry).kind, decode_entry(key.entry).position) == (
        EntryKind.COUNTED,
        Position(1, 0, 13, 0),
    )
    assert key.digest == (digest or dead_digest(died))


def test_code_that_can_fold_a_dead_letter_counts_it_once() -> None:
    """The lane falls back to before the dead letter, and what judges now does not raise on it."""
    fold = a_slice()
    died = Position(1, 0, 10, 0)
    fold.usage(10, NOW_MS, [event()])
    fold.usage(11, NOW_MS + 20, [replay_of(died), replay_of(died)])
    assert [one.verdict for one in fold.outcomes[11]] == [Verdict.DUPLICATE] * 2


@pytest.mark.parametrize("error", [MemoryError, TimeoutError])
def test_want_of_memory_or_time_is_no_dead_letter(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(self: Standing, feature: bytes, event_time_us: int, clock_ms: int) -> None:
        raise error

    monkeypatch.setattr(Standing, "place", fail)
    with pytest.raises(error):
        a_slice().usage(10, NOW_MS, [event()])


def test_a_refused_key_keeps_the_greatest_time() -> None:
    """R-TRACK-12."""
    fold = a_slice()
    unknown = b"?" * 16
    times = (NOW_MS, NOW_MS - 10, NOW_MS + 10)
    fold.usage(10, NOW_MS + 20, [event(feature=unknown, at_ms=at_ms) for at_ms in times])
    verdicts = [outcome.verdict for outcome in fold.outcomes[10]]
    assert verdicts == [Verdict.REFUSED, Verdict.SUPERSEDED, Verdict.REFUSED]
    [key] = fold.write(0).keys
    assert decode_entry(key.entry).at_ms == NOW_MS + 10


def test_generations_follow_the_lanes_clock() -> None:
    clock_ms = 100 * GENERATION_MS - 1
    fold = a_slice(clock_ms=clock_ms)
    fold.usage(10, clock_ms + 1, [event(at_ms=clock_ms), event(digest=b"e" * 16, at_ms=clock_ms + 1)])
    change = fold.write(0)
    assert [key.generation for key in change.keys] == [99, 100]
    assert list(change.generations) == [95, 96, 97, 98, 99]
    assert list(change.drop_generations) == [95]
    assert list(generations_read(clock_ms)) == [95, 96, 97, 98, 99]


def test_a_key_that_was_looked_up_and_is_new_is_not_fresh_and_leaves_an_entry() -> None:
    """A filter said maybe, RAW said no: the write must not ask again."""
    fold = a_slice({b"d" * 16: None})
    fold.usage(10, NOW_MS, [event(), event(content=b"content2")])
    assert [outcome.verdict for outcome in fold.outcomes[10]] == [Verdict.COUNTED, Verdict.CONFLICT]
    change = fold.write(0)
    assert (change.fresh, [key.digest for key in change.keys]) == ([], [b"d" * 16])


@pytest.mark.parametrize("days", range(KEYS_EXACT_DAYS_MIN, KEYS_EXACT_DAYS_MAX + 1))
@pytest.mark.parametrize("hour", [0, 1, 24, 100, 215])
def test_what_is_condensed_ended_before_the_exact_days(days: int, hour: int) -> None:
    clock_ms = 100 * GENERATION_MS + hour * 3_600_000
    condensed = condensed_generations(clock_ms, days)
    exact_from_ms = clock_ms - days * DAY_MS
    kept = range(oldest_generation(clock_ms), generation_of(clock_ms) + 1)
    ended = [g for g in kept if (g + 1) * GENERATION_MS <= exact_from_ms]
    assert list(condensed) == ([] if days == KEYS_EXACT_DAYS_MAX else ended)
    assert not set(condensed) & set(range(generation_of(clock_ms) - GENERATIONS_FILTER + 1, 101))


def test_a_lane_that_never_was_has_nothing_to_condense() -> None:
    assert list(condensed_generations(0, KEYS_EXACT_DAYS_MIN)) == []
    assert list(condensed_generations(3 * GENERATION_MS, KEYS_EXACT_DAYS_MIN)) == [0, 1]


def test_a_leap_of_the_clock_drops_what_it_leaves_behind() -> None:
    begin_ms = 100 * GENERATION_MS
    fold = a_slice(clock_ms=begin_ms)
    far_ms = 120 * GENERATION_MS
    fold.usage(10, far_ms, [event(at_ms=begin_ms), event(digest=b"e" * 16, at_ms=far_ms)])
    change = fold.write(0)
    assert [key.generation for key in change.keys] == [120]
    assert list(change.drop_generations) == [96, 97, 98, 99, 100]


def test_a_snapshot_is_written_only_when_it_rules() -> None:
    fold = a_slice()
    assert not fold.account(10, snapshot(rev=1, cut=5))
    assert not fold.account(11, snapshot(rev=2))
    assert fold.account(12, snapshot(rev=3, cut=1))
    change = fold.write(0)
    assert change.snapshots == {CUSTOMER: encode_snapshot(snapshot(rev=3, cut=1))}
    assert (change.next, change.clock_ms, change.outcomes) == (13, HEADER.clock_ms, {})
    assert decode_account(change.accounts[CUSTOMER]).rev == 3


def test_a_customer_without_a_snapshot_is_refused_and_has_an_account() -> None:
    nobody = {CUSTOMER: customer_state(AccountState(snapshot=None, account=None))}
    fold = SliceFold(HEADER, 0, nobody, {})
    fold.usage(10, NOW_MS, [event()])
    assert fold.outcomes[10][0].code == "no_active_subscription"
    assert decode_account(fold.write(0).accounts[CUSTOMER]) == Account(clock_ms=NOW_MS)
