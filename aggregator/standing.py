"""Where a customer's usage falls under the snapshot in force: which window, which limit, or why nowhere. Pure.

Owns the rules of time and terms that need no amount. A standing is made once per snapshot and remembers what it was
asked, because events of one customer name few features and few days. Metered usage counts in the window of its own
time; what draws on a pool counts in the window that holds the account's clock (AMB-16). What happened before a pause
or a change of plan counts under the terms that it ended; what happened within a pause counts nowhere.
Source: DESIGN 3.5.4; ADR 9; R-INT-1, R-TRACK-7, R-TRACK-10, R-TRACK-20, R-SUB-13.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from aggregator.account import WindowKey
from catalog.terms import LIVE_STATUSES, ConsumptionModel, EndedTerms, FeatureTerms, Snapshot, Terms
from ingest.verdict import Drawn, Outcome, Verdict
from kernel.limits import START_SLACK_MS
from kernel.period import DAY_MS, DAY_US, Interval, Period, day_of_us, period_of

# The codes with which events are refused, and blocked by a limit.
NO_SUBSCRIPTION: Final = "no_active_subscription"
NOT_IN_PLAN: Final = "feature_not_in_plan"
LIMIT_REACHED: Final = "included_limit_reached"
METERED: Final = "metered"

# Places that an account remembers, 290 bytes each: a month of two features, or today's of many. Beyond it they are
# forgotten as a whole, since the fold keeps thousands of accounts, and finding one again takes microseconds.
_PLACES_MAX: Final = 64


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The window in which an event counts.

    `end` is the day it ends; `limit` the 1e-9 units that it may hold (None: no hard limit). `terms` and `granted` are
    set where usage draws on a pool: the terms of the draw window, and what they say of the feature, whose usage is
    priced by AI model when `by_model` is set (R-AI-1). `counted` is what is said of metered usage that counts there
    before the snapshot's next cut: one value for all of it.
    """

    key: WindowKey
    end: int
    limit: int | None
    terms: Terms | None = None
    granted: FeatureTerms | None = None
    by_model: bool = False
    counted: Outcome | None = None


def counted_outcome(key: WindowKey, end: int, cut: int, *, limited: bool, drawn: Drawn | None = None) -> Outcome:
    """Say that usage counts in the window of `key`, which ends on day `end`, and is billed by cut number `cut`."""
    _, term, window = key
    return Outcome(
        verdict=Verdict.COUNTED, term=term, window=window, window_end=end, cut=cut, limited=limited, drawn=drawn
    )


def window_on(terms: Terms, day: int, until: int | None = None) -> Period:
    """Tell the usage window of a day: a month from the anchor on every interval, or `window_days` (R-INT-1, R-TRIAL-7).

    `until` is the day from which terms with windows of their own rule: no window reaches beyond it.
    """
    if terms.window_days:
        start = day - (day - terms.anchor) % terms.window_days
        window = Period(start, start + terms.window_days)
    else:
        window = period_of(terms.anchor, day, Interval.MONTHLY)
    if until is not None and window.start < until < window.end:
        return Period(window.start, until)
    return window


def usage_window(snapshot: Snapshot, terms: Terms, day: int) -> Period:
    """Tell the window of a day under `terms`, which are of the snapshot; what lies before their start is in the first.

    Terms with the same number go on with the same windows; other ones cut the last.
    """
    following = snapshot.next
    cut = following is not None and following is not terms and following.number != terms.number
    until = following.since if cut and following is not None else None
    return window_on(terms, max(day, day_of_us(terms.start_us)), until)


def terms_at(snapshot: Snapshot, day: int) -> Terms | None:
    """Tell the terms in force on a day; a day before their start falls under those of the first. None: no terms."""
    if snapshot.terms is None:
        return None
    return snapshot.terms_on(max(day, day_of_us(snapshot.terms.start_us))) or snapshot.terms


