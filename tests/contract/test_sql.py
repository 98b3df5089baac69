"""The law of the sql port, on every adapter. Another adapter is one more entry of ADAPTERS."""

import asyncio
import gc
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from kernel.engine.sql.base import Sql
from kernel.engine.sql.postgres import Postgres
from kernel.engine.sql.sqlite import Sqlite
from kernel.errors import Misconfigured, Unavailable

Opener = Callable[[Path], Awaitable[Sql]]


async def open_sqlite(folder: Path) -> Sql:
    return await Sqlite.open(f"sqlite:///{folder / 'deep' / 'test.sqlite'}")


metadata = MetaData()
counters = Table(
    "counters", metadata, Column("name", String, primary_key=True), Column("value", BigInteger, nullable=False)
)
notes = Table(
    "notes",
    metadata,
    Column("counter", String, ForeignKey("counters.name"), nullable=False),
    Column("text", String, nullable=False),
    UniqueConstraint("counter", "text"),
)


def sqlite_opener(_request: pytest.FixtureRequest) -> Opener:
    return open_sqlite


def postgres_opener(request: pytest.FixtureRequest) -> Opener:
    url = request.getfixturevalue("postgres").create_database("law")
    return lambda _folder: Postgres.open(url)


# By name: what gives a case its empty store, and opens it as often as the case wants.
ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Opener]] = {
    "postgresql": postgres_opener,
    "sqlite": sqlite_opener,
}


@pytest.fixture(params=sorted(ADAPTERS))
def opener(request: pytest.FixtureRequest) -> Opener:
    return ADAPTERS[request.param](request)


@pytest.fixture
async def sql(opener: Opener, tmp_path: Path) -> AsyncIterator[Sql]:
    sql = await opener(tmp_path)
    async with sql.transaction() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(counters).values(name="a", value=0))
    yield sql
    await sql.close()


async def value(sql: Sql) -> int:
    async with sql.snapshot() as connection:
        return (await connection.execute(select(counters.c.value).where(counters.c.name == "a"))).scalar_one()


async def test_a_transaction_is_committed_at_the_end_of_the_block(sql: Sql) -> None:
    async with sql.transaction() as connection:
        await connection.execute(update(counters).values(value=7))
    assert await value(sql) == 7


async def test_an_exception_rolls_everything_back_ddl_too(sql: Sql) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is the transaction
        async with sql.transaction() as connection:
            await connection.execute(update(counters).values(value=7))
            await connection.execute(text("CREATE TABLE late (x INTEGER)"))
            raise ZeroDivisionError
    assert await value(sql) == 0
    async with sql.transaction() as connection:
        await connection.execute(text("CREATE TABLE late (x INTEGER)"))


async def test_a_cancelled_transaction_is_rolled_back_and_lets_the_next_in(sql: Sql) -> None:
    inside = asyncio.Event()

    async def write_and_wait() -> None:
        async with sql.transaction() as connection:
            await connection.execute(update(counters).values(value=7))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with sql.transaction() as connection:
        assert (await connection.execute(select(counters.c.value))).scalar_one() == 0
        await connection.execute(update(counters).values(value=1))
    assert await value(sql) == 1


async def test_writers_at_once_behave_as_if_one_came_after_the_other(sql: Sql) -> None:
    async def raise_by_one() -> None:
        async with sql.transaction() as connection:
            seen = (await connection.execute(select(counters.c.value))).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(update(counters).values(value=seen + 1))

    await asyncio.gather(*(raise_by_one() for _ in range(20)))
    assert await value(sql) == 20


async def test_writers_of_two_processes_behave_as_if_one_came_after_the_other(
    sql: Sql, opener: Opener, tmp_path: Path
) -> None:
    other = await opener(tmp_path)

    async def raise_by_one(store: Sql) -> None:
        async with store.transaction() as connection:
            seen = (await connection.execute(select(counters.c.value))).scalar_one()
            await connection.execute(update(counters).values(value=seen + 1))

    await asyncio.gather(*(raise_by_one(store) for store in (sql, other) for _ in range(10)))
    await other.close()
    assert await value(sql) == 20


