"""How invoices look over HTTP: era D's members and those that era A reads, in one object. Pure.

Owns shapes alone (contract 4.2; decision 10). Instants are spelled from unix milliseconds, amounts are minor units, and
beside every rounded integer goes its exact decimal.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from billing.money.amount_due import Amounts
from billing.money.invoice import DRAFT, Invoice, InvoiceDraft, Line, unit_amount_minor
from kernel.money import minor_places
from kernel.period import DAY_MS, instant_text
from kernel.quantity import EXACT

_DISCOUNT_WORDS: Final = {"percent": "percentage", "fixed": "amount"}
_BASIS_POINT_PLACES: Final = 2


def invoice_members(invoice: Invoice) -> dict[str, Any]:
    """Spell an invoice without its lines."""
    return {
        **_amounts(invoice, invoice, invoice.created_ms),
        "id": invoice.id,
        "invoiceNumber": number_text(invoice.number),
        "status": invoice.status,
        "voidedAt": None if invoice.voided_ms is None else instant_text(invoice.voided_ms),
        "updatedAt": instant_text(invoice.created_ms if invoice.voided_ms is None else invoice.voided_ms),
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
        "refunded": amounts.refunded_minor,
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
