"""SQLite through SQLAlchemy and aiosqlite: one file, in WAL mode, on the disk at every commit.

Transactions begin as writers (`BEGIN IMMEDIATE`), one at a time, which makes them serializable; snapshots read beside
them without waiting. Another process (a command beside the server) is waited for up to BUSY_MS.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from sqlalchemy import event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import LRUCache

from kernel.errors import Misconfigured, Unavailable

SCHEME: Final = "sqlite"
BUSY_MS: Final = 10_000  # longer than any transaction of ours; beyond it somebody holds the file open in a shell
READERS: Final = 4  # snapshots are short; a fifth waits

_BOTH: Final = ("PRAGMA foreign_keys = ON", f"PRAGMA busy_timeout = {BUSY_MS}", "PRAGMA synchronous = FULL")
_WRITER: Final = ("PRAGMA journal_mode = WAL", *_BOTH)
_READER: Final = (*_BOTH, "PRAGMA query_only = ON")
# Reading once pins the state that the snapshot shows.
_BEGIN_WRITER: Final = ("BEGIN IMMEDIATE",)
_BEGIN_READER: Final = ("BEGIN", "SELECT 1 FROM sqlite_schema LIMIT 1")

_PASSING: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_READONLY_")


# Statements that are compiled, for both engines of a store and for every store of the process: there are some hundred,
# and to compile one takes a millisecond.
_COMPILED: Final[LRUCache[Any, Any]] = LRUCache(2_000)


class _Dialect(SQLiteDialect_aiosqlite):
    """SQLite's dialect, each like any other: what one has compiled serves all of them."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Dialect)

    def __hash__(self) -> int:
        return hash(_Dialect)


registry.register("sqlite.meterline", __name__, _Dialect.__name__)


class Sqlite:
    """The sql port on SQLite."""

    def __init__(self, writer: AsyncEngine, readers: AsyncEngine) -> None:
        self._writer = writer
        self._readers = readers
        self._writing = asyncio.Lock()

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open `sqlite:///path`; file and folder are made if missing. Raises Misconfigured, Unavailable."""
        parts = urlsplit(url)
        if parts.scheme != SCHEME or parts.netloc or parts.path in ("", "/"):
            raise Misconfigured(f"{url!r} is no SQL store: set METERLINE_SQL_URL to sqlite:///path")
        path = Path(parts.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sql = cls(_engine(path, 1, _WRITER, _BEGIN_WRITER), _engine(path, READERS, _READER, _BEGIN_READER))
        try:
            async with sql.transaction():
                pass  # makes the file, so that readers find it in WAL mode
        except BaseException:
            await sql.close()
            raise
        return sql

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a serializable transaction. Raises Unavailable when the file stays locked or the disk fails."""
        async with self._writing:
            try:
                async with self._writer.connect() as connection, connection.begin():
                    yield connection
            except OperationalError as error:
                if _passes(error):
                    raise Unavailable(f"SQL: {error.orig}") from error
                raise

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a read-only view of one committed state."""
        try:
            async with self._readers.connect() as connection, connection.begin():
                yield connection
        except OperationalError as error:
            if _passes(error):
                raise Unavailable(f"SQL: {error.orig}") from error
            raise

    async def close(self) -> None:
        """Close the connections and end their threads."""
        await self._readers.dispose()
        await self._writer.dispose()


class _Connection(sqlite3.Connection):
    """A connection that leaves no transaction behind, even when a statement was still running as it was given up."""

    def close(self) -> None:
        """Roll back what is open, then close; without it a cancelled task's lock would outlive its connection."""
        self.rollback()
        super().close()


def _engine(path: Path, connections: int, pragmas: tuple[str, ...], begin: tuple[str, ...]) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+meterline:///{path}",
        pool_size=connections,
        max_overflow=0,
        connect_args={"factory": _Connection},
        execution_options={"compiled_cache": _COMPILED},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        for statement in begin:
            connection.exec_driver_sql(statement)

    return engine


def _passes(error: OperationalError) -> bool:
    """Tell whether the store is at fault; a statement that is wrong stays what it is, a programmer's error."""
    return (getattr(error.orig, "sqlite_errorname", "") or "").startswith(_PASSING)
