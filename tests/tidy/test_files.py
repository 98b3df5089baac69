"""What the repository holds and how its files look."""

import ast
import re

import pytest

MODULE_LINES_MAX = 400
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE")
PACKAGE_HEADINGS = ["Owns", "Does not own", "Invariants"]
ADR_HEADINGS = ["Context", "Decision", "Consequences", "Alternatives", "Enforced by"]
# Joined here, so that this file does not hold what it looks for: paths of one machine, and hosts of package registries.
OF_ONE_MACHINE = [
    *(f"/{folder}/" for folder in ("work", "farm", "root", "home", "Users", "opt")),
    *(f"{name}.{end}" for name, end in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs"))),
]


def headings(text: str) -> list[str]:
    return re.findall(r"^## (.+?)\s*$", text, flags=re.MULTILINE)


def test_every_public_module_says_what_it_is(modules):
    found = [
        str(module.path)
        for module in modules
        if not module.path.name.startswith("_") and ast.get_docstring(module.tree) is None
    ]
    assert found == []


def test_no_module_is_too_long(modules):
    # A migration is frozen once it has run, and lists tables; it is never read as a concept.
    living = [module for module in modules if "migrations" not in module.path.parts]
    lengths = {str(module.path): len(module.text.splitlines()) for module in living}
    assert {path: lines for path, lines in lengths.items() if lines > MODULE_LINES_MAX} == {}


def test_no_file_speaks_of_one_machine(tracked, root):
    found = []
    for path in tracked:
        text = (root / path).read_bytes().decode(errors="replace")
        found += [f"{path}: {needle}" for needle in OF_ONE_MACHINE if needle in text]
    assert found == []


def test_the_lock_has_hashes_and_no_addresses(root):
    lock = (root / "requirements.lock").read_text()
    pins = re.findall(
        r"^[a-z0-9][\w.-]*==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", lock, flags=re.MULTILINE
    )
    others = [line for line in lock.splitlines() if line and not line.startswith(("#", " "))]
    assert len(pins) == len(others) > 30, "every line that pins something has hashes, and there are no other lines"
    options = re.sub(r"\s*--hash=\S+", "", lock)
    assert re.findall(r"://|(?:--|^-)[a-z-]+", options, flags=re.MULTILINE) == [], (
        "no address, and no option that names one"
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_exist(root, name):
    assert (root / name).stat().st_size > 0


@pytest.mark.parametrize("package", ["kernel", "catalog", "ingest", "aggregator", "billing", "meterline"])
def test_every_package_says_what_it_owns(root, package):
    text = (root / package / "README.md").read_text()
    assert [heading for heading in headings(text) if heading in PACKAGE_HEADINGS] == PACKAGE_HEADINGS


def test_decisions_are_written_down_in_one_form(root):
    found = sorted((root / "docs/adr").glob("*"))
    assert len(found) > 0
    assert [path.name for path in found if not re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)] == []
    assert [int(path.name[:4]) for path in found] == list(range(1, len(found) + 1))
    assert {path.name: headings(path.read_text()) for path in found} == {path.name: ADR_HEADINGS for path in found}


def test_tests_are_of_a_known_shape(root):
    known = {"contract", "unit", "property", "simulation", "story", "vectors", "conformance", "tidy"}
    assert {path.name for path in (root / "tests").iterdir() if path.is_dir() and path.name[0].isalpha()} <= known
