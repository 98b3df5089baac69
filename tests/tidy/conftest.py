"""What the house rules look at: the six packages as syntax trees, and what git tracks."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("kernel", "catalog", "ingest", "aggregator", "billing", "meterline")
SHELL = {"routes", "worker", "store", "tables", "gateway"}
KERNEL_SHELL = {"clock", "settings", "telemetry", "ids"}


@dataclass(frozen=True)
class Module:
    path: Path  # from the root
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.parts[0]

    @property
    def name(self) -> str:
        return ".".join(self.path.with_suffix("").parts)

    @property
    def shell(self) -> bool:
        """May do I/O, be async and read a clock (STYLE 2, DESIGN 6)."""
        inner = self.path.with_suffix("").parts[1:]
        return (
            self.package == "meterline"
            or bool(SHELL & set(inner))
            or (self.package == "kernel" and (inner[0] == "engine" or inner[0] in KERNEL_SHELL))
        )

    @property
    def pure(self) -> bool:
        return not self.shell and self.path.name != "__init__.py"

    def imports(self) -> Iterator[tuple[int, str]]:
        """Yield line and dotted name of everything imported, `from a import b` as `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)

    def uses(self) -> Iterator[tuple[int, str]]:
        """Yield line and dotted name of every name or attribute that is read, with its imported names spelled out."""
        known = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                known |= {alias.asname: alias.name for alias in node.names if alias.asname}
            elif isinstance(node, ast.ImportFrom):
                known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                head, *rest = ast.unparse(node).split(".")
                yield node.lineno, ".".join([known.get(head, head), *rest])


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """List what git tracks (paths from the root) and has not been deleted since."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Parse every module of the six packages."""
    found = []
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        text = path.read_text()
        found.append(Module(path.relative_to(ROOT), text, ast.parse(text)))
    return found
