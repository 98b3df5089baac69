"""Restoring: into empty stores alone, in a new epoch, and recognisable until it has ended."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from aggregator.store import UsageStore
from kernel.clock import SystemClock
from kernel.engine.opening import open_raw, open_sql
from kernel.errors import Fatal, Misconfigured, NotReachable
from kernel.settings import Settings
from meterline.app import opened
from meterline.backup import restore as restoring
from meterline.backup.manifest import read_manifest, write_manifest
from meterline.backup.restore import restore_backup
from meterline.operation import OPERATIONS
from meterline.role import Role
from meterline.stores import opened_stores


def settings(folder: Path) -> Settings:
    return Settings(data_dir=folder, log_url="memory://", live_url="memory://", lanes=2, log_level="error")


@pytest.fixture
async def kept(tmp_path: Path) -> Path:
    """A backup of a deployment with two organizations."""
    async with opened(settings(tmp_path / "first"), Role.OPERATOR) as app:
        for name in ("one", "two"):
            params = {"name": name, "environment": "sandbox", "currency": "usd"}
            await OPERATIONS["org_create"](app, params)
        made = await OPERATIONS["backup"](app, {"folder": str(tmp_path / "kept")})
    assert (made["epoch"], made["lanes"]) == (1, 2)
    return tmp_path / "kept"


async def restored(folder: Path, into: Path, epoch: int | None = None) -> dict[str, Any]:
    return await restore_backup(settings(into), SystemClock(), folder, epoch)


async def organizations(folder: Path) -> tuple[int, set[str]]:
    async with opened(settings(folder), Role.OPERATOR) as app:
        found = await OPERATIONS["org_list"](app, {})
        return app.log.epoch, {one["name"] for one in found["organizations"]}


async def test_a_restored_deployment_goes_on_in_the_next_epoch(kept: Path, tmp_path: Path) -> None:
    assert (await restored(kept, tmp_path / "second"))["epoch"] == 2
    assert await organizations(tmp_path / "second") == (2, {"one", "two"})


async def test_the_epoch_may_be_a_later_one_and_no_earlier_one(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="set it to 2 or more"):
        await restored(kept, tmp_path / "second", epoch=1)
    assert (await restored(kept, tmp_path / "second", epoch=7))["epoch"] == 7
    assert (await organizations(tmp_path / "second"))[0] == 7


async def test_an_epoch_that_the_log_has_is_not_used(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def has_log(_settings: Settings, _clock: object, epoch: int, _lanes: int) -> bool:
        return epoch < 5

    monkeypatch.setattr(restoring, "_has_log", has_log)
    assert (await restored(kept, tmp_path / "second"))["epoch"] == 5


@pytest.mark.parametrize("what", ["sql", "raw"])
async def test_stores_that_hold_something_are_left_alone(kept: Path, tmp_path: Path, what: str) -> None:
    second = settings(tmp_path / "second")
    if what == "sql":
        await organizations(second.data_dir)
    else:
        raw = await open_raw(second)
        await UsageStore(raw).create()
        await UsageStore(raw).write_progress(1, {0: (5, 5)})
        await raw.close()
    with pytest.raises(Misconfigured, match="empty"):
        await restored(kept, tmp_path / "second")


async def test_a_restore_that_did_not_end_is_told_and_runs_again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise Fatal("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "load_sql", broken)
        with pytest.raises(Fatal, match="disk is full"):
            await restored(kept, tmp_path / "second")
    for make in (True, False):
        with pytest.raises(NotReachable, match="meterline restore"):
            async with opened_stores(settings(tmp_path / "second"), SystemClock(), make=make):
                pass
    assert (await restored(kept, tmp_path / "second"))["epoch"] == 2
    assert await organizations(tmp_path / "second") == (2, {"one", "two"})


async def test_a_backup_of_another_schema_is_refused(kept: Path, tmp_path: Path) -> None:
    write_manifest(kept, msgspec.structs.replace(read_manifest(kept), schema="9999", program="7.7"))
    with pytest.raises(Misconfigured, match=r"restore with Meterline 7\.7"):
        await restored(kept, tmp_path / "second")


async def test_a_damaged_backup_touches_nothing(kept: Path, tmp_path: Path) -> None:
    path = kept / read_manifest(kept).sql[0].file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Fatal, match="damaged"):
        await restored(kept, tmp_path / "second")
    assert not (tmp_path / "second").exists()


async def test_a_backup_begins_in_an_empty_folder_of_its_own(kept: Path, tmp_path: Path) -> None:
    assert kept.stat().st_mode & 0o777 == 0o700
    async with opened(settings(tmp_path / "first"), Role.OPERATOR) as app:
        for folder, word in (
            (kept, "not empty"),
            (tmp_path / "no" / "folder", "no folder"),
            (Path("kept"), "no folder"),
        ):
            with pytest.raises(Misconfigured, match=word):
                await OPERATIONS["backup"](app, {"folder": str(folder)})


async def test_the_secret_of_the_digests_comes_back(kept: Path, tmp_path: Path) -> None:
    await restored(kept, tmp_path / "second")
    secrets = []
    for name in ("first", "second"):
        sql = await open_sql(settings(tmp_path / name))
        async with sql.snapshot() as connection:
            secrets.append((await connection.execute(text("SELECT secret FROM deployment"))).scalar_one())
        await sql.close()
    assert secrets[0] == secrets[1] != b""
