"""The adapters of the raw port, for every test that opens RAW: one line an adapter.

`tests/conftest.py` hands `raw_opener` to all tests. What a test opens is empty at first; the same folder means the
same data.
"""

import functools
import shutil
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from aggregator.store import UsageStore
from kernel.engine.raw.base import Raw
from kernel.engine.raw.clickhouse import ClickHouse
from meterline.stack.clickhouse import ClickHouseServer

RawOpener = Callable[[Path], Awaitable[Raw]]


def chdb(_request: pytest.FixtureRequest) -> RawOpener:
    async def opened(folder: Path) -> Raw:
        return await ClickHouse.open(f"chdb://{folder / 'raw'}")

    return opened


def database_url(server: ClickHouseServer, folder: Path) -> str:
    """Make the folder's database on the server; returns its URL."""
    name = f"t{blake2b(str(folder).encode(), digest_size=8).hexdigest()}"
    server.run(f"CREATE DATABASE IF NOT EXISTS {name}")
    return server.url(name)


def clickhouse(request: pytest.FixtureRequest) -> RawOpener:
    server: ClickHouseServer = request.getfixturevalue("clickhouse_server")

    async def opened(folder: Path) -> Raw:
        return await ClickHouse.open(database_url(server, folder))

    return opened


RAWS: list[tuple[str, Callable[[pytest.FixtureRequest], RawOpener]]] = [("chdb", chdb), ("clickhouse", clickhouse)]


@pytest.fixture(scope="module", params=[adapter for _, adapter in RAWS], ids=[name for name, _ in RAWS])
def raw_opener(request: pytest.FixtureRequest) -> RawOpener:
    """Open RAW at a folder, on each adapter in turn."""
    opener: RawOpener = request.param(request)
    return opener


@functools.cache
def _made() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="meterline-raw-")


async def opened_with_tables(path: Path) -> ClickHouse:
    """Open chDB at a new folder in which the tables are: a copy, because to make them takes longer than to open it."""
    first = Path(_made().name) / "raw"
    if not first.exists():
        raw = await ClickHouse.open(f"chdb://{first}")
        await UsageStore(raw).create()
        await raw.close()
    shutil.copytree(first, path, symlinks=True)
    return await ClickHouse.open(f"chdb://{path}")
