"""The four stores of a deployment: opened by the settings, made where that is wanted, and checked to be one deployment.

Invariants: the embedded engine makes what is missing by itself and is open in one process only; on the distributed
engine `migrate` makes it, and everybody else refuses to start before. Source: DESIGN 3.2, 7; ADR 5.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from sqlalchemy.exc import DatabaseError

from aggregator.fold import RULES
from aggregator.store import UsageStore
from catalog.definition import Deployment
from catalog.store.deployment import UNFINISHED, ensure_deployment, load_deployment
from kernel.clock import Clock
from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.engine.opening import DataLock, open_live, open_log, open_raw, open_sql
from kernel.engine.raw.base import Raw
from kernel.engine.sql.base import Sql
from kernel.errors import Fatal, Misconfigured, NotReachable
from kernel.limits import KEY_SUBS_DISTRIBUTED, KEY_SUBS_EMBEDDED
from kernel.settings import Settings
from meterline.schema import current_revision, head_revision, migrate

_FIRST = "run `meterline migrate` first"


class OlderRules(NotReachable):
    """The deployment's epoch is folded by older rules than this program's; nothing was opened."""


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """The opened ports, and the deployment that they belong to."""

    sql: Sql
    raw: Raw
    live: Live
    log: Log
    usage_store: UsageStore
    deployment: Deployment


@asynccontextmanager
async def opened_stores(settings: Settings, clock: Clock, *, make: bool, ending: bool = False) -> AsyncIterator[Stores]:
    """Open everything; `make` makes or updates tables and lanes, else they have to be there.

    `ending` is for who ends the epoch: then it may be sealed already, and of older rules than this program's.
    Raises Misconfigured for a setting that is wrong; OlderRules; NotReachable when another process holds the data
    folder, or for a deployment that was not made, or is between two epochs; Unavailable for a store that is away.
    """
    async with AsyncExitStack() as stack:
        if settings.embedded:
            lock = DataLock()
            lock.hold(settings.data_dir)
            stack.callback(lock.release)
        sql = await open_sql(settings)
        stack.push_async_callback(sql.close)
        deployment = await (_made(settings, sql) if make else _found(sql))
        if deployment.epoch == UNFINISHED:
            raise NotReachable("a restore into these stores did not end: run `meterline restore` again")
        if settings.lanes not in (0, deployment.lanes):
            raise Misconfigured(
                f"METERLINE_LANES is {settings.lanes} and the deployment has {deployment.lanes}: they change by"
                f" `meterline epoch --lanes {settings.lanes}`; until then set it to {deployment.lanes} or leave it out"
            )
        _check_rules(deployment, ending=ending)
        raw = await open_raw(settings)
        stack.push_async_callback(raw.close)
        live = await open_live(settings, clock, lanes=deployment.lanes, subs=key_subs(settings))
        stack.push_async_callback(live.close)
        log = await open_log(settings, epoch=deployment.epoch, lanes=deployment.lanes, clock=clock)
        stack.push_async_callback(log.close)
        store = UsageStore(raw)
        if make:
            await store.create()
            await log.create()
        else:
            await _check(log, store)
        if not ending and await log.sealed():
            raise NotReachable("a change of the epoch did not end: run `meterline epoch` again, as it was run before")
        yield Stores(sql=sql, raw=raw, live=live, log=log, usage_store=store, deployment=deployment)


def key_subs(settings: Settings) -> int:
    """Tell how many hashes LIVE splits a generation of keys into."""
    return KEY_SUBS_EMBEDDED if settings.embedded else KEY_SUBS_DISTRIBUTED


async def _made(settings: Settings, sql: Sql) -> Deployment:
    await migrate(sql)
    async with sql.transaction() as connection:
        return await ensure_deployment(connection, settings.lanes_made, RULES)


def _check_rules(deployment: Deployment, *, ending: bool) -> None:
    told = f"epoch {deployment.epoch} is folded by rules {deployment.rules}, this program has {RULES}"
    if deployment.rules > RULES:
        raise NotReachable(f"{told}: it is an older Meterline, start the newer one")
    if deployment.rules < RULES and not ending:
        raise OlderRules(f"{told}: other rules begin with a new epoch; stop every process and run `meterline epoch`")


async def _found(sql: Sql) -> Deployment:
    revision, newest = await current_revision(sql), head_revision()
    if revision != newest:
        raise NotReachable(f"the SQL database is at schema {revision}, this program needs {newest}: {_FIRST}")
    try:
        async with sql.snapshot() as connection:
            found = await load_deployment(connection)
    except DatabaseError as error:
        raise NotReachable(f"the SQL database has no deployment ({error.orig}): {_FIRST}") from error
    if found is None:
        raise NotReachable(f"the SQL database has no deployment: {_FIRST}")
    return found


async def _check(log: Log, store: UsageStore) -> None:
    try:
        for lane in range(log.lanes):
            await log.bounds(lane)
        await store.progress(log.epoch)
    except Fatal as error:
        raise NotReachable(f"{error}: {_FIRST}") from error
