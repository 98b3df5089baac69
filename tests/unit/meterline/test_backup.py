"""Backups as files: what is written comes back the same, whatever store it came from or goes to; damage is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, insert, select

from aggregator.store import UsageStore
from catalog.store.deployment import UNFINISHED, begin_restore, ensure_deployment, finish_restore, load_deployment
from catalog.store.organization import create_organization
from catalog.tables import customers, deployment
from kernel.engine.raw.base import Raw
from kernel.engine.sql.base import Sql
from kernel.engine.sql.postgres import Postgres
from kernel.engine.sql.sqlite import Sqlite
from kernel.errors import Fatal, Misconfigured
from meterline.backup import raw_file, row_file
from meterline.backup.manifest import FORMAT, LaneCover, Manifest, TableFile, read_manifest, write_manifest
from meterline.backup.raw_file import TABLES, Progress, dump_raw, is_empty, load_raw, read_progress
from meterline.backup.row_file import check_file, read_rows, write_rows
from meterline.backup.sql_file import dump_sql, load_sql
from meterline.schema import metadata, migrate
from meterline.stack.postgres import PostgresServer
from tests.raw_adapter import RAWS, RawOpener

ODD = 'it\'s\n\t\\ "{x:Int8}" ünï 😀'
EPOCH = 2


async def pages(*given: list[Any]) -> AsyncIterator[list[Any]]:
    for page in given:
        yield page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("sql", "raw"):
        (tmp_path / "kept" / name).mkdir(parents=True)
    return tmp_path / "kept"


# --- files and the manifest


async def test_rows_come_back_as_they_were(folder: Path) -> None:
    rows = [[1, ODD, None, True, [["a", "1"]], {"x": 1.5}], [2**64 - 1, "", -(2**63), False, [], {}]]
    entry = await write_rows(folder / "raw", "facts", ["a"], pages(rows[:1], [], rows[1:]))
    assert (entry.rows, entry.file, entry.table) == (2, "raw/facts.jsonl.gz", "facts")
    await check_file(folder, entry)
    assert [page async for page in read_rows(folder, entry, 1)] == [rows[:1], rows[1:]]


@pytest.mark.parametrize("harm", ["bit", "end", "gone"])
async def test_a_damaged_file_is_told(folder: Path, harm: str) -> None:
    entry = await write_rows(folder / "raw", "facts", ["a"], pages([[n] for n in range(1_000)]))
    path = folder / entry.file
    data = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data if harm == "bit" else data[:-1])
    with pytest.raises(Fatal, match="damaged"):
        await check_file(folder, entry)


def manifest(**changes: Any) -> Manifest:
    file = TableFile(file="sql/x.jsonl.gz", table="x", columns=("a",), rows=1, bytes=2, digest="00")
    values = {
        "format": FORMAT,
        "program": "0",
        "made": "",
        "made_ms": 0,
        "schema": "1",
        "epoch": EPOCH,
        "lanes": 4,
        "covered": (LaneCover(lane=0, asked=1, next=2),),
        "sql": (file,),
        "raw": (),
    }
    return Manifest(**{**values, **changes})


def test_a_manifest_comes_back_as_it_was(folder: Path) -> None:
    write_manifest(folder, manifest())
    assert read_manifest(folder) == manifest()


def test_a_folder_without_a_manifest_is_no_backup(folder: Path) -> None:
    write_manifest(folder, manifest())
    (folder / "manifest.json").rename(folder / "manifest.json.part")
    with pytest.raises(Misconfigured, match="did not end"):
        read_manifest(folder)


def test_another_format_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(msgspec.json.encode({"format": FORMAT + 1, "whatever": 1}))
    with pytest.raises(Misconfigured, match=f"format {FORMAT + 1}"):
        read_manifest(folder)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1}', "[]"])
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(Misconfigured):
        read_manifest(folder)


# --- SQL

SqlOpener = Callable[[str], Any]


@asynccontextmanager
async def an_sql(kind: str, name: str, tmp_path: Path, server: PostgresServer) -> AsyncIterator[Sql]:
    if kind == "sqlite":
        sql: Sql = await Sqlite.open(f"sqlite:///{tmp_path / name}.sqlite")
    else:
        database = f"backup_{name}_{tmp_path.name}".lower().replace("-", "_")[:60]
        server.create_database(database)
        sql = await Postgres.open(server.url(database))
    try:
        await migrate(sql)
        yield sql
    finally:
        await sql.close()


async def everything(sql: Sql) -> dict[str, list[tuple[Any, ...]]]:
    async with sql.snapshot() as connection:
        return {
            table.name: [tuple(row) for row in await connection.execute(select(table).order_by(*table.primary_key))]
            for table in metadata.sorted_tables
        }


async def filled(sql: Sql) -> None:
    async with sql.transaction() as connection:
        await ensure_deployment(connection, 4)
        for number in range(2):
            made = await create_organization(connection, f"org {number} {ODD}", "sandbox", 1_750_000_000_000)
            for who in range(3):
                row = {
                    "id": f"cus_{number}{who}",
                    "organization_id": made.id_text,
                    "external_id": None if who == 0 else ODD,
                    "email": "a@example.com",
                    "metadata": None if who == 1 else {"float": 0.1, "list": [1, None, ODD]},
                    "address": None,
                    "profile": {},
                    "archived": who == 2,
                    "version": 2**40,
                    "created_ms": 1,
                    "updated_ms": 2,
                }
                await connection.execute(insert(customers).values(**{**row, "external_id": f"{who}" if who else None}))


@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
async def test_sql_comes_back_on_every_database(
    source: str, target: str, folder: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    async with an_sql(source, "source", tmp_path, postgres) as sql:
        await filled(sql)
        before = await everything(sql)
        async with sql.snapshot() as connection:
            entries = await dump_sql(connection, folder / "sql")
    assert {entry.table: entry.rows for entry in entries} == {name: len(rows) for name, rows in before.items()}
    async with an_sql(target, "target", tmp_path, postgres) as sql:
        async with sql.transaction() as connection:
            await begin_restore(connection)
        async with sql.snapshot() as connection:
            found = await load_deployment(connection)
        assert found is not None
        assert found.epoch == UNFINISHED
        async with sql.transaction() as connection:
            await load_sql(connection, folder, entries)
        assert await everything(sql) == before
        async with sql.transaction() as connection:
            await finish_restore(connection, 9)
            assert [(row.epoch, row.lanes) for row in await connection.execute(select(deployment))] == [(9, 4)]


async def test_sql_that_does_not_add_up_is_not_taken(folder: Path, tmp_path: Path) -> None:
    sql = await Sqlite.open(f"sqlite:///{tmp_path / 'one'}.sqlite")
    await migrate(sql)
    await filled(sql)
    async with sql.snapshot() as connection:
        entries = await dump_sql(connection, folder / "sql")
    before = await everything(sql)
    more = [msgspec.structs.replace(one, rows=one.rows + (one.table == "customers")) for one in entries]
    for wrong, word in ((more, "customers holds 6 rows"), (entries[1:], "not those of this program")):
        with pytest.raises(Fatal, match=word):
            async with sql.transaction() as connection:
                await load_sql(connection, folder, wrong)
        assert await everything(sql) == before
    async with sql.transaction() as connection:
        await connection.execute(delete(customers))
    await sql.close()


# --- RAW


@pytest.fixture(params=[adapter for _, adapter in RAWS], ids=[f"to-{name}" for name, _ in RAWS])
def other_raw(request: pytest.FixtureRequest) -> RawOpener:
    opener: RawOpener = request.param(request)
    return opener


@asynccontextmanager
async def a_raw(opener: RawOpener, folder: Path) -> AsyncIterator[Raw]:
    raw = await opener(folder)
    try:
        await UsageStore(raw).create()
        yield raw
    finally:
        await raw.close()


# Twelve columns that matter to the order and the types; the others keep their defaults.
EVENT = (
    "organization",
    "customer",
    "feature",
    "event_time",
    "epoch",
    "lane",
    "offset",
    "index",
    "quantity",
    "clock_ms",
)
MORE = ("key", "properties", "has_timestamp", "window")
SOME = "SELECT toString(tuple(*)) FROM {} FINAL ORDER BY 1"


def event_row(number: int, epoch: int, lane: int, offset: int) -> tuple[Any, ...]:
    time_us = 1_700_000_000_000_000 + number % 5 * 40 * 86_400_000_000 + number % 3
    place = (f"org_{number % 2}", f"cus_{number % 7}", f"f{number % 2}", time_us, epoch, lane, offset, number % 4)
    clock_ms = None if number % 2 else -number
    return (*place, f"{number}.000000001", clock_ms, ODD, [("a", ODD), ("a", "2")], number % 2 == 0, number)


async def fill_raw(raw: Raw, count: int) -> None:
    rows = [event_row(n, 1, n % 3, n) for n in range(count)] + [event_row(n, EPOCH, n % 3, n) for n in range(count)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    for _ in range(2):  # what was inserted twice is one row
        await raw.insert("events", (*EVENT, *MORE), columns)
    records = (
        [1, EPOCH, EPOCH],
        [0, 0, 1],
        [5, 5, 60],
        [0, 0, 0],
        ["o"] * 3,
        ["c"] * 3,
        [1, 2, 2**63],
        [0, 1, 2],
        ["ab"] * 3,
    )
    names = ("epoch", "lane", "offset", "time", "organization", "customer", "rev", "cut", "snapshot")
    await raw.insert("account_records", names, records)
    refusal = ("organization", "at", "id", "customer", "feature", "quantity", "key", "code", "message", "body")
    await raw.insert(
        "refusals", refusal, [[value] for value in ("o", 1_700_000_000_001, "rej_1", ODD, "", "x", "", "c", "m", "{")]
    )
    store = UsageStore(raw)
    await store.write_progress(1, {0: (count, 7), 1: (count, 8)})
    await store.write_progress(EPOCH, {0: (10, 1), 1: (20, 2)})
    await store.write_progress(EPOCH, {0: (30, 3)})


def below(number: int) -> bool:
    return number < {0: 30, 1: 20, 2: 0}[number % 3]


async def test_raw_comes_back_below_its_progress_on_every_adapter(
    raw_opener: RawOpener, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_raw: RawOpener
) -> None:
    for module in (raw_file, row_file):
        monkeypatch.setattr(module, "PAGE_ROWS", 7)
    monkeypatch.setattr(raw_file, "_INSERT_ROWS", 9)
    async with a_raw(raw_opener, tmp_path / "source") as raw:
        assert await is_empty(raw)
        await fill_raw(raw, 90)
        assert not await is_empty(raw)
        progress = await read_progress(raw, EPOCH)
        assert progress.next == {0: 30, 1: 20}
        await UsageStore(raw).write_progress(EPOCH, {0: (80, 9)})  # what comes after the moment is left out
        entries = await dump_raw(raw, folder / "raw", progress)
        before = {table: await raw.query(SOME.format(table)) for table in TABLES}
    kept = sum(below(number) for number in range(90))
    assert {entry.table: entry.rows for entry in entries} == {
        "events": 90 + kept,
        "account_records": 2,
        "carried_customers": 0,
        "progress": 4,
        "refusals": 1,
    }
    async with a_raw(other_raw, tmp_path / "target") as raw:
        await load_raw(raw, folder, entries)
        await load_raw(raw, folder, entries)  # a second time from the beginning
        after = {table: await raw.query(SOME.format(table)) for table in TABLES}
        assert await read_progress(raw, EPOCH) == progress
    assert [set(after[name]) <= set(before[name]) for name in ("events", "account_records", "refusals")] == [True] * 3
    assert len(after["events"]) == 90 + kept


async def test_a_customer_of_many_pages_and_an_empty_store(
    raw_opener: RawOpener, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_file, "PAGE_ROWS", 5)
    async with a_raw(raw_opener, tmp_path / "many") as raw:
        for table in TABLES:
            await raw.command(f"TRUNCATE TABLE {table}")
        empty = await dump_raw(raw, folder / "sql", await read_progress(raw, 1))
        assert [entry.rows for entry in empty] == [0] * len(TABLES)
        rows = [("o", "c", "f", 1_700_000_000_000_000, 1, 0, n // 3, n % 3, "1", None) for n in range(33)]
        await raw.insert("events", EVENT, [list(column) for column in zip(*rows, strict=True)])
        entries = await dump_raw(raw, folder / "raw", Progress(epoch=1, rows=[], next={0: 10}))
        found = [row async for page in read_rows(folder, entries[0]) for row in page]
    assert [row[6:8] for row in found] == [[n // 3, n % 3] for n in range(30)]


async def test_raw_that_does_not_add_up_is_not_taken(raw_opener: RawOpener, folder: Path, tmp_path: Path) -> None:
    async with a_raw(raw_opener, tmp_path / "sum") as raw:
        entries = await dump_raw(raw, folder / "raw", await read_progress(raw, 1))
        wrong = [msgspec.structs.replace(one, rows=one.rows + (one.table == "refusals")) for one in entries]
        with pytest.raises(Fatal, match="refusals holds 0 rows, the backup 1"):
            await load_raw(raw, folder, wrong)
        with pytest.raises(Fatal, match="not those of this program"):
            await load_raw(raw, folder, entries[1:])
