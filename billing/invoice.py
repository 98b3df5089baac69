"""An invoice as a value: its lines and their sum. Pure.

Owns the kinds of lines and what a line says. Invariant: the total is the sum of the lines, always (R-GEN-2); a line of
amount 0 is left out, but for the base (R-INV-7).
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from kernel.money import Money, minor_places
from kernel.period import Period, date_of
from kernel.quantity import EXACT, canonical, from_units

RECURRING: Final = "recurring"
OVERAGE: Final = "overage"
OUTSTANDING: Final = "outstanding"
DRAFT: Final = "draft"


class LineKind(StrEnum):
    """The words of R-INV-6 that this version writes."""

    PLAN_BASE = "plan_base"
    DISCOUNT = "discount"
    OVERAGE = "overage"
    BALANCE_OVERAGE = "balance_overage"
    ADDON_OVERAGE = "addon_overage"
    LATE_USAGE = "late_usage"


# The wire's closer set of words (contract 6).
LINE_TYPE: Final = {
    LineKind.PLAN_BASE: "plan_base",
    LineKind.DISCOUNT: "discount",
    LineKind.OVERAGE: "feature_overage",
    LineKind.BALANCE_OVERAGE: "balance_overage",
    LineKind.ADDON_OVERAGE: "feature_overage",
    LineKind.LATE_USAGE: "feature_overage",
}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One amount of an invoice.

    Quantities and the unit price are decimal strings, `amount_minor` minor units. A usage line bills the rows of
    (feature, term, window) whose cut is above `cut_after` and at most `cut`, a balance's overdraft its draws in (term,
    window); `window` is None on every other line.
    """

    kind: LineKind
    description: str
    quantity: str
    unit_price: str
    amount_minor: int
    term: int
    cut_after: int
    cut: int
    charge_type: str = "standard"
    feature_id: str | None = None
    feature_code: str | None = None
    feature_name: str | None = None
    included: str | None = None
    used: str | None = None
    overage: str | None = None
    window: Period | None = None

    @property
    def line_type(self) -> str:
        """Tell the wire's word."""
        return LINE_TYPE[self.kind]


class InvoiceDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice before it has a number: what a close writes, and what the upcoming invoice shows.

    `period_*`, `issued_ms` and `due_ms` are unix milliseconds.
    """

    organization_id: str
    customer_id: str
    subscription_id: str
    cut: int
    kind: str
    currency: str
    plan_name: str
    period_start_ms: int
    period_end_ms: int
    issued_ms: int
    due_ms: int
    lines: tuple[Line, ...]

    @property
    def total_minor(self) -> int:
        """Sum the lines."""
        return sum(line.amount_minor for line in self.lines)


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice that was written, without its lines; it never changes. Times are unix milliseconds."""

    id: str
    organization_id: str
    customer_id: str
    subscription_id: str
    cut: int
    kind: str
    number: int
    status: str
    currency: str
    total_minor: int
    period_start_ms: int
    period_end_ms: int
    issued_ms: int
    due_ms: int
    plan_name: str
    created_ms: int


def base_line(plan_name: str, base_minor: int, currency: str, period: Period, *, term: int, cut: int) -> Line:
    """Make the line of a plan's base price for a period, charged in advance (R-INV-8)."""
    price = canonical(Money(base_minor, currency).major())
    return Line(
        kind=LineKind.PLAN_BASE,
        description=f"{plan_name}, {span(period)}",
        quantity="1",
        unit_price=price,
        amount_minor=base_minor,
        term=term,
        cut_after=cut,
        cut=cut,
        charge_type="advance",
    )


def kept(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Leave out lines of amount 0, but not the base (R-INV-7)."""
    return tuple(line for line in lines if line.amount_minor != 0 or line.kind is LineKind.PLAN_BASE)


def span(period: Period) -> str:
    """Spell a period for a reader: first day and last day."""
    return f"{date_of(period.start).isoformat()} to {date_of(period.end - 1).isoformat()}"


def decimal_units(units: int) -> str:
    """Spell 1e-9 units as a decimal string."""
    return format(from_units(units), "f")


def unit_amount_minor(unit_price: str, currency: str) -> Decimal:
    """Tell a unit price in minor units, exactly."""
    return EXACT.scaleb(Decimal(unit_price), minor_places(currency))
