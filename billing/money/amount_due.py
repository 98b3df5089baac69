"""What of an invoice is to be paid: account credit first, and nothing below the least amount that a card takes. Pure.

The figures, as the worked examples have them (DOC-INV-06, R-INV-6):

- *total* is the sum of the lines, the line `account_credit_applied` among them;
- *credit applied* is that line's amount: credit is used oldest first, by every later invoice that charges something, up
  to what the invoice charges (R-CHG-11, AMB-10);
- a total below zero is *credited* to the account, or *refunded* to the card that paid: then nothing is due, and what is
  carried stays carried (AMB-19);
- *carried in* is what earlier invoices left unpaid because it was below 0.50, *carried out* what this one leaves
  (R-INV-12, AMB-29);
- *due* is what is charged now.

Invariants: `total + carried in = due + carried out` when the total is not negative, and due is 0 or at least 0.50.
No invoice, and no line of one, is written beyond INVOICE_MINOR_MAX.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from billing.money.invoice import InvoiceDraft, Line, LineKind, amount_line, kept
from billing.sale.discount import CHECKOUT_MIN_MINOR
from kernel.errors import Refusal
from kernel.limits import INVOICE_MINOR_MAX
from kernel.money import Money

# What a card cannot be charged on its own (AMB-29).
DUE_MIN_MINOR: Final = CHECKOUT_MIN_MINOR


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice's lines as they are written, and its amounts in minor units."""

    lines: tuple[Line, ...]
    total_minor: int
    credit_applied_minor: int = 0
    credited_minor: int = 0
    refunded_minor: int = 0
    carried_in_minor: int = 0
    carried_out_minor: int = 0
    due_minor: int = 0

    @property
    def discount_minor(self) -> int:
        """Tell what its discounts take off, not negative."""
        return -sum(line.amount_minor for line in self.lines if line.kind is LineKind.DISCOUNT)


def amounts_of(draft: InvoiceDraft, *, credit_minor: int, carried_minor: int) -> Amounts:
    """Decide what is due of a draft; `credit_minor` is the account credit left, `carried_minor` what waits to be paid.

    Both are of the draft's customer and currency, and not negative.
    """
    lines = kept(draft.lines)
    owed_minor = sum(line.amount_minor for line in lines)
    if owed_minor <= 0:
        given = {"refunded_minor" if draft.refunded else "credited_minor": -owed_minor}
        return Amounts(lines=lines, total_minor=owed_minor, **given)
    applied_minor = min(credit_minor, owed_minor)
    if applied_minor:
        lines = (*lines, _credit_line(draft, applied_minor))
    left_minor = owed_minor - applied_minor + carried_minor
    charged = left_minor >= DUE_MIN_MINOR
    return Amounts(
        lines=lines,
        total_minor=owed_minor - applied_minor,
        credit_applied_minor=applied_minor,
        carried_in_minor=carried_minor,
        carried_out_minor=0 if charged else left_minor,
        due_minor=left_minor if charged else 0,
    )


def too_large(draft: InvoiceDraft) -> Refusal | None:
    """Tell why a draft cannot be written: what it comes to, or one of its lines, is beyond INVOICE_MINOR_MAX."""
    parts = [(line.description, line.amount_minor) for line in draft.lines]
    for name, minor in [*parts, ("The invoice", draft.total_minor)]:
        if abs(minor) > INVOICE_MINOR_MAX:
            message = f"{name} would come to {minor} minor units: at most {INVOICE_MINOR_MAX} can be invoiced."
            return Refusal(code="amount_too_large", message=message)
    return None


def _credit_line(draft: InvoiceDraft, applied_minor: int) -> Line:
    term = max((line.term for line in draft.lines), default=0)
    amount = Money(-applied_minor, draft.currency)
    return amount_line(LineKind.ACCOUNT_CREDIT_APPLIED, "Account credit", amount, term=term, cut=draft.cut)


class Credit(NamedTuple):
    """An account credit with `left_minor` to use; a customer's credits are numbered by age."""

    number: int
    id: str
    left_minor: int


def oldest_first(credits_left: Iterable[Credit], amount_minor: int) -> Sequence[Credit]:
    """Split an amount over credits, oldest first: how much each gives. Together they hold at least the amount."""
    parts, rest = [], amount_minor
    for credit in sorted(credits_left):
        part = min(rest, credit.left_minor)
        if part:
            parts.append(credit._replace(left_minor=part))
        rest -= part
    assert rest == 0, "no more is applied than is left"
    return parts
