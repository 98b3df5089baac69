"""RAW on each of its adapters."""

from tests.raw_adapter import raw_opener
from tests.servers import clickhouse_server

__all__ = ["clickhouse_server", "raw_opener"]  # fixtures
