"""An invoice as a value: its type, its lines and their sum. Pure.

Owns the types of invoices, the kinds of lines and what a line says. Invariant: the total is the sum of the lines,
always (R-GEN-2); a line of amount 0 is left out, but for the base (R-INV-7). What is to be paid of it: `amount_due`.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from kernel.money import Money, minor_places
from kernel.period import Period, date_of
from kernel.quantity import EXACT, canonical, from_units

DRAFT: Final = "draft"
OUTSTANDING: Final = "outstanding"
PAID: Final = "paid"
VOID: Final = "void"


class InvoiceType(StrEnum):
    """What an invoice is for (R-INV-1)."""

    RECURRING = "recurring"
    OVERAGE = "overage"
    PLAN_CHANGE = "plan_change"
    CREDIT_PURCHASE = "credit_purchase"
    BALANCE_TOPUP = "balance_topup"
    ADJUSTMENT = "adjustment"
    ADDON_ACTIVATION = "addon_activation"


RECURRING: Final = InvoiceType.RECURRING


class LineKind(StrEnum):
    """What a line is (R-INV-6)."""

    PLAN_BASE = "plan_base"
    DISCOUNT = "discount"
    SEATS = "seats"
    SEAT_TRUE_UP = "seat_true_up"
    OVERAGE = "overage"
    BALANCE_OVERAGE = "balance_overage"
    ADDON_BASE = "addon_base"
    ADDON_OVERAGE = "addon_overage"
    ADDON_PRORATION = "addon_proration"
    PRORATION_CREDIT = "proration_credit"
    PRORATION_CHARGE = "proration_charge"
    CREDIT_PACK = "credit_pack"
    BALANCE_TOPUP = "balance_topup"
    ADJUSTMENT = "adjustment"
    LATE_USAGE = "late_usage"
    ACCOUNT_CREDIT_APPLIED = "account_credit_applied"


class ChargeType(StrEnum):
    """When a line charges: for what is to come, at a period's end, or for what grew meanwhile (contract 6)."""

    STANDARD = "standard"
    ADVANCE = "advance"
    TRUE_UP = "true_up"


# The wire's closer set of words, and when each kind charges (contract 6; R-INV-8). An adjustment that gives is a
# credit, a discount by a code has a word of its own: `Line.line_type`.
LINE_TYPE: Final[Mapping[LineKind, str]] = {
    LineKind.PLAN_BASE: "plan_base",
    LineKind.DISCOUNT: "discount",
    LineKind.SEATS: "feature_seats",
    LineKind.SEAT_TRUE_UP: "feature_seats",
    LineKind.OVERAGE: "feature_overage",
    LineKind.BALANCE_OVERAGE: "balance_overage",
    LineKind.ADDON_BASE: "addon_base",
    LineKind.ADDON_OVERAGE: "feature_overage",
    LineKind.ADDON_PRORATION: "addon_base",
    LineKind.PRORATION_CREDIT: "credit",
    LineKind.PRORATION_CHARGE: "plan_base",
    LineKind.CREDIT_PACK: "one_time",
    LineKind.BALANCE_TOPUP: "one_time",
    LineKind.ADJUSTMENT: "one_time",
    LineKind.LATE_USAGE: "feature_overage",
    LineKind.ACCOUNT_CREDIT_APPLIED: "credit",
}
CHARGE_TYPE: Final[Mapping[LineKind, ChargeType]] = {
    **dict.fromkeys(LineKind, ChargeType.STANDARD),
    **dict.fromkeys((LineKind.PLAN_BASE, LineKind.SEATS, LineKind.ADDON_BASE), ChargeType.ADVANCE),
    LineKind.SEAT_TRUE_UP: ChargeType.TRUE_UP,
}


# How a change of plan names an add-on's part of a price, before the slug.
ADDON_PART: Final = "addon:"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One amount of an invoice.

    Quantities and the unit price are decimal strings, `amount_minor` minor units. A usage line bills the rows of
    (feature, term, window) whose cut is above `cut_after` and at most `cut`, a balance's overdraft its draws in (term,
    window); `window` is None on every other line.
    A discount's line says what it takes: `discount_source` is `intro_offer` or `promo_code`, `discount_type` `percent`
    or `fixed`, `discount_value` a percentage or an amount in the major unit, `discount_name` the offer or the code.
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
    discount_source: str | None = None
    discount_type: str | None = None
    discount_value: str | None = None
    discount_name: str | None = None

    @property
    def line_type(self) -> str:
        """Tell the wire's word."""
        if self.kind is LineKind.DISCOUNT and self.discount_source == "promo_code":
            return "promo_code_discount"
        if self.kind is LineKind.ADJUSTMENT and self.amount_minor < 0:
            return "credit"
        if self.kind is LineKind.PRORATION_CHARGE and self.feature_id is not None:
            return "addon_base" if self.description.startswith(ADDON_PART) else "feature_seats"
        return LINE_TYPE[self.kind]


