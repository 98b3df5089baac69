"""SIGKILL in the middle of a backup or of a restore: half a backup is none, half a restore is told and runs again."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.clock import SystemClock
from kernel.errors import Misconfigured, NotReachable
from kernel.settings import Settings
from meterline.app import opened
from meterline.backup.restore import restore_backup
from meterline.operation import OPERATIONS
from meterline.role import Role
from meterline.stores import opened_stores

ROOT = Path(__file__).parents[3]
# The step named first runs, all of it or only to begin with, and then the process is gone.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from kernel.clock import SystemClock
from kernel.settings import Settings
from meterline.app import opened
from meterline.backup import restore, take
from meterline.operation import OPERATIONS
from meterline.role import Role

command, step, when, data, kept = sys.argv[1:]
module = take if command == "backup" else restore
inner = getattr(module, step)

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

async def half(raw, *given):
    insert = type(raw).insert

    async def first(*values):
        await insert(*values)
        die()

    type(raw).insert = first
    await inner(raw, *given)

async def whole(*given):
    await inner(*given)
    die()

setattr(module, step, {"before": die, "after": whole, "half": half}[when])
settings = Settings(data_dir=Path(data), log_url="memory://", live_url="memory://", lanes=2, log_level="error")

async def backup():
    async with opened(settings, Role.OPERATOR) as app:
        await OPERATIONS["backup"](app, {"folder": kept})

asyncio.run(backup() if command == "backup" else restore.restore_backup(settings, SystemClock(), Path(kept), None))
"""


def killed(command: str, step: str, when: str, data: Path, kept: Path) -> None:
    """Run a command in a process of its own, which dies at that step."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, command, step, when, str(data), str(kept)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def settings(folder: Path) -> Settings:
    return Settings(data_dir=folder, log_url="memory://", live_url="memory://", lanes=2, log_level="error")


async def organizations(folder: Path) -> set[str]:
    async with opened(settings(folder), Role.OPERATOR) as app:
        return {one["name"] for one in (await OPERATIONS["org_list"](app, {}))["organizations"]}


@pytest.fixture
async def first(tmp_path: Path) -> Path:
    """The data folder of a deployment with an organization, closed."""
    async with opened(settings(tmp_path / "first"), Role.OPERATOR) as app:
        await OPERATIONS["org_create"](app, {"name": "one", "environment": "sandbox", "currency": "usd"})
        await app.usage_store.write_progress(1, {0: (0, 0)})
    return tmp_path / "first"


async def back_up(data: Path, kept: Path) -> None:
    async with opened(settings(data), Role.OPERATOR) as app:
        await OPERATIONS["backup"](app, {"folder": str(kept)})


@pytest.mark.parametrize(("step", "when"), [("dump_sql", "after"), ("dump_raw", "after"), ("write_manifest", "before")])
async def test_half_a_backup_is_refused_and_the_next_one_is_whole(
    first: Path, tmp_path: Path, step: str, when: str
) -> None:
    half, kept, second = tmp_path / "half", tmp_path / "kept", tmp_path / "second"
    await asyncio.to_thread(killed, "backup", step, when, first, half)
    assert any((half / "sql").iterdir())
    with pytest.raises(Misconfigured, match="did not end"):
        await restore_backup(settings(second), SystemClock(), half, None)
    assert not second.exists()
    with pytest.raises(Misconfigured, match="not empty"):
        await back_up(first, half)
    await back_up(first, kept)
    await restore_backup(settings(second), SystemClock(), kept, None)
    assert await organizations(second) == {"one"}


@pytest.mark.parametrize(
    ("step", "when"),
    [("begin_restore", "before"), ("load_raw", "half"), ("load_sql", "after"), ("finish_restore", "after")],
)
async def test_half_a_restore_is_told_and_runs_again(first: Path, tmp_path: Path, step: str, when: str) -> None:
    kept, second = tmp_path / "kept", tmp_path / "second"
    await back_up(first, kept)
    await asyncio.to_thread(killed, "restore", step, when, second, kept)
    if step != "begin_restore":  # before it, the stores are empty
        for make in (True, False):
            with pytest.raises(NotReachable, match="run `meterline restore` again"):
                async with opened_stores(settings(second), SystemClock(), make=make):
                    pass
    done = await restore_backup(settings(second), SystemClock(), kept, None)
    assert done["epoch"] == 2
    assert await organizations(second) == {"one"}
