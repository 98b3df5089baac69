"""The judge: an account, an event and what is known of its key give the account after it and one outcome. Pure.

Owns the verdicts and the one place where usage is added. It reads no clock and no catalog: the account's clock is the
greatest accepted_at folded so far, the terms are the snapshot's. Invariants: folding the same records again gives the
same outcomes and the same bytes; of one key at most one attempt counts; a hard limit is never passed.
Other rules get another number (`RULES`) and begin with another epoch; what the old epoch's log still holds is judged by
the old ones (`JUDGES`). Source: DESIGN 3.5; ADR 8; R-TRACK-11 to 15, R-METER-4.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from aggregator.account import Account, WindowTotal
from aggregator.standing import NO_SUBSCRIPTION, Standing
from catalog.terms import Snapshot
from ingest.event import UsageEvent
from ingest.key_entry import EntryKind, KeyEntry
from ingest.verdict import Outcome, Verdict
from kernel.limits import KEY_MEMORY_MS
from kernel.quantity import to_units

RULES: Final = 1

LIMIT_REACHED: Final = "included_limit_reached"
UNPROCESSABLE: Final = "event_unprocessable"

# Which entry a verdict leaves under the event's key; the others leave the one that is there.
ENTRY_OF: Final = {
    Verdict.COUNTED: EntryKind.COUNTED,
    Verdict.BLOCKED: EntryKind.REFUSED,
    Verdict.REFUSED: EntryKind.REFUSED,
    Verdict.DEAD: EntryKind.DEAD,
}

SUPERSEDED: Final = Outcome(verdict=Verdict.SUPERSEDED)
DEAD: Final = Outcome(verdict=Verdict.DEAD, code=UNPROCESSABLE)
_BLOCKED: Final = Outcome(verdict=Verdict.BLOCKED, code=LIMIT_REACHED)

# Most events say one of few quantities.
_units = lru_cache(maxsize=4_096)(to_units)


def fold_event(
    account: Account,
    standing: Standing | None,
    event: UsageEvent,
    entry: KeyEntry | None,
    *,
    lane_clock_ms: int,
    at_ms: int,
) -> Outcome:
    """Judge one attempt, and change `account` in place: its clock always, a total only when the event counts.

    `standing` is None for a customer without a snapshot; `entry` what is known of the event's key (None: nothing, or
    no key; of a replay: of its dead letter). `at_ms` is when the event took effect, `lane_clock_ms` the lane's clock
    with this event taken in. A replay that finds nothing in its dead letter's place is superseded: it is forgotten.
    Whatever it raises, no total has changed. Source: DESIGN 3.5.4.
    """
    account.advance(at_ms if event.clock_ms is None else event.clock_ms)
    if entry is not None and entry.at_ms >= lane_clock_ms - KEY_MEMORY_MS:
        known = _on_known_key(entry, event, at_ms)
        if known is not None:
            return known
    elif event.replays:
        return SUPERSEDED
    place = standing.place(event.feature, event.event_time_us) if standing is not None else NO_SUBSCRIPTION
    if isinstance(place, str):
        return Outcome(verdict=Verdict.REFUSED, code=place)
    if account.forgets(place.end):
        # Its window was billed and forgotten: only an event that overtook a month of the clock comes here.
        return Outcome(verdict=Verdict.REFUSED, code=NO_SUBSCRIPTION)
    units = _units(event.quantity)
    assert units >= 0, "a quantity is not negative"
    total = account.totals.get(place.key)
    used = units if total is None else total.now + units
    if place.limit is not None and used > place.limit and units:
        return _BLOCKED
    account.totals[place.key] = WindowTotal(end=place.end, now=used, at_cut=0 if total is None else total.at_cut)
    _, term, window = place.key
    return Outcome(
        verdict=Verdict.COUNTED,
        term=term,
        window=window,
        window_end=place.end,
        cut=account.cut + 1,
        limited=place.limit is not None,
    )


# Which function judges by which rules. A program with new rules keeps the judge of those before, so that it can fold to
# its end the log of a Meterline that was killed.
JUDGES: Final[Mapping[int, Callable[..., Outcome]]] = {RULES: fold_event}


def _on_known_key(entry: KeyEntry, event: UsageEvent, at_ms: int) -> Outcome | None:
    """Tell what an attempt of a known key is; None: it is judged afresh (R-TRACK-12, R-TRACK-13).

    A replay is judged afresh on the dead letter that it names, and on nothing else.
    """
    if entry.kind is EntryKind.REFUSED:
        return SUPERSEDED if event.replays or at_ms < entry.at_ms else None
    if entry.kind is EntryKind.DEAD:
        return None if event.replays and event.replayed() == entry.position else still_dead(entry)
    return Outcome(
        verdict=entry.verdict_on(event.content, event.request),
        original=entry.position.to_bytes(),
        original_at_ms=entry.at_ms,
    )


def still_dead(entry: KeyEntry) -> Outcome:
    """Tell what a further attempt on a dead letter is: the same, and no new dead letter."""
    return Outcome(
        verdict=Verdict.DEAD, code=UNPROCESSABLE, original=entry.position.to_bytes(), original_at_ms=entry.at_ms
    )


def fold_snapshot(account: Account, snapshot: Snapshot) -> bool:
    """Take a snapshot in, changing `account` in place; False, and nothing changes, unless its `rev` is above its own.

    A cut that is new freezes the totals. Snapshots do not move clocks. Source: DESIGN 3.5, 3.7, 3.8.
    """
    if snapshot.rev <= account.rev:
        return False
    account.rev = snapshot.rev
    if snapshot.cut > account.cut:
        account.freeze(snapshot.cut)
    return True
