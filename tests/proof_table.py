"""The table of proofs that a run ends with: what was shown, how often, whether it held, and how long it took.

A test that reports a proof has a row of its own; at full count the others have one a file, so that nothing that ran is
missing. One line a row, its proofs below it.
"""

import re
from collections.abc import Iterator

import msgspec
import pytest

_NODE = re.compile(r"tests/(?P<file>.+)\.py::(?P<test>[^\[]+)(\[(?P<case>.*)\])?$")
PROOF = "proof"  # the name of a test's property that says what it has shown
_WORST = ("failed", "xfailed", "skipped", "passed")


class _Row(msgspec.Struct):
    """One row; `result` is the worst of its tests', `seconds` their time with what they set up."""

    what: str
    tests: int = 0
    result: str = "passed"
    seconds: float = 0.0
    shown: list[str] = msgspec.field(default_factory=list)


class ProofTable:
    """Collects what a run shows. `whole`: also what reported nothing."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._shown: dict[str, list[str]] = {}
        self._results: dict[str, str] = {}
        self._seconds: dict[str, float] = {}

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase of a test; what it has shown comes with the last one, from whatever process ran it."""
        node = report.nodeid
        if report.when == "teardown" and (
            shown := [str(text) for name, text in report.user_properties if name == PROOF]
        ):
            self._shown[node] = shown
        self._seconds[node] = self._seconds.get(node, 0.0) + report.duration
        expected = hasattr(report, "wasxfail")
        told = "xfailed" if report.skipped and expected else report.outcome
        self._results[node] = min(self._results.get(node, "passed"), told, key=_WORST.index)

    def _rows(self) -> Iterator[_Row]:
        files: dict[str, _Row] = {}
        for node, result in self._results.items():
            found = _NODE.match(node)
            assert found is not None, f"{node} is a test of ours"
            if node in self._shown:
                case = f" [{found['case']}]" if found["case"] else ""
                row = _Row(found["test"].removeprefix("test_").replace("_", " ") + case, shown=self._shown[node])
                yield row
            elif self._whole:
                row = files.setdefault(found["file"], _Row(found["file"]))
            else:
                continue
            row.tests += 1
            row.result = min(row.result, result, key=_WORST.index)
            row.seconds += self._seconds[node]
        yield from files.values()

    def lines(self) -> list[str]:
        """Tell the table, and what it comes to; nothing when nothing was shown."""
        rows = list(self._rows())
        if not rows:
            return []
        told = ["result   seconds  tests  proof"]
        for row in rows:
            told.append(f"{row.result:<7}  {row.seconds:>7.1f}  {row.tests:>5}  {row.what}")
            told += [f"{'':<25}{text}" for text in row.shown]
        bad = [row.what for row in rows if row.result == "failed"]
        seconds, tests = sum(row.seconds for row in rows), sum(row.tests for row in rows)
        verdict = "every proof held" if not bad else f"FAILED: {', '.join(bad)}"
        return [*told, f"{verdict}; {len(rows)} rows, {tests} tests, {seconds / 60:.1f} minutes"]
