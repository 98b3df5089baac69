from collections import Counter

import pytest

from kernel.lane import lane_of


@pytest.mark.parametrize(
    ("customer", "of_4", "of_16"), [(bytes(16), 2, 14), (bytes(range(16)), 2, 10), (b"\xff" * 16, 3, 7)]
)
def test_a_customers_lane_never_changes(customer, of_4, of_16):
    assert (lane_of(customer, 4), lane_of(customer, 16)) == (of_4, of_16)


def test_customers_spread_over_the_lanes():
    customers = 16_000
    found = Counter(lane_of(number.to_bytes(16, "big"), 16) for number in range(customers))
    assert sorted(found) == list(range(16))
    assert all(900 < count < 1_100 for count in found.values())