class Basis(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What reproduces an invoice beside the frozen terms and the counted rows: stored with it, never read by rating.

    `cut` is the customer's cut that it reads, `terms` the numbers of the terms on it. `discount` spells the discount
    that ran, `seats` maps a seats feature's id to the counts that were charged, `price_versions` names the editions of
    AI prices behind its events, `facts` holds what else the maker needs (a pack, an amount, a share).
    """

    cut: int
    terms: tuple[int, ...] = ()
    discount: Mapping[str, Any] | None = None
    seats: Mapping[str, int] = msgspec.field(default_factory=dict)
    price_versions: tuple[str, ...] = ()
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


class InvoiceDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice before it has a number: what a close writes, and what the upcoming invoice shows.

    `period_*`, `issued_ms` and `due_ms` are unix milliseconds. `source` says what makes it, see `source_of`; it is None
    only on an invoice that is shown and not written. `lines` hold what is owed: account credit is applied when it is
    written. `days_remaining` of `days_in_cycle` is the share that its prorated lines charge or credit. `refunded` says
    that a total below zero goes back to a card, not to the account.
    """

    organization_id: str
    customer_id: str
    subscription_id: str | None
    cut: int
    kind: InvoiceType
    currency: str
    plan_name: str
    period_start_ms: int
    period_end_ms: int
    issued_ms: int
    due_ms: int
    lines: tuple[Line, ...]
    source: str | None = None
    final: bool = False
    basis: Basis | None = None
    days_remaining: int | None = None
    days_in_cycle: int | None = None
    memo: str | None = None
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    refunded: bool = False

    @property
    def total_minor(self) -> int:
        """Sum the lines: what is owed before account credit."""
        return sum(line.amount_minor for line in self.lines)


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice that was written, without its lines; nothing but its status ever changes. Times are unix milliseconds.

    The amounts, in minor units, are those of `amount_due.Amounts`.
    """

    id: str
    organization_id: str
    customer_id: str
    subscription_id: str | None
    cut: int
    kind: InvoiceType
    number: int
    status: str
    currency: str
    total_minor: int
    credit_applied_minor: int
    credited_minor: int
    carried_in_minor: int
    carried_out_minor: int
    due_minor: int
    discount_minor: int
    period_start_ms: int
    period_end_ms: int
    issued_ms: int
    due_ms: int
    plan_name: str
    created_ms: int
    source: str
    final: bool
    basis: Basis
    days_remaining: int | None
    days_in_cycle: int | None
    memo: str | None
    metadata: Mapping[str, Any]
    voided_ms: int | None = None
    refunded_minor: int = 0


class Source(StrEnum):
    """What makes an invoice; each makes it once (R-INV-11)."""

    CLOSE = "close"  # a close's id
    START = "start"  # a subscription's id, and with `:` the number of the terms that begin after a pause
    PURCHASE = "purchase"  # a pack's or top-up's purchase
    CHANGE = "change"  # a change of plan
    ADDON = "addon"  # an activation
    ADJUSTMENT = "adjustment"


def source_of(source: Source, made_by: str) -> str:
    """Spell an invoice's source, `close:cls_…`: unique, so that doing it twice makes one invoice (R-INV-11)."""
    return f"{source}:{made_by}"


def amount_line(
    kind: LineKind,
    description: str,
    amount: Money,
    *,
    term: int,
    cut: int,
    quantity: str = "1",
    unit_price: str | None = None,
) -> Line:
    """Make a line that bills no usage; its unit price is the amount unless it is given."""
    return Line(
        kind=kind,
        description=description,
        quantity=quantity,
        unit_price=canonical(amount.major()) if unit_price is None else unit_price,
        amount_minor=amount.minor,
        term=term,
        cut_after=cut,
        cut=cut,
        charge_type=CHARGE_TYPE[kind],
    )


def base_line(plan_name: str, base_minor: int, currency: str, period: Period, *, term: int, cut: int) -> Line:
    """Make the line of a plan's base price for a period, charged in advance (R-INV-8)."""
    description = f"{plan_name}, {span(period)}"
    return amount_line(LineKind.PLAN_BASE, description, Money(base_minor, currency), term=term, cut=cut)


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
