"""May this customer use this feature now, and would it cost? Pure.

Owns the state of one feature under a snapshot, an account and an instant: the four reads of R-ACC-1 are views of it.
Reading changes nothing; when a window has rolled by the instant that it is told, usage reads 0 (R-METER-3).
Source: R-ACC-1 to R-ACC-11; contract 3.6 to 3.8.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

import msgspec

from aggregator.account import Account
from aggregator.standing import METERED, feature_terms, window_at
from catalog.definition import Feature
from catalog.terms import LIVE_STATUSES, FeatureTerms, Snapshot
from kernel.period import DAY_MS, Period
from kernel.quantity import UNITS_PER_ONE, from_units

NO_SUBSCRIPTION: Final = "no_subscription"
INACTIVE: Final = "subscription_inactive"
NOT_IN_PLAN: Final = "feature_not_in_plan"
LIMIT_REACHED: Final = "included_limit_reached"  # contract 6: the denial word of the wire
NO_STATUS: Final = "none"


class FeatureAccess(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's state for one customer.

    `denied` says why nothing of it may be used (None: it is granted); `granted` what the terms of `window` say; `used`
    counts 1e-9 units of the window. `status` is the subscription's, `none` without one.
    """

    feature: Feature
    status: str
    denied: str | None
    granted: FeatureTerms | None = None
    window: Period | None = None
    used: int = 0

    @property
    def metered(self) -> bool:
        """Tell whether usage of it is counted."""
        return self.feature.kind.value == METERED

    @property
    def unlimited(self) -> bool:
        """Tell whether the terms include any amount."""
        return self.metered and self.granted is not None and self.granted.included is None

    @property
    def overage_enabled(self) -> bool:
        """Tell whether usage goes on beyond what is included."""
        return self.granted is not None and self.granted.overage

    @property
    def included_units(self) -> int:
        """Tell the included 1e-9 units; 0 when nothing is granted or nothing limits."""
        return (self.granted.included or 0) if self.granted is not None else 0

    @property
    def current(self) -> Decimal:
        """Tell what is used in the window."""
        return from_units(self.used)

    @property
    def included(self) -> Decimal | None:
        """Tell what is included in the window; None for unlimited."""
        return None if self.unlimited else from_units(self.included_units)

    @property
    def remaining(self) -> Decimal | None:
        """Tell what is left of it; None for unlimited."""
        return None if self.unlimited else from_units(max(0, self.included_units - self.used))

    @property
    def overage(self) -> Decimal:
        """Tell what is used beyond it."""
        return Decimal(0) if self.unlimited else from_units(max(0, self.used - self.included_units))

    @property
    def allowed(self) -> bool:
        """Answer `check`: may any of it be used? (R-ACC-8)."""
        return self.reason is None

    @property
    def reason(self) -> str | None:
        """Tell why `check` answers no; None when it answers yes."""
        if self.denied is not None or not self.metered or self.unlimited or self.overage_enabled:
            return self.denied
        return None if self.used < self.included_units else LIMIT_REACHED

    def refusal(self, units: int = UNITS_PER_ONE) -> str | None:
        """Answer `canUse` for so many 1e-9 units more: why not, or None; what the fold would say (R-METER-4)."""
        if self.denied is not None or self.granted is None or not self.granted.limited:
            return self.denied
        return LIMIT_REACHED if units and self.used + units > self.included_units else None

    def will_be_charged(self, units: int = UNITS_PER_ONE) -> bool:
        """Tell whether so many units more would be billed as overage."""
        if self.denied is not None or self.unlimited or not self.overage_enabled or self.granted is None:
            return False
        return self.used + units > self.included_units and Decimal(self.granted.unit_price) > 0


def feature_access(feature: Feature, snapshot: Snapshot | None, account: Account | None, now_ms: int) -> FeatureAccess:
    """Tell one feature's state at the organization's now. Source: R-ACC-2, R-ACC-3, R-ACC-8."""
    status = snapshot.status.value if snapshot is not None and snapshot.status is not None else NO_STATUS
    denied = _denied(snapshot, now_ms)
    found = window_at(snapshot, now_ms // DAY_MS) if snapshot is not None else None
    if denied is not None or found is None:
        return FeatureAccess(feature=feature, status=status, denied=denied or NO_SUBSCRIPTION)
    terms, window = found
    granted = feature_terms(terms, feature.id)
    if granted is None or not granted.enabled:
        return FeatureAccess(feature=feature, status=status, denied=NOT_IN_PLAN, window=window)
    total = account.totals.get((feature.id, terms.number, window.start)) if account is not None else None
    return FeatureAccess(
        feature=feature,
        status=status,
        denied=None,
        granted=granted,
        window=window,
        used=0 if total is None else total.now,
    )


def all_access(
    find: Callable[[bytes], Feature | None], snapshot: Snapshot | None, account: Account | None, now_ms: int
) -> list[FeatureAccess]:
    """Tell the states of all features of the plan in force, by code; none without a live subscription (R-ACC-6)."""
    features = [feature for feature in map(find, _granted(snapshot, now_ms)) if feature is not None]
    return [
        feature_access(feature, snapshot, account, now_ms) for feature in sorted(features, key=lambda one: one.code)
    ]


def _granted(snapshot: Snapshot | None, now_ms: int) -> Iterator[bytes]:
    found = window_at(snapshot, now_ms // DAY_MS) if snapshot is not None else None
    if found is not None and _denied(snapshot, now_ms) is None:
        yield from (granted.feature for granted in found[0].features)


def _denied(snapshot: Snapshot | None, now_ms: int) -> str | None:
    """Tell why a subscription grants nothing at all; one that is canceled at its period's end is live until then."""
    if snapshot is None or snapshot.terms is None or snapshot.status is None:
        return NO_SUBSCRIPTION
    ended = snapshot.end_us is not None and now_ms * 1_000 >= snapshot.end_us
    return INACTIVE if ended or snapshot.status not in LIVE_STATUSES else None
