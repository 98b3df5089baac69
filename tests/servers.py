"""Servers that a session of tests shares, one of each product; a fixture starts it when a test first asks for it.

A conftest imports the fixtures that its tests use. Each prints product, version and process id.
"""

from collections.abc import Iterator

import pytest

from meterline.stack.kafka import KafkaServer


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One node of Kafka. Tests share it: each takes a prefix of its own for its topics."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        print(server.told())
        yield server
