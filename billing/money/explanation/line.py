"""Why each line of an invoice costs what it does: one explanation for each kind. Pure.

Invariant: the formula gives the line's amount from the inputs that are shown; where it does not, the explanation says
so (`agrees`), because then the line was not made as the rules say. Source: R-INV-2, R-INV-6, R-GEN-2.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from billing.life.frozen import PeriodTerms
from billing.money.explanation.fact import Fact, Why
from billing.money.explanation.other import (
    adjustment_why,
    charge_why,
    credit_applied_why,
    credit_why,
    pack_why,
    top_up_why,
)
from billing.money.explanation.period import (
    activation_why,
    addon_base_why,
    base_why,
    discount_why,
    seats_why,
    true_up_why,
)
from billing.money.explanation.terms import terms_wire
from billing.money.explanation.usage import overdraft_why, usage_why
from billing.money.invoice import Line, LineKind
from kernel.period import date_of, instant_text
from kernel.quantity import canonical, from_units

_WHY: Final[Mapping[LineKind, Callable[[Line, Fact], Why]]] = {
    LineKind.PLAN_BASE: base_why,
    LineKind.DISCOUNT: discount_why,
    LineKind.SEATS: seats_why,
    LineKind.SEAT_TRUE_UP: true_up_why,
    LineKind.OVERAGE: usage_why,
    LineKind.BALANCE_OVERAGE: overdraft_why,
    LineKind.ADDON_BASE: addon_base_why,
    LineKind.ADDON_OVERAGE: usage_why,
    LineKind.ADDON_PRORATION: activation_why,
    LineKind.PRORATION_CREDIT: credit_why,
    LineKind.PRORATION_CHARGE: charge_why,
    LineKind.CREDIT_PACK: pack_why,
    LineKind.BALANCE_TOPUP: top_up_why,
    LineKind.ADJUSTMENT: adjustment_why,
    LineKind.LATE_USAGE: usage_why,
    LineKind.ACCOUNT_CREDIT_APPLIED: credit_applied_why,
}


def why_of(line: Line, fact: Fact) -> Why:
    """Explain a line."""
    return _WHY[line.kind](line, fact)


def line_wire(line_id: str, line: Line, fact: Fact) -> dict[str, Any]:
    """Spell a line with its explanation; amounts are minor units, decimals strings."""
    why = why_of(line, fact)
    return {
        "id": line_id,
        "kind": line.kind.value,
        "description": line.description,
        "amount": line.amount_minor,
        "currency": fact.invoice.currency,
        "rule": why.rules[0],
        "rules": why.rules,
        "why": why.words,
        "arithmetic": {
            "formula": why.formula,
            "inputs": why.inputs,
            "amount": why.amount.minor,
            "agrees": why.amount.minor == line.amount_minor,
        },
        "terms": None if why.terms is None else _terms(why.terms, line),
        "window": _window(line),
        "events": _events(line_id, line, fact),
    }


def _window(line: Line) -> dict[str, Any] | None:
    if line.window is None:
        return None
    return {
        "start": date_of(line.window.start).isoformat(),
        "end": date_of(line.window.end).isoformat(),
        "afterCut": line.cut_after,
        "throughCut": line.cut,
    }


def _events(line_id: str, line: Line, fact: Fact) -> dict[str, Any] | None:
    """Spell the events behind a line: those that it adds, and where each of them is listed."""
    sums = fact.events.get(line_id)
    if sums is None:
        return None
    return {
        "count": sums.count,
        "sum": canonical(from_units(sums.overdraft if line.kind is LineKind.BALANCE_OVERAGE else sums.units)),
        "ofWindow": canonical(from_units(sums.of_window)),
        "first": None if sums.first_us is None else instant_text(sums.first_us // 1000),
        "last": None if sums.last_us is None else instant_text(sums.last_us // 1000),
        "priceVersions": sums.price_versions,
        "href": f"/invoices/{fact.invoice.id}/lines/{line_id}/events",
    }


def _terms(terms: PeriodTerms, line: Line) -> dict[str, Any]:
    """Spell the terms as they were for the line's window."""
    stood = terms if line.window is None else terms.of_window(line.window.start)
    return terms_wire(stood, line.feature_id)
