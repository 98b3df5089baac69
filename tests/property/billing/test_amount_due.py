"""Laws of what is due: nothing is lost between the lines, the account and the next invoice."""

from hypothesis import given
from hypothesis import strategies as st

from billing.money.amount_due import DUE_MIN_MINOR, Credit, amounts_of, oldest_first
from tests.unit.billing.make import draft, line

minor = st.integers(min_value=-(10**9), max_value=10**9)
owned = st.integers(min_value=0, max_value=10**9)


@given(st.lists(minor, max_size=8), owned, st.integers(0, 10**4))
def test_lines_sum_to_the_total_and_the_total_to_what_is_due(amounts, credit, carried):
    """R-GEN-2, R-INV-12."""
    made = amounts_of(draft(*(line(one) for one in amounts)), credit_minor=credit, carried_minor=carried)
    assert sum(one.amount_minor for one in made.lines) == made.total_minor
    assert made.total_minor == sum(amounts) - made.credit_applied_minor
    assert made.due_minor == 0 or made.due_minor >= DUE_MIN_MINOR
    assert 0 <= made.carried_out_minor < DUE_MIN_MINOR
    if sum(amounts) > 0:
        assert made.total_minor + made.carried_in_minor == made.due_minor + made.carried_out_minor
        assert made.carried_in_minor == carried
    else:
        assert made.due_minor == made.carried_in_minor == made.carried_out_minor == made.credit_applied_minor == 0
        assert made.credited_minor == -sum(amounts)


@given(st.lists(st.lists(minor, min_size=1, max_size=4), max_size=12))
def test_credits_are_conserved_over_a_life_of_invoices(invoices):
    """R-CHG-11: granted = applied + left; and what was due in all is what the invoices asked for."""
    ledger, granted, applied, carried, due = {}, 0, 0, 0, 0
    for number, amounts in enumerate(invoices):
        made = amounts_of(
            draft(*(line(one) for one in amounts)), credit_minor=sum(ledger.values()), carried_minor=carried
        )
        parts = oldest_first((Credit(at, "", left) for at, left in ledger.items()), made.credit_applied_minor)
        assert sum(part.left_minor for part in parts) == made.credit_applied_minor
        for part in parts:
            ledger[part.number] -= part.left_minor
        assert min(ledger.values(), default=0) >= 0
        used = [ledger[one] for one in sorted(ledger)]
        assert used == sorted(used, key=bool), "the oldest credits are empty first"
        if made.credited_minor:
            ledger[number] = made.credited_minor
        granted, applied = granted + made.credited_minor, applied + made.credit_applied_minor
        carried += made.carried_out_minor - made.carried_in_minor
        due += made.due_minor
    assert granted == applied + sum(ledger.values())
    assert due == sum(sum(amounts) for amounts in invoices) - carried + sum(ledger.values())