def window_at(snapshot: Snapshot, day: int) -> tuple[Terms, Period] | None:
    """Tell the terms in force on a day, and its window under them; None where there are no terms."""
    terms = terms_at(snapshot, day)
    return None if terms is None else (terms, usage_window(snapshot, terms, day))


def terms_before(snapshot: Snapshot, event_time_us: int) -> Terms | None:
    """Tell which of the terms that ended cover an instant; None: it is within a pause, or before them all."""
    for place, ended in enumerate(snapshot.ended):
        if counts_from(ended.terms, snapshot.ended[place + 1 :]) <= event_time_us < ended.until_us:
            return ended.terms
    return None


def counts_from(terms: Terms, before: Sequence[EndedTerms]) -> int:
    """Tell the instant from which events count under terms; `before` are those that ended before them, latest first.

    Clocks differ, so START_SLACK_MS before their start is near enough, but not into terms that ended at that instant.
    """
    follows = bool(before) and before[0].until_us == terms.first_us
    return terms.first_us if follows else terms.first_us - START_SLACK_MS * 1_000


def draw_day(snapshot: Snapshot, clock_ms: int) -> int:
    """Tell the day whose window usage draws on when the account's clock is `clock_ms`: never one after access ended."""
    day = clock_ms // DAY_MS
    return day if snapshot.end_us is None else min(day, day_of_us(snapshot.end_us - 1))


def feature_terms(terms: Terms, feature: bytes) -> FeatureTerms | None:
    """Tell what terms say of a feature (16 bytes); None when they do not grant it."""
    for granted in terms.features:
        if granted.feature == feature:
            return granted
    return None


def metered_terms(terms: Terms, feature: bytes) -> FeatureTerms | None:
    """Tell what terms say of a feature whose usage counts under them; None when it does not."""
    granted = feature_terms(terms, feature)
    return granted if granted is not None and granted.kind == METERED and granted.enabled else None


def pooled(terms: Terms) -> bool:
    """Tell whether usage under the terms draws on a pool (R-CREDIT-6, R-BAL-8)."""
    return terms.model is not ConsumptionModel.METERED


def priced_by_model(terms: Terms, granted: FeatureTerms) -> bool:
    """Tell whether usage of a feature is priced by AI model: on a balance plan, with a margin (R-AI-1)."""
    return granted.margin is not None and terms.model is ConsumptionModel.BALANCE


