"""The sql port on SQLite in memory without threads: the real SQL of the product, in one step a statement.

Transactions and snapshots exclude each other, which makes them serializable. A process that dies in one leaves nothing
behind, as a server that loses a connection rolls back. Every statement passes the simulator, which may fail it.
"""

import asyncio
import sqlite3
from collections import deque
from contextlib import asynccontextmanager

from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from kernel.errors import Unavailable
from tests.simulation.fault import Fault
from tests.simulation.loop import CURRENT


class _Cursor:
    """What SQLAlchemy asks of an aiosqlite cursor, answered at once."""

    def __init__(self, cursor: sqlite3.Cursor, statement) -> None:
        self._cursor = cursor
        self._statement = statement

    def __getattr__(self, name):
        return getattr(self._cursor, name)

    async def __aenter__(self):
        return self

    async def execute(self, *args):
        await self._statement()
        self._cursor.execute(*args)
        return self

    async def executemany(self, *args):
        await self._statement()
        self._cursor.executemany(*args)
        return self

    async def fetchall(self):
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()


class _Connection:
    """What SQLAlchemy asks of an aiosqlite connection, answered at once; without effect once its process is dead."""

    def __init__(self, database: sqlite3.Connection, statement) -> None:
        self._database = database
        self._statement = statement
        self.cut_off = False

    @property
    def _connection(self):
        return self._database

    @property
    def _conn(self):
        return self._database

    def cursor(self) -> _Cursor:
        return _Cursor(self._database.cursor(), self._statement)

    async def create_function(self, *args, **kwargs) -> None:
        self._database.create_function(*args, **kwargs)

    async def commit(self) -> None:
        if self._database.in_transaction and not self.cut_off:
            self._database.execute("COMMIT")

    async def rollback(self) -> None:
        if self._database.in_transaction and not self.cut_off:
            self._database.execute("ROLLBACK")

    async def close(self) -> None:
        await self.rollback()

    def stop(self) -> None:
        """Nothing to stop: there is no thread."""


async def _at_once() -> None:
    """Let a statement pass."""


class Database:
    """One database in memory, with the engine that compiled its statements; `restore` puts another state in."""

    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None)
        self.connections: list[_Connection] = []
        self.statement = _at_once  # what every statement passes; the world's weather while one runs

        async def creator(*_args, **_kwargs):
            made = _Connection(self.raw, lambda: self.statement())
            self.connections.append(made)
            return made

        self.engine = create_async_engine(
            "sqlite+aiosqlite://", poolclass=NullPool, connect_args={"async_creator_fn": creator}
        )

        @event.listens_for(self.engine.sync_engine, "begin")
        def _begin(connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def dump(self) -> bytes:
        return self.raw.serialize()

    def cut_off(self) -> None:
        """End all connections without a word; only one of them can be in a transaction."""
        for connection in self.connections:
            connection.cut_off = True
        self.connections.clear()
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def restore(self, state: bytes) -> None:
        self.statement = _at_once
        self.cut_off()
        self.raw.deserialize(state)


class _Turn:
    """Who holds the database now, and who waits for it in which order."""

    def __init__(self) -> None:
        self.holder = None
        self.waiting: deque = deque()


class SimulatedSql:
    """The shared SQL store: one at a time. `SqlView` is each process's own way to it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._turn = _Turn()

    def release_of(self, process) -> None:
        """Roll back what a dead process left open, and let the next one in."""
        turn = self._turn
        turn.waiting = deque(one for one in turn.waiting if one[0] is not process)
        if turn.holder is process:
            self.database.cut_off()
            self.leave(process)

    async def enter(self, process) -> None:
        turn = self._turn
        if turn.holder is None:
            turn.holder = process
            return
        future = asyncio.get_running_loop().create_future()
        entry = (process, future)
        turn.waiting.append(entry)
        try:
            await future
        except asyncio.CancelledError:
            if entry in turn.waiting:
                turn.waiting.remove(entry)
            elif future.done() and not future.cancelled():
                self.leave(process)
            raise

    def leave(self, process) -> None:
        turn = self._turn
        if turn.holder is not process:
            return
        turn.holder = None
        while turn.waiting:
            following, future = turn.waiting.popleft()
            if not future.done():
                turn.holder = following
                future.set_result(None)
                return


class SqlView:
    """One process's way to SQL."""

    def __init__(self, sql: SimulatedSql, gate) -> None:
        self._sql = sql
        self._gate = gate

    def transaction(self):
        return self._opened(write=True)

    def snapshot(self):
        return self._opened(write=False)

    @asynccontextmanager
    async def _opened(self, *, write: bool):
        fault = await self._gate.enter("sql", "transaction" if write else "snapshot")
        process = CURRENT.get()
        await self._sql.enter(process)
        try:
            async with self._sql.database.engine.connect() as connection:
                await connection.begin()
                await self._gate.turn()
                yield connection
                if write:
                    await self._gate.turn()
                    if fault is Fault.CUT:
                        await connection.rollback()
                        raise Unavailable("SQL went away at the commit")
                    await connection.commit()
        finally:
            self._sql.leave(process)
        if write and fault is Fault.AFTER:
            await self._gate.turn()
            raise Unavailable("SQL went away after the commit")

    async def close(self) -> None:
        """Nothing of its own to release."""
