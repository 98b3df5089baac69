"""The traces that broke drafts of the protocol, each forced step by step; then the auditor finds nothing."""

import json
import os
import subprocess
import sys

import pytest

from tests.simulation.await_point import ROOT
from tests.simulation.play import CAUGHT, TRACES


def _played(*arguments: str) -> dict[str, list[str]]:
    """Play traces in a process of their own, whose unfinished processes end with it."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.simulation.play", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=600,
    )
    return {told["trace"]: told["found"] for told in map(json.loads, ran.stdout.splitlines())}


@pytest.fixture(scope="module")
def played() -> dict[str, list[str]]:
    return _played()


@pytest.fixture(scope="module")
def caught() -> dict[str, list[str]]:
    return _played("--caught")


def _test_of(name: str):
    def test(played) -> None:
        assert played[name] == [], f"python -m tests.simulation.play {name}\n" + "\n".join(played[name])

    return test


for _name in TRACES:
    globals()[f"test_trace_{_name}"] = _test_of(_name)


@pytest.mark.parametrize("name", CAUGHT)
def test_a_trace_finds_the_bug_that_it_is_about(caught, name: str) -> None:
    assert caught[name], f"{name} forces nothing: it passes with {CAUGHT[name]}"
