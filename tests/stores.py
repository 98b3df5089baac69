"""The SQL stores under tests of the domain's own SQL: an empty one of each product."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from kernel.engine.sql.base import Sql
from kernel.engine.sql.postgres import Postgres
from kernel.engine.sql.sqlite import Sqlite
from meterline.schema import metadata

PRODUCTS = ("sqlite", "postgresql")
SOAK = os.environ.get("METERLINE_SOAK") == "1"


@pytest.fixture(params=PRODUCTS if SOAK else PRODUCTS[:1])
async def sql_at_full_count(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sql]:
    """As `sql`, but PostgreSQL in the soak alone: for long stories, which run on it through a deployment as well."""
    async with _opened(request, tmp_path) as store:
        yield store


@pytest.fixture(params=PRODUCTS)
async def sql(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sql]:
    """An empty SQL store, once of each product."""
    async with _opened(request, tmp_path) as store:
        yield store


class Tables:
    """An empty store of each product with all tables, made when a test first asks for it.

    SQLite's is copied for each test. PostgreSQL's is one database, whose rows each test finds deleted: to make one
    takes half a second.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tables.sqlite"
        self.url: str | None = None

    async def sqlite(self, path: Path) -> Sqlite:
        if not self.file.exists():
            store = await Sqlite.open(f"sqlite:///{self.file}")
            await _create_all(store)
            await store.close()
        shutil.copyfile(self.file, path)
        return await Sqlite.open(f"sqlite:///{path}")

    async def postgresql(self, request: pytest.FixtureRequest) -> Postgres:
        if self.url is None:
            self.url = request.getfixturevalue("postgres").create_database("tables")
            store = await Postgres.open(self.url)
            await _create_all(store)
            return store
        connection = await asyncpg.connect(self.url)
        await connection.execute(";".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)))
        await connection.close()
        return await Postgres.open(self.url)


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """What `sql_with_tables` copies."""
    return Tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(params=PRODUCTS)
async def sql_with_tables(request: pytest.FixtureRequest, tmp_path: Path, tables: Tables) -> AsyncIterator[Sql]:
    """A SQL store with all tables and no row, once of each product."""
    store: Sql = await (
        tables.sqlite(tmp_path / "test.sqlite") if request.param == "sqlite" else tables.postgresql(request)
    )
    yield store
    await store.close()


async def _create_all(store: Sql) -> None:
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)


@asynccontextmanager
async def _opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sql]:
    if request.param == "sqlite":
        store: Sql = await Sqlite.open(f"sqlite:///{tmp_path / 'test.sqlite'}")
    else:
        store = await Postgres.open(request.getfixturevalue("postgres").create_database("store"))
    yield store
    await store.close()