async def test_a_snapshot_sees_one_committed_state(sql: Sql) -> None:
    async with sql.snapshot() as connection:
        await asyncio.create_task(set_value(sql, 5))
        first = (await connection.execute(select(counters.c.value))).scalar_one()
        await asyncio.create_task(set_value(sql, 6))
        second = (await connection.execute(select(counters.c.value))).scalar_one()
    assert (first, second) == (0, 0)
    assert await value(sql) == 6


async def set_value(sql: Sql, new: int) -> None:
    async with sql.transaction() as connection:
        await connection.execute(update(counters).values(value=new))


async def test_a_snapshot_never_sees_what_is_not_committed(sql: Sql) -> None:
    async with sql.transaction() as connection:
        await connection.execute(update(counters).values(value=9))
        assert await value(sql) == 0


async def test_more_snapshots_than_connections_wait_for_each_other(sql: Sql) -> None:
    assert await asyncio.gather(*(value(sql) for _ in range(30))) == [0] * 30


async def test_a_snapshot_cannot_write(sql: Sql) -> None:
    with pytest.raises(DBAPIError):
        async with sql.snapshot() as connection:
            await connection.execute(update(counters).values(value=9))
    assert await value(sql) == 0


async def test_a_violated_unique_key_raises_integrity_error_and_rolls_back(sql: Sql) -> None:
    with pytest.raises(IntegrityError):  # noqa: PT012 - the block is the transaction
        async with sql.transaction() as connection:
            await connection.execute(update(counters).values(value=9))
            await connection.execute(insert(counters).values(name="a", value=1))
    assert await value(sql) == 0


async def test_a_foreign_key_is_enforced(sql: Sql) -> None:
    with pytest.raises(IntegrityError):
        async with sql.transaction() as connection:
            await connection.execute(insert(notes).values(counter="nobody", text=""))


async def test_what_was_committed_is_there_after_opening_again(sql: Sql, opener: Opener, tmp_path: Path) -> None:
    await set_value(sql, 42)
    await sql.close()
    again = await opener(tmp_path)
    assert await value(again) == 42
    await again.close()


async def test_closing_ends_the_threads_without_a_warning(opener: Opener, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for _ in range(3):
        sql = await opener(tmp_path)
        async with sql.transaction() as connection:
            await connection.execute(text("SELECT 1"))
        async with sql.snapshot() as connection:
            await connection.execute(text("SELECT 1"))
        await sql.close()
        await sql.close()
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)  # it was told to end before `close` returned
    assert set(threading.enumerate()) <= before


async def test_sqlite_writes_ahead_and_syncs_every_commit(tmp_path: Path) -> None:
    sql = await open_sqlite(tmp_path)
    async with sql.transaction() as connection:
        pragmas = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    await sql.close()
    assert pragmas == ["wal", 2, 1]


async def test_a_file_that_stays_locked_is_unavailable(tmp_path: Path) -> None:
    sql = await open_sqlite(tmp_path)
    async with sql.transaction() as connection:
        await connection.execute(text("PRAGMA busy_timeout = 20"))
    holder = sqlite3.connect(tmp_path / "deep" / "test.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        async with sql.transaction():
            pytest.fail("two writers at once")
    holder.close()
    async with sql.transaction() as connection:
        await connection.execute(text("SELECT 1"))
    await sql.close()


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "sqlite://host/x", "postgresql://x/y"])
async def test_a_url_that_names_no_file_says_what_to_set(url: str) -> None:
    with pytest.raises(Misconfigured, match="METERLINE_SQL_URL"):
        await Sqlite.open(url)


async def test_a_transaction_cancelled_within_a_statement_leaves_no_lock(sql: Sql) -> None:
    found: list[object] = []  # what is still read from is what keeps a connection from closing

    async def work(number: int) -> None:
        async with sql.transaction() as connection:
            await connection.execute(insert(counters).values(name=f"c{number}", value=number))
            for _ in range(20):
                await connection.execute(update(counters).values(value=counters.c.value + 1))
                found.append(await connection.execute(select(counters)))

    chance = random.Random(5)
    for number in range(100):
        task = asyncio.create_task(work(number))
        await asyncio.sleep(chance.uniform(0, 0.02))
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # a second time, while the first is being cleaned up
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            await work(1_000 + number)
