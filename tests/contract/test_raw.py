"""The law of the raw port, on every adapter (`tests/raw_adapter.py`), and what holds on one of them."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from kernel.clock import SystemClock
from kernel.engine.raw.base import Raw
from kernel.engine.raw.clickhouse import ClickHouse
from kernel.errors import Fatal, MeterlineError, Misconfigured, Unavailable
from meterline.stack.clickhouse import ClickHouseServer
from tests.raw_adapter import RawOpener, database_url

TABLE = """CREATE TABLE IF NOT EXISTS facts (
    id UInt64, name String, amount Decimal(38, 9), maybe Nullable(Int64), yes Bool, day Date32,
    at DateTime64(6, 'UTC'), pairs Array(Tuple(String, String)), version UInt32
) ENGINE = ReplacingMergeTree ORDER BY id SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"""
COLUMNS = ("id", "name", "amount", "maybe", "yes", "day", "at", "pairs", "version")
SELECT = """SELECT id, name, amount, maybe, yes, toInt32(day), toUnixTimestamp64Micro(at), pairs, version
FROM facts FINAL ORDER BY id"""
ROWS = [
    (1, "plain", Decimal("0.1"), None, True, 20_000, 1_750_000_000_000_001, [], 1),
    (
        2,
        'it\'s\n\t\\ "{id:Int8}" ünï 😀',
        Decimal("999999999999.999999999"),
        -5,
        False,
        -1,
        -1,
        [("a", "1"), ("a", "2")],
        1,
    ),
    (3, "", Decimal("0.000000001"), 0, True, 0, 0, [("", "'")], 1),
]


def columns_of(rows: list[tuple]) -> list[list]:
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.fixture
async def raw(raw_opener: RawOpener, tmp_path: Path) -> AsyncIterator[Raw]:
    raw = await raw_opener(tmp_path)
    await raw.command(TABLE)
    yield raw
    await raw.close()


async def test_what_is_inserted_comes_back_exactly(raw: Raw) -> None:
    await raw.insert("facts", COLUMNS, columns_of(ROWS))
    assert await raw.query(SELECT) == ROWS


async def test_quantities_may_be_inserted_as_decimal_strings(raw: Raw) -> None:
    texts = ["0.000000001", "1000000000000", "999999999999.999999999", "0"]
    rows = [(n, "", text, None, True, 0, 0, [], 1) for n, text in enumerate(texts)]
    await raw.insert("facts", COLUMNS, columns_of(rows))
    found = await raw.query("SELECT amount, sum(amount) OVER () FROM facts FINAL ORDER BY id")
    assert [amount for amount, _ in found] == [Decimal(text) for text in texts]
    assert found[0][1] == Decimal("2000000000000.000000000")


async def test_a_command_may_be_repeated(raw: Raw) -> None:
    await raw.command(TABLE)
    assert await raw.query(SELECT) == []


async def test_an_empty_insert_does_nothing(raw: Raw) -> None:
    await raw.insert("facts", COLUMNS, [[] for _ in COLUMNS])
    assert await raw.query(SELECT) == []


async def test_a_row_inserted_again_replaces_itself(raw: Raw) -> None:
    for _ in range(3):
        await raw.insert("facts", COLUMNS, columns_of(ROWS))
    assert await raw.query(SELECT) == ROWS


async def test_an_insert_that_fails_leaves_nothing(raw: Raw) -> None:
    good, bad = columns_of(ROWS), columns_of(ROWS)
    bad[-1][-1] = "not a number"
    with pytest.raises((MeterlineError, TypeError, ValueError)):
        await raw.insert("facts", COLUMNS, bad)
    assert await raw.query(SELECT) == []
    await raw.insert("facts", COLUMNS, good)
    assert await raw.query(SELECT) == ROWS


async def test_columns_of_different_lengths_are_a_programmers_error(raw: Raw) -> None:
    with pytest.raises(AssertionError):
        await raw.insert("facts", ("id", "version"), [[1, 2], [1]])
    assert await raw.query(SELECT) == []


@pytest.mark.parametrize("text", [row[1] for row in ROWS] + ["' OR 1 = 1 --", "\\", "\\'", "\x00", "a\r\nb", "%(x)s"])
async def test_text_parameters_are_values_not_sql(raw: Raw, text: str) -> None:
    rows = [(1, text, Decimal(0), None, True, 0, 0, [], 1), (2, text + "?", Decimal(0), None, True, 0, 0, [], 1)]
    await raw.insert("facts", COLUMNS, columns_of(rows))
    one = await raw.query("SELECT id FROM facts FINAL WHERE name = {name:String}", {"name": text})
    listed = await raw.query("SELECT id FROM facts FINAL WHERE name IN {names:Array(String)}", {"names": [text]})
    assert one == listed == [(1,)]


async def test_number_parameters_and_arrays(raw: Raw) -> None:
    found = await raw.query(
        "SELECT {n:Int64} + 1, {a:Array(UInt32)}, {e:Array(String)},"
        " transform('b', {k:Array(String)}, {a:Array(UInt32)}, toUInt32(0))",
        {"n": -(2**62), "a": [7, 2**32 - 1], "k": ("a", "b"), "e": []},
    )
    assert found == [(-(2**62) + 1, [7, 2**32 - 1], [], 2**32 - 1)]


async def test_queries_and_inserts_may_run_at_once(raw: Raw) -> None:
    async def insert(number: int) -> None:
        await raw.insert("facts", COLUMNS, columns_of([(number, "x", Decimal(1), None, True, 0, 0, [], 1)]))

    async def count() -> int:
        return (await raw.query("SELECT count() FROM facts FINAL"))[0][0]

    results = await asyncio.gather(*(insert(n) for n in range(8)), *(count() for _ in range(16)))
    assert all(0 <= seen <= 8 for seen in results[8:])
    assert await count() == 8


async def test_a_wrong_statement_is_fatal_and_carries_no_type_of_the_driver(raw: Raw) -> None:
    for call in (
        raw.query("SELECT nothing FROM nowhere"),
        raw.command("CREATE NONSENSE"),
        raw.insert("nowhere", ("id",), [[1]]),
        raw.query("SELECT {n:Int64}", {"n": "no number"}),
    ):
        with pytest.raises(Fatal) as caught:
            await call
        assert caught.value.__cause__ is None
        assert all(isinstance(part, str) for part in caught.value.args)
    assert await raw.query("SELECT 1") == [(1,)]


async def test_too_little_memory_is_unavailable(raw: Raw) -> None:
    with pytest.raises(Unavailable):
        await raw.query("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000")


async def test_a_closed_store_is_unavailable_and_closes_twice(raw: Raw) -> None:
    await raw.close()
    for call in (raw.query("SELECT 1"), raw.command("SELECT 1"), raw.insert("facts", ("id",), [[1]])):
        with pytest.raises(Unavailable):
            await call
    await raw.close()


async def test_closing_waits_for_what_is_under_way_and_ends_the_threads(raw_opener: RawOpener, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    raw = await raw_opener(tmp_path)
    slow = asyncio.create_task(
        raw.query("SELECT count() FROM (SELECT sleepEachRow(0.05) FROM numbers(4) SETTINGS max_block_size = 1)")
    )
    await asyncio.sleep(0.05)
    await raw.close()
    assert await slow == [(4,)]
    assert [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("raw-")] == []


async def test_what_was_inserted_is_there_after_opening_again(raw_opener: RawOpener, tmp_path: Path) -> None:
    for _ in range(2):
        raw = await raw_opener(tmp_path)
        await raw.command(TABLE)
        await raw.insert("facts", COLUMNS, columns_of(ROWS))
        assert await raw.query(SELECT) == ROWS
        await raw.close()


KILLED = """
import asyncio, os, signal, sys
sys.path.insert(0, {root!r})
from kernel.engine.raw.clickhouse import ClickHouse
async def main():
    raw = await ClickHouse.open({url!r})
    await raw.command({table!r})
    for n in range(5):
        await raw.insert("facts", ("id", "version"), [[n], [1]])
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_an_insert_that_returned_survives_a_kill(tmp_path: Path) -> None:
    url = f"chdb://{tmp_path / 'raw'}"
    root = str(Path(__file__).parents[2])
    script = KILLED.format(root=root, url=url, table=TABLE)
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    raw = await ClickHouse.open(url)
    assert await raw.query("SELECT count() FROM facts FINAL") == [(5,)]
    await raw.close()


