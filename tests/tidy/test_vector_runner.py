"""The vector runner speaks HTTP and imports nothing of the product; the server's process is started by its command."""

import ast

from tests.tidy.conftest import PACKAGES, ROOT, Module

FILES = [*sorted((ROOT / "tests" / "vectors").glob("*.py")), ROOT / "tests/rules.py", ROOT / "tests/story/harness.py"]
OURS = ("tests.vectors", "tests.rules", "tests.story.harness")


def test_the_vector_runner_imports_nothing_of_the_product():
    found, beyond = [], []
    for path in FILES:
        text = path.read_text()
        for line, name in Module(path.relative_to(ROOT), text, ast.parse(text)).imports():
            head = name.partition(".")[0]
            if head in PACKAGES:
                found.append(f"{path.name}:{line}: {name}")
            if head == "tests" and not name.startswith(OURS):
                beyond.append(f"{path.name}:{line}: {name}")
    assert (found, beyond) == ([], []), "what it imports of the tests is looked at too"
    assert len(FILES) > len(OURS)
