"""What the sql port's law asks of PostgreSQL alone: servers that die or freeze, processes that do, wrong databases."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import literal, select, text
from sqlalchemy.exc import IntegrityError

from kernel.clock import SystemClock
from kernel.engine.sql import postgres as adapter
from kernel.engine.sql.base import Sql
from kernel.engine.sql.postgres import Postgres
from kernel.errors import Misconfigured, Rejected, Unavailable
from meterline.schema import current_revision, head_revision, migrate
from meterline.stack.postgres import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    yield postgres.create_database("case")
    if not postgres.runs:
        postgres.start()


@pytest.fixture
async def sql(url: str) -> AsyncIterator[Sql]:
    sql = await Postgres.open(url)
    async with sql.transaction() as connection:
        await connection.execute(text("CREATE TABLE numbers (value BIGINT PRIMARY KEY)"))
    yield sql
    await sql.close()


async def write(sql: Sql, value: int) -> None:
    async with sql.transaction() as connection:
        await connection.execute(text("INSERT INTO numbers VALUES (:value)"), {"value": value})


async def read(sql: Sql) -> list[int]:
    async with sql.snapshot() as connection:
        return list((await connection.execute(text("SELECT value FROM numbers ORDER BY value"))).scalars())


async def test_a_server_killed_within_a_transaction_loses_that_one_alone_and_is_used_again_at_once(
    sql: Sql, postgres: PostgresServer
) -> None:
    await write(sql, 1)
    await asyncio.gather(*(read(sql) for _ in range(8)))  # connections that will be stale
    with pytest.raises(Unavailable):  # noqa: PT012 - the block is the transaction
        async with sql.transaction() as connection:
            await connection.execute(text("INSERT INTO numbers VALUES (2)"))
            await asyncio.to_thread(postgres.kill)
            await connection.execute(text("INSERT INTO numbers VALUES (3)"))
    with pytest.raises(Unavailable):
        await read(sql)
    with pytest.raises(Unavailable):
        await write(sql, 4)
    postgres.start()
    assert await asyncio.gather(*(read(sql) for _ in range(8))) == [[1]] * 8
    await write(sql, 5)
    assert await read(sql) == [1, 5]


async def test_a_server_that_ends_before_the_commit_makes_it_unavailable(sql: Sql, postgres: PostgresServer) -> None:
    with pytest.raises(Unavailable):  # noqa: PT012 - the block is the transaction
        async with sql.transaction() as connection:
            await connection.execute(text("INSERT INTO numbers VALUES (2)"))
            await asyncio.to_thread(postgres.kill)
    postgres.start()
    assert await read(sql) == []


async def test_a_server_restarted_between_two_transactions_is_not_noticed(sql: Sql, postgres: PostgresServer) -> None:
    await write(sql, 1)
    assert await read(sql) == [1]
    await asyncio.to_thread(postgres.stop)
    postgres.start()
    await write(sql, 2)
    assert await read(sql) == [1, 2]


async def test_a_frozen_server_is_unavailable_within_a_bound_and_used_again_when_it_goes_on(
    url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "ANSWER_SECONDS", 1.0)
    sql = await Postgres.open(url)
    async with sql.transaction() as connection:
        await connection.execute(text("CREATE TABLE numbers (value BIGINT PRIMARY KEY)"))
    clock = SystemClock()
    postgres.freeze()
    try:
        for work in (read(sql), write(sql, 1), read(sql), write(sql, 2)):
            began = clock.monotonic_ms()
            with pytest.raises(Unavailable):
                await work
            assert clock.monotonic_ms() - began < 6_000
    finally:
        postgres.thaw()
    await write(sql, 3)
    assert 3 in await read(sql)
    await sql.close()


_WRITER = """
import asyncio, sys
from kernel.engine.sql.postgres import Postgres
from sqlalchemy import literal, select, text

async def main():
    sql = await Postgres.open(sys.argv[1])
    async with sql.transaction() as connection:
        await connection.execute(text("INSERT INTO numbers VALUES (7)"))
        print("inside", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGSTOP, signal.SIGKILL])
