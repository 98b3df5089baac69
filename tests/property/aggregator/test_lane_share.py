"""Shares of lanes tile the lanes, whoever is there."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.lane_share import lanes_of

names = st.text(st.characters(exclude_characters=":"), min_size=1, max_size=8)
members = st.lists(names, min_size=1, max_size=9, unique=True)


@given(members, st.integers(1, 64))
def test_every_lane_has_one_owner_and_shares_differ_by_one_at_most(there, lanes):
    shares = [lanes_of(name, there, lanes) for name in there]
    assert sorted(lane for share in shares for lane in share) == list(range(lanes))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@given(members, st.randoms(use_true_random=False))
def test_the_order_in_which_members_are_named_does_not_matter(there, chance):
    shuffled = chance.sample(there, len(there))
    assert lanes_of(there[0], there, 16) == lanes_of(there[0], [*shuffled, *shuffled], 16)


def test_members_of_another_kind_take_no_lane():
    there = ["aggregator:1", "gateway:0", "aggregator:2", "billing:3"]
    assert lanes_of("aggregator:1", there, 4) == frozenset({0, 2})
    assert lanes_of("aggregator:2", there, 4) == frozenset({1, 3})


def test_who_is_not_there_has_nothing():
    assert lanes_of("a", ["b", "c"], 16) == frozenset()
    assert lanes_of("a", [], 16) == frozenset()
