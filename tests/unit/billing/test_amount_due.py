import pytest

from billing.money.amount_due import Credit, amounts_of, oldest_first, too_large
from billing.money.invoice import InvoiceType, LineKind, kept
from kernel.limits import INVOICE_MINOR_MAX
from tests.unit.billing.make import draft, line


def amounts(*minor: int, credit: int = 0, carried: int = 0):
    made = amounts_of(draft(*(line(one) for one in minor)), credit_minor=credit, carried_minor=carried)
    return (
        made.total_minor,
        made.credit_applied_minor,
        made.credited_minor,
        made.carried_in_minor,
        made.carried_out_minor,
        made.due_minor,
    )


@pytest.mark.parametrize(
    ("given", "total", "applied", "credited", "carried_in", "carried_out", "due"),
    [
        ({}, 9900, 0, 0, 0, 0, 9900),
        ({"credit": 1000}, 8900, 1000, 0, 0, 0, 8900),
        ({"credit": 9900}, 0, 9900, 0, 0, 0, 0),
        ({"credit": 20000}, 0, 9900, 0, 0, 0, 0),
        ({"carried": 30}, 9900, 0, 0, 30, 0, 9930),
        ({"credit": 9870}, 30, 9870, 0, 0, 30, 0),
        ({"credit": 9870, "carried": 19}, 30, 9870, 0, 19, 49, 0),
        ({"credit": 9870, "carried": 20}, 30, 9870, 0, 20, 0, 50),
    ],
)
def test_credit_comes_first_and_less_than_a_card_takes_is_carried(
    given, total, applied, credited, carried_in, carried_out, due
):
    """R-CHG-11, R-INV-12: credit pays what it can; 0.01 to 0.49 waits for the next invoice, 0.50 is charged."""
    assert amounts(9900, **given) == (total, applied, credited, carried_in, carried_out, due)


@pytest.mark.parametrize(("minor", "due", "carried_out"), [(1, 0, 1), (49, 0, 49), (50, 50, 0), (51, 51, 0)])
def test_the_least_that_is_charged_is_fifty_cents(minor, due, carried_out):
    """R-INV-12, AMB-29."""
    assert amounts(minor) == (minor, 0, 0, 0, carried_out, due)


def test_a_total_below_zero_becomes_account_credit():
    """R-INV-5, AMB-19; DOC-INV-06: total -10.00, nothing due, 10.00 credited. What is carried stays carried."""
    assert amounts(-1000) == (-1000, 0, 1000, 0, 0, 0)
    assert amounts(-1000, credit=500, carried=30) == (-1000, 0, 1000, 0, 0, 0)


def test_the_credit_that_is_used_is_a_line():
    """R-INV-6, R-GEN-2: the lines still sum to the total."""
    made = amounts_of(draft(line(9900)), credit_minor=1000, carried_minor=0)
    assert [(one.kind, one.amount_minor) for one in made.lines] == [
        (LineKind.PLAN_BASE, 9900),
        (LineKind.ACCOUNT_CREDIT_APPLIED, -1000),
    ]


def test_lines_of_nothing_are_left_out_but_for_the_base():
    """R-INV-7."""
    lines = [line(0), line(0, LineKind.OVERAGE), line(5, LineKind.SEATS)]
    assert [one.kind for one in kept(lines)] == [LineKind.PLAN_BASE, LineKind.SEATS]
    assert amounts(0) == (0, 0, 0, 0, 0, 0)


def test_credits_are_used_oldest_first():
    """R-CHG-11."""
    held = [Credit(3, "crd_a", 5), Credit(1, "crd_c", 10), Credit(2, "crd_b", 7)]
    assert oldest_first(held, 12) == [Credit(1, "crd_c", 10), Credit(2, "crd_b", 2)]
    assert oldest_first(held, 0) == []


@pytest.mark.parametrize(
    ("lines", "total"),
    [
        ([9900, 2000, 5000], 16900),
        ([500], 500),
        ([9900, 1250], 11150),
        ([9900, 5000, 4900, 1500], 21300),
    ],
)
def test_the_documents_sums(lines, total):
    """R-INV-9: 99 + 20 + 50 = 169; 5.00; 99 + 12.50 = 111.50; 213.00 with two add-ons."""
    assert amounts(*lines)[0] == total


def test_there_are_seven_types_and_every_kind_of_line_has_a_word_on_the_wire():
    """R-INV-1, R-INV-6."""
    assert sorted(InvoiceType) == [
        "addon_activation",
        "adjustment",
        "balance_topup",
        "credit_purchase",
        "overage",
        "plan_change",
        "recurring",
    ]
    assert len(LineKind) == 16
    words = {"plan_base", "feature_overage", "feature_seats", "discount", "credit", "balance_overage", "addon_base"}
    assert {line(1, kind).line_type for kind in LineKind} <= words | {"one_time"}


def test_some_words_of_the_wire_follow_from_more_than_the_kind():
    """Contract 6: a code's discount, and an adjustment that gives, have words of their own."""
    assert line(-100, LineKind.DISCOUNT, discount_source="intro_offer").line_type == "discount"
    assert line(-100, LineKind.DISCOUNT, discount_source="promo_code").line_type == "promo_code_discount"
    assert (line(100, LineKind.ADJUSTMENT).line_type, line(-100, LineKind.ADJUSTMENT).line_type) == (
        "one_time",
        "credit",
    )
    assert line(100, LineKind.PRORATION_CHARGE, feature_id="ftr_1").line_type == "feature_seats"


@pytest.mark.parametrize(
    ("kind", "charge_type"),
    [
        (LineKind.PLAN_BASE, "advance"),
        (LineKind.SEATS, "advance"),
        (LineKind.ADDON_BASE, "advance"),
        (LineKind.SEAT_TRUE_UP, "true_up"),
        (LineKind.BALANCE_OVERAGE, "standard"),
    ],
)
def test_a_line_says_when_it_charges(kind, charge_type):
    """R-INV-8."""
    assert line(100, kind).charge_type == charge_type


MOST = INVOICE_MINOR_MAX


@pytest.mark.parametrize(
    ("minor", "named"),
    [
        ((MOST,), None),
        ((-MOST,), None),
        ((MOST, MOST, -MOST), None),
        ((MOST + 1, -1), "plan_base would come to 1000000000000001 minor units"),
        ((1, -MOST - 1), "plan_base would come to -1000000000000001 minor units"),
        ((MOST, 1), "The invoice would come to 1000000000000001 minor units"),
    ],
)
def test_no_invoice_is_written_beyond_what_is_stored_and_shown_exactly(minor, named):
    """R-GEN-2: 64 bits hold a sum of thousands of them, and a client's floating point one."""
    found = too_large(draft(*(line(one) for one in minor)))
    assert (found is None) is (named is None)
    if found is not None and named is not None:
        assert (found.code, found.message.split(":")[0]) == ("amount_too_large", named)
    assert MOST < 2**53
    assert 9_000 * MOST < 2**63
