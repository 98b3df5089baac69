"""Add-ons on a subscription: the feature that each joins to frozen terms, and what it costs. Pure.

Owns the one place where features of add-ons meet those of a plan: `joined` for terms that have not begun, `opened` and
`shut` for those in force. Invariants: terms without an add-on's feature do not charge it; a period charges an add-on
once, in advance or on the invoice of its activation. Source: section 20 of the rules.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from billing.life.frozen import Frame, FrozenFeature, PeriodTerms, frozen_feature, wider
from billing.money.invoice import ADDON_PART, Invoice, Line, LineKind, amount_line, span
from billing.sale.change import Component
from billing.sale.proration import Share, share_left, share_of_amount
from catalog import addon as rule
from catalog.definition import Addon, Plan
from catalog.terms import SubscriptionStatus
from kernel.errors import Refusal
from kernel.money import Money
from kernel.period import DAY_MS, Interval, Period, period_of

# When an add-on may be switched on (R-ADDON-7); a free plan's subscription is active.
_STATUSES: Final = (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING)


class SubscriptionAddon(msgspec.Struct, frozen=True, kw_only=True):
    """An add-on that was switched on, as its row has it; what it grants and costs now are the subscription's terms.

    Instants are unix milliseconds of the organization's clock. `model` is the wire's word. `next_day` is when its next
    month is charged on a free plan, which has no billing period of its own (R-ADDON-13).
    """

    id: str
    organization_id: str
    customer_id: str
    subscription_id: str
    addon_id: str
    feature_id: str
    slug: str
    name: str
    model: str
    activated_ms: int
    ended_ms: int | None
    next_day: int | None


class ActivationCharge(msgspec.Struct, frozen=True, kw_only=True):
    """What an activation costs at once: a share of the base price, for a period in days since 1970-01-01."""

    amount: Money
    share: Share
    period: Period


def refusal_of(
    addon: Addon, plan: Plan, current: PeriodTerms, status: SubscriptionStatus, *, started: bool
) -> Refusal | None:
    """Tell why an add-on cannot be switched on under terms in force; None when it can (R-ADDON-2, R-ADDON-7)."""
    if not started or status not in _STATUSES:
        return Refusal(
            code="invalid_subscription_status",
            message=f"The subscription is {status}: add-ons go with active, trialing and free ones.",
        )
    if not rule.fits(addon, plan):
        return Refusal(
            code="validation_error",
            message=f"addonId: {addon.slug} goes with plans of the model {addon.model} alone.",
            param="addonId",
            rule="R-ADDON-2",
        )
    had = current.feature(addon.granted.feature.id_text)
    if had is not None and had.enabled and (had.addon != addon.id or had.off):
        return Refusal(
            code="validation_error",
            message=f"addonId: the plan has {addon.granted.feature.code} already.",
            param="addonId",
            rule="R-ADDON-9",
        )
    return None


def frozen_addon(addon: Addon, plan: Plan, frame: Frame) -> FrozenFeature | None:
    """Freeze what an add-on grants and costs in a period; None when it has no price in its currency.

    The base is one billing period's, at the interval's own price if there is one (R-ADDON-12, R-ADDON-14). Like a
    plan's, its overage is blocked in a trial and on a free plan.
    """
    base = rule.base_in(addon, frame.interval or Interval.MONTHLY, frame.currency, plan)
    unit_price = rule.rate_in(addon, frame.currency, plan)
    if base is None or unit_price is None:
        return None
    granted = frozen_feature(msgspec.structs.replace(addon.granted, unit_price=unit_price), frame)
    return msgspec.structs.replace(
        granted, addon=addon.id, slug=addon.slug, base_minor=base.minor, paid_apart=frame.interval is None
    )


def joined(period: PeriodTerms, brought: Iterable[FrozenFeature]) -> PeriodTerms:
    """Put add-ons' features into terms that have not begun, in place of any that were there.

    Where the plan has come to grant the same feature, the add-on goes on, with the wider of both quantities.
    """
    own = {granted.feature: granted for granted in period.features if not granted.addon}
    for granted in brought:
        planned = own.get(granted.feature)
        own[granted.feature] = granted if planned is None or not planned.enabled else wider(granted, planned)
    return msgspec.structs.replace(period, features=tuple(own.values()))


def opened(current: PeriodTerms, granted: FrozenFeature, base_minor: int | None = None) -> PeriodTerms:
    """Add an add-on's feature to terms in force; its charge for them is the activation's own (R-ADDON-3).

    One that is there already keeps the prices that were frozen, but for a `base_minor` that is given, and has at least
    its quantities: switched on again within the period, changed by the seller, or charged another month.
    """
    had = current.feature(granted.feature)
    if had is not None and had.addon == granted.addon:
        now = wider(had, granted)
        if base_minor is not None:
            now = msgspec.structs.replace(now, base_minor=base_minor)
    else:
        now = msgspec.structs.replace(granted, paid_apart=True)
    if had is None:
        return msgspec.structs.replace(current, features=(*current.features, now))
    features = tuple(now if one.feature == granted.feature else one for one in current.features)
    return msgspec.structs.replace(current, features=features)


def switched_on(current: PeriodTerms, granted: FrozenFeature) -> tuple[PeriodTerms, FrozenFeature]:
    """Add an add-on's feature to terms in force, and tell it as it then is: its price is what an activation charges.

    One that was on before in the billing period has the price that was frozen then (R-PRICE-1); on a free plan a new
    month of its own begins, at the price of today (R-ADDON-13).
    """
    begun = opened(current, granted, granted.base_minor if current.free else None)
    own = begun.feature(granted.feature)
    assert own is not None, "it was added"
    return begun, own


def shut(current: PeriodTerms, addon_id: str) -> PeriodTerms:
    """Switch an add-on's feature off in terms in force; it stays in them, for the usage that it had (R-ADDON-5).

    What the plan has come to grant too stays on, at the prices that were frozen (R-BH-1, R-PRICE-1).
    """
    features = tuple(
        msgspec.structs.replace(one, enabled=one.planned, off=True) if one.addon == addon_id else one
        for one in current.features
    )
    return msgspec.structs.replace(current, features=features)


def activation_charge(current: PeriodTerms, base_minor: int, day: int, days: Period | None = None) -> ActivationCharge:
    """Tell what switching an add-on on costs on `day`, that day used (R-ADDON-3, R-PRO-3).

    `days` are the billing period's where a pause cut it in two. In a trial it is the trial's rest over the days of the
    first regular period; on a free plan the first month of the add-on's own cycle, in full (R-ADDON-13).
    """
    if current.interval is None:
        period = period_of(day, day, Interval.MONTHLY)
        share = Share(period.end - period.start, period.end - period.start)
    elif current.trial:
        assert current.until_day is not None, "a trial has an end"
        period = Period(current.since_day, current.until_day)
        regular = period_of(period.end, period.end, current.interval)
        share = Share(share_left(period, day).remaining, regular.end - regular.start)
    else:
        period = days or period_of(current.anchor_day, day, current.interval)
        share = share_left(period, day)
    base = Money(base_minor, current.currency)
    return ActivationCharge(
        amount=share_of_amount(base.major(), share, current.currency), share=share, period=Period(day, period.end)
    )


def month_left(invoice: Invoice, charged_minor: int, day: int) -> tuple[Money, Share]:
    """Tell what is left on `day`, that day used, of the days that an add-on's invoice charged (R-PRO-3, R-CHG-13).

    Those are a month of its own on a free plan, or the rest of a trial.
    """
    month = Period(invoice.period_start_ms // DAY_MS, invoice.period_end_ms // DAY_MS)
    left, days = share_left(month, day)
    share = Share(left, days if invoice.days_remaining is None else max(1, invoice.days_remaining))
    return share_of_amount(Money(charged_minor, invoice.currency).major(), share, invoice.currency), share


def cycle_of(addon: SubscriptionAddon) -> Period:
    """Tell the month that begins when the last one ends, of an add-on on a free plan (R-ADDON-13)."""
    assert addon.next_day is not None, "it runs its own cycle"
    month = period_of(addon.activated_ms // DAY_MS, addon.next_day, Interval.MONTHLY)
    return month if month.start == addon.next_day else period_of(addon.next_day, addon.next_day, Interval.MONTHLY)


def activation_line(
    addon: SubscriptionAddon, granted: FrozenFeature, charge: ActivationCharge, *, term: int, cut: int
) -> Line:
    """Make the one line of an activation's invoice; `granted` is its feature in the terms in force."""
    share = charge.share
    part_of = "" if share.remaining == share.days else f": {share.remaining} of {share.days} days"
    text = f"{addon.name} ({addon.slug}), {span(charge.period)}{part_of}"
    line = amount_line(LineKind.ADDON_PRORATION, text, charge.amount, term=term, cut=cut)
    return msgspec.structs.replace(
        line, feature_id=granted.feature, feature_code=granted.code, feature_name=granted.name
    )


