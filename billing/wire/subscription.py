"""How subscriptions look over HTTP: era D's members and those that eras A and C read, in one object. Pure.

Owns shapes alone (contract 3.15 to 3.17, 4.2, 4.3). Instants are spelled from unix milliseconds, amounts are minor
units, and beside every rounded integer goes its exact decimal.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import msgspec

from billing.life.frozen import FrozenFeature, PeriodTerms
from billing.life.subscription import ChangeKind, Pause, ScheduledChange, Subscription
from billing.money.closing import Window, WindowUsage, allowance_of
from billing.money.invoice import decimal_units
from billing.money.rating import overage_units
from billing.sale.discount import Discount, DiscountSource, amount_off
from billing.sale.seat import SEATS
from catalog.definition import DiscountType
from catalog.terms import SubscriptionStatus
from kernel.ids import SUBSCRIPTION
from kernel.money import Money, round_half_away
from kernel.period import DAY_MS, Period, boundary, date_of, instant_text, period_index, period_of
from kernel.quantity import UNITS_PER_ONE, canonical
from kernel.wire import Dialect, rate_of_unit_price

METERED: Final = "metered"
_BASIS_POINTS: Final = 100
_OFFER_APPLICATION: Final = "ofa_"
_OFFER_SOURCES: Final = {DiscountSource.INTRO: "introductory", DiscountSource.CODE: "promo_code"}
# What nothing here decides, spelled so that every client finds its member.
_ABSENT: Final[Mapping[str, Any]] = {"description": None, "checkoutProvider": None}


def subscription_members(
    subscription: Subscription, terms: PeriodTerms, now_ms: int, dialect: Dialect = Dialect.D
) -> dict[str, Any]:
    """Spell a subscription; `terms` are its current period's, `now_ms` the organization's.

    A trial whose card has not come is `trialing` for era A and `pending_payment` for the newer ones (contract 3.15).
    """
    period = shown_period(subscription, terms, now_ms)
    current = None if period is None else _current(period, now_ms)
    interval = None if terms.interval is None else terms.interval.value
    status = subscription.status
    if status is SubscriptionStatus.TRIALING and not subscription.started and dialect is not Dialect.A:
        status = SubscriptionStatus.PENDING_PAYMENT
    return {
        **_ABSENT,
        "id": subscription.id,
        "customerId": subscription.customer_id,
        "plan": {
            "id": terms.plan_id,
            "name": terms.plan_name,
            "basePrice": terms.base_minor,
            "billingInterval": interval,
        },
        "planId": terms.plan_id,
        "planName": terms.plan_name,
        "name": subscription.name,
        "status": status.value,
        "billingInterval": interval,
        "trialEndsAt": _trial_end(subscription),
        "currentPeriod": current,
        "currentPeriodStart": None if current is None else current["start"],
        "currentPeriodEnd": None if current is None else current["end"],
        "cancellation": _cancellation(subscription),
        "cancelAtPeriodEnd": subscription.ending,
        **_canceled(subscription),
        "scheduledPlanChange": _change(subscription.scheduled, subscription),
        "pause": _pause(subscription.pause, subscription),
        "startDate": instant_text(subscription.start_us // 1000),
        "endDate": None if subscription.end_us is None else instant_text(subscription.end_us // 1000),
        "billingDayOfMonth": date_of(terms.anchor_day).day,
        "nextBillingDate": current["end"] if current is not None and _bills_next(subscription, terms) else None,
        "successUrl": subscription.success_url,
        "createdAt": instant_text(subscription.created_ms),
        "updatedAt": instant_text(subscription.updated_ms),
        "priceId": terms.price_id,
        "consumptionModel": terms.model.value,
        **_discount(subscription, terms),
        "offerApplications": _offers(subscription, terms),
    }


def _current(period: Period, now_ms: int) -> dict[str, Any]:
    return {
        "start": _day(period.start),
        "end": _day(period.end),
        "daysRemaining": max(0, -((now_ms - period.end * DAY_MS) // DAY_MS)),
    }


def shown_period(subscription: Subscription, terms: PeriodTerms, now_ms: int) -> Period | None:
    """Tell the period that holds now, also while the close of the last one is under way; a free plan's usage window.

    None before the terms have begun.
    """
    if not subscription.started:
        return None
    day = now_ms // DAY_MS
    if terms.until_day is None:
        return terms.window_of(max(day, terms.since_day) if subscription.live else terms.since_day)
    runs = subscription.live and subscription.status is not SubscriptionStatus.PAUSED and not terms.trial
    if runs and day >= terms.until_day:
        return subscription.period_of(day)
    return Period(terms.since_day, terms.until_day)


def _bills_next(subscription: Subscription, terms: PeriodTerms) -> bool:
    return subscription.renews and not terms.free and not subscription.pausing


def _trial_end(subscription: Subscription) -> str | None:
    if subscription.trial_end_day is None or subscription.status is SubscriptionStatus.PENDING_PAYMENT:
        return None
    return _day(subscription.trial_end_day)


def _cancellation(subscription: Subscription) -> dict[str, Any] | None:
    if subscription.end_us is None or subscription.cancel_requested_ms is None:
        return None
    return {
        "scheduledAt": instant_text(subscription.cancel_requested_ms),
        "reason": subscription.cancel_reason,
        "effectiveAt": instant_text(subscription.end_us // 1000),
    }


def _canceled(subscription: Subscription) -> dict[str, Any]:
    """Spell a cancellation as eras C and earlier do, flat: when it was asked for, why, and the end that still comes."""
    cancellation = _cancellation(subscription)
    if cancellation is None:
        return dict.fromkeys(("canceledAt", "cancelReason", "scheduledCancellationDate"))
    return {
        "canceledAt": cancellation["scheduledAt"],
        "cancelReason": cancellation["reason"],
        "scheduledCancellationDate": cancellation["effectiveAt"] if subscription.ending else None,
    }


def _change(change: ScheduledChange | None, subscription: Subscription) -> dict[str, Any] | None:
    if change is None or subscription.period_end_day is None:
        return None
    other = change.interval is not subscription.billing_interval
    return {
        # The wire has two words: a migration lowers or raises, but always at the renewal, as a downgrade does.
        "changeType": ChangeKind.INTERVAL if change.kind is ChangeKind.INTERVAL else ChangeKind.DOWNGRADE,
        "newPlanId": change.plan_id,
        "newPlanName": change.plan_name,
        "newBillingInterval": change.interval.value if other and change.interval is not None else None,
        "scheduledFor": _day(_renewal_day(subscription, subscription.period_end_day)),
    }


def _renewal_day(subscription: Subscription, end_day: int) -> int:
    """Tell when a subscription renews whose period ends on `end_day`; a trial does at its first paid period's end."""
    if subscription.status is not SubscriptionStatus.TRIALING or subscription.billing_interval is None:
        return end_day
    return period_of(end_day, end_day, subscription.billing_interval).end


