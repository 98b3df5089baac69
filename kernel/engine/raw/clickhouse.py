"""ClickHouse through clickhouse-connect: chDB in this process (`chdb:///path`), or a server (`http://…`).

One thread inserts and runs DDL, two query; each has a client of its own, because a client serves one call at a time.
chDB holds one path a process: another path may be opened once this one is closed, and a second process on the path is
refused. The driver is imported at the first opening, since chDB costs a second and 200 MB.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from kernel.errors import Fatal, Misconfigured, Unavailable

EMBEDDED_SCHEME: Final = "chdb"
SERVER_SCHEMES: Final = ("http", "https")
QUERY_THREADS: Final = 2

_SETTINGS: Final = {
    # An insert is in its table, and on the disk by the table's own fsync settings, before the call returns.
    "async_insert": 0,
    # The process shares its cores with the gateway; two threads a query leave it room.
    "max_threads": 2,
    "max_insert_threads": 1,
    # Copies of a row are always in one partition (the partition follows from the sorting key), so parts of different
    # months need no merging to read with FINAL.
    "do_not_merge_across_partitions_select_final": 1,
    # Test clocks let one insert span any number of months; a limit would stop the sink for ever.
    "max_partitions_per_insert_block": 0,
}

# Server errors that pass by themselves: the same call may succeed later. Numbers from ClickHouse's ErrorCodes.cpp:
# timeouts 159, 160, 209; too many queries 202; network 210, 425; read-only replica 242; memory 241; disk full 243;
# too many parts 252; keeper 999; no free thread 439.
_PASSING: Final = frozenset({159, 160, 202, 209, 210, 241, 242, 243, 252, 425, 439, 999})

T = TypeVar("T")


class _Worker:
    """One thread with one client."""

    def __init__(self, client: Any, executor: ThreadPoolExecutor) -> None:
        self.client = client
        self._executor = executor
        self.closed = False

    @classmethod
    async def open(cls, connect: Callable[[], Any], name: str) -> Self:
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        try:
            return cls(await asyncio.get_running_loop().run_in_executor(executor, connect), executor)
        except BaseException:
            executor.shutdown(wait=False)
            raise

    async def run(self, call: Callable[[Any], T]) -> T:
        if self.closed:
            raise Unavailable("RAW is closed")
        return await asyncio.get_running_loop().run_in_executor(self._executor, _translated, call, self.client)

    async def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        # Queued behind the call under way, so the thread is idle when it is told to end.
        await asyncio.get_running_loop().run_in_executor(self._executor, self.client.close)
        self._executor.shutdown(wait=True)


class ClickHouse:
    """The raw port on ClickHouse."""

    def __init__(self, writer: _Worker, readers: Sequence[_Worker]) -> None:
        self._writer = writer
        self._readers: asyncio.Queue[_Worker] = asyncio.Queue()
        self._workers = (writer, *readers)
        for reader in readers:
            self._readers.put_nowait(reader)
        self._column_types: dict[tuple[str, tuple[str, ...]], Sequence[Any]] = {}

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open `chdb:///path` (made if missing) or `http://user:password@host:8123/database`.

        Raises Misconfigured for another URL, Fatal when another process holds the path, Unavailable for a server away.
        """
        connect = _connector(url)
        workers: list[_Worker] = []
        try:
            for name in ("raw-insert", *(f"raw-query-{number}" for number in range(QUERY_THREADS))):
                workers.append(await _Worker.open(connect, name))  # noqa: PERF401 - those opened are closed on a failure
        except BaseException:
            for worker in workers:
                await worker.close()
            raise
        return cls(workers[0], workers[1:])

    async def command(self, sql: str) -> None:
        """Run a statement that returns nothing."""
        await self._writer.run(lambda client: client.command(sql))

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        """Insert columns of one length; durable when this returns."""
        assert len(columns) == len(data), "one sequence a column"
        assert len({len(column) for column in data}) <= 1, "columns have one length"
        await self._writer.run(lambda client: self._insert(client, table, tuple(columns), data))

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a SELECT with `{name:Type}` parameters."""
        # The driver takes a tuple for a ClickHouse tuple; here any sequence is an array.
        bound = {name: list(value) if isinstance(value, tuple) else value for name, value in (parameters or {}).items()}
        reader = await self._readers.get()
        try:
            rows = await reader.run(lambda client: client.query(sql, parameters=bound).result_rows)
        finally:
            self._readers.put_nowait(reader)
        return [tuple(row) for row in rows]

    async def close(self) -> None:
        """Wait for calls under way and release everything; a second time it does nothing."""
        for worker in self._workers:
            await worker.close()

    def _insert(self, client: Any, table: str, columns: tuple[str, ...], data: Sequence[Sequence[Any]]) -> None:
        """Insert on the writer's thread; the types of the columns are asked for once."""
        types = self._column_types.get((table, columns))
        if types is None:
            types = client.create_insert_context(table, columns, column_oriented=True).column_types
            self._column_types[table, columns] = types
        client.insert(table, data, column_names=columns, column_types=types, column_oriented=True)


def _connector(url: str) -> Callable[[], Any]:
    parts = urlsplit(url)
    if parts.scheme == EMBEDDED_SCHEME and parts.path not in ("", "/"):
        return lambda: _connect_embedded(Path(parts.path))
    if parts.scheme in SERVER_SCHEMES and parts.hostname:
        return lambda: _translated(_connect_server, url)
    raise Misconfigured(f"{url!r} is no raw store: set METERLINE_RAW_URL to chdb:///path or http://host:8123/database")


def _connect_embedded(path: Path) -> Any:
    path.mkdir(parents=True, exist_ok=True)
    return _translated(_connect_chdb, str(path))


def _connect_chdb(path: str) -> Any:
    from clickhouse_connect import get_client  # noqa: PLC0415 - chDB costs a second; not at start-up of every command

    return get_client(interface=EMBEDDED_SCHEME, path=path, settings=_SETTINGS)


def _connect_server(url: str) -> Any:
    from clickhouse_connect import get_client  # noqa: PLC0415 - as above

    return get_client(dsn=url, settings=_SETTINGS, autogenerate_session_id=False)


def _translated(call: Callable[[Any], T], argument: Any) -> T:
    """Call, and turn what the driver raises into what the caller should do."""
    from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError  # noqa: PLC0415 - as above

    try:
        return call(argument)
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        passing = code in _PASSING or (code is None and isinstance(error, OperationalError))
        raise (Unavailable if passing else Fatal)(f"RAW: {error}") from None
