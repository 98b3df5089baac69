"""Taking a backup while the server runs: one state of SQL, and RAW at least up to what that state rests on.

Order: what the log holds now is folded and sunk first, so nothing acknowledged before the beginning is missing. Then,
while nobody may write SQL, SQL's snapshot is pinned and RAW's progress is read: below it stands no account change that
the snapshot does not know, and every event that one of its invoices rests on. Both are then written out at leisure.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Deployment
from catalog.store.deployment import load_deployment
from kernel.errors import Misconfigured, Unavailable
from kernel.period import instant_text
from meterline.backup.manifest import FORMAT, LaneCover, Manifest, TableFile, sync_folder, write_manifest
from meterline.backup.raw_file import Progress, dump_raw, read_progress
from meterline.backup.sql_file import dump_sql
from meterline.schema import head_revision

if TYPE_CHECKING:
    from meterline.app import App

# A lane that moves is waited for; one that stands this long is one to look at first.
_STAND_SECONDS: Final = 60
_LOOK_SECONDS: Final = 0.1
# While SQL is held, management calls wait; RAW's answer takes some milliseconds.
_PIN_SECONDS: Final = 2.0
# A busy machine may need longer once; between the tries the management calls that waited get through.
_PIN_TRIES: Final = 5
_PIN_PAUSE_SECONDS: Final = 1.0


async def take_backup(app: "App", folder: Path) -> Manifest:
    """Write a backup to `folder`, which is made, or empty.

    Raises Misconfigured for another folder; Unavailable when a store is away, or a lane is not folded and sunk.
    """
    _prepare(folder)
    asked = {lane: (await app.log.bounds(lane)).end for lane in range(app.log.lanes)}
    await _sunk(app, asked)
    async with AsyncExitStack() as stack:
        connection, deployment, progress = await _pinned(app, stack)
        sql = await dump_sql(connection, folder / "sql")
    raw = await dump_raw(app.raw, folder / "raw", progress)
    manifest = _manifest(app, deployment, asked, progress, sql, raw)
    for inner in ("sql", "raw"):
        sync_folder(folder / inner)
    write_manifest(folder, manifest)
    return manifest


def _prepare(folder: Path) -> None:
    """Make the folder, for the owner alone: it will hold hashes of keys and the secret of the digests."""
    if not folder.is_absolute() or not folder.parent.is_dir():
        raise Misconfigured(f"there is no folder {folder.parent}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if any(folder.iterdir()):
        raise Misconfigured(f"{folder} is not empty: a backup begins in an empty folder")
    for inner in ("sql", "raw"):
        (folder / inner).mkdir(mode=0o700)


async def _sunk(app: "App", asked: Mapping[int, int]) -> None:
    """Wait until RAW holds every lane up to `asked`."""
    best: list[int] = []
    moved_ms = app.clock.monotonic_ms()
    while True:
        at = (await read_progress(app.raw, app.log.epoch)).next
        behind = {lane: end - at.get(lane, 0) for lane, end in asked.items() if at.get(lane, 0) < end}
        if not behind:
            return
        if list(behind.values()) != best:
            best, moved_ms = list(behind.values()), app.clock.monotonic_ms()
        if app.clock.monotonic_ms() - moved_ms > _STAND_SECONDS * 1_000:
            raise Unavailable(f"these lanes are not folded and sunk to their end, records missing: {behind}")
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await app.flush()
        except TimeoutError:
            continue
        await asyncio.sleep(_LOOK_SECONDS)


async def _pinned(app: "App", stack: AsyncExitStack) -> tuple[AsyncConnection, Deployment, Progress]:
    """Pin a snapshot of SQL and RAW's progress at one moment in which nobody writes SQL."""
    for _ in range(_PIN_TRIES):
        try:
            async with asyncio.timeout(_PIN_SECONDS), app.sql.transaction() as writing, AsyncExitStack() as held:
                await load_deployment(writing)
                connection = await held.enter_async_context(app.sql.snapshot())
                deployment = await load_deployment(connection)
                assert deployment is not None, "the application is opened on one"
                progress = await read_progress(app.raw, deployment.epoch)
                stack.push_async_exit(held.pop_all())
                return connection, deployment, progress
        except TimeoutError:
            await asyncio.sleep(_PIN_PAUSE_SECONDS)
    raise Unavailable(f"SQL or RAW did not answer in {_PIN_SECONDS} s, {_PIN_TRIES} times")


def _manifest(
    app: "App",
    deployment: Deployment,
    asked: Mapping[int, int],
    progress: Progress,
    sql: Sequence[TableFile],
    raw: Sequence[TableFile],
) -> Manifest:
    now_ms = app.clock.now_ms()
    return Manifest(
        format=FORMAT,
        program=version("meterline"),
        made=instant_text(now_ms),
        made_ms=now_ms,
        schema=head_revision(),
        epoch=deployment.epoch,
        lanes=deployment.lanes,
        covered=tuple(LaneCover(lane=lane, asked=end, next=progress.next.get(lane, 0)) for lane, end in asked.items()),
        sql=tuple(sql),
        raw=tuple(raw),
    )