def _pause(pause: Pause | None, subscription: Subscription) -> dict[str, Any] | None:
    if pause is None:
        return None
    return {
        "status": "active" if subscription.status is SubscriptionStatus.PAUSED else "scheduled",
        "mode": pause.mode.value,
        "requestedAt": instant_text(pause.requested_ms),
        "effectiveAt": instant_text(pause.effective_us // 1000),
        "resumeAt": None if pause.resume_us is None else instant_text(pause.resume_us // 1000),
    }


def _discount(subscription: Subscription, terms: PeriodTerms) -> dict[str, Any]:
    """Spell the running discount for every era: A flat, C `discount`; ours are the cycles that it still has."""
    discount = terms.discount
    if discount is None or subscription.over:
        none = ("discount", "introOfferEndsAt", "introOfferDiscountType", "introOfferDiscountValue")
        return dict.fromkeys(none)
    kind, value = _discount_value(discount, terms.currency)
    ends = _discount_end(discount, terms)
    intro = discount.source is DiscountSource.INTRO
    return {
        "discount": {
            "type": kind,
            "value": value,
            "valueDecimal": canonical(discount.value),
            "name": discount.name,
            "source": discount.source.value,
            "endsAt": ends,
            "remainingCycles": _cycles_left(discount, subscription, terms),
        },
        "introOfferEndsAt": ends if intro else None,
        "introOfferDiscountType": kind if intro else None,
        "introOfferDiscountValue": value if intro else None,
    }


def _cycles_left(discount: Discount, subscription: Subscription, terms: PeriodTerms) -> int | None:
    """Tell how many more periods it covers, None for ever.

    In a trial no cycle has begun; else the one that runs is charged already.
    """
    left = discount if terms.trial or not subscription.started else discount.spent()
    return 0 if left is None else left.cycles_left


def _offers(subscription: Subscription, terms: PeriodTerms) -> list[dict[str, Any]]:
    """Spell the running discount as an offer application of era D; its `remainingCycles` are ours.

    Its phase is the one that runs from the current period on, or will from a trial's end.
    """
    discount = terms.discount
    if discount is None or subscription.over:
        return []
    kind, value = _discount_value(discount, terms.currency)
    off = amount_off(Money(terms.base_minor, terms.currency), discount)
    begins = terms.until_day if terms.trial else terms.since_day
    begun_ms = subscription.start_us // 1000 if subscription.started else None
    percent = discount.type is DiscountType.PERCENT
    return [
        {
            "id": _OFFER_APPLICATION + subscription.id.removeprefix(SUBSCRIPTION),
            "name": discount.name,
            "appliesTo": {"type": "plan_price", "id": terms.price_id},
            "offerId": None,
            "source": _OFFER_SOURCES[discount.source],
            "status": "quoted" if begun_ms is None else "applied",
            "currency": terms.currency,
            "subtotal": terms.base_minor,
            "discountAmount": off.minor,
            "total": terms.base_minor - off.minor,
            "phases": [
                {
                    "type": "percentage" if percent else "amount_off",
                    kind: value,
                    "durationCycles": discount.cycles_left,
                    "durationInterval": None if terms.interval is None else terms.interval.value,
                    "startsAt": None if begins is None else _day(begins),
                    "endsAt": _discount_end(discount, terms),
                }
            ],
            "quotedAt": instant_text(subscription.created_ms),
            "expiresAt": None,
            "appliedAt": None if begun_ms is None else instant_text(begun_ms),
            "remainingCycles": _cycles_left(discount, subscription, terms),
        }
    ]


def _discount_value(discount: Discount, currency: str) -> tuple[str, int]:
    """Spell a discount as the wire does: basis points of a `percentage`, minor units of an `amount`."""
    if discount.type is DiscountType.PERCENT:
        return "percentage", int((discount.value * _BASIS_POINTS).to_integral_value(rounding=ROUND_HALF_UP))
    return "amount", round_half_away(discount.value, currency).minor


def _discount_end(discount: Discount, terms: PeriodTerms) -> str | None:
    """Tell when the last period that it covers ends; None when it has no end."""
    if discount.cycles_left is None or terms.interval is None or terms.until_day is None:
        return None
    if terms.trial:  # whose end is the anchor of what follows
        return _day(boundary(terms.until_day, discount.cycles_left, terms.interval))
    further = period_index(terms.anchor_day, terms.since_day, terms.interval) + discount.cycles_left
    return _day(boundary(terms.anchor_day, further, terms.interval))


def feature_members(
    dialect: Dialect,
    subscription: Subscription,
    terms: PeriodTerms,
    usage: Mapping[Window, WindowUsage] | None,
    now_ms: int,
    seats: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Spell what the terms grant, with the usage of the window that holds now and the seats held, by feature id.

    `usage` or `seats` None: LIVE does not tell.
    """
    window = terms.window_of(max(now_ms // DAY_MS, terms.since_day)).start
    word = METERED if dialect is Dialect.A else "usage"
    found = []
    for granted in terms.features:
        member: dict[str, Any] = {"code": granted.code, "name": granted.name, "enabled": granted.enabled}
        if granted.kind != METERED:
            member["type"] = granted.kind
            if granted.kind == SEATS and seats is not None:
                held = seats.get(granted.feature, 0) * UNITS_PER_ONE
                member["usage"] = _usage(granted, held, subscription.currency, beyond=True)
            found.append(member)
            continue
        member = {**member, "type": word}
        if usage is not None:
            used = usage.get(Window(granted.feature, terms.term, window))
            member["usage"] = _usage(granted, 0 if used is None else used.units, subscription.currency)
        found.append(member)
    return found


def _usage(granted: FrozenFeature, units: int, currency: str, *, beyond: bool = False) -> dict[str, Any]:
    """Spell a count of 1e-9 units; `beyond` counts what exceeds the included also where none is sold (R-ACC-8)."""
    allowance = allowance_of(granted, currency)
    if beyond:
        allowance = msgspec.structs.replace(allowance, overage=True)
    over = Decimal(decimal_units(overage_units(units, allowance)))
    return {
        "current": Decimal(decimal_units(units)),
        "included": Decimal(granted.included or "0"),
        "unlimited": granted.included is None,
        "overage": over,
        "overageQuantity": over,
        "overageUnitPrice": rate_of_unit_price(granted.unit_price) if granted.overage else None,
        "overageUnitPriceDecimal": granted.unit_price if granted.overage else None,
    }


def _day(day: int) -> str:
    return instant_text(day * DAY_MS)
