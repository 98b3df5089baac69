"""Which way a change of plan goes, and what one that holds at once credits and charges."""

from decimal import Decimal

import pytest

from billing.sale.change import Change, Component, Direction, Side, change_lines, charges_whole, direction
from billing.sale.proration import Share
from catalog.definition import UpgradeCharge
from kernel.period import Interval

MONTHLY, QUARTERLY, YEARLY = Interval.MONTHLY, Interval.QUARTERLY, Interval.YEARLY


def side(plan, base, interval=MONTHLY, position=None):
    return Side(plan_id=plan, base_minor=base, interval=interval, position=position)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (side("starter", 2900), side("pro", 9900), "upgrade"),
        (side("pro", 9900), side("starter", 2900), "downgrade"),
        (side("a", 9900), side("b", 9900), "upgrade"),  # equal counts as upgrade
        (side("a", 9900, QUARTERLY), side("b", 3300), "upgrade"),  # 33.00 a month on either side
        (side("a", 9900), side("b", 29_600, QUARTERLY), "downgrade"),  # 98.67 a month
        (side("a", 9900), side("b", 29_800, QUARTERLY), "upgrade"),
        (side("pro", 9900), side("free", 0, None), "downgrade"),
    ],
)
def test_the_price_a_month_decides_which_way_a_change_goes(old, new, expected):
    """R-CHG-2, R-CHG-7."""
    assert direction(old, new) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (side("pro", 9900), side("pro", 89_900, YEARLY), "upgrade"),  # although 74.92 a month
        (side("pro", 9900), side("pro", 29_700, QUARTERLY), "upgrade"),
        (side("pro", 89_900, YEARLY), side("pro", 9900), "downgrade"),  # although 99.00 a month
        (side("pro", 29_700, QUARTERLY), side("pro", 9900), "downgrade"),
    ],
)
def test_of_one_plan_the_longer_interval_is_the_upgrade(old, new, expected):
    """R-CHG-2, R-CHG-5, R-BH-1."""
    assert direction(old, new) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (side("a", 9900, position=0), side("b", 9900, position=1), "upgrade"),
        (side("a", 9900, position=1), side("b", 9900, position=0), "downgrade"),
        (side("a", 9900, position=1), side("b", 9901, position=0), "upgrade"),  # price before order
        (side("a", 9901, position=0), side("b", 9900, position=1), "downgrade"),
    ],
)
def test_the_groups_order_only_breaks_ties(old, new, expected):
    """R-GROUP-4, R-CHG-2."""
    assert direction(old, new) is Direction(expected)


def test_another_interval_is_charged_in_full_and_so_is_an_upgrade_by_the_switch():
    """R-CHG-4, R-CHG-5."""
    assert not charges_whole(MONTHLY, MONTHLY, UpgradeCharge.PRORATED)
    assert charges_whole(MONTHLY, MONTHLY, UpgradeCharge.FULL)
    assert charges_whole(MONTHLY, YEARLY, UpgradeCharge.PRORATED)


def amounts(share, paid, bought, *, whole=False):
    change = Change(share=share, whole=whole, currency="usd", term=2, cut=1)
    lines = change_lines(change, [Component(name=name, amount=Decimal(one)) for name, one in paid], bought)
    return [(line.kind.value, line.description, line.amount_minor) for line in lines]


def test_the_documented_upgrades():
    """R-PRO-7, R-PRO-1: DOC-PRO-01, DOC-SEAT-05 and DOC-PRO-05."""
    half = ", 15 of 30 days"
    assert amounts(Share(15, 30), [("plan:starter", "29")], [Component(name="plan:pro", amount=Decimal(99))]) == [
        ("proration_credit", f"plan:starter{half}", -1450),
        ("proration_charge", f"plan:pro{half}", 4950),
    ]
    paid = [("plan:pro", "99"), ("seats:member", "75")]
    business = amounts(Share(15, 30), paid, [Component(name="plan:business", amount=Decimal(299))])
    assert [one[2] for one in business] == [-4950, -3750, 14950]
    quarter = amounts(Share(45, 90), [("plan:a", "300")], [Component(name="plan:b", amount=Decimal(600))])
    assert sum(one[2] for one in quarter) == 15_000


def test_each_component_is_rounded_on_its_own():
    """R-PRO-1, R-GEN-2: three halves of a cent are three cents."""
    paid = [("plan:a", "0.01"), ("seats:x", "0.01"), ("seats:y", "0.01")]
    assert [one[2] for one in amounts(Share(15, 30), paid, [])] == [-1, -1, -1]


def test_a_whole_charge_credits_the_days_left_alone():
    """R-CHG-5: 899.00 for the year, 99.00 x 15/30 back."""
    year = [Component(name="plan:pro", amount=Decimal(899))]
    assert amounts(Share(15, 30), [("plan:pro", "99")], year, whole=True) == [
        ("proration_credit", "plan:pro, 15 of 30 days", -4950),
        ("proration_charge", "plan:pro", 89_900),
    ]


def test_extra_seats_keep_their_quantity_and_price():
    """R-INV-6, R-CHG-12."""
    change = Change(share=Share(15, 30), whole=False, currency="usd", term=2, cut=1)
    seats = Component(
        name="seats:member",
        amount=Decimal(60),
        quantity="3",
        unit_price="20",
        feature_id="ftr_1",
        feature_code="member",
    )
    [line] = change_lines(change, [], [seats])
    assert (line.quantity, line.unit_price, line.amount_minor, line.feature_code) == ("3", "20", 3000, "member")
    assert line.line_type == "feature_seats"
