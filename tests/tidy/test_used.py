"""A limit, a setting or a metric that nothing uses is a promise that nobody keeps."""

import ast
from pathlib import Path

import msgspec
import pytest

from kernel.settings import Settings
from kernel.telemetry import CounterName, GaugeName, HistogramName


def last_names(modules, apart_from: str) -> set[str]:
    """Collect the last part of every name that the six packages read outside `apart_from`."""
    return {
        name.rpartition(".")[2] for module in modules if module.path != Path(apart_from) for _, name in module.uses()
    }


def test_every_limit_is_used(modules):
    (limits,) = (module for module in modules if module.path == Path("kernel/limits.py"))
    names = {node.target.id for node in limits.tree.body if isinstance(node, ast.AnnAssign)}
    assert len(names) > 40
    assert sorted(names - last_names(modules, "kernel/limits.py")) == []


def test_every_limit_argues_its_number(modules):
    (limits,) = (module for module in modules if module.path == Path("kernel/limits.py"))
    blocks = [
        block for block in limits.text.split("\n\n") if ": Final = " in block and "DAY_MS: Final = 86" not in block
    ]
    assert [block for block in blocks if not block.lstrip().startswith("#")] == []


def test_every_setting_is_used(modules, root):
    used = last_names(modules, "kernel/settings.py")
    if "load_settings().shared" in (root / "tests/conftest.py").read_text():
        used.add("shared")  # the tests' own setting
    assert sorted({field.name for field in msgspec.structs.fields(Settings)} - used) == []


@pytest.mark.parametrize("names", [CounterName, GaugeName, HistogramName])
def test_every_metric_is_used(modules, names):
    assert sorted({name.name for name in names} - last_names(modules, "kernel/telemetry.py")) == []
