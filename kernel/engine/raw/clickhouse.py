"""ClickHouse through clickhouse-connect: chDB in this process (`chdb:///path`), or a server (`http://…`).

One thread inserts and runs DDL, some query; each has a client of its own, because a client serves one call at a time.
chDB holds one path a process: another path may be opened once this one is closed, and a second process on the path is
refused. On a server every call is bounded in time, the wait for a free thread too; a call that ended as `Unavailable`
may have happened or happen yet, which for an insert means that the same rows are to be inserted again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self, TypeVar

from kernel.engine.raw.clickhouse_client import close_client, connector, translated
from kernel.errors import Unavailable
from kernel.limits import RAW_INSERT_MS, RAW_QUERY_MS

QUERY_THREADS: Final = 2

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
        return await asyncio.get_running_loop().run_in_executor(self._executor, translated, call, self.client)

    async def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        # Queued behind the call under way, so the thread is idle when it is told to end.
        await asyncio.get_running_loop().run_in_executor(self._executor, close_client, self.client)
        self._executor.shutdown(wait=True)


class _Pool:
    """Workers that serve one call each; a call waits `wait_ms` for a free one."""

    def __init__(self, workers: Sequence[_Worker], wait_ms: int) -> None:
        self._wait_ms = wait_ms
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()
        for worker in workers:
            self._free.put_nowait(worker)

    async def run(self, call: Callable[[Any], T]) -> T:
        try:
            async with asyncio.timeout(self._wait_ms / 1000):
                worker = await self._free.get()
        except TimeoutError:
            raise Unavailable(f"RAW: the calls before this one took {self._wait_ms} ms") from None
        try:
            return await worker.run(call)
        finally:
            self._free.put_nowait(worker)


class ClickHouse:
    """The raw port on ClickHouse."""

    def __init__(self, writer: _Worker, readers: Sequence[_Worker], *, insert_ms: int, query_ms: int) -> None:
        self._workers = (writer, *readers)
        self._writers = _Pool([writer], insert_ms)
        self._readers = _Pool(readers, query_ms)
        self._column_types: dict[tuple[str, tuple[str, ...]], Sequence[Any]] = {}

    @classmethod
    async def open(cls, url: str, *, insert_ms: int = RAW_INSERT_MS, query_ms: int = RAW_QUERY_MS) -> Self:
        """Open `chdb:///path` (made if missing) or a database that is there, `http://user:password@host:8123/database`.

        On a server an insert or a command ends within `insert_ms` (whole seconds), a query within `query_ms`. Raises
        Misconfigured for what a setting must change, Fatal when another process holds the path, Unavailable for a
        server away.
        """
        write, read = connector(url, insert_ms), connector(url, query_ms)
        workers: list[_Worker] = []
        try:
            workers.append(await _Worker.open(write, "raw-insert"))
            for number in range(QUERY_THREADS):
                workers.append(await _Worker.open(read, f"raw-query-{number}"))  # noqa: PERF401 - closed on a failure
        except BaseException:
            for worker in workers:
                await worker.close()
            raise
        return cls(workers[0], workers[1:], insert_ms=insert_ms, query_ms=query_ms)

    async def command(self, sql: str) -> None:
        """Run a statement that returns nothing."""
        await self._writers.run(lambda client: client.command(sql))

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        """Insert columns of one length; durable when this returns."""
        assert len(columns) == len(data), "one sequence a column"
        assert len({len(column) for column in data}) <= 1, "columns have one length"
        await self._writers.run(lambda client: self._insert(client, table, tuple(columns), data))

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a SELECT with `{name:Type}` parameters."""
        # The driver takes a tuple for a ClickHouse tuple; here any sequence is an array.
        bound = {name: list(value) if isinstance(value, tuple) else value for name, value in (parameters or {}).items()}
        rows = await self._readers.run(lambda client: client.query(sql, parameters=bound).result_rows)
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
