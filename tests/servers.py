"""Servers that a session of tests shares, one of each product; a fixture starts it when a test first asks for it.

`tests/conftest.py` hands the fixtures to all tests. Each prints product, version and process id.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from meterline.stack.clickhouse import ClickHouseServer
from meterline.stack.kafka import KafkaServer
from meterline.stack.postgres import PostgresServer
from meterline.stack.valkey import ValkeyCluster


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """ClickHouse's engine behind HTTP. Tests share it: each makes a database of its own."""
    with ClickHouseServer(tmp_path_factory.mktemp("clickhouse")) as server:
        print(server.told())
        yield server


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One node of Kafka. Tests share it: each takes a prefix of its own for its topics."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        print(server.told())
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; `create_database` gives each case one of its own."""
    with tempfile.TemporaryDirectory(prefix="meterline-postgres-") as folder:
        Path(folder).chmod(0o711)  # the server's user passes through
        with PostgresServer(Path(folder) / "server") as server:
            print(server.told())
            yield server


@pytest.fixture(scope="session")
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """Three nodes of Valkey. Tests share them: each empties them first."""
    with ValkeyCluster(tmp_path_factory.mktemp("valkey")) as cluster:
        print(*cluster.told(), sep="\n")
        yield cluster
