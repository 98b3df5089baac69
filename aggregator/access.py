"""May this customer use this feature now, and would it cost? Pure.

Owns the state of one feature under a snapshot, an account and an instant: the four reads of R-ACC-1 are views of it.
Reading changes nothing; when a window has rolled by the instant that it is told, usage reads 0 (R-METER-3), and the
plan's part of a pool is whole again. Source: R-ACC-1 to R-ACC-11; contract 3.6 to 3.8.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

import msgspec

from aggregator.account import Account
from aggregator.measure import MeteredMeasure, SeatMeasure, seats_of
from aggregator.pool_left import left
from aggregator.pool_measure import PoolMeasure
from aggregator.standing import feature_terms, pooled, window_at
from catalog.definition import Feature, FeatureKind
from catalog.terms import LIVE_STATUSES, FeatureTerms, Snapshot, SubscriptionStatus, Terms
from kernel.period import DAY_MS, Period
from kernel.quantity import UNITS_PER_ONE

NOT_SUBSCRIBED: Final = "no_subscription"
INACTIVE: Final = "subscription_inactive"
NOT_IN_PLAN: Final = "feature_not_in_plan"
NO_STATUS: Final = "none"
_PAID: Final = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})
_NOTHING: Final = Decimal(0)


class FeatureAccess(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's state for one customer.

    `denied` says why nothing of it may be used (None: it is granted); `granted` what the terms of `window` say;
    `measure` what has numbers. `status` is the subscription's, `none` without one.
    """

    feature: Feature
    status: str
    denied: str | None
    granted: FeatureTerms | None = None
    window: Period | None = None
    measure: MeteredMeasure | SeatMeasure | PoolMeasure | None = None

    @property
    def metered(self) -> bool:
        """Tell whether usage of it is counted."""
        return self.feature.kind is FeatureKind.METERED

    @property
    def counted(self) -> bool:
        """Tell whether it has numbers: usage or seats."""
        return self.feature.kind is not FeatureKind.BOOLEAN

    @property
    def pool(self) -> PoolMeasure | None:
        """Tell the measure of a feature that draws on a pool; None for any other."""
        return self.measure if isinstance(self.measure, PoolMeasure) else None

    @property
    def unlimited(self) -> bool:
        """Tell whether any amount may be used."""
        return self.measure is not None and self.measure.unlimited

    @property
    def overage_enabled(self) -> bool:
        """Tell whether usage goes on beyond what is included."""
        return self.measure is not None and self.measure.overage_enabled

    @property
    def current(self) -> Decimal:
        """Tell what is used in the window, or held."""
        return _NOTHING if self.measure is None else self.measure.current

    @property
    def included(self) -> Decimal | None:
        """Tell what is included in the window; None for unlimited."""
        return _NOTHING if self.measure is None else self.measure.included

    @property
    def remaining(self) -> Decimal | None:
        """Tell what is left of it; None for unlimited."""
        return _NOTHING if self.measure is None else self.measure.remaining

    @property
    def overage(self) -> Decimal:
        """Tell what is used beyond it."""
        return _NOTHING if self.measure is None else self.measure.overage

    @property
    def allowed(self) -> bool:
        """Answer `check`: may any of it be used? (R-ACC-8)."""
        return self.reason is None

    @property
    def reason(self) -> str | None:
        """Tell why `check` answers no; None when it answers yes."""
        return self.denied if self.measure is None else self.measure.denied

    def refusal(self, units: int = UNITS_PER_ONE) -> str | None:
        """Answer `canUse` for so many 1e-9 units more: why not, or None."""
        return self.denied if self.measure is None else self.measure.refusal(units)

    def will_be_charged(self, units: int = UNITS_PER_ONE) -> bool:
        """Tell whether so many units more would be billed beyond what is included."""
        return self.measure is not None and self.measure.will_be_charged(units)


def feature_access(feature: Feature, snapshot: Snapshot | None, account: Account | None, now_ms: int) -> FeatureAccess:
    """Tell one feature's state at the organization's now. Source: R-ACC-2, R-ACC-3, R-ACC-8."""
    status = snapshot.status.value if snapshot is not None and snapshot.status is not None else NO_STATUS
    denied = _denied(snapshot, now_ms)
    found = window_at(snapshot, now_ms // DAY_MS) if snapshot is not None else None
    if denied is not None or snapshot is None or found is None:
        return FeatureAccess(feature=feature, status=status, denied=denied or NOT_SUBSCRIBED)
    terms, window = found
    granted = feature_terms(terms, feature.id)
    if granted is None or not granted.enabled:
        return FeatureAccess(feature=feature, status=status, denied=NOT_IN_PLAN, window=window)
    return FeatureAccess(
        feature=feature,
        status=status,
        denied=None,
        granted=granted,
        window=window,
        measure=_measure(snapshot, account or Account(), terms, granted, window, now_ms),
    )


def _measure(
    snapshot: Snapshot, account: Account, terms: Terms, granted: FeatureTerms, window: Period, now_ms: int
) -> MeteredMeasure | SeatMeasure | PoolMeasure | None:
    if granted.kind == FeatureKind.BOOLEAN:
        return None
    if granted.kind == FeatureKind.SEATS:
        count = sum(seats.count for seats in snapshot.seats if seats.feature == granted.feature)
        return seats_of(granted, count, paid=not terms.free and snapshot.status in _PAID)
    key = (granted.feature, terms.number, window.start)
    total = account.totals.get(key)
    used = 0 if total is None else total.now
    if not pooled(terms):
        return MeteredMeasure(granted=granted, used=used)
    return PoolMeasure(
        terms=terms,
        granted=granted,
        used=used,
        left=left(account, snapshot, now_ms),
        spent=account.spent.get(key, 0),
    )


def all_access(
    find: Callable[[bytes], Feature | None], snapshot: Snapshot | None, account: Account | None, now_ms: int
) -> list[FeatureAccess]:
    """Tell the states of all features of plan and active add-ons, by code; none without a live subscription (R-ACC-6).

    A feature that the plan switches off is listed as denied; an add-on's that was switched off is gone at once, though
    the terms keep it for the usage that it had (R-ADDON-5).
    """
    features = [feature for feature in map(find, _granted(snapshot, now_ms)) if feature is not None]
    return [
        feature_access(feature, snapshot, account, now_ms) for feature in sorted(features, key=lambda one: one.code)
    ]


def _granted(snapshot: Snapshot | None, now_ms: int) -> Iterator[bytes]:
    found = window_at(snapshot, now_ms // DAY_MS) if snapshot is not None else None
    if found is not None and _denied(snapshot, now_ms) is None:
        listed = (granted for granted in found[0].features if granted.enabled or not granted.addon)
        yield from dict.fromkeys(granted.feature for granted in listed)


def _denied(snapshot: Snapshot | None, now_ms: int) -> str | None:
    """Tell why a subscription grants nothing at all; one that is canceled at its period's end is live until then."""
    if snapshot is None or snapshot.terms is None or snapshot.status is None:
        return NOT_SUBSCRIBED
    ended = snapshot.end_us is not None and now_ms * 1_000 >= snapshot.end_us
    return INACTIVE if ended or snapshot.status not in LIVE_STATUSES else None
