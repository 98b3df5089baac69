from hypothesis import given
from hypothesis import strategies as st

from kernel.lane import lane_of


@given(customer=st.binary(min_size=16, max_size=16), lanes=st.integers(1, 1_024))
def test_a_lane_exists_and_stands(customer, lanes):
    assert 0 <= lane_of(customer, lanes) < lanes
    assert lane_of(customer, lanes) == lane_of(bytes(bytearray(customer)), lanes)


@given(customer=st.binary(min_size=16, max_size=16), lanes=st.integers(1, 512))
def test_twice_the_lanes_split_each_lane_in_two(customer, lanes):
    assert lane_of(customer, 2 * lanes) % lanes == lane_of(customer, lanes)
