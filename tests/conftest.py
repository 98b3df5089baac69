"""What every test may ask for: the reference folder, and the servers of a session."""

import os
from pathlib import Path

import hypothesis
import pytest

from kernel.settings import load_settings
from tests.raw_adapter import raw_opener
from tests.servers import clickhouse_server, kafka_server, postgres, valkey_cluster
from tests.stores import sql

__all__ = ["clickhouse_server", "kafka_server", "postgres", "raw_opener", "sql", "valkey_cluster"]  # fixtures

CI = os.environ.get("CI") == "true"

# No deadline: two cores are shared with whatever else runs. CI repeats itself; elsewhere each run looks further.
hypothesis.settings.register_profile("standard", deadline=None, derandomize=CI)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile("soak" if os.environ.get("METERLINE_SOAK") else "standard")


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
