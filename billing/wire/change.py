"""How changes of plan look over HTTP: the answer of a change by its outcome, and of a preview. Pure.

Source: contract 4.2, PlanChange and PreviewChange; eras B and C read the same members without `outcome`. Amounts are
minor units; a credit is told as what it gives, not negative.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from billing.life.frozen import PeriodTerms
from billing.life.subscription import ChangeKind, Subscription
from billing.money.invoice import Invoice, Line, LineKind, decimal_units
from billing.sale.seat import SEATS
from billing.wire.subscription import METERED
from catalog.terms import ConsumptionModel
from kernel.period import DAY_MS, instant_text


def completed(
    subscription: Subscription,
    before: PeriodTerms,
    now: PeriodTerms,
    billing: Mapping[str, int],
    invoice_id: str | None,
) -> dict[str, Any]:
    """Spell a change that holds."""
    answer: dict[str, Any] = {
        "outcome": "completed",
        "id": subscription.id,
        "scheduled": False,
        "requiresCheckout": False,
        "customerId": subscription.customer_id,
        "previousPlan": {"id": before.plan_id, "name": before.plan_name},
        "currentPlan": {"id": now.plan_id, "name": now.plan_name, "price": now.base_minor},
        "billingInterval": None if now.interval is None else now.interval.value,
        "billing": billing,
    }
    return answer if invoice_id is None else {**answer, "invoiceId": invoice_id}


def billing_of(lines: Iterable[Line], invoice: Invoice | None, credit_left_minor: int) -> dict[str, int]:
    """Sum what a change gave, charged and took; `credit_left_minor` is the account credit after it."""
    amounts = [line.amount_minor for line in lines if line.kind is not LineKind.ACCOUNT_CREDIT_APPLIED]
    credit, charge = -sum(one for one in amounts if one < 0), sum(one for one in amounts if one > 0)
    return {
        "credit": credit,
        "creditsApplied": 0 if invoice is None else invoice.credit_applied_minor,
        "charge": charge,
        "taxAmount": 0,
        "netAmount": charge - credit,
        "totalCharged": 0 if invoice is None else invoice.due_minor,
        "remainingCreditBalance": credit_left_minor,
    }


def requires_checkout(subscription: Subscription, checkout_url: str | None) -> dict[str, Any]:
    """Spell a change that waits for its payment; the id is that of the subscription which the payment begins."""
    return {
        "outcome": "requires_checkout",
        "id": subscription.id,
        "customerId": subscription.customer_id,
        "scheduled": False,
        "requiresCheckout": True,
        "checkoutUrl": checkout_url,
    }


def scheduled(
    subscription: Subscription,
    current: PeriodTerms,
    following: PeriodTerms,
    held: Mapping[str, int],
    used: Mapping[str, int],
) -> dict[str, Any]:
    """Spell a change that waits for the renewal, with what it will cost more (R-BH-6).

    `held` are the customer's seats by feature id, `used` the units of the window that runs, in 1e-9.
    """
    change = subscription.scheduled
    assert change is not None, "it was just scheduled"
    assert current.until_day is not None, "a paid plan's period ends"
    effective = instant_text(current.until_day * DAY_MS)
    kind = ChangeKind.INTERVAL if change.kind is ChangeKind.INTERVAL else ChangeKind.DOWNGRADE
    answer: dict[str, Any] = {
        "outcome": "scheduled",
        "id": subscription.id,
        "scheduled": True,
        "requiresCheckout": False,
        "scheduledFor": effective,
        "changeType": f"subscription.{kind.value}",
        "customerId": subscription.customer_id,
        "newPlanId": change.plan_id,
        "newPlanName": change.plan_name,
        "limitWarnings": limit_warnings(following, held, used),
    }
    if change.interval is not None:
        answer["newBillingInterval"] = change.interval.value
    warning = _seat_warning(following, held, effective)
    return answer if warning is None else {**answer, "seatLimitWarning": warning}


def limit_warnings(following: PeriodTerms, held: Mapping[str, int], used: Mapping[str, int]) -> list[dict[str, Any]]:
    """Warn of each feature of which more is held or used now than the new plan includes, and of its price (R-BH-6).

    A null `overageUnitPriceDecimal` says that the plan sells no more than is included.
    """
    found = []
    for granted in following.features:
        if granted.included is None or not granted.enabled or granted.kind not in (SEATS, METERED):
            continue
        now = Decimal(held.get(granted.feature, 0))
        if granted.kind == METERED:
            # Usage of a pool is limited by the pool, not by a number of units.
            counts = following.model is ConsumptionModel.METERED
            now = Decimal(decimal_units(used.get(granted.feature, 0))) if counts else Decimal(0)
        if now > Decimal(granted.included):
            found.append(
                {
                    "featureCode": granted.code,
                    "featureName": granted.name,
                    "current": now,
                    "included": Decimal(granted.included),
                    "overageUnitPriceDecimal": granted.unit_price if granted.overage else None,
                }
            )
    return found


def _seat_warning(following: PeriodTerms, held: Mapping[str, int], effective: str) -> dict[str, Any] | None:
    """Warn of the first seat type of which more are held than the new plan includes."""
    for granted in following.features:
        count = held.get(granted.feature, 0)
        if granted.kind == SEATS and granted.included is not None and count > Decimal(granted.included):
            return {
                "featureCode": granted.code,
                "featureName": granted.name,
                "currentSeats": count,
                "included": int(Decimal(granted.included)),
                "newPlanName": following.plan_name,
                "effectiveDate": effective,
            }
    return None


def preview(
    lines: Iterable[Line],
    warnings: list[dict[str, Any]],
    *,
    currency: str,
    effective_ms: int,
    days: tuple[int, int],
    upgrade: bool,
) -> dict[str, Any]:
    """Spell a preview; `days` are those remaining and those of the cycle. What exceeds the charge is not paid out."""
    sums = billing_of(lines, None, 0)
    return {
        "currency": currency.lower(),
        "currentPlanCredit": sums["credit"],
        "newPlanCharge": sums["charge"],
        "estimatedTotal": max(0, sums["netAmount"]),
        "effectiveDate": instant_text(effective_ms),
        "daysRemaining": days[0],
        "totalDays": days[1],
        "isUpgrade": upgrade,
        "creditedToAccount": max(0, -sums["netAmount"]),
        "limitWarnings": warnings,
        "lines": [
            {"kind": line.kind.value, "description": line.description, "amount": line.amount_minor} for line in lines
        ],
    }
