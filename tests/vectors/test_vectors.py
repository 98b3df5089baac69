"""Vectors over HTTP: `python -m pytest tests/vectors --vectors FILE` runs every scenario of the file.

Each is run under the default policy and once more under each switch of its `then_if`; after each run, one amount after
the other is changed in what is expected, and each change must be noticed.
"""

import pytest

from tests.vectors.changed import changes
from tests.vectors.comparison import compare
from tests.vectors.conftest import vector_file
from tests.vectors.wire import Refused


def test_the_file_keeps_the_format(pytestconfig, shared):
    file = vector_file(pytestconfig)
    if file is None:
        pytest.skip("there is no reference folder")
    faults = [*file.faults, *(fault for vector in file.vectors for fault in vector.faults)]
    assert not faults, "errors of the file:\n" + "\n".join(faults)


def test_scenario(player, vector, switch):
    try:
        found = player.compared(vector, switch)
    except Refused as refusal:
        pytest.fail(str(refusal), pytrace=False)
    assert found.asserted, "the vector asserts nothing"
    if found.differences:
        pytest.fail("\n".join(found.differences), pytrace=False)


def test_each_changed_amount_is_noticed(player, vector, switch):
    try:
        found = player.compared(vector, switch)
    except Exception as error:
        pytest.skip(f"it does not run: {str(error)[:200]}")
    if found.differences:
        pytest.skip("it does not pass as it stands")
    changed = dict(changes(found))
    assert changed, "nothing in it can be changed"
    missed = [place for place, then in changed.items() if not compare(then, found.seen).differences]
    assert missed == []
