"""The audit's judge and the fold were written apart; on any history they must say the same."""

from decimal import Decimal

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aggregator.account import Account, encode_account
from aggregator.correction_event import Correction, Sending, correction_event, counted_now, voided_by
from aggregator.fold import RULES
from aggregator.fold_slice import CustomerState, SliceFold, dead_digest
from aggregator.row import EVENT_COLUMNS, EventRow, event_row
from catalog.terms import (
    ConsumptionModel,
    EndedTerms,
    FeatureTerms,
    PoolChain,
    Snapshot,
    SubscriptionStatus,
    Terms,
    TopUp,
    encode_snapshot,
)
from ingest.event import NO_DIGEST, TokenUse, UsageEvent, content_digest
from ingest.verdict import Verdict
from kernel.engine.live.base import READY, LaneHeader
from kernel.position import Position
from meterline.audit import decoding
from meterline.audit.judge import Judge
from meterline.audit.pool import Taken, month_of

DAY_MS = 86_400_000
FIRST_DAY = 20_484  # 2026-01-31: months from it clamp
ORGANIZATION, CUSTOMER = b"o" * 16, b"c" * 16
FEATURES = (b"1" * 16, b"2" * 16, b"3" * 16, b"4" * 16)


METERED, CREDITS, BALANCE = ConsumptionModel.METERED, ConsumptionModel.CREDITS, ConsumptionModel.BALANCE
# A kind of terms: model, months, days a window, overdraft, chain of the first number.
KINDS = (
    (METERED, 1, 0, False, None),
    (CREDITS, 1, 0, False, None),
    (CREDITS, 0, 30, False, None),
    (BALANCE, 1, 0, True, None),
    (BALANCE, 3, 0, False, PoolChain(term=1, window=FIRST_DAY)),
    (BALANCE, 0, 0, False, PoolChain(term=1, window=FIRST_DAY)),
    (BALANCE, 0, 10, False, None),
)


def _terms(number, start_day, since, limit, kind=KINDS[0]):
    model, months, window_days, overdraft, chain = kind
    features = (
        FeatureTerms(
            feature=FEATURES[0], code="limited", kind="metered", included=limit * 10**9, unit_price="0.3", credits="2"
        ),
        FeatureTerms(
            feature=FEATURES[1],
            code="overage",
            kind="metered",
            included=limit * 10**9,
            overage=True,
            unit_price="0.0000000015",
            margin="20" if limit % 2 else None,
        ),
        FeatureTerms(feature=FEATURES[2], code="sso", kind="boolean"),
    )
    return Terms(
        number=number,
        subscription="sub_x",
        plan="pln_x",
        start_us=start_day * DAY_MS * 1000,
        anchor=start_day,
        since=since,
        free=False,
        features=features,
        model=model,
        months=months,
        window_days=window_days,
        pool=limit * 10**9,
        overdraft=overdraft,
        chain=chain if number > 1 else None,
    )


def _snapshot(rev, cut, status, end, limit, following, number, kind, then, new, begun, bought, ended=()):
    packs, top_ups = bought
    start = FIRST_DAY + begun
    return Snapshot(
        organization=ORGANIZATION,
        customer=CUSTOMER,
        rev=rev,
        status=status,
        end_us=None if end is None else (FIRST_DAY + end) * DAY_MS * 1000,
        terms=_terms(number, start, start, limit, kind),
        next=None if following is None else _terms(number + new, start, FIRST_DAY + following, limit + 3, then),
        cut=cut,
        packs=packs * 10**9,
        top_ups=tuple(TopUp(term=term, window=FIRST_DAY + day, amount=10**9) for term, day in top_ups),
        ended=tuple(
            EndedTerms(
                terms=_terms(number - 1 - place, FIRST_DAY + since, FIRST_DAY + since, limit + 1, before),
                until_us=(FIRST_DAY + until) * DAY_MS * 1000 + 3_600_000_000 + later,
            )
            for place, (before, since, until, later) in enumerate(ended)
        ),
    )


