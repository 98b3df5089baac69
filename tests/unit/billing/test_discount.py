from decimal import Decimal

import pytest

from billing.sale.discount import Discount, DiscountSource, amount_off, leaves_enough
from catalog.definition import DiscountType
from kernel.money import Money


def discount(kind, value, cycles=None):
    return Discount(
        source=DiscountSource.CODE, name="CODE", type=DiscountType(kind), value=Decimal(value), cycles_left=cycles
    )


@pytest.mark.parametrize(
    ("base", "kind", "value", "off"),
    [
        (Money(9900, "usd"), "percent", "20", 1980),
        (Money(9900, "usd"), "percent", "100", 9900),
        (Money(9900, "usd"), "fixed", "25.00", 2500),
        (Money(2000, "usd"), "fixed", "25.00", 2000),  # at most the base
        (Money(990, "usd"), "percent", "95", 941),  # 9.405: half up (AMB-30)
        (Money(1050, "jpy"), "percent", "33.3", 350),  # 349.65 yen
        (Money(0, "usd"), "percent", "50", 0),
    ],
)
def test_a_discount_is_rounded_half_up_and_at_most_the_base(base, kind, value, off):
    """R-DISC-2, R-DISC-11."""
    assert amount_off(base, discount(kind, value)) == Money(off, base.currency)


def test_a_discount_counts_periods_and_ends_by_itself():
    """R-DISC-5, R-DISC-6."""
    two = discount("percent", "10", 2)
    one = two.spent()
    assert two.running
    assert one == discount("percent", "10", 1)
    assert one.spent() is None


def test_a_forever_discount_does_not_end():
    """R-DISC-5."""
    forever = discount("fixed", "5")
    assert forever.running
    assert forever.spent() == forever


@pytest.mark.parametrize(("left", "enough"), [(49, False), (50, True), (0, False), (51, True)])
def test_a_code_must_leave_fifty_cents(left, enough):
    """R-DISC-9; DOC-DISC-09."""
    assert leaves_enough(left) is enough
