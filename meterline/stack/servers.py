"""The four servers of the distributed engine together, and room on them for any number of deployments."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
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
    """Kafka, ClickHouse's engine and PostgreSQL for all deployments; a Valkey for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kafka = KafkaServer(folder / "kafka")
        self.clickhouse = ClickHouseServer(folder / "clickhouse")
        self.postgres = PostgresServer(folder / "postgres")
        self.lives: list[ValkeyServer] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in (self.kafka, self.clickhouse, self.postgres):
                stack.enter_context(server)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def fresh(self, name: str) -> Room:
        """Make room for a deployment; `name` is a word that is not used yet."""
        self.postgres.create_database(name)
        self.clickhouse.create_database(name)
        live = self._stack.enter_context(ValkeyServer(self.folder / f"live-{name}"))
        self.lives.append(live)
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