snapshots = st.builds(
    _snapshot,
    rev=st.integers(1, 6),
    cut=st.integers(0, 3),
    status=st.sampled_from(
        [
            SubscriptionStatus.ACTIVE,
            SubscriptionStatus.ACTIVE,
            SubscriptionStatus.TRIALING,
            SubscriptionStatus.PAST_DUE,
            SubscriptionStatus.CANCELED,
            SubscriptionStatus.PAUSED,
        ]
    ),
    end=st.none() | st.integers(1, 90),
    limit=st.integers(0, 8),
    following=st.none() | st.sampled_from([28, 33, 59, 89]),
    number=st.integers(1, 2),
    kind=st.sampled_from(KINDS),
    then=st.sampled_from(KINDS),
    new=st.integers(0, 1),
    begun=st.sampled_from([0, 0, 0, 28, 33]),
    bought=st.tuples(
        st.sampled_from([0, 3]),
        st.sampled_from([(), ((1, 0),), ((1, 0), (1, 28), (2, 28)), ((2, 0), (2, 59))]),
    ),
)
events = st.tuples(
    st.sampled_from(FEATURES),
    st.sampled_from([0, 1, 2, 3, 4, 5, -1]),  # quantity; on a negative one the fold raises
    st.none() | st.integers(0, 4),  # key
    st.integers(0, 2),  # request
    st.integers(-2, 120),  # day it happened
    st.integers(0, 120),  # day it took effect
    st.none() | st.integers(0, 120),  # test clock
    st.sampled_from([None, None, "0.7", "0.0000000005", "2"]),  # the cost of its tokens
)
# Which of the events before is replayed, with what amount, and when.
replays = st.tuples(st.integers(0, 40), st.sampled_from([None, 1]), st.integers(0, 120))
# Which of the events that count is corrected, to what (None: void), when, by who has not seen the latest correction.
corrections = st.tuples(
    st.integers(0, 40), st.sampled_from([None, None, "0", "0.5", "1", "2", "6"]), st.integers(0, 120), st.booleans()
)


def _event(drawn):
    feature, quantity, key, request, day, at_day, clock, cost = drawn
    return UsageEvent(
        organization=ORGANIZATION,
        customer=CUSTOMER,
        feature=feature,
        event_time_us=(FIRST_DAY + day) * DAY_MS * 1000 + 3_600_000_000,
        at_ms=(FIRST_DAY + at_day) * DAY_MS,
        clock_ms=None if clock is None else (FIRST_DAY + clock) * DAY_MS,
        quantity=str(quantity),
        key="" if key is None else str(key),
        digest=NO_DIGEST if key is None else bytes([key]) * 16,
        content=content_digest(feature, str(quantity)),
        request=bytes([request]) * 8,
        tokens=None if cost is None else _tokens(cost),
    )


def _tokens(cost):
    return TokenUse(
        model="openai/gpt-4o",
        input=5,
        output=2,
        cache_read=3,
        cache_write=1,
        input_cost=cost,
        output_cost="0.1",
        cache_read_cost="0",
        cache_write_cost="0",
        base_cost=str(Decimal(cost) + Decimal("0.1")),
        price_version="v1",
        price_since_ms=5,
    )


def _replay(drawn, before):
    """Replay an event, one that died before all others; its amount may be mended, so that the fold can take it."""
    which, quantity, at_day = drawn
    offsets = [offset for offset, event in before.items() if event.quantity == "-1"] or list(before)
    event = before[offset := offsets[which % len(offsets)]]
    return msgspec.structs.replace(
        event,
        at_ms=(FIRST_DAY + at_day) * DAY_MS,
        quantity=event.quantity if quantity is None else str(quantity),
        digest=event.digest or dead_digest(Position(1, 0, offset, 0)),
        replays=event.replays or Position(1, 0, offset, 0).to_bytes(),
    )


def _correction(drawn, rows):
    """Correct one of the events that count; None where there is nothing to correct."""
    which, value, at_day, stale = drawn
    originals = [row for row in rows if not row.corrects]
    if not originals:
        return None
    original = originals[which % len(originals)]
    name = Position(original.epoch, original.lane, original.offset, original.index).event_id()
    before = [row for row in rows if row.corrects == name]
    if stale and before:
        before.pop()
    value = None if value is None else Decimal(value)
    unchanged = value is not None and (original.model or value == counted_now(original, before))
    if unchanged or voided_by(before) is not None:
        return None
    sending = Sending(at_ms=(FIRST_DAY + at_day) * DAY_MS, clock_ms=None, secret=b"s")
    return correction_event(original, before, Correction(value=value), sending)


