"""What a billing period grants and costs, frozen, and the snapshot that shows it to the account's lane. Pure.

Owns how a plan's configuration becomes the terms of one period, and how a merchant's later change reaches them: what
only widens applies at once, everything else waits for the next period. Invariant: prices of a period never change,
included quantities never fall within it. Source: R-PRICE-1..4, R-BH-1, R-BH-3.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from billing.subscription import Subscription
from catalog.definition import Plan, PlanFeature
from catalog.terms import FeatureTerms, Snapshot, SubscriptionStatus, Terms
from kernel import ids
from kernel.period import DAY_MS, DAY_US
from kernel.quantity import canonical, to_units


class FrozenFeature(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a period grants of one feature; `included` is a decimal string a usage window, None is unlimited."""

    feature: str
    code: str
    name: str
    kind: str
    enabled: bool
    included: str | None
    overage: bool
    unit_price: str

    def terms(self) -> FeatureTerms:
        """Spell it as the log carries it."""
        return FeatureTerms(
            feature=ids.id_bytes(self.feature),
            code=self.code,
            kind=self.kind,
            enabled=self.enabled,
            included=None if self.included is None else to_units(self.included),
            overage=self.overage,
            unit_price=self.unit_price,
        )


class PeriodTerms(msgspec.Struct, frozen=True, kw_only=True):
    """One period's terms: days from `since_day` to `until_day` (None on a free plan), base price in minor units."""

    since_day: int
    until_day: int | None
    base_minor: int
    plan_name: str
    features: tuple[FrozenFeature, ...]

    def feature(self, feature_id: str) -> FrozenFeature | None:
        """Tell what it grants of a feature; None when it grants nothing."""
        return next((granted for granted in self.features if granted.feature == feature_id), None)


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's account in SQL: revision, cuts taken, the open one, and how many subscriptions it had."""

    customer_id: str
    organization_id: str
    rev: int
    shown_rev: int
    cut: int
    open_cut: int | None
    terms: int


def freeze(
    plan: Plan, subscription: Subscription, since_day: int, until_day: int | None, base_minor: int
) -> PeriodTerms:
    """Freeze what the plan grants now for a period.

    A plan that lost the subscription's price keeps `base_minor`, the last one (contract 4.1, row 64).
    """
    price = None if subscription.free else plan.price_of(subscription.billing_interval)
    return PeriodTerms(
        since_day=since_day,
        until_day=until_day,
        base_minor=base_minor if price is None else price.amount_minor,
        plan_name=plan.name,
        features=tuple(_frozen(granted) for granted in plan.features),
    )


def prolonged(last: PeriodTerms, since_day: int, until_day: int | None) -> PeriodTerms:
    """Repeat the last period's terms: what a subscriber keeps when the plan itself is gone (R-PLAN-8)."""
    return msgspec.structs.replace(last, since_day=since_day, until_day=until_day)


def widened(current: PeriodTerms, plan: Plan) -> PeriodTerms:
    """Apply what helps the customer at once: raised quantities, features switched on or added (R-BH-1).

    Prices, the overage switch, lowered quantities and removed features stay as they were frozen.
    """
    offered = {granted.feature.id_text: _frozen(granted) for granted in plan.features}
    kept = tuple(_wider(granted, offered.pop(granted.feature, None)) for granted in current.features)
    return msgspec.structs.replace(current, features=(*kept, *offered.values()))


def _frozen(granted: PlanFeature) -> FrozenFeature:
    return FrozenFeature(
        feature=granted.feature.id_text,
        code=granted.feature.code,
        name=granted.feature.name,
        kind=granted.feature.kind.value,
        enabled=granted.enabled,
        included=None if granted.unlimited else canonical(granted.included),
        overage=granted.overage,
        unit_price=granted.unit_price,
    )


def _wider(old: FrozenFeature, new: FrozenFeature | None) -> FrozenFeature:
    if new is None:
        return old
    unlimited = old.included is None or new.included is None
    included = None if unlimited else max(old.included or "0", new.included or "0", key=Decimal)
    return msgspec.structs.replace(old, enabled=old.enabled or new.enabled, included=included)


def terms_of(subscription: Subscription, period: PeriodTerms) -> Terms:
    """Spell a period's terms as the log carries them."""
    return Terms(
        number=subscription.term,
        subscription=subscription.id,
        plan=subscription.plan_id,
        start_us=subscription.start_us,
        anchor=subscription.anchor_day,
        since=period.since_day,
        free=subscription.free,
        features=tuple(granted.terms() for granted in period.features),
    )


def in_force(subscription: Subscription, periods: Sequence[PeriodTerms]) -> PeriodTerms:
    """Tell the terms of the subscription's current period."""
    return next(period for period in periods if period.since_day == subscription.period_start_day)


def shown_terms(subscription: Subscription, periods: Sequence[PeriodTerms], now_ms: int) -> PeriodTerms:
    """Tell the terms in force now; of a canceled subscription those of its last period."""
    day = subscription.period_start_day
    if subscription.status is SubscriptionStatus.ACTIVE:
        day = max(day, now_ms // DAY_MS)
    return [period for period in periods if period.since_day <= day][-1]


def announced(subscription: Subscription, periods: Sequence[PeriodTerms]) -> PeriodTerms | None:
    """Tell the terms that follow the current period's; None when none are announced or the subscription ends before."""
    end_us = subscription.end_us
    later = [
        period
        for period in periods
        if period.since_day > subscription.period_start_day and (end_us is None or period.since_day * DAY_US < end_us)
    ]
    return min(later, key=lambda period: period.since_day, default=None)


def snapshot_of(account: AccountRow, subscription: Subscription | None, periods: Sequence[PeriodTerms]) -> Snapshot:
    """Make the account's whole snapshot from its newest subscription and that one's periods."""
    following = None if subscription is None else announced(subscription, periods)
    return Snapshot(
        organization=ids.id_bytes(account.organization_id),
        customer=ids.id_bytes(account.customer_id),
        rev=account.rev,
        status=None if subscription is None else SubscriptionStatus(subscription.status),
        end_us=None if subscription is None else subscription.end_us,
        terms=None if subscription is None else terms_of(subscription, in_force(subscription, periods)),
        next=None if subscription is None or following is None else terms_of(subscription, following),
        cut=account.cut,
    )
