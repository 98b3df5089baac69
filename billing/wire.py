"""How invoices look over HTTP: era D's members and those that era A reads, in one object. Pure.

Owns shapes alone (contract 4.2; decision 10). Instants are spelled from unix milliseconds, amounts are minor units, and
beside every rounded integer goes its exact decimal.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from billing.invoice import DRAFT, Invoice, InvoiceDraft, Line, unit_amount_minor
from kernel.period import DAY_MS, instant_text


def invoice_members(invoice: Invoice) -> dict[str, Any]:
    """Spell an invoice without its lines."""
    return {
        **_amounts(invoice, invoice.created_ms),
        "id": invoice.id,
        "invoiceNumber": number_text(invoice.number),
        "status": invoice.status,
    }


def draft_members(draft: InvoiceDraft, now_ms: int) -> dict[str, Any]:
    """Spell an invoice that is to come: it has neither id nor number."""
    return {**_amounts(draft, now_ms), "id": None, "invoiceNumber": None, "status": DRAFT}


def _amounts(invoice: Invoice | InvoiceDraft, made_ms: int) -> dict[str, Any]:
    return {
        "customerId": invoice.customer_id,
        "subscriptionId": invoice.subscription_id,
        "invoiceType": invoice.kind,
        "currency": invoice.currency,
        "subtotal": invoice.total_minor,
        "discountAmount": 0,
        "taxAmount": 0,
        "total": invoice.total_minor,
        "periodStart": instant_text(invoice.period_start_ms),
        "periodEnd": instant_text(invoice.period_end_ms),
        "issueDate": instant_text(invoice.issued_ms),
        "dueDate": instant_text(invoice.due_ms),
        "memo": None,
        "metadata": {},
        "createdAt": instant_text(made_ms),
        "updatedAt": instant_text(made_ms),
    }


def invoice_details(plan_name: str, lines: Sequence[tuple[str | None, Line]], currency: str) -> dict[str, Any]:
    """Spell what an invoice shows beyond its list item."""
    return {
        "creditApplied": 0,
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
        "discountType": None,
        "discountValue": None,
        "discountName": None,
        "chargeType": line.charge_type,
        "period": None if line.window is None else {"start": _day(line.window.start), "end": _day(line.window.end)},
    }


def _whole(quantity: str | None) -> int | None:
    return None if quantity is None else int(Decimal(quantity).to_integral_value(rounding=ROUND_HALF_UP))


def _day(day: int) -> str:
    return instant_text(day * DAY_MS)
