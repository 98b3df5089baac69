"""The judge of rules 1, by which epochs were folded before there were pools. Pure.

Kept so that what such an epoch's log still holds is folded to its end as it was begun: every feature is metered, every
window a month from the anchor, and the terms are those of the window's first day. Source: DESIGN 3.5; ADR 8.
"""

from aggregator.account import Account
from aggregator.known_key import known_outcome
from aggregator.standing import (
    LIMIT_REACHED,
    METERED,
    NO_SUBSCRIPTION,
    NOT_IN_PLAN,
    Place,
    Standing,
    feature_terms,
)
from catalog.terms import Snapshot, SubscriptionStatus
from ingest.event import UsageEvent
from ingest.key_entry import KeyEntry
from ingest.verdict import Outcome, Verdict
from kernel.limits import START_SLACK_MS
from kernel.period import Interval, day_of_us, period_of
from kernel.quantity import to_units


def fold_event_first(
    account: Account,
    standing: Standing | None,
    event: UsageEvent,
    entry: KeyEntry | None,
    *,
    lane_clock_ms: int,
    at_ms: int,
) -> Outcome:
    """Judge one attempt as `aggregator.fold.fold_event` does, by rules 1."""
    account.advance(at_ms if event.clock_ms is None else event.clock_ms)
    known = known_outcome(entry, event, lane_clock_ms=lane_clock_ms, at_ms=at_ms)
    if known is not None:
        return known
    place = _place(standing.snapshot, event) if standing is not None else NO_SUBSCRIPTION
    if isinstance(place, str):
        return Outcome(verdict=Verdict.REFUSED, code=place)
    if account.forgets(place.end):
        return Outcome(verdict=Verdict.REFUSED, code=NO_SUBSCRIPTION)
    units = to_units(event.quantity)
    assert units >= 0, "a quantity is not negative"
    total = account.totals.get(place.key)
    used = units if total is None else total.now + units
    if place.limit is not None and used > place.limit and units:
        return Outcome(verdict=Verdict.BLOCKED, code=LIMIT_REACHED)
    account.add_usage(place.key, place.end, units)
    _, term, window = place.key
    return Outcome(
        verdict=Verdict.COUNTED,
        term=term,
        window=window,
        window_end=place.end,
        cut=account.cut + 1,
        limited=place.limit is not None,
    )


def _place(snapshot: Snapshot, event: UsageEvent) -> Place | str:
    now_us, in_force = event.event_time_us, snapshot.terms
    if in_force is None or snapshot.status is not SubscriptionStatus.ACTIVE:
        return NO_SUBSCRIPTION
    if now_us < in_force.start_us - START_SLACK_MS * 1_000:
        return NO_SUBSCRIPTION
    if snapshot.end_us is not None and now_us >= snapshot.end_us:
        return NO_SUBSCRIPTION
    day = max(day_of_us(now_us), day_of_us(in_force.start_us))
    window = period_of(in_force.anchor, day, Interval.MONTHLY)
    terms = snapshot.terms_on(window.start) or in_force
    granted = feature_terms(terms, event.feature)
    if granted is None or granted.kind != METERED or not granted.enabled:
        return NOT_IN_PLAN
    limit = granted.included if granted.limited else None
    return Place(key=(event.feature, terms.number, window.start), end=window.end, limit=limit)
