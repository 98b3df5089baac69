"""The four servers of the distributed engine together, and room on them for any number of deployments."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from meterline.stack.clickhouse import ClickHouseServer
from meterline.stack.kafka import KafkaServer
from meterline.stack.postgres import PostgresServer
from meterline.stack.process import ServerProcess
from meterline.stack.valkey import ValkeyServer


class Room(msgspec.Struct, frozen=True):
    """One deployment's stores: `variables` are METERLINE_… settings, `live` is a server of its own."""

    variables: Mapping[str, str]
    live: ValkeyServer


class Servers:
    """Kafka, ClickHouse's engine and PostgreSQL for all deployments, which run already; a Valkey for each, of ours."""

    def __init__(
        self, folder: Path, kafka: KafkaServer, clickhouse: ClickHouseServer, postgres: PostgresServer
    ) -> None:
        self.folder = folder
        self.kafka = kafka
        self.clickhouse = clickhouse
        self.postgres = postgres
        self.lives: list[ValkeyServer] = []

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Self]:
        """Start everything under `folder`, and end it."""
        with (
            KafkaServer(folder / "kafka") as kafka,
            ClickHouseServer(folder / "clickhouse") as clickhouse,
            PostgresServer(folder / "postgres") as postgres,
        ):
            servers = cls(folder, kafka, clickhouse, postgres)
            try:
                yield servers
            finally:
                servers.close()

    def close(self) -> None:
        """End the servers that were started for deployments."""
        for live in self.lives:
            live.stop()

    def fresh(self, name: str) -> Room:
        """Make room for a deployment; `name` is a word that is not used yet."""
        self.postgres.create_database(name)
        self.clickhouse.create_database(name)
        live = ValkeyServer(self.folder / f"live-{name}")
        self.lives.append(live)
        live.start()
        variables = {
            "METERLINE_LOG_URL": f"{self.kafka.log_url}/{name}",
            "METERLINE_LOG_REPLICAS": "1",
            "METERLINE_LIVE_URL": live.url,
            "METERLINE_RAW_URL": self.clickhouse.url(name),
            "METERLINE_SQL_URL": self.postgres.url(name),
        }
        return Room(variables, live)

    @property
    def all(self) -> Iterator[ServerProcess]:
        """Go through all servers."""
        yield from (self.kafka, *self.lives, self.clickhouse, self.postgres)

    def told(self) -> list[str]:
        """Tell product, version and process id, a line each."""
        return [server.told() for server in self.all]
