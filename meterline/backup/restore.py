"""Restoring a backup into an empty deployment, which goes on in an epoch of its own.

The restored log is empty, and positions are never used twice, so the epoch is a new one; LIVE is made from RAW when the
deployment starts. Order: the files are checked, SQL says that a restore is under way (nothing else starts then), RAW is
filled, SQL is filled and says the new epoch in one transaction. Ended at any point, `restore` runs again.
"""

from pathlib import Path
from typing import Any, Final

from sqlalchemy.exc import DatabaseError

from aggregator.store import UsageStore
from catalog.store.deployment import UNFINISHED, begin_restore, finish_restore, load_deployment
from kernel.clock import Clock
from kernel.engine.opening import DataLock, open_live, open_log, open_raw, open_sql
from kernel.engine.sql.base import Sql
from kernel.errors import LogMissing, Misconfigured
from kernel.limits import EPOCH_MAX
from kernel.settings import Settings
from meterline.backup.manifest import Manifest, read_manifest
from meterline.backup.raw_file import is_empty, load_raw
from meterline.backup.row_file import check_file
from meterline.backup.sql_file import load_sql
from meterline.schema import current_revision, head_revision, migrate
from meterline.stores import key_subs

_EMPTY: Final = "restore into stores that are empty"


async def restore_backup(settings: Settings, clock: Clock, folder: Path, epoch: int | None) -> dict[str, Any]:
    """Restore; `epoch` is the one to go on in, at least the backup's next (None: that one).

    Raises Misconfigured for a folder that is no backup of this program's schema, or stores that are not empty; Fatal
    for a damaged backup; Unavailable and NotReachable.
    """
    manifest = read_manifest(folder)
    if manifest.schema != head_revision():
        raise Misconfigured(
            f"the backup is of schema {manifest.schema}, this program is at {head_revision()}: "
            f"restore with Meterline {manifest.program}, then upgrade"
        )
    for entry in (*manifest.sql, *manifest.raw):
        await check_file(folder, entry)
    lock = DataLock()
    if settings.embedded:
        lock.hold(settings.data_dir)
    try:
        return await _restore(settings, clock, folder, manifest, epoch)
    finally:
        if settings.embedded:
            lock.release()


async def _restore(
    settings: Settings, clock: Clock, folder: Path, manifest: Manifest, epoch: int | None
) -> dict[str, Any]:
    sql = await open_sql(settings)
    try:
        raw = await open_raw(settings)
        try:
            again = await _may_begin(sql)
            await UsageStore(raw).create()
            if not again and not await is_empty(raw):
                raise Misconfigured(f"RAW holds rows already: {_EMPTY}")
            new = await _new_epoch(settings, clock, manifest, epoch)
            await migrate(sql)
            async with sql.transaction() as connection:
                await begin_restore(connection)
            await load_raw(raw, folder, manifest.raw)
            async with sql.transaction() as connection:
                await load_sql(connection, folder, manifest.sql)
                await finish_restore(connection, new)
        finally:
            await raw.close()
    finally:
        await sql.close()
    return {
        "made": manifest.made,
        "epoch": new,
        "lanes": manifest.lanes,
        "sqlRows": sum(entry.rows for entry in manifest.sql),
        "rawRows": sum(entry.rows for entry in manifest.raw),
    }


async def _may_begin(sql: Sql) -> bool:
    """Tell whether a restore that did not end left this; raises Misconfigured when there is a deployment."""
    if await current_revision(sql) is None:
        return False
    try:
        async with sql.snapshot() as connection:
            found = await load_deployment(connection)
    except DatabaseError as error:
        raise Misconfigured(f"SQL holds a schema of something else ({error.orig}): {_EMPTY}") from error
    if found is not None and found.epoch != UNFINISHED:
        raise Misconfigured(f"SQL holds a deployment already, at epoch {found.epoch}: {_EMPTY}")
    return found is not None


async def _new_epoch(settings: Settings, clock: Clock, manifest: Manifest, wanted: int | None) -> int:
    """Choose an epoch that the log never had, and see that LIVE is empty."""
    lowest = manifest.epoch + 1
    if wanted is not None and wanted < lowest:
        raise Misconfigured(
            f"--epoch is {wanted}: the backup is of epoch {manifest.epoch}, so set it to {lowest} or more"
        )
    live = await open_live(settings, clock, lanes=manifest.lanes, subs=key_subs(settings))
    try:
        for lane in range(manifest.lanes):
            if (await live.view(lane, ())).header is not None:
                raise Misconfigured(f"LIVE holds lane {lane} already: {_EMPTY}; LIVE is made again from RAW")
    finally:
        await live.close()
    for epoch in range(wanted or lowest, EPOCH_MAX + 1):
        if not await _has_log(settings, clock, epoch, manifest.lanes):
            return epoch
    raise Misconfigured(f"the log holds every epoch up to {EPOCH_MAX}: {_EMPTY}")


async def _has_log(settings: Settings, clock: Clock, epoch: int, lanes: int) -> bool:
    log = await open_log(settings, epoch=epoch, lanes=lanes, clock=clock)
    try:
        await log.bounds(0)
    except LogMissing:
        return False
    else:
        return True
    finally:
        await log.close()
