"""Which test asserts which rule: `python -m tests.rules` lists the rules of the reference, each with its tests.

A test asserts a rule by its id in the test's name (`test_r_disc_9_…`) or docstring (`R-DISC-9`, `R-DISC-9..11`,
`R-PLAN-9/10`), and names at most three. The exit code is 1 when a rule of the required sections has no test, and 2 when
a test names more than three, or an id that is no rule, or the rules are not to be found. Ids of vectors (`DOC-…`) are
found the same way.
"""

import argparse
import ast
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
RULES = Path("reference") / "billing-rules.md"
# General rules, environments, payment failure, portal and what follows are asserted by other issues' tests.
REQUIRED_SECTIONS = frozenset([*range(3, 24), *range(26, 29)])
IDS_A_TEST_MAX = 3

_SECTION = re.compile(r"^## (\d+) ")
_RULE = re.compile(r"^- (R-[A-Z]+-\d+) ")
_ID = re.compile(r"\b(R-[A-Z]+)-(\d+)(?:(\.\.|/)(\d+))?\b")
_ID_IN_NAME = re.compile(r"(?:^|_)r_([a-z]+)_(\d+)(?=_|$)")
_VECTOR = re.compile(r"\bDOC-[A-Z]+-\d+\b")
_VECTOR_IN_NAME = re.compile(r"(?:^|_)doc_([a-z]+)_(\d+)(?=_|$)")


@dataclass(frozen=True)
class Test:
    """A test: where it stands, and the ids that it names."""

    __test__ = False  # for pytest: a value, not a class of tests

    place: str
    rules: tuple[str, ...]
    vectors: tuple[str, ...]


@dataclass
class Report:
    """Every rule with its tests; what is missing or wrong."""

    asserted: dict[str, list[str]]
    missing: list[str] = field(default_factory=list)
    crowded: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read_rules(text: str) -> dict[str, int]:
    """Read the ids of all rules, each with its section's number."""
    found: dict[str, int] = {}
    section = 0
    for line in text.splitlines():
        if heading := _SECTION.match(line):
            section = int(heading[1])
        elif rule := _RULE.match(line):
            found[rule[1]] = section
    return found


def ids_of(name: str, docstring: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the ids of rules and of vectors that a test's name and docstring tell, in order, each once."""
    rules = [f"R-{area.upper()}-{number}" for area, number in _ID_IN_NAME.findall(name)]
    for area, first, joint, last in _ID.findall(docstring):
        through = range(int(first), int(last) + 1) if joint == ".." else [int(one) for one in (first, last) if one]
        rules += [f"{area}-{number}" for number in through]
    vectors = [f"DOC-{area.upper()}-{number}" for area, number in _VECTOR_IN_NAME.findall(name)]
    vectors += _VECTOR.findall(docstring)
    return tuple(dict.fromkeys(rules)), tuple(dict.fromkeys(vectors))


def read_tests(text: str, place: str) -> Iterator[Test]:
    """Read the tests of a module, those of its classes too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield Test(f"{place}::{node.name}", *ids_of(node.name, ast.get_docstring(node) or ""))


def all_tests(folder: Path = TESTS) -> list[Test]:
    """Read every test of the repository."""
    paths = sorted(folder.rglob("test_*.py"))
    return [test for path in paths for test in read_tests(path.read_text(), str(path.relative_to(folder)))]


def named_in_tests() -> dict[str, list[str]]:
    """Tell which tests name a vector."""
    found: dict[str, list[str]] = {}
    for test in all_tests():
        for vector in test.vectors:
            found.setdefault(vector, []).append(test.place)
    return found


def report(rules: dict[str, int], tests: list[Test]) -> Report:
    """Judge the tests against the rules."""
    made = Report({rule: [] for rule in rules})
    for test in tests:
        if len(test.rules) > IDS_A_TEST_MAX:
            made.crowded.append(f"{test.place}: {', '.join(test.rules)}")
        for rule in test.rules:
            if rule in rules:
                made.asserted[rule].append(test.place)
            else:
                made.unknown.append(f"{test.place}: {rule}")
    required = [rule for rule, section in rules.items() if section in REQUIRED_SECTIONS]
    made.missing = [rule for rule in required if not made.asserted[rule]]
    return made


def rules_file() -> Path:
    """Tell where the rules are (METERLINE_SHARED)."""
    return Path(os.environ.get("METERLINE_SHARED", "../shared")).resolve() / RULES


def main(arguments: list[str]) -> int:
    """Print the list; tell the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.rules", description=__doc__.partition("\n")[0])
    parser.add_argument("--missing", action="store_true", help="print only what is missing or wrong")
    asked = parser.parse_args(arguments)
    if not rules_file().is_file():
        print(f"{rules_file()} is not there: set METERLINE_SHARED to the folder with the reference data")
        return 2
    rules = read_rules(rules_file().read_text(encoding="utf-8"))
    made = report(rules, all_tests())
    required = [rule for rule, section in rules.items() if section in REQUIRED_SECTIONS]
    if not asked.missing:
        for rule, section in rules.items():
            if section in REQUIRED_SECTIONS or made.asserted[rule]:
                print(f"{rule:<12}", "\n             ".join(made.asserted[rule]) or "no test")
    for told, found in (
        (f"{len(made.crowded)} tests name more than {IDS_A_TEST_MAX} rules", made.crowded),
        (f"{len(made.unknown)} ids that tests name are no rules", made.unknown),
        (f"{len(made.missing)} of {len(required)} rules have no test", made.missing),
    ):
        print(f"\n{told}" + ("." if not found else ":\n  " + "\n  ".join(found)))
    if made.crowded or made.unknown:
        return 2
    return 1 if made.missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
