"""The SQL stores under tests of the domain's own SQL: an empty one of each product."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kernel.engine.sql.base import Sql
from kernel.engine.sql.postgres import Postgres
from kernel.engine.sql.sqlite import Sqlite

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


@asynccontextmanager
async def _opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sql]:
    if request.param == "sqlite":
        store: Sql = await Sqlite.open(f"sqlite:///{tmp_path / 'test.sqlite'}")
    else:
        store = await Postgres.open(request.getfixturevalue("postgres").create_database("store"))
    yield store
    await store.close()
