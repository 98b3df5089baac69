"""PostgreSQL through SQLAlchemy and asyncpg.

Writers are serial, and need no retries: a transaction takes one advisory lock before its first read, at READ COMMITTED.
PostgreSQL shows a commit to others before it lets the locks go, and at READ COMMITTED each statement sees all that was
committed when it began; so whoever has the lock sees everything that earlier holders wrote, and nobody else writes
until it has committed. That is what SQLite's one writer is. (REPEATABLE READ would pin its view before the lock.)
Snapshots are REPEATABLE READ and READ ONLY, and wait for nobody.

Nobody is waited for without a bound: a process that freezes within a transaction loses its session after
IDLE_MS, and with it the lock; a statement, the wait for the lock and a server that does not answer have theirs.
A failure that may pass is `Unavailable`; at the end of a transaction that means *unknown*: it may have been committed.
Text with U+0000, which SQLite takes, is `Rejected`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from kernel.errors import Misconfigured, Unavailable, invalid

SCHEME: Final = "postgresql"
NAME: Final = "meterline"  # as `pg_stat_activity` shows us
CONNECT_SECONDS: Final = 2.0
LOCK_MS: Final = 10_000  # as SQLite's BUSY_MS
STATEMENT_MS: Final = 15_000  # the wait for the lock ends before it, with its own error
IDLE_MS: Final = 5_000  # below LOCK_MS, so that one frozen writer makes nobody fail; a transaction awaits SQL alone
IDLE_READER_MS: Final = 60_000  # an audit computes between two reads of its snapshot
LOOK_MS: Final = 1_000  # how often a server looks whether the client of a running statement is still there
ANSWER_SECONDS: Final = (STATEMENT_MS + 2_000) / 1000  # by then the server has given up; it is frozen or out of reach
READERS: Final = 8  # of the server's hundred connections a process takes nine
READER_WAIT_SECONDS: Final = 10.0

_SERVER_OLDEST: Final = 140_000  # `client_connection_check_interval` came with 14
_LOCK: Final = text("SELECT pg_advisory_xact_lock(7310868735955201645)")  # "meterlin(e)" by its bytes; ours alone
_PIN: Final = text("SELECT 1")  # a snapshot is taken by the first statement, not by BEGIN
_FACTS: Final = text(
    "SELECT current_setting('server_version_num')::int, current_setting('synchronous_commit'),"
    " current_setting('fsync'), current_setting('server_encoding'),"
    " 'a' > 'B' AND 'a_' > 'aZ' AND 'a-b' < 'aa' AND U&'\\00e9' > 'z'"
)
_CREATE: Final = "CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"

# Classes of SQLSTATE whose cause may pass: connection, serialization, resources, operator's intervention, disk.
_PASSING: Final = ("08", "40", "53", "55P03", "57", "58")
# Of those, and of others that pass, the ones after which the session is of no use.
_ENDED: Final = ("08", "57P", "25P03", "25P04")
_READ_ONLY: Final = "25006"  # for a writer: the server became a standby
_NO_TEXT: Final = "22021"  # U+0000, the one character that its text cannot hold
_REFUSED: Final = ("28", "3D")  # password, role, database
_AWAY: Final = (OSError, TimeoutError, asyncpg.InterfaceError)


class Postgres:
    """The sql port on PostgreSQL 14 or later."""

    def __init__(self, writer: AsyncEngine, readers: AsyncEngine) -> None:
        self._writer = writer
        self._readers = readers
        self._writing = asyncio.Lock()

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open `postgresql://user:password@host:port/database[?sslmode=…]`, a database that is there.

        Raises Misconfigured, also for one that would lose commits or does not sort text by its bytes; Unavailable.
        """
        parts = urlsplit(url)
        if parts.scheme != SCHEME or not parts.hostname or parts.path in ("", "/"):
            raise Misconfigured(
                f"this is no SQL store: set METERLINE_SQL_URL to {SCHEME}://user:password@host:port/name"
            )
        unknown = sorted({name for name, _ in parse_qsl(parts.query)} - {"sslmode", "sslrootcert", "sslcert", "sslkey"})
        if unknown:
            raise Misconfigured(f"METERLINE_SQL_URL has {', '.join(unknown)}: only sslmode and its files are known")
        sql = cls(_engine(url, writes=True), _engine(url, writes=False))
        try:
            async with sql.snapshot() as connection:
                _check(*(await connection.execute(_FACTS)).one())
        except BaseException:
            await sql.close()
            raise
        return sql

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a serializable transaction. Raises Unavailable when the lock is not had, or the server is away."""
        try:
            async with asyncio.timeout(LOCK_MS / 1000):
                await self._writing.acquire()
        except TimeoutError as error:
            raise Unavailable("SQL: another transaction of this process does not end") from error
        try:
            async with self._writer.connect() as connection, connection.begin():
                await connection.execute(_LOCK)
                yield connection
                _assert_whole(connection)
        finally:
            self._writing.release()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a read-only view of one committed state. Raises Unavailable."""
        try:
            async with self._readers.connect() as connection, connection.begin():
                await connection.execute(_PIN)
                yield connection
        except PoolTimeout as error:
            raise Unavailable("SQL: more snapshots at once than connections") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._readers.dispose()
        await self._writer.dispose()


