"""The traces that broke drafts of the protocol, each forced step by step; then the auditor finds nothing."""

import json
import os
import subprocess
import sys

import pytest

from tests.simulation.await_point import ROOT
from tests.simulation.play import TRACES


@pytest.fixture(scope="module")
def played() -> dict[str, list[str]]:
    """Play all traces in a process of their own, whose unfinished processes end with it."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.simulation.play"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=600,
    )
    return {told["trace"]: told["found"] for told in map(json.loads, ran.stdout.splitlines())}


def _test_of(name: str):
    def test(played) -> None:
        assert played[name] == [], f"python -m tests.simulation.play {name}\n" + "\n".join(played[name])

    return test


for _name in TRACES:
    globals()[f"test_trace_{_name}"] = _test_of(_name)
