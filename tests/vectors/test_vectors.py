"""Vectors over HTTP: `python -m pytest tests/vectors --vectors FILE` runs every scenario of the file.

Without FILE it runs the shared file and of `more.json` beside this module every ninth vector, all of them with
METERLINE_SOAK=1: ours, whose figures are reckoned from the rules alone, apart from the product.
Each is run under the default policy and once more under each switch of its `then_if`; after each run, one amount after
the other is changed in what is expected, and each change must be noticed.
"""

import pytest

from tests.rules import named_in_tests
from tests.vectors.changed import changes
from tests.vectors.comparison import compare
from tests.vectors.wire import Refused


def test_the_file_keeps_the_format(file, shared):
    faults = [*file.faults, *(fault for vector in file.vectors for fault in vector.faults)]
    assert not faults, "errors of the file:\n" + "\n".join(faults)


def test_scenario(player, vector, switch):
    """Run a vector and compare."""
    if vector.faults:
        pytest.fail("error of the file:\n" + "\n".join(vector.faults), pytrace=False)
    found = player.compared(vector, switch)
    if isinstance(found, Refused):
        pytest.fail(str(found), pytrace=False)
    assert found.asserted, "the vector asserts nothing"
    if found.differences:
        pytest.fail("\n".join(found.differences), pytrace=False)


def test_what_no_answer_shows_is_asserted_by_a_test_that_names_the_vector(pytestconfig, player, vector, switch):
    """Of the reference: a file of somebody else's has no tests here, and the summary tells its figures."""
    if pytestconfig.getoption("--vectors") is not None:
        pytest.skip("not the reference")
    found = None if vector.faults else player.compared(vector, switch)
    if found is None or isinstance(found, Refused):
        pytest.skip("it cannot be run")
    assert not found.unseen or vector.id in named_in_tests(), found.unseen


def test_each_changed_amount_is_noticed(player, vector, switch):
    """Compare what was seen with the same vector again, one amount changed each time."""
    found = None if vector.faults else player.compared(vector, switch)
    if found is None or isinstance(found, Refused):
        pytest.skip("it cannot be run")
    if found.differences:
        pytest.skip("it does not pass as it stands")
    changed = dict(changes(found))
    assert changed, "nothing in it can be changed"
    missed = [place for place, then in changed.items() if not compare(then, found.seen).differences]
    assert missed == []
