"""The raw port: columns in ClickHouse SQL. One dialect, so one adapter speaks to chDB in process and to a server.

Each sentence of a docstring here is a test in `tests/contract/test_raw.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Raw(Protocol):
    """A ClickHouse database. Tables and queries belong to the packages that own them."""

    async def command(self, sql: str) -> None:
        """Run a statement that returns nothing (DDL)."""

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        """Insert columns (one sequence a column, all of one length); durable when this returns.

        Whole or not at all within a partition, also when the store dies meanwhile. Raises `Unavailable` when RAW is
        away: the insert may have been done, or may be done yet, so what is inserted has to replace itself.
        """

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a SELECT with `{name:Type}` parameters and return its rows. Raises `Unavailable` when RAW is away."""
        ...

    async def close(self) -> None:
        """Release the client."""
