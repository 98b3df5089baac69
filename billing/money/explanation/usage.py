"""Why a line of usage or of a balance's overdraft costs what it does. Pure.

Source: R-METER-2, R-TRACK-20, R-BAL-3, R-ADDON-4, R-GEN-2.
"""

from decimal import Decimal
from typing import Final

from billing.money.closing import NOT_BILLED, POOL, Billed, Window, granting, period_at
from billing.money.explanation.fact import Fact, Why
from billing.money.invoice import Line, LineKind
from billing.money.rating import fallen, money_of_units
from kernel.money import Money, round_half_away
from kernel.period import date_of
from kernel.quantity import EXACT, canonical, to_units

_RULES: Final = {
    LineKind.OVERAGE: ("R-METER-2", "R-PRICE-2"),
    LineKind.ADDON_OVERAGE: ("R-ADDON-4", "R-METER-2"),
    LineKind.LATE_USAGE: ("R-TRACK-20", "R-METER-2"),
}


def usage_why(line: Line, fact: Fact) -> Why:
    """Explain a window's usage beyond what is included, less what earlier invoices billed of the window."""
    assert line.window is not None, "usage is of a window"
    assert line.feature_id is not None, "usage is of a feature"
    window = Window(line.feature_id, line.term, line.window.start)
    before = fact.billed.get(window, NOT_BILLED)
    used = Decimal(line.used or "0")
    over = Decimal(0) if line.included is None else max(Decimal(0), used - Decimal(line.included))
    rated = round_half_away(EXACT.multiply(over, Decimal(line.unit_price)), fact.invoice.currency)
    included = "any amount" if line.included is None else line.included
    words = (
        f"{line.feature_code}: {line.used} used from {_span(line)} up to cut {line.cut}, {included} included,"
        f" {canonical(over)} beyond at {line.unit_price} each{_less(fact, before)}."
    )
    return Why(
        rules=_RULES[line.kind],
        formula="round(max(0, used - included) * unitPrice) - billedBefore",
        inputs={
            "used": line.used,
            "included": line.included,
            "unitPrice": line.unit_price,
            "billedBefore": fact.major(before.minor),
        },
        amount=_fallen(rated - fact.money(before.minor), before),
        words=words,
        terms=granting(fact.periods, window),
    )


def overdraft_why(line: Line, fact: Fact) -> Why:
    """Explain what a draw window took beyond its pool, less what earlier invoices billed of it (R-TOPUP-4)."""
    assert line.window is not None, "an overdraft is of a window"
    before = fact.billed.get(Window(POOL, line.term, line.window.start), NOT_BILLED)
    overdraft = line.overage or "0"
    amount = _fallen(money_of_units(to_units(overdraft), fact.invoice.currency) - fact.money(before.minor), before)
    words = (
        f"From {_span(line)} usage took {overdraft} more than the balance had, top-ups included{_less(fact, before)}."
    )
    return Why(
        rules=("R-BAL-3", "R-TOPUP-4"),
        formula="round(overdraft) - billedBefore",
        inputs={"overdraft": overdraft, "billedBefore": fact.major(before.minor)},
        amount=amount,
        words=words,
        terms=period_at([one for one in fact.periods if one.term == line.term], line.window.start),
    )


def _fallen(more: Money, before: Billed) -> Money:
    return Money(fallen(more.minor, before.void_minor), more.currency)


def _less(fact: Fact, before: Billed) -> str:
    void = f" ({fact.major(before.void_minor)} of it void: that does not come back)" if before.void_minor else ""
    return f", less the {fact.major(before.minor)} that earlier invoices billed{void}" if before.minor else ""


def _span(line: Line) -> str:
    assert line.window is not None, "it is of a window"
    return f"{date_of(line.window.start)} to {date_of(line.window.end)}"
