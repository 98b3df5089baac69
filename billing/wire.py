"""How subscriptions and invoices look over HTTP: era D's members and those that era A reads, in one object. Pure.

Owns shapes alone (contract 3.15 to 3.17, 4.2; decision 10). Instants are spelled from unix milliseconds, amounts are
minor units, and beside every rounded integer goes its exact decimal.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from billing.amount_due import Amounts
from billing.closing import Window, WindowUsage, allowance_of
from billing.frozen import FrozenFeature, PeriodTerms
from billing.invoice import DRAFT, Invoice, InvoiceDraft, Line, decimal_units, unit_amount_minor
from billing.rating import overage_units
from billing.subscription import State, Subscription
from kernel.money import minor_places
from kernel.period import DAY_MS, Period, date_of, instant_text
from kernel.quantity import EXACT
from kernel.wire import Dialect, rate_of_unit_price

METERED: Final = "metered"
_DISCOUNT_WORDS: Final = {"percent": "percentage", "fixed": "amount"}
_BASIS_POINT_PLACES: Final = 2
# What this version does not have, spelled so that every client finds its member.
_ABSENT: Final[Mapping[str, Any]] = {
    "description": None,
    "trialEndsAt": None,
    "scheduledPlanChange": None,
    "checkoutUrl": None,
    "checkoutProvider": None,
    "pause": None,
    "offerApplications": (),
    "introOfferEndsAt": None,
    "introOfferDiscountType": None,
    "introOfferDiscountValue": None,
}


def subscription_members(subscription: Subscription, terms: PeriodTerms, now_ms: int) -> dict[str, Any]:
    """Spell a subscription; `terms` are its current period's, `now_ms` the organization's."""
    period = shown_period(subscription, now_ms)
    current = {
        "start": _day(period.start),
        "end": _day(period.end),
        "daysRemaining": max(0, -((now_ms - period.end * DAY_MS) // DAY_MS)),
    }
    interval = None if subscription.billing_interval is None else subscription.billing_interval.value
    renews = not subscription.free and subscription.state is State.ACTIVE
    return {
        **_ABSENT,
        "id": subscription.id,
        "customerId": subscription.customer_id,
        "plan": {
            "id": subscription.plan_id,
            "name": subscription.plan_name,
            "basePrice": terms.base_minor,
            "billingInterval": interval,
        },
        "planId": subscription.plan_id,
        "planName": subscription.plan_name,
        "name": subscription.name,
        "status": subscription.status.value,
        "billingInterval": interval,
        "currentPeriod": current,
        "currentPeriodStart": current["start"],
        "currentPeriodEnd": current["end"],
        "cancellation": _cancellation(subscription),
        "cancelAtPeriodEnd": subscription.state is State.ENDING,
        "startDate": instant_text(subscription.start_us // 1000),
        "endDate": None if subscription.end_us is None else instant_text(subscription.end_us // 1000),
        "billingDayOfMonth": date_of(subscription.anchor_day).day,
        "nextBillingDate": current["end"] if renews else None,
        "createdAt": instant_text(subscription.created_ms),
        "updatedAt": instant_text(subscription.updated_ms),
        "priceId": subscription.price_id,
        "consumptionModel": METERED,
    }


def shown_period(subscription: Subscription, now_ms: int) -> Period:
    """Tell the period that holds now, also while the close of the last one is under way; a free plan's usage window."""
    if subscription.state is State.CANCELED:
        end = subscription.period_end_day
        window = subscription.window_of(subscription.period_start_day)
        return window if end is None else Period(subscription.period_start_day, end)
    day = max(now_ms // DAY_MS, subscription.anchor_day)
    return subscription.window_of(day) if subscription.free else subscription.period_of(day)


def _cancellation(subscription: Subscription) -> dict[str, Any] | None:
    if subscription.end_us is None or subscription.cancel_requested_ms is None:
        return None
    return {
        "scheduledAt": instant_text(subscription.cancel_requested_ms),
        "reason": subscription.cancel_reason,
        "effectiveAt": instant_text(subscription.end_us // 1000),
    }


def feature_members(
    dialect: Dialect,
    subscription: Subscription,
    terms: PeriodTerms,
    usage: Mapping[Window, WindowUsage] | None,
    now_ms: int,
) -> list[dict[str, Any]]:
    """Spell what the terms grant, with the usage of the window that holds now; `usage` None: LIVE does not tell."""
    window = subscription.window_of(max(now_ms // DAY_MS, subscription.anchor_day)).start
    word = METERED if dialect is Dialect.A else "usage"
    found = []
    for granted in terms.features:
        member: dict[str, Any] = {"code": granted.code, "name": granted.name, "enabled": granted.enabled}
        if granted.kind != METERED:
            found.append({**member, "type": granted.kind})
            continue
        member = {**member, "type": word}
        if usage is not None:
            used = usage.get(Window(granted.feature, subscription.term, window))
            member["usage"] = _usage(granted, 0 if used is None else used.units, subscription.currency)
        found.append(member)
    return found


def _usage(granted: FrozenFeature, units: int, currency: str) -> dict[str, Any]:
    over = Decimal(decimal_units(overage_units(units, allowance_of(granted, currency))))
    return {
        "current": Decimal(decimal_units(units)),
        "included": Decimal(granted.included or "0"),
        "unlimited": granted.included is None,
        "overage": over,
        "overageQuantity": over,
        "overageUnitPrice": rate_of_unit_price(granted.unit_price) if granted.overage else None,
        "overageUnitPriceDecimal": granted.unit_price if granted.overage else None,
    }


def invoice_members(invoice: Invoice) -> dict[str, Any]:
    """Spell an invoice without its lines."""
    return {
        **_amounts(invoice, invoice, invoice.created_ms),
        "id": invoice.id,
        "invoiceNumber": number_text(invoice.number),
        "status": invoice.status,
    }


def draft_members(draft: InvoiceDraft, amounts: Amounts, now_ms: int) -> dict[str, Any]:
    """Spell an invoice that is to come: it has neither id nor number."""
    return {**_amounts(draft, amounts, now_ms), "id": None, "invoiceNumber": None, "status": DRAFT}


def _amounts(invoice: Invoice | InvoiceDraft, amounts: Invoice | Amounts, made_ms: int) -> dict[str, Any]:
    """Spell amounts so that `subtotal - discountAmount + taxAmount - creditApplied = total` (R-INV-13: no taxes)."""
    return {
        "customerId": invoice.customer_id,
        "subscriptionId": invoice.subscription_id,
        "invoiceType": invoice.kind,
        "currency": invoice.currency,
        "subtotal": amounts.total_minor + amounts.discount_minor + amounts.credit_applied_minor,
        "discountAmount": amounts.discount_minor,
        "taxAmount": 0,
        "creditApplied": amounts.credit_applied_minor,
        "total": amounts.total_minor,
        "carriedIn": amounts.carried_in_minor,
        "carriedOut": amounts.carried_out_minor,
        "amountDue": amounts.due_minor,
        "creditedToAccount": amounts.credited_minor,
        "final": invoice.final,
        "daysRemaining": invoice.days_remaining,
        "daysInCycle": invoice.days_in_cycle,
        "periodStart": instant_text(invoice.period_start_ms),
        "periodEnd": instant_text(invoice.period_end_ms),
        "issueDate": instant_text(invoice.issued_ms),
        "dueDate": instant_text(invoice.due_ms),
        "memo": invoice.memo,
        "metadata": invoice.metadata,
        "createdAt": instant_text(made_ms),
        "updatedAt": instant_text(made_ms),
    }


def invoice_details(plan_name: str, lines: Sequence[tuple[str | None, Line]], currency: str) -> dict[str, Any]:
    """Spell what an invoice shows beyond its list item."""
    return {
        "planName": plan_name,
        "poNumber": None,
        "reference": None,
        "lineItems": [_line(line_id, line, currency) for line_id, line in lines],
    }


def number_text(number: int) -> str:
    """Spell an invoice number, so that text sorts as numbers do."""
    return f"INV-{number:06d}"


def _line(line_id: str | None, line: Line, currency: str) -> dict[str, Any]:
    return {
        "id": line_id,
        "kind": line.kind.value,
        "lineType": line.line_type,
        "featureName": line.feature_name,
        "featureCode": line.feature_code,
        "description": line.description,
        "quantity": _whole(line.quantity),
        "quantityDecimal": line.quantity,
        "unitAmount": int(unit_amount_minor(line.unit_price, currency).to_integral_value(rounding=ROUND_HALF_UP)),
        "unitPriceDecimal": line.unit_price,
        "amount": line.amount_minor,
        "includedAmount": _whole(line.included),
        "usedAmount": _whole(line.used),
        "usedDecimal": line.used,
        "overageAmount": _whole(line.overage),
        "discountType": _DISCOUNT_WORDS.get(line.discount_type or ""),
        "discountValue": _discount_value(line, currency),
        "discountName": line.discount_name,
        "chargeType": line.charge_type,
        "period": None if line.window is None else {"start": _day(line.window.start), "end": _day(line.window.end)},
    }


def _discount_value(line: Line, currency: str) -> int | None:
    """Spell a percentage in basis points, an amount in minor units (contract 2.6)."""
    if line.discount_value is None:
        return None
    places = _BASIS_POINT_PLACES if line.discount_type == "percent" else minor_places(currency)
    return int(EXACT.scaleb(Decimal(line.discount_value), places))


def _whole(quantity: str | None) -> int | None:
    return None if quantity is None else int(Decimal(quantity).to_integral_value(rounding=ROUND_HALF_UP))


def _day(day: int) -> str:
    return instant_text(day * DAY_MS)
