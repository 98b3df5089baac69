import pytest

from tests.proof_table import PROOF, ProofTable


def report(node, *, outcome="passed", when="call", seconds=1.0, shown=()):
    return pytest.TestReport(
        nodeid=node,
        location=("", 0, ""),
        keywords={},
        outcome=outcome,
        longrepr=None,
        when=when,
        duration=seconds,
        user_properties=[("other", "x"), *((PROOF, text) for text in shown)],
    )


def test_every_proof_has_its_line_and_the_rest_one_a_file():
    table = ProofTable(whole=True)
    for when, seconds in (("setup", 5.0), ("call", 2.5), ("teardown", 0.5)):
        table.pytest_runtest_logreport(
            report(
                "tests/story/test_a.py::test_all_is_well[kafka]",
                when=when,
                seconds=seconds,
                shown=["20 kills"],
            )
        )
    for name in ("one", "two"):
        table.pytest_runtest_logreport(report(f"tests/property/test_b.py::test_{name}"))
    assert table.lines() == [
        "result   seconds  tests  proof",
        "passed       8.0      1  all is well [kafka]",
        "                         20 kills",
        "passed       2.0      2  property/test_b",
        "every proof held; 2 rows, 3 tests, 0.2 minutes",
    ]


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_a_phase_that_fails_fails_its_row(when):
    table = ProofTable(whole=True)
    for phase in ("setup", "call", "teardown"):
        outcome = "failed" if phase == when else "passed"
        table.pytest_runtest_logreport(report("tests/story/test_a.py::test_x", outcome=outcome, when=phase))
    table.pytest_runtest_logreport(report("tests/story/test_a.py::test_y"))
    assert table.lines()[1] == "failed       4.0      2  story/test_a"
    assert table.lines()[-1].startswith("FAILED: story/test_a;")


def test_in_the_short_form_what_showed_nothing_is_left_out():
    table = ProofTable(whole=False)
    table.pytest_runtest_logreport(report("tests/unit/test_a.py::test_x"))
    assert table.lines() == []
