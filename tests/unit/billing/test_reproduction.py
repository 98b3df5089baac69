"""An invoice made again: the same, or what differs."""

import msgspec
import pytest

from billing.money.amount_due import amounts_of
from billing.money.invoice import Basis, Invoice, InvoiceDraft, LineKind
from billing.money.reproduction import as_it_stood, compared, not_made_again
from kernel.period import DAY_MS
from tests.unit.billing.make import ANCHOR, FEATURE, draft, granted, line, period


def stored(made: InvoiceDraft, **changes) -> Invoice:
    """Make the row that was written of a draft."""
    amounts = msgspec.structs.asdict(amounts_of(made, credit_minor=300, carried_minor=20))
    amounts.pop("lines")
    own = {name: getattr(made, name) for name in Invoice.__struct_fields__ if hasattr(made, name)} | amounts
    told = {"id": "inv_1", "number": 7, "status": "paid", "created_ms": 1, "discount_minor": 0, "basis": Basis(cut=1)}
    return Invoice(**{**own, **told, **changes})


MADE = draft(line(4900), line(150, LineKind.OVERAGE), source="close:cls_1", basis=Basis(cut=1))
LINES = amounts_of(MADE, credit_minor=300, carried_minor=20).lines


def test_what_is_made_again_is_identical_with_the_credit_and_the_rest_that_it_took() -> None:
    """R-INV-6, R-CHG-11, R-INV-12."""
    again = compared(stored(MADE), LINES, MADE)
    assert (again.verdict, again.differences, again.lines) == ("identical", [], 3)
    assert again.stored_digest == again.recomputed_digest


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"total_minor": 4751}, "total_minor"),
        ({"period_end_ms": 5}, "period_end_ms"),
        ({"basis": Basis(cut=2)}, "basis"),
        ({"carried_out_minor": 1}, "carried_out_minor"),
    ],
)
def test_a_changed_invoice_is_told(changes, member) -> None:
    """R-INV-6."""
    again = compared(stored(MADE, **changes), LINES, MADE)
    assert (again.verdict, [one["member"] for one in again.differences]) == ("different", [member])


def test_changed_missing_and_unknown_lines_are_told() -> None:
    """R-INV-6, R-INV-11."""
    other = (LINES[0], msgspec.structs.replace(LINES[1], quantity="2"), LINES[2])
    again = compared(stored(MADE), other, MADE)
    assert again.differences == [{"member": "lines[1].quantity", "stored": "2", "recomputed": "1"}]
    assert again.stored_digest != again.recomputed_digest
    assert compared(stored(MADE), LINES[:2], MADE).verdict == "different"
    assert compared(stored(MADE), LINES, None).verdict == "different"
    assert not_made_again(stored(MADE), LINES).verdict == "unjudged"


def test_seats_that_were_raised_since_stand_as_the_lines_say() -> None:
    """R-BH-1: those of the period that begins with the invoice; of usage the terms tell what a window had."""
    terms = [period(0, granted(included="99")), period(1, granted(included="99"))]
    begun = stored(MADE, period_start_ms=terms[1].since_day * DAY_MS)
    held = line(150, LineKind.SEATS, feature_id=FEATURE, included="10")
    used = line(150, LineKind.OVERAGE, feature_id=FEATURE, included="7", window=terms[0].window_of(ANCHOR))
    first, second = as_it_stood(terms, begun, [held, used])
    assert (first.features[0].included, second.features[0].included) == ("99", "10")