def base_lines(period: PeriodTerms, days: Period, cut: int) -> list[Line]:
    """Make the lines of the add-ons that a period charges in advance, in order of their slugs (R-ADDON-4)."""
    return [base_line(one, period, days, cut) for one in _begun_with(period)]


def base_line(granted: FrozenFeature, period: PeriodTerms, days: Period, cut: int) -> Line:
    """Make the line of one add-on's base price for some days."""
    text = f"{granted.slug}, {span(days)}"
    amount = Money(granted.base_minor, period.currency)
    line = amount_line(LineKind.ADDON_BASE, text, amount, term=period.term, cut=cut)
    return msgspec.structs.replace(
        line, feature_id=granted.feature, feature_code=granted.code, feature_name=granted.name
    )


def components(period: PeriodTerms) -> list[Component]:
    """List the add-ons that are on in a period as parts of its price, for a change of plan (R-PRO-1, R-CHG-13)."""
    active = [granted for granted in period.features if granted.addon and granted.enabled and not granted.off]
    return [_component(one, period) for one in sorted(active, key=lambda one: one.slug)]


def components_bought(period: PeriodTerms) -> list[Component]:
    """List the add-ons that a period began with as parts of its price, whatever was switched on or off since."""
    return [_component(one, period) for one in _begun_with(period)]


def _begun_with(period: PeriodTerms) -> list[FrozenFeature]:
    charged = [granted for granted in period.features if granted.addon and not granted.paid_apart]
    return sorted(charged, key=lambda one: one.slug)


def _component(granted: FrozenFeature, period: PeriodTerms) -> Component:
    return Component(
        name=f"{ADDON_PART}{granted.slug}",
        amount=Money(granted.base_minor, period.currency).major(),
        feature_id=granted.feature,
        feature_code=granted.code,
    )