def _attempt(position, event):
    return decoding.Attempt(
        tuple(position),
        ORGANIZATION,
        CUSTOMER,
        event.feature,
        event.event_time_us,
        event.at_ms,
        event.clock_ms,
        True,
        Decimal(event.quantity),
        event.key,
        event.digest,
        event.content,
        event.request,
        (),
        "gw",
        decoding.position_of(event.replays) if event.replays else None,
        decoding.Tokens.of(msgspec.structs.astuple(event.tokens)) if event.tokens is not None else None,
        None if event.corrects is None else decoding.Correction.of(msgspec.structs.astuple(event.corrects)),
    )


def _taken(drawn):
    if drawn is None:
        return Taken()
    pool, *amounts, margin, _currency = msgspec.structs.astuple(drawn)
    return Taken(pool, *(Decimal(amount).scaleb(-9) for amount in amounts), margin)


# Terms that are followed on the day on which they begin, with the same number and another pool, and an event that takes
# effect before that day: billing writes no such snapshot, and the two must agree on it all the same.
FOLLOWED_AT_ONCE = _snapshot(
    1, 0, SubscriptionStatus.ACTIVE, None, 1, 28, 1, KINDS[1], KINDS[1], new=0, begun=28, bought=(0, ())
)
EARLY = (FEATURES[0], 2, None, 0, 30, 5, None, None)


@given(st.lists(snapshots | events | events | replays | corrections, max_size=40))
@example([FOLLOWED_AT_ONCE, EARLY])
@settings(max_examples=300, deadline=None)
def test_judge_and_fold_say_the_same(history):
    _both_say_the_same(history)


# What is used and how many days later; or which of it is corrected, to what; or a cut, with other terms or without.
_DAYS = st.sampled_from([0, 0, 0, 1, 9, 20])
_LIVED = (
    st.tuples(_DAYS, st.sampled_from(FEATURES[:2]), st.integers(0, 5), st.sampled_from([None, None, None, "0.7"]))
    | st.tuples(_DAYS, st.integers(0, 9), st.sampled_from([None, "0", "0.5", "1", "2", "6"]))
    | st.tuples(_DAYS, st.sampled_from([False, False, True]))
)


@given(
    st.sampled_from(KINDS),
    st.sampled_from(KINDS),
    st.integers(1, 4),
    st.sampled_from([(0, ()), (3, ((1, 0), (1, 28)))]),
    st.lists(_LIVED, min_size=8, max_size=30),
)
@settings(max_examples=300, deadline=None)
def test_they_say_the_same_of_what_is_corrected_in_a_customers_life(kind, then, limit, bought, steps):
    """ADR 10: each window's draws, packs and top-ups come back alike, however often what is used is corrected."""
    day, rev, number = 0, 1, 1
    known = {"status": SubscriptionStatus.ACTIVE, "end": None, "following": None, "then": kind, "new": 0}
    history = [_snapshot(1, 0, limit=limit, number=1, kind=kind, begun=0, bought=bought, **known)]
    for later, *step in steps:
        day += later
        if len(step) == 3:
            history.append((step[0], step[1], None, 0, day, day, None, step[2]))
        elif len(step) == 2:
            history.append((*step, day, False))
        else:
            rev, number = rev + 1, 2 if step[0] else number
            begun, now = (day, then) if number == 2 else (0, kind)
            history.append(
                _snapshot(rev, rev - 1, limit=limit, number=number, kind=now, begun=begun, bought=bought, **known)
            )
    _both_say_the_same(history)


# What happened on which day (at one in the morning), and is used or corrected when the pauses are over.
_LATE = st.tuples(
    st.sampled_from(FEATURES[:2]),
    st.integers(0, 3),
    st.sampled_from([-1, 0, 2, 4, 9, 10, 11, 12, 13, 14, 16]),
    st.sampled_from([None, None, None, "0.7"]),
) | st.tuples(st.integers(0, 9), st.sampled_from([None, "0", "1", "6"]), st.booleans())


