"""Shares of lanes tile the lanes, whoever is there."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.lane_share import lanes_of

members = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=9, unique=True)


@given(members, st.integers(1, 64))
def test_every_lane_has_one_owner_and_shares_differ_by_one_at_most(names, lanes):
    shares = [lanes_of(name, names, lanes) for name in names]
    assert sorted(lane for share in shares for lane in share) == list(range(lanes))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@given(members, st.randoms(use_true_random=False))
def test_the_order_in_which_members_are_named_does_not_matter(names, chance):
    shuffled = chance.sample(names, len(names))
    assert lanes_of(names[0], names, 16) == lanes_of(names[0], [*shuffled, *shuffled], 16)


def test_who_is_not_there_has_nothing():
    assert lanes_of("a", ["b", "c"], 16) == frozenset()
    assert lanes_of("a", [], 16) == frozenset()