class Standing:
    """One snapshot, ready to be asked where an event falls."""

    __slots__ = ("_draw_places", "_first_us", "_places", "_until_us", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        """An event counts from START_SLACK_MS before the subscription's start up to, but without, its end."""
        self.snapshot = snapshot
        live = snapshot.terms is not None and snapshot.status in LIVE_STATUSES
        self._first_us = counts_from(snapshot.terms, snapshot.ended) if live and snapshot.terms else None
        self._until_us = snapshot.end_us
        self._places: dict[tuple[bytes, int], Place | None] = {}
        self._draw_places: dict[tuple[bytes, int, int], Place] = {}

    def covers(self, event_time_us: int) -> bool:
        """Tell whether a live subscription covers an instant."""
        if self._first_us is None or (self._until_us is not None and event_time_us >= self._until_us):
            return False
        return event_time_us >= self._first_us or terms_before(self.snapshot, event_time_us) is not None

    def owns(self, term: int) -> bool:
        """Tell whether terms of a number are the live subscription's: one of before has only lower numbers (ADR 9).

        Terms that an older version wrote tell from when events count, not which numbers they followed.
        """
        terms, ended = self.snapshot.terms, self.snapshot.ended
        if terms is None or terms.counts_us is not None:
            return terms is not None
        return term >= min((one.terms.number for one in ended), default=terms.number)

    def unended(self) -> "Standing":
        """Make the standing of an account that knows of no terms before its own, as rules 2 had it."""
        return Standing(msgspec.structs.replace(self.snapshot, ended=())) if self.snapshot.ended else self

    def place(self, feature: bytes, event_time_us: int, clock_ms: int) -> Place | str:
        """Tell where an event of `feature` falls, or the code with which it is refused; `clock_ms` is the account's."""
        if self._first_us is None:
            return NO_SUBSCRIPTION
        if self._until_us is not None and event_time_us >= self._until_us:
            return NO_SUBSCRIPTION
        if event_time_us < self._first_us:
            return self._late_place(feature, event_time_us, clock_ms)
        asked = (feature, event_time_us // DAY_US)
        try:
            place = self._places[asked]
        except KeyError:
            place = self._find(feature, event_time_us // DAY_US)
            if len(self._places) >= _PLACES_MAX:
                self._places.clear()
            self._places[asked] = place
        if place is None:
            return NOT_IN_PLAN
        return place if place.terms is None else self._draw_place(place, asked, clock_ms)

    def _find(self, feature: bytes, day: int) -> Place | None:
        terms = terms_at(self.snapshot, day)
        assert terms is not None, "asked only of a live subscription"
        granted = metered_terms(terms, feature)
        return None if granted is None else self._place(terms, granted, usage_window(self.snapshot, terms, day))

    def _late_place(self, feature: bytes, event_time_us: int, clock_ms: int) -> Place | str:
        """Find where usage of before a pause or a change counts; nothing is remembered of it: little comes so late.

        Metered usage counts in its own window as it was left, what draws on a pool in today's (R-TRACK-20).
        """
        terms = terms_before(self.snapshot, event_time_us)
        if terms is None:
            return NO_SUBSCRIPTION
        granted = metered_terms(terms, feature)
        if granted is None:
            return NOT_IN_PLAN
        if not pooled(terms):
            return self._place(terms, granted, window_on(terms, day_of_us(max(event_time_us, terms.start_us))))
        day = draw_day(self.snapshot, clock_ms)
        today = terms_at(self.snapshot, day)
        assert today is not None, "asked only of a live subscription"
        now_granted = metered_terms(today, feature)
        if now_granted is None or today.model is not terms.model:
            return NOT_IN_PLAN
        return self._place(today, now_granted, usage_window(self.snapshot, today, day))

    def _place(self, terms: Terms, granted: FeatureTerms, window: Period) -> Place:
        key = (granted.feature, terms.number, window.start)
        if pooled(terms):
            by_model = priced_by_model(terms, granted)
            return Place(key=key, end=window.end, limit=None, terms=terms, granted=granted, by_model=by_model)
        limit = granted.included if granted.limited else None
        counted = counted_outcome(key, window.end, self.snapshot.cut + 1, limited=limit is not None)
        return Place(key=key, end=window.end, limit=limit, counted=counted)

    def _draw_place(self, place: Place, event: tuple[bytes, int], clock_ms: int) -> Place:
        asked = (*event, clock_ms // DAY_MS)
        found = self._draw_places.get(asked)
        if found is None:
            found = self._find_draw(place, clock_ms)
            if len(self._draw_places) >= _PLACES_MAX:
                self._draw_places.clear()
            self._draw_places[asked] = found
        return found

    def _find_draw(self, place: Place, clock_ms: int) -> Place:
        """Find the draw window; where the clock's terms have no such pool, the nearest one of the event's own terms."""
        snapshot = self.snapshot
        assert place.terms is not None, "asked only of a pool"
        own, feature, day = place.terms, place.key[0], draw_day(snapshot, clock_ms)
        terms = terms_at(snapshot, day)
        assert terms is not None, "asked only of a live subscription"
        granted = metered_terms(terms, feature)
        if terms is not own and (granted is None or terms.model is not own.model):
            assert snapshot.next is not None, "of two terms one is the next"
            day = snapshot.next.since if own is snapshot.next else snapshot.next.since - 1
            terms, granted = own, place.granted
        assert granted is not None, "the event's own terms grant the feature"
        return self._place(terms, granted, usage_window(snapshot, terms, day))
