"""The catalog as one file, from the command line: on a data folder that no server holds, and beside a server."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.story.harness import METERLINE, Server

EXAMPLE = Path(__file__).parents[2] / "docs/examples/catalog.toml"


@pytest.fixture
def meterline(tmp_path):
    def run(*words, code=0):
        done = subprocess.run(
            [METERLINE, *words, "--data-dir", str(tmp_path / "data"), "--json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if done.stdout else " ".join(done.stderr.split())

    server = Server(tmp_path).start()  # commands are quick beside it
    yield run
    server.stop()
    run("catalog", "export", str(tmp_path / "cold.toml"))  # nobody holds the folder
    assert "starter" in (tmp_path / "cold.toml").read_text()


def catalog(meterline, verb, file, **how):
    return meterline("catalog", verb, str(file), **how)


def test_a_file_is_applied_once_and_comes_back(meterline, tmp_path):
    (organization,) = meterline("org", "list")["organizations"]
    would = catalog(meterline, "diff", EXAMPLE, code=1)
    assert catalog(meterline, "diff", EXAMPLE, code=1) == would, "a diff changes nothing"
    applied = catalog(meterline, "apply", EXAMPLE)
    assert applied == would
    assert applied["organization"] == organization["id"]
    assert {"kind": "plan feature", "name": "starter.api_calls", "change": "new"} in applied["changes"]
    assert catalog(meterline, "apply", EXAMPLE)["changes"] == []
    for name in ("exported.toml", "exported.yaml"):
        exported = tmp_path / name
        assert catalog(meterline, "export", exported) == {"file": str(exported), "features": 7, "plans": 5}
        assert "20.00" in exported.read_text()
        assert catalog(meterline, "diff", exported)["changes"] == []


def test_a_changed_file_says_what_changes_and_a_wrong_one_changes_nothing(meterline, tmp_path):
    file = tmp_path / "catalog.toml"
    file.write_text(EXAMPLE.read_text())
    catalog(meterline, "apply", file)
    dearer = EXAMPLE.read_text().replace('"0.002"', '"0.0025"').replace('price = "20.00"', 'price = "25.00"')
    file.write_text(dearer.replace('price = "25.00"\nfeatures.input', 'price = "25.005"\nfeatures.input'))
    for verb in ("diff", "apply"):
        assert "plan.tokens.price has more than the 2 places of usd" in catalog(meterline, verb, file, code=2)
    file.write_text(dearer)
    changes = [
        {"kind": "price", "name": "starter.monthly", "change": "price: 20.00 -> 25.00"},
        {"kind": "plan feature", "name": "starter.api_calls", "change": "overage: 0.002 -> 0.0025"},
        {"kind": "price", "name": "tokens.monthly", "change": "price: 20.00 -> 25.00"},
    ]
    assert catalog(meterline, "apply", file)["changes"] == changes
    assert catalog(meterline, "diff", file) | {"organization": None} == {
        "organization": None,
        "changes": [],
        "hints": [],
    }
    # Codes that say nothing are taken, and a hint says so (R-TRACK-22).
    file.write_text(dearer + '\n[[feature]]\ncode = "metric"\nname = "Metric"\n')
    applied = catalog(meterline, "apply", file)
    assert len(applied["changes"]) == len(applied["hints"]) == 1
    assert applied["hints"][0].startswith("metric does not say what is counted")
