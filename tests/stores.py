"""The SQL stores under tests of the domain's own SQL: an empty one of each product."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel.engine.sql.base import Sql
from kernel.engine.sql.postgres import Postgres
from kernel.engine.sql.sqlite import Sqlite

PRODUCTS = ("sqlite", "postgresql")


@pytest.fixture(params=PRODUCTS)
async def sql(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sql]:
    """An empty SQL store, once of each product."""
    if request.param == "sqlite":
        store: Sql = await Sqlite.open(f"sqlite:///{tmp_path / 'test.sqlite'}")
    else:
        store = await Postgres.open(request.getfixturevalue("postgres").create_database("store"))
    yield store
    await store.close()
