"""Why a line costs what it does, where no story reaches: a change into an offer, and a line that is wrong."""

from decimal import Decimal

import msgspec
import pytest

from billing.money.explanation.fact import Fact
from billing.money.explanation.line import _WHY, line_wire, why_of
from billing.money.invoice import Basis, Invoice, InvoiceType, Line, LineKind, amount_line
from billing.sale.discount import Discount, DiscountSource
from billing.sale.seat import Operation, SeatEvent
from catalog.definition import DiscountType
from kernel.money import Money
from kernel.period import DAY_MS, date_of
from tests.unit.billing.make import ANCHOR, FEATURE, draft, granted, line, period

_OF_INVOICE = ("kind", "basis", "days_remaining", "days_in_cycle", "issued_ms")


def invoice(**changes) -> Invoice:
    """An invoice of the period that begins at the anchor."""
    values = {
        **{name: getattr(draft(), name) for name in Invoice.__struct_fields__ if hasattr(draft(), name)},
        "id": "inv_1",
        "number": 1,
        "status": "paid",
        "credit_applied_minor": 0,
        "credited_minor": 0,
        "carried_in_minor": 0,
        "carried_out_minor": 0,
        "due_minor": 0,
        "discount_minor": 0,
        "created_ms": 0,
        "issued_ms": ANCHOR * DAY_MS,
        "period_start_ms": ANCHOR * DAY_MS,
        "basis": Basis(cut=1, terms=(1,)),
    }
    return Invoice(**{**values, **changes})


def fact(*lines: Line, **changes) -> Fact:
    made = {name: changes.pop(name) for name in _OF_INVOICE if name in changes}
    numbered = [(f"line_{number}", one) for number, one in enumerate(lines)]
    return Fact(invoice=invoice(**made), lines=numbered, **{"periods": [period(0)], **changes})


@pytest.mark.parametrize(
    ("whole", "minor", "inputs"),
    [
        (False, -817, {"basePrice": "49", "percent": "33.33", "daysRemaining": 15, "daysInPeriod": 30}),
        (True, -1633, {"basePrice": "49", "percent": "33.33"}),
    ],
)
def test_an_offer_of_the_new_plan_takes_its_share_of_what_a_change_charges(whole, minor, inputs):
    """R-DISC-7, R-DISC-11: 33.33 % of 49.00 are 16.33, of which half the period is 8.17."""
    running = Discount(
        source=DiscountSource.INTRO, name="Hello", type=DiscountType.PERCENT, value=Decimal("33.33"), cycles_left=2
    )
    basis = Basis(cut=1, terms=(1, 1), discount=msgspec.to_builtins(running), facts={"whole": whole})
    off = amount_line(LineKind.DISCOUNT, "Hello on Pro", Money(minor, "usd"), term=1, cut=1)
    told = line_wire(
        "line_0", off, fact(off, kind=InvoiceType.PLAN_CHANGE, basis=basis, days_remaining=15, days_in_cycle=30)
    )
    assert (told["rule"], told["arithmetic"]["inputs"]) == ("R-DISC-7", inputs)
    assert (told["arithmetic"]["amount"], told["arithmetic"]["agrees"]) == (minor, True)


def test_a_fixed_discount_is_at_most_the_base():
    """R-DISC-11."""
    off = line(-4900, LineKind.DISCOUNT, discount_type="fixed", discount_value="80", discount_name="BIG")
    why = why_of(off, fact(line(4900), off))
    assert (why.amount, why.inputs) == (Money(-4900, "usd"), {"basePrice": "49", "fixed": "80"})


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        (LineKind.PLAN_BASE, {}),
        (LineKind.SEATS, {"used": "8", "included": "5", "unit_price": "25", "quantity": "3"}),
        (LineKind.ADJUSTMENT, {}),
    ],
)
def test_a_line_that_is_not_what_its_inputs_give_says_so(kind, members):
    """R-GEN-2."""
    for minor, agrees in (
        (4900, kind is LineKind.PLAN_BASE),
        (7500, kind is LineKind.SEATS),
        (77, kind == "adjustment"),
    ):
        one = line(minor, kind, feature_id=FEATURE, feature_code="calls", **members)
        told = line_wire("line_0", one, fact(one, basis=Basis(cut=1, facts={"amountMinor": 77})))
        assert told["arithmetic"]["agrees"] is agrees


def test_a_growth_that_comes_to_nothing_has_no_line():
    """R-SEAT-7, R-SEAT-9, R-INV-7: the line is of the growth after it."""
    members = granted(kind="seats", included="5", unit_price="0.01")
    begin = period(0, members)
    days = [begin.since_day + 20, begin.since_day + 21]
    events = [
        SeatEvent(
            id=f"sev_{number}",
            organization_id="org_1",
            customer_id="cus_1",
            subscription_id="sub_1",
            feature_id=FEATURE,
            feature_code="calls",
            number=number,
            operation=Operation.SET,
            quantity=after,
            before=before,
            after=after,
            term=1,
            ts_ms=day * DAY_MS,
            created_ms=0,
        )
        for number, day, before, after in ((1, days[0], 5, 6), (2, days[1], 6, 16))
    ]
    one = line(2, LineKind.SEAT_TRUE_UP, quantity="10", unit_price="0.01", feature_id=FEATURE, feature_code="calls")
    issued_ms = begin.until_day * DAY_MS
    told = line_wire("line_0", one, fact(one, periods=[begin], seats={FEATURE: events}, issued_ms=issued_ms))
    assert told["arithmetic"]["inputs"]["day"] == date_of(days[1]).isoformat()
    assert (told["arithmetic"]["inputs"]["daysRemaining"], told["arithmetic"]["amount"]) == (6, 2)
    assert told["arithmetic"]["agrees"]


def test_every_kind_has_an_explanation():
    """R-INV-6."""
    assert set(_WHY) == set(LineKind)


def test_terms_tell_what_they_say_of_the_feature():
    """R-PRICE-1."""
    one = line(4900, feature_id=FEATURE)
    told = line_wire("line_0", one, fact(one, periods=[period(0, granted(included=None), price_id="pp_9")]))
    assert (told["terms"]["priceId"], told["terms"]["basePrice"], told["terms"]["until"]) == (
        "pp_9",
        "49",
        "2026-02-28",
    )
    assert (told["terms"]["feature"]["included"], told["terms"]["feature"]["unitPrice"]) == (None, "0.015")
