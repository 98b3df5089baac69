"""The sql port on SQLite in memory without threads: the real SQL of the product, in one step a statement.

Transactions and snapshots exclude each other, which makes them serializable. A process that dies in one leaves nothing
behind, as a server that loses a connection rolls back. Every statement passes the simulator, which may fail it.
"""

import asyncio
import sqlite3
from collections import deque
from contextlib import asynccontextmanager

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from kernel.errors import Unavailable
from tests.simulation.fault import Fault
from tests.simulation.loop import CURRENT


async def _at_once() -> None:
    """Let a statement pass."""


class Transaction:
    """What the product asks of SQLAlchemy's async connection, answered by the synchronous one at once.

    Without effect once its process is dead: what is left of a dead process says what it wants when it is collected.
    """

    def __init__(self, database: "Database") -> None:
        self._database = database
        self.dialect = database.connection.dialect

    async def execute(self, statement, parameters=None):
        await self._database.statement()
        return self._database.connection.execute(statement, parameters)

    async def exec_driver_sql(self, statement: str, parameters=None):
        return self._database.connection.exec_driver_sql(statement, parameters)

    async def run_sync(self, work):
        return work(self._database.connection)

    def end(self, *, commit: bool) -> None:
        database = self._database
        if database.open is not self:
            return
        database.open = None
        if commit:
            database.connection.commit()
        else:
            database.connection.rollback()
        if database.raw.in_transaction:  # SQLAlchemy does not know of one in which nothing was asked
            database.raw.execute("COMMIT" if commit else "ROLLBACK")


class Database:
    """One database in memory and the one connection to it, which has compiled its statements.

    `open` is the transaction under way; `restore` puts another state in.
    """

    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None)
        self.statement = _at_once  # what every statement passes; the world's weather while one runs
        self.open: Transaction | None = None
        self.connection = create_engine("sqlite://", poolclass=StaticPool, creator=lambda: self.raw).connect()

    def begin(self) -> Transaction:
        assert self.open is None, "transactions come one after the other"
        self.raw.execute("BEGIN IMMEDIATE")
        self.open = Transaction(self)
        return self.open

    def dump(self) -> bytes:
        return self.raw.serialize()

    def cut_off(self) -> None:
        """End the transaction under way without a word."""
        if self.open is not None:
            self.open.end(commit=False)

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
            database = self._sql.database
            await database.statement()
            connection = database.begin()
            try:
                await self._gate.turn()
                yield connection
                if write:
                    await self._gate.turn()
                    if fault is Fault.CUT:
                        raise Unavailable("SQL went away at the commit")
                    connection.end(commit=True)
            finally:
                connection.end(commit=False)
        finally:
            self._sql.leave(process)
        if write and fault is Fault.AFTER:
            await self._gate.turn()
            raise Unavailable("SQL went away after the commit")

    async def close(self) -> None:
        """Nothing of its own to release."""
