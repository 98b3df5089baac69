"""Where a customer's usage falls under the snapshot in force: which window, which limit, or why nowhere. Pure.

Owns the rules of time and terms that need no amount. A standing is made once per snapshot and remembers what it was
asked, because events of one customer name few features and few days.
Source: DESIGN 3.5.4; R-INT-1, R-TRACK-7, R-TRACK-10.
"""

from typing import Final

import msgspec

from aggregator.account import WindowKey
from catalog.terms import LIVE_STATUSES, FeatureTerms, Snapshot, Terms
from kernel.limits import START_SLACK_MS
from kernel.period import DAY_US, Interval, Period, day_of_us, period_of

NO_SUBSCRIPTION: Final = "no_active_subscription"
NOT_IN_PLAN: Final = "feature_not_in_plan"
METERED: Final = "metered"

# Days that one event may name: 35 of backdating; with some features that is little, and it is forgotten as a whole.
_PLACES_MAX: Final = 512


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The window in which an event counts.

    `end` is the day it ends; `limit` the 1e-9 units that it may hold (None: no hard limit).
    """

    key: WindowKey
    end: int
    limit: int | None


def usage_window(terms: Terms, instant_us: int) -> Period:
    """Tell the usage window that holds an instant: monthly from the anchor, for every interval (R-INT-1).

    What lies before the subscription's start falls in its first window.
    """
    return _window(terms, max(day_of_us(instant_us), day_of_us(terms.start_us)))


def _window(terms: Terms, day: int) -> Period:
    return period_of(terms.anchor, day, Interval.MONTHLY)


def feature_terms(terms: Terms, feature: bytes) -> FeatureTerms | None:
    """Tell what terms say of a feature (16 bytes); None when they do not grant it."""
    for granted in terms.features:
        if granted.feature == feature:
            return granted
    return None


class Standing:
    """One snapshot, ready to be asked where an event falls."""

    __slots__ = ("_first_us", "_places", "_until_us", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        """An event counts from START_SLACK_MS before the subscription's start up to, but without, its end."""
        self.snapshot = snapshot
        live = snapshot.terms is not None and snapshot.status in LIVE_STATUSES
        self._first_us = snapshot.terms.start_us - START_SLACK_MS * 1_000 if live and snapshot.terms else None
        self._until_us = snapshot.end_us
        self._places: dict[tuple[bytes, int], Place | None] = {}

    def place(self, feature: bytes, event_time_us: int) -> Place | str:
        """Tell where an event of `feature` falls, or the code with which it is refused."""
        if self._first_us is None or event_time_us < self._first_us:
            return NO_SUBSCRIPTION
        if self._until_us is not None and event_time_us >= self._until_us:
            return NO_SUBSCRIPTION
        asked = (feature, event_time_us // DAY_US)
        try:
            place = self._places[asked]
        except KeyError:
            place = self._find(feature, event_time_us)
            if len(self._places) >= _PLACES_MAX:
                self._places.clear()
            self._places[asked] = place
        return NOT_IN_PLAN if place is None else place

    def _find(self, feature: bytes, event_time_us: int) -> Place | None:
        assert self.snapshot.terms is not None, "asked only of a live subscription"
        window = usage_window(self.snapshot.terms, event_time_us)
        terms = self.snapshot.terms_on(window.start)
        granted = feature_terms(terms, feature) if terms is not None else None
        if terms is None or granted is None or granted.kind != METERED or not granted.enabled:
            return None
        limit = granted.included if granted.limited else None
        return Place(key=(feature, terms.number, window.start), end=window.end, limit=limit)
