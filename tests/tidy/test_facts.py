"""Every fact, boundary and derivation among the reference's vectors is asserted by a test that names its id."""

import pytest

from tests.rules import named_in_tests
from tests.vectors.facts import NOT_YET
from tests.vectors.vector_file import CONFLICT, SCENARIO, read_file


@pytest.fixture
def by_hand(shared):
    """Tell the ids that no runner runs."""
    if shared is None:
        pytest.skip("there is no reference folder")
    file = read_file(shared / "reference" / "vectors.json")
    return {vector.id for vector in file.vectors if vector.kind not in (SCENARIO, CONFLICT)}


def test_every_fact_has_a_test_or_a_reason(by_hand):
    assert by_hand - set(named_in_tests()) == set(NOT_YET)


def test_every_vector_that_tests_name_is_there(by_hand, shared):
    known = {vector.id for vector in read_file(shared / "reference" / "vectors.json").vectors}
    assert by_hand <= known
    assert set(named_in_tests()) <= known
