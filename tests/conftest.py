"""What every test may ask for: the reference folder, and the servers of a session."""

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from kernel.settings import load_settings
from tests.proof_table import PROOF, ProofTable
from tests.raw_adapter import raw_opener
from tests.servers import clickhouse_server, kafka_server, postgres, valkey_cluster
from tests.stores import sql, sql_at_full_count

__all__ = [
    "clickhouse_server",
    "kafka_server",
    "postgres",
    "raw_opener",
    "sql",
    "sql_at_full_count",
    "valkey_cluster",
]  # fixtures

CI = os.environ.get("CI") == "true"
SOAK = bool(os.environ.get("METERLINE_SOAK"))
PROOFS = pytest.StashKey[ProofTable]()

# No deadline: two cores are shared with whatever else runs. CI repeats itself; elsewhere each run looks further.
hypothesis.settings.register_profile("standard", deadline=None, derandomize=CI)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile("soak" if SOAK else "standard")


@pytest.fixture(scope="session")
def shared() -> Path | None:
    """Find the folder with the reference data (METERLINE_SHARED).

    None outside CI when there is none: the test then uses data that it makes itself. With CI=true absence is a failure.
    """
    folder = load_settings().shared.resolve()
    if folder.is_dir():
        return folder
    if CI:
        pytest.fail(f"{folder} is not there: set METERLINE_SHARED to the folder with the reference data")
    return None


@pytest.fixture
def proof(request) -> Callable[[str], None]:
    """Report what a story has shown; the run ends with a table of them."""

    def report(text: str) -> None:
        request.node.user_properties.append((PROOF, text))

    return report


def pytest_configure(config):
    config.stash[PROOFS] = ProofTable(whole=SOAK)
    config.pluginmanager.register(config.stash[PROOFS], "proofs")


# Fixtures of what the distributed stories share, which takes half a minute to start, and who else wants its Kafka.
_SHARED = {"servers", "standing_cluster"}
_KAFKA = {"test_kafka", "test_log"}
_LONGEST_FIRST = ("story", "simulation", "contract")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Where several processes share the tests, say what stays in one: the distributed stories, else a file.

    What takes long begins first, so that no process is left with it at the end.
    """
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        group = "distributed" if _distributed(item) else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_begins)


def _distributed(item) -> bool:
    return ("any_server" in item.fixturenames and "distributed" in item.name) or not _SHARED.isdisjoint(
        item.fixturenames
    )


def _begins(item) -> int:
    kind = item.path.relative_to(Path(__file__).parent).parts[0]
    if _distributed(item):
        return 0
    return 1 + (_LONGEST_FIRST.index(kind) if kind in _LONGEST_FIRST else len(_LONGEST_FIRST))


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash[PROOFS].lines()
    if lines:
        terminalreporter.section(f"proofs, {'at full count' if SOAK else 'in short form'}")
    for line in lines:
        terminalreporter.write_line(line)