async def test_a_process_that_freezes_or_dies_within_a_transaction_blocks_nobody(
    sql: Sql, url: str, end: signal.Signals
) -> None:
    process = subprocess.Popen([sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"inside\n"
        os.kill(process.pid, end)
        await write(sql, 8)
        assert await read(sql) == [8]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_a_lock_that_is_not_had_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "LOCK_MS", 300)
    one, other = await Postgres.open(url), await Postgres.open(url)
    async with one.transaction():
        with pytest.raises(Unavailable):
            async with other.transaction():
                pytest.fail("two writers at once")
        with pytest.raises(Unavailable):
            async with one.transaction():
                pytest.fail("two writers at once")
    async with other.transaction() as connection:
        await connection.execute(text("SELECT 1"))
    await one.close()
    await other.close()


async def test_a_failure_that_the_block_keeps_to_itself_is_raised_instead_of_a_silent_rollback(sql: Sql) -> None:
    await write(sql, 1)
    with pytest.raises(IntegrityError):  # noqa: PT012 - the block is the transaction
        async with sql.transaction() as connection:
            with pytest.raises(IntegrityError):
                await connection.execute(text("INSERT INTO numbers VALUES (1)"))
    await write(sql, 2)
    assert await read(sql) == [1, 2]


async def test_a_text_that_it_cannot_hold_is_rejected_and_nothing_is_wrong_after_it(sql: Sql) -> None:
    for block in (sql.snapshot, sql.transaction):
        with pytest.raises(Rejected, match="U\\+0000"):
            async with block() as connection:
                await connection.execute(select(literal("a\0b")))
    await write(sql, 1)


async def test_many_processes_may_migrate_at_once(url: str) -> None:
    stores = [await Postgres.open(url) for _ in range(4)]
    await asyncio.gather(*(migrate(store) for store in stores))
    assert await current_revision(stores[0]) == head_revision()
    for store in stores:
        await store.close()


async def test_a_database_that_would_lose_commits_is_refused(url: str, sql: Sql) -> None:
    async with sql.transaction() as connection:
        await connection.execute(text('ALTER DATABASE "case" SET synchronous_commit = off'))
    with pytest.raises(Misconfigured, match="synchronous_commit"):
        await Postgres.open(url)


async def test_a_database_of_another_encoding_or_order_is_refused(url: str, sql: Sql) -> None:
    async with sql.snapshot() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.execute("COMMIT")
        await raw.execute("DROP DATABASE IF EXISTS latin")
        await raw.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(Misconfigured, match="bytes"):
        await Postgres.open(url.replace("/case", "/latin"))
    with pytest.raises(Misconfigured, match="LOCALE 'C'"):  # this server's build has no language's order
        adapter._check(180_000, "on", "on", "UTF8", False)
    with pytest.raises(Misconfigured, match="14"):
        adapter._check(130_000, "on", "on", "UTF8", True)


@pytest.mark.parametrize(
    "wrong",
    ["postgresql://", "postgresql://host", "postgresql://host/", "sqlite:///x", "postgresql://h/d?pool_size=3"],
)
async def test_a_url_that_names_no_database_says_what_to_set(wrong: str) -> None:
    with pytest.raises(Misconfigured, match="METERLINE_SQL_URL"):
        await Postgres.open(wrong)


async def test_a_wrong_password_or_database_says_what_to_set(url: str) -> None:
    for wrong in (url.replace("/case", "/nothing"), url.replace("meterline:", "meterline:x")):
        with pytest.raises(Misconfigured, match="METERLINE_SQL_URL") as told:
            await Postgres.open(wrong)
        assert url.split(":")[2].split("@", maxsplit=1)[0] not in str(told.value)
    with pytest.raises(Misconfigured, match="METERLINE_SQL_URL"):
        await Postgres.open(f"{url}?sslmode=nonsense")
    with pytest.raises(Unavailable):
        await Postgres.open("postgresql://x:y@127.0.0.1:1/z")
