"""Tests name the rules that they assert, and `make rules` tells which rules none asserts."""

import pytest

from tests import rules

DOCUMENT = """# Rules
- R-NOTE-1 before any section
## 3 Usage events
- R-TRACK-1 one
- R-TRACK-2 two [AMB-18]
  R-TRACK-9 is mentioned, not defined
## 24 Payment failure
- R-DUN-1 not required
## 26 Plan groups
- R-GROUP-1 three
"""
MODULE = '''
def test_r_track_1_counts():
    """DOC-TRACK-01: it counts."""
class TestGroups:
    async def test_order(self):
        """R-GROUP-1, R-TRACK-2."""
def helper():
    """R-DUN-1."""
'''


@pytest.fixture
def document(shared):
    if shared is None:
        pytest.skip("there is no reference folder")
    return rules.read_rules((shared / rules.RULES).read_text(encoding="utf-8"))


def test_no_test_names_too_many_rules_or_unknown_ones(document):
    made = rules.report(document, rules.all_tests())
    assert (made.crowded, made.unknown) == ([], [])


def test_every_rule_has_a_test(document):
    assert rules.report(document, rules.all_tests()).missing == []


def test_the_reference_is_read(document):
    sections = {section: [rule for rule, one in document.items() if one == section] for section in document.values()}
    assert sections[28] == [f"R-CLOCK-{number}" for number in range(1, 7)]
    assert all(sections[section] for section in rules.REQUIRED_SECTIONS)


def test_rules_are_read_with_their_sections():
    assert rules.read_rules(DOCUMENT) == {
        "R-NOTE-1": 0,
        "R-TRACK-1": 3,
        "R-TRACK-2": 3,
        "R-DUN-1": 24,
        "R-GROUP-1": 26,
    }


def test_ids_are_read_from_names_and_docstrings():
    assert list(rules.read_tests(MODULE, "a.py")) == [
        rules.Test("a.py::test_r_track_1_counts", ("R-TRACK-1",), ("DOC-TRACK-01",)),
        rules.Test("a.py::test_order", ("R-GROUP-1", "R-TRACK-2"), ()),
    ]


@pytest.mark.parametrize(
    ("docstring", "ids"),
    [
        ("R-BH-1.", ["R-BH-1"]),
        ("R-BH-1, R-BH-1 again", ["R-BH-1"]),
        ("R-CLOCK-1..3", ["R-CLOCK-1", "R-CLOCK-2", "R-CLOCK-3"]),
        ("R-PLAN-9/10", ["R-PLAN-9", "R-PLAN-10"]),
        ("AMB-3, R-3, ADR-9", []),
    ],
)
def test_ranges_are_spelled_out(docstring, ids):
    assert list(rules.ids_of("test_it", docstring)[0]) == ids


@pytest.mark.parametrize(
    ("ids", "crowded", "unknown", "missing"),
    [
        (("R-TRACK-1", "R-TRACK-2", "R-GROUP-1"), 0, 0, []),
        (("R-TRACK-1", "R-TRACK-2", "R-GROUP-1", "R-DUN-1"), 1, 0, []),
        (("R-TRACK-7",), 0, 1, ["R-TRACK-1", "R-TRACK-2", "R-GROUP-1"]),
        (("R-DUN-1", "R-TRACK-2"), 0, 0, ["R-TRACK-1", "R-GROUP-1"]),
    ],
)
def test_what_is_wrong_is_found(ids, crowded, unknown, missing):
    made = rules.report(rules.read_rules(DOCUMENT), [rules.Test("a.py::test_it", ids, ())])
    assert (len(made.crowded), len(made.unknown), made.missing) == (crowded, unknown, missing)
    assert all(not made.asserted[rule] for rule in missing)


@pytest.mark.parametrize(
    ("ids", "code"), [(("R-TRACK-1", "R-TRACK-2", "R-GROUP-1"), 0), (("R-TRACK-1",), 1), (("R-NOTHING-1",), 2)]
)
def test_the_exit_code_says_it(monkeypatch, tmp_path, capsys, ids, code):
    (tmp_path / rules.RULES).parent.mkdir()
    (tmp_path / rules.RULES).write_text(DOCUMENT)
    monkeypatch.setenv("METERLINE_SHARED", str(tmp_path))
    monkeypatch.setattr(rules, "all_tests", lambda: [rules.Test("a.py::test_it", ids, ())])
    assert rules.main([]) == code
    assert "R-TRACK-1" in capsys.readouterr().out