_FAILED: Final = "meterline.failed"


def _assert_whole(connection: AsyncConnection) -> None:
    """Raise the failure that the block kept to itself: PostgreSQL would answer its COMMIT with a silent ROLLBACK."""
    sync = connection.sync_connection
    assert sync is not None, "the block holds it"
    if not sync.invalidated and (failed := sync.info.get(_FAILED)) is not None:
        raise failed


def _engine(url: str, *, writes: bool) -> AsyncEngine:
    settings = {
        "application_name": NAME,
        "lock_timeout": str(LOCK_MS),
        "statement_timeout": str(STATEMENT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_MS if writes else IDLE_READER_MS),
        "client_connection_check_interval": str(LOOK_MS),
    }

    async def connect() -> Any:
        try:
            return await asyncpg.connect(
                url, timeout=CONNECT_SECONDS, command_timeout=ANSWER_SECONDS, server_settings=settings
            )
        except asyncpg.PostgresError as error:
            state = error.sqlstate or ""
            if state.startswith(_REFUSED):
                raise Misconfigured(f"the server refuses METERLINE_SQL_URL: {error}") from error
            raise Unavailable(f"SQL: {error}") from error
        except asyncpg.ClientConfigurationError as error:
            raise Misconfigured(f"METERLINE_SQL_URL cannot be used: {error}") from error
        except _AWAY as error:
            raise Unavailable(f"SQL: no connection ({error or type(error).__name__})") from error

    engine = create_async_engine(
        f"{SCHEME}+asyncpg://",
        async_creator=connect,
        isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
        pool_size=1 if writes else READERS,
        max_overflow=0,
        pool_timeout=READER_WAIT_SECONDS,
    )
    event.listen(engine.sync_engine, "checkout", _checkout)
    event.listen(engine.sync_engine, "handle_error", _on_error(writes=writes))
    return engine if writes else engine.execution_options(postgresql_readonly=True)


def _checkout(connection: Any, record: Any, _proxy: Any) -> None:
    """Take no connection that the server has closed meanwhile; the pool then makes a new one."""
    record.info.pop(_FAILED, None)
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _on_error(*, writes: bool) -> Any:
    def translate(context: Any) -> Exception | None:
        """Give what is raised in place of a driver's error; the connection goes when its state is not known."""
        error = context.original_exception
        connection = context.connection
        state = getattr(error, "sqlstate", None) or ""
        cause = getattr(error, "driver_exception", None) or error.__cause__ or error
        lost = isinstance(cause, OSError | TimeoutError) or (
            connection is not None and not connection.invalidated and _closed(connection)
        )
        ended = lost or state.startswith(_ENDED) or (writes and state == _READ_ONLY)
        if ended:
            context.is_disconnect = True
        if ended or state.startswith(_PASSING) or isinstance(cause, asyncpg.InvalidCachedStatementError):
            return Unavailable(f"SQL: {cause or type(cause).__name__}")
        if state == _NO_TEXT:
            return invalid("body", "must not contain the character U+0000")
        if connection is not None and not connection.invalidated and isinstance(error, Exception):
            connection.info[_FAILED] = context.sqlalchemy_exception or error
        return None

    return translate


def _closed(connection: Any) -> bool:
    closed: bool = connection.connection.driver_connection.is_closed()
    return closed


def _check(version: int, synchronous: str, fsync: str, encoding: str, by_bytes: bool) -> None:
    if version < _SERVER_OLDEST:
        raise Misconfigured(f"PostgreSQL {version // 10_000} is too old: METERLINE_SQL_URL needs 14 or later")
    if synchronous == "off" or fsync == "off":
        raise Misconfigured("PostgreSQL would lose commits: set synchronous_commit and fsync on")
    if encoding != "UTF8" or not by_bytes:
        raise Misconfigured(f"the database does not sort UTF-8 text by its bytes: make it with {_CREATE}")