@given(
    st.sampled_from([(kind, kind, kind) for kind in KINDS]) | st.tuples(*[st.sampled_from(KINDS)] * 3),
    st.tuples(st.sampled_from([4, 9]), st.sampled_from([10, 11]), st.sampled_from([13, 14]), st.just(15)),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.sampled_from([None, None, None, 10, 16, 40]),
    st.sampled_from([28, 33, None]),
    st.lists(_LATE, min_size=12, max_size=30),
)
@settings(max_examples=200, deadline=None)
def test_they_say_the_same_of_what_comes_late_for_before_a_pause(kinds, days, later, end, following, steps):
    """R-TRACK-20, R-SUB-13: two pauses, to the microsecond, of plans of any kind; what counts is corrected as well."""
    first, second, now = kinds
    begin_pause, resume, pause_again, begun = days
    ended = ((second, resume, pause_again, later[0]), (first, 0, begin_pause, later[1]))
    known = {"status": SubscriptionStatus.ACTIVE, "end": end, "following": following, "then": now, "new": 1}
    under = _snapshot(1, 1, limit=4, number=3, kind=now, begun=begun, bought=(3, ((1, 0),)), ended=ended, **known)
    history = [under]
    for number, step in enumerate(steps):
        day = begun + number // 4
        if len(step) == 4:
            feature, quantity, happened, cost = step
            history.append((feature, quantity, None, 0, min(happened, day), day, None, cost))
        else:
            which, value, stale = step
            history.append((which, value, day, stale))
    _both_say_the_same(history)


def _both_say_the_same(history):
    header = LaneHeader(epoch=1, token=b"t", rules=RULES, next=0, sunk=0, clock_ms=0, seen_ms=0, state=READY)
    fold = SliceFold(header, 0, {CUSTOMER: CustomerState(Account(), None)}, {})
    judge, sent, rows, doubled = Judge(), {}, [], False
    judge.corrected.watched = {(1, 0, offset, 0) for offset in range(len(history))}
    for offset, step in enumerate(history):
        if isinstance(step, Snapshot):
            fold.account(offset, step)
            judge.take_record(decoding.decode_snapshot(encode_snapshot(step)))
            continue
        if len(step) == 3 and not sent:
            continue
        if len(step) == 4:
            event = _correction(step, rows)
            if event is None:
                continue
            sent[offset] = event
        else:
            event = sent[offset] = _replay(step, sent) if len(step) == 3 else _event(step)
        fold.usage(offset, event.at_ms, [event])
        [said] = fold.outcomes[offset]
        attempt = _attempt(Position(1, 0, offset, 0), event)
        misfit = judge.corrected.misfit(attempt)
        ruled = judge.rule(attempt, died=said.verdict is Verdict.DEAD)
        if said.verdict is Verdict.COUNTED:
            # Only a key that was forgotten lets a number count twice.
            doubled |= len(step) == 4 and step[3]
            assert misfit is None or doubled
            values = event_row(1, 0, offset, event.at_ms, "gw", 0, event, said)
            rows.append(EventRow(**dict(zip(EVENT_COLUMNS, values, strict=True))))
        code = "" if said.verdict is Verdict.DEAD else said.code  # the words of a dead letter are the pipeline's own
        expected = (said.verdict.value, code, said.term, said.window, said.window_end, said.cut)
        assert tuple(ruled[:6]) == expected
        assert ruled.taken == _taken(said.drawn)
        assert (b"" if ruled.original is None else decoding.position_bytes(ruled.original)) == said.original
    newest = {one.digest: one.entry for one in sorted(fold.write(0).keys, key=lambda one: one.generation)}
    assert {digest: judge.keys[digest].to_bytes() for digest in newest} == newest
    ledger = judge.ledgers.get(CUSTOMER)
    if ledger is not None:
        account = fold.changed[CUSTOMER].account
        kept = {key: (w.end, int(w.now * 10**9), int(w.at_cut * 10**9)) for key, w in ledger.kept().items()}
        assert kept == {key: (t.end, t.now, t.at_cut) for key, t in account.totals.items()}
        draws = {
            key: (w.end, tuple(int(n * 10**9) for n in w.now), tuple(int(n * 10**9) for n in w.at_cut))
            for key, w in ledger.kept_draws().items()
        }
        fours = msgspec.structs.astuple
        assert draws == {key: (d.end, fours(d.now), fours(d.at_cut)) for key, d in account.draws.items()}
        assert int(ledger.pool.packs * 10**9) == account.packs
        assert {key: int(amount * 10**9) for key, amount in ledger.kept_spent().items()} == account.spent
        assert decoding.decode_account(encode_account(account)).draws.keys() == draws.keys()
        assert (ledger.rev, ledger.clock_ms, ledger.cut) == (account.rev, account.clock_ms, account.cut)


def test_windows_are_counted_from_the_anchor_and_clamp():
    assert month_of(FIRST_DAY, FIRST_DAY) == (20_484, 20_512)  # 31 January to 28 February
    assert month_of(FIRST_DAY, 20_512) == (20_512, 20_543)  # 28 February to 31 March
    assert month_of(FIRST_DAY, 20_483) == (20_453, 20_484)  # 31 December to 31 January