SECOND = """
import asyncio, sys
sys.path.insert(0, {root!r})
from kernel.engine.raw.clickhouse import ClickHouse
from kernel.errors import Fatal
try:
    asyncio.run(ClickHouse.open({url!r}))
except Fatal:
    sys.exit(7)
"""


async def test_a_second_process_on_the_path_is_refused(tmp_path: Path) -> None:
    url = f"chdb://{tmp_path / 'raw'}"
    raw = await ClickHouse.open(url)
    script = SECOND.format(root=str(Path(__file__).parents[2]), url=url)
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 7, done.stderr.decode()
    assert await raw.query("SELECT 1") == [(1,)]
    await raw.close()


async def test_one_path_after_another_may_be_opened_in_one_process(tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        raw = await ClickHouse.open(f"chdb://{tmp_path / name}")
        await raw.command(TABLE)
        await raw.insert("facts", ("id", "version"), [[1], [1]])
        assert await raw.query("SELECT count() FROM facts FINAL") == [(1,)]
        await raw.close()


@pytest.mark.parametrize("url", ["", "chdb://", "chdb:///", "file:///x", "/x", "http://"])
async def test_a_url_that_names_no_store_says_what_to_set(url: str) -> None:
    with pytest.raises(Misconfigured, match="METERLINE_RAW_URL"):
        await ClickHouse.open(url)


async def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await ClickHouse.open("http://127.0.0.1:9/default")


@pytest.fixture
async def served(clickhouse_server: ClickHouseServer, tmp_path: Path) -> AsyncIterator[ClickHouse]:
    """RAW on the server, with calls that end within a second; the server runs and accepts afterwards."""
    raw = await ClickHouse.open(database_url(clickhouse_server, tmp_path), insert_ms=1_000, query_ms=1_000)
    await raw.command(TABLE)
    yield raw
    if clickhouse_server.returncode is not None:
        clickhouse_server.start()
    clickhouse_server.thaw()
    clickhouse_server.accept()
    await raw.close()


async def unavailable(raw: Raw) -> None:
    for call in (
        raw.query("SELECT 1"),
        raw.insert("facts", COLUMNS, columns_of(ROWS)),
        raw.command("CREATE TABLE IF NOT EXISTS other (n UInt8) ENGINE = Memory"),
    ):
        with pytest.raises(Unavailable):
            await call


async def test_a_server_that_was_killed_is_unavailable_and_comes_back(
    served: ClickHouse, clickhouse_server: ClickHouseServer
) -> None:
    await served.insert("facts", COLUMNS, columns_of(ROWS[:1]))
    clickhouse_server.kill()
    await unavailable(served)
    clickhouse_server.start()
    assert await served.query(SELECT) == ROWS[:1]
    await served.insert("facts", COLUMNS, columns_of(ROWS))
    assert await served.query(SELECT) == ROWS


async def test_a_server_that_refuses_is_unavailable_and_accepts_again(
    served: ClickHouse, clickhouse_server: ClickHouseServer
) -> None:
    for code in (252, 241, 202):
        clickhouse_server.refuse(code)
        await unavailable(served)
        clickhouse_server.accept()
        assert await served.query(SELECT) == []
    clickhouse_server.refuse(60)  # an unknown table does not come by itself
    with pytest.raises(Fatal):
        await served.query("SELECT 1")


async def test_a_server_that_hangs_is_unavailable_within_bounded_time(
    served: ClickHouse, clickhouse_server: ClickHouseServer
) -> None:
    clickhouse_server.freeze()
    clock = SystemClock()
    began = clock.monotonic_ms()
    done = await asyncio.gather(*(served.query("SELECT 1") for _ in range(8)), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in done), done
    await unavailable(served)
    assert clock.monotonic_ms() - began < 8_000  # those that wait for a thread do not wait for all before them
    clickhouse_server.thaw()
    assert await served.query("SELECT 1") == [(1,)]


async def test_a_query_that_takes_too_long_is_unavailable(served: ClickHouse) -> None:
    with pytest.raises(Unavailable):
        await served.query("SELECT sum(sleepEachRow(1)) FROM numbers(5) SETTINGS max_block_size = 1")
    assert await served.query("SELECT 1") == [(1,)]


async def test_an_insert_whose_server_is_killed_is_there_whole_or_not_at_all(
    served: ClickHouse, clickhouse_server: ClickHouseServer
) -> None:
    count, found = 40_000, set()
    rows = columns_of([(n, "x" * 200, Decimal(n), None, True, 0, 0, [("k", "v")], 1) for n in range(count)])
    for wait_ms in (30, 120, 250, 400, 600):
        await served.command("TRUNCATE TABLE facts")
        insert = asyncio.create_task(served.insert("facts", COLUMNS, rows))
        await asyncio.sleep(wait_ms / 1000)
        clickhouse_server.kill()
        ended = (await asyncio.gather(insert, return_exceptions=True))[0]
        clickhouse_server.start()
        [(there,)] = await served.query("SELECT count() FROM facts")
        print(f"killed after {wait_ms} ms: {there} rows, {ended!r:.60}")
        assert there in ({count} if ended is None else {0, count})
        assert ended is None or isinstance(ended, Unavailable)
        found.add(there)
    await served.insert("facts", COLUMNS, rows)
    assert await served.query("SELECT count() FROM facts FINAL") == [(count,)]
    assert 0 in found, "no insert was interrupted"


async def test_a_large_insert_is_one_part(served: ClickHouse) -> None:
    count = 50_000
    rows = [list(range(count)), ["x" * 400] * count, [1] * count]
    await served.insert("facts", ("id", "name", "version"), rows)
    where = "database = currentDatabase() AND table = 'facts' AND active"
    assert await served.query(f"SELECT rows FROM system.parts WHERE {where}") == [(count,)]


async def test_every_call_carries_the_settings_on_which_the_facts_rest(served: ClickHouse) -> None:
    names = ("async_insert", "insert_deduplicate", "result_overflow_mode", "max_partitions_per_insert_block")
    [found] = await served.query("SELECT " + ", ".join(f"toString(getSetting('{name}'))" for name in names))
    assert found == ("false", "false", "throw", "0")


async def test_a_server_is_used_from_several_processes_at_once(
    served: ClickHouse, clickhouse_server: ClickHouseServer, tmp_path: Path
) -> None:
    url = database_url(clickhouse_server, tmp_path)
    script = KILLED.format(root=str(Path(__file__).parents[2]), url=url, table=TABLE)
    calls = [
        asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], capture_output=True, timeout=60)
        for _ in range(2)
    ]
    done = await asyncio.gather(*calls)
    assert [each.returncode for each in done] == [-signal.SIGKILL] * 2, [each.stderr.decode() for each in done]
    assert await served.query("SELECT count() FROM facts FINAL") == [(5,)]


@pytest.mark.parametrize("wrong", ["database", "user", "version"])
async def test_a_server_that_cannot_be_used_says_what_to_set(
    wrong: str, clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = clickhouse_server.url("default")
    if wrong == "database":
        url = clickhouse_server.url("nowhere")
    elif wrong == "user":
        url = url.replace("//meterline:", "//stranger:")
    else:
        monkeypatch.setattr("kernel.engine.raw.clickhouse_client.SERVER_VERSION_MIN", (99, 1))
    words = {"database": "CREATE DATABASE", "user": "does not let this user in", "version": "needs 99.1 or newer"}
    with pytest.raises(Misconfigured, match=words[wrong]) as caught:
        await ClickHouse.open(url)
    assert "METERLINE_RAW_URL" in str(caught.value)
    assert url.split(":")[2].split("@")[0] not in str(caught.value), "the password is nobody's to read"
