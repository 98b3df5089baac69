"""What every test may ask for: the reference folder, and the servers of a session."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from kernel.settings import load_settings
from tests.proof_table import PROOF, ProofTable
from tests.raw_adapter import raw_opener
from tests.servers import clickhouse_server, kafka_server, postgres, valkey_cluster
from tests.stores import sql, sql_at_full_count, sql_with_tables, tables
from tests.story.cluster import stands

__all__ = [
    "clickhouse_server",
    "kafka_server",
    "postgres",
    "raw_opener",
    "sql",
    "sql_at_full_count",
    "sql_with_tables",
    "tables",
    "valkey_cluster",
]  # fixtures

# No test asks the network, and few want two thousand prices: those that do take them in themselves.
os.environ.setdefault("METERLINE_PRICES_REFRESH_MS", "0")

CI = os.environ.get("CI") == "true"
SOAK = bool(os.environ.get("METERLINE_SOAK"))
PROOFS = pytest.StashKey[ProofTable]()

# No deadline: two cores are shared with whatever else runs. CI repeats itself; elsewhere each run looks further.
hypothesis.settings.register_profile("standard", deadline=None, max_examples=60, derandomize=CI)
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
    gc.set_threshold(50_000, 20, 50)  # as a server does: at the default a collection follows every 700 objects
    config.stash[PROOFS] = ProofTable(whole=SOAK)
    config.pluginmanager.register(config.stash[PROOFS], "proofs")


# Where several processes share the tests, these files stay in one: their fixtures share Kafka, and a cluster that takes
# half a minute to start.
_DISTRIBUTED = {
    "test_backup",
    "test_crash",
    "test_epoch_command",
    "test_epoch_roles",
    "test_hard_limit",
    "test_kafka",
    "test_log",
    "test_month",
    "test_read_your_writes",
    "test_roles",
    "test_sharing",
}
_LONGEST_FIRST = ("story", "simulation", "contract")


class _FileScheduling(LoadScopeScheduling):
    """Gives a process a file at a time; the distributed ones are one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "distributed" if Path(file).stem in _DISTRIBUTED else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return _FileScheduling(config, log)


def pytest_collection_modifyitems(items):
    """Begin with what takes long, so that no process is left with it; keep those of the standing cluster together."""
    strays = {item.path.stem for item in items if "servers" in item.fixturenames} - _DISTRIBUTED
    assert not strays, f"{strays} share the distributed engine's servers: name them in _DISTRIBUTED"
    items.sort(key=_begins)


def _begins(item) -> int:
    if item.path.stem in _DISTRIBUTED:
        return 1 if stands(item) else 0
    kind = item.path.relative_to(Path(__file__).parent).parts[0]
    return 2 + (_LONGEST_FIRST.index(kind) if kind in _LONGEST_FIRST else len(_LONGEST_FIRST))


def pytest_collection_finish(session):
    """Take the tests themselves out of the garbage collector's sight."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash[PROOFS].lines()
    if lines:
        terminalreporter.section(f"proofs, {'at full count' if SOAK else 'in short form'}")
    for line in lines:
        terminalreporter.write_line(line)
