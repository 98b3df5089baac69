"""A new epoch of the log: another number of lanes, or other rules of folding, and nothing that counted is lost.

Order: nobody else is there; every lane is folded and sunk to the log's end, by the epoch's own rules; the log is sealed
and its last records folded and sunk; one SQL transaction names the new epoch; its lanes are made, and LIVE from RAW.
Whoever was overlooked has its appends refused by the seal, so that what it answers is unknown. Before the seal nothing
has changed; after it servers do not start until this has run again; after the transaction everything that is missing is
made by whoever starts next: the embedded server, or `migrate` and the roles.
Source: DESIGN 3.2, 3.5.4, 3.9; ADR 8.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aggregator.fold import RULES
from catalog.definition import Deployment
from catalog.store.deployment import begin_epoch, load_deployment
from kernel import ids
from kernel.engine.live.base import READY
from kernel.errors import Fatal, Misconfigured, NotReachable, Unavailable
from kernel.limits import APPEND_WAIT_MS, EPOCH_MAX
from kernel.settings import LANES_MAX, Settings
from kernel.telemetry import logger
from meterline.role import COMMANDS_LOG, Role
from meterline.stores import OlderRules

if TYPE_CHECKING:
    from meterline.app import App

_log = logger("epoch")
_PATIENCE_MS: Final = 600_000  # a lane's whole backlog, or a rebuild of many customers
_LOOK_S: Final = 0.05


@asynccontextmanager
async def opened_by_own_rules(settings: Settings, role: Role) -> AsyncIterator["App"]:
    """Open as `meterline.app.opened` does; on the embedded engine newer rules of this program begin a new epoch first.

    Raises as `opened` and `change_epoch`.
    """
    from meterline.app import opened  # noqa: PLC0415 - opens the whole engine

    async with AsyncExitStack() as stack:
        try:
            app = await stack.enter_async_context(opened(settings, role))
        except OlderRules:
            if not settings.embedded:
                raise
            done = await change_epoch(settings, None, logs=settings.log_level)
            _log.warning("a new epoch has begun: this Meterline folds by newer rules", rules=RULES, **done)
            app = await stack.enter_async_context(opened(settings, role))
        yield app


async def change_epoch(settings: Settings, lanes: int | None, *, logs: str = COMMANDS_LOG) -> dict[str, Any]:
    """Begin the next epoch with `lanes` lanes (None: as many as there are); returns its number and lanes.

    An epoch that is as wanted, and that nothing was appended to, is not ended: so a command that was killed after its
    transaction completes what it had begun. `logs` is the level to log from.
    Raises Misconfigured for a wrong number or when no epoch is left, NotReachable while others work on the deployment,
    Fatal for a lane that cannot be folded to its end, Unavailable when that takes too long.
    """
    from meterline.app import opened  # noqa: PLC0415 - opens the whole engine

    role = Role.OPERATOR if settings.embedded else Role.AGGREGATOR
    if lanes is not None and not 1 <= lanes <= LANES_MAX:
        raise Misconfigured(f"--lanes is {lanes}: set it to 1 to {LANES_MAX}")
    settings = msgspec.structs.replace(settings, lanes=0)  # they are what is about to change
    if not settings.embedded:
        async with opened(settings, Role.OPERATOR, ending=True, logs=logs) as app:
            await _alone(app)
    async with opened(settings, role, ending=True, logs=logs) as app:
        async with app.sql.snapshot() as connection:
            old = await load_deployment(connection)
        assert old is not None, "it is open"
        await _ended(app)
        if await _is_new(app, old, lanes or old.lanes):
            return {"epoch": old.epoch, "lanes": old.lanes}
        if old.epoch >= EPOCH_MAX:
            raise Misconfigured(f"the last epoch is {EPOCH_MAX}: restore a backup into a deployment of its own")
        await _seal(app)
        await _ended(app)
        await _commit(app, old, lanes or old.lanes)
        await _forget(app, range(lanes or old.lanes, old.lanes))
    async with opened(settings, role, make=True, ending=True, logs=logs) as app:
        await _ended(app)
        return {"epoch": app.log.epoch, "lanes": app.log.lanes}


async def _alone(app: "App") -> None:
    """See that nobody beats, and that nothing is appended for as long as a gateway waits for an append."""
    if members := await app.live.beat(app.member, lasts_ms=0):
        kinds = ", ".join(sorted(member.partition(":")[0] for member in members))
        raise NotReachable(f"others still work on the deployment: stop them first ({kinds})")
    before = await _ends(app)
    await asyncio.sleep(APPEND_WAIT_MS / 1_000)
    if before != await _ends(app):
        raise NotReachable("usage is still appended: stop every process of the deployment first")


async def _is_new(app: "App", old: Deployment, lanes: int) -> bool:
    """Tell whether the epoch is as wanted, and nothing has ever been appended to it, nor to another log of it."""
    if (old.lanes, old.rules) != (lanes, RULES) or await app.log.sealed() or any(await _ends(app)):
        return False
    headers = [(await app.live.view(lane, ())).header for lane in range(lanes)]
    return all(header is not None and header.next == 0 for header in headers)


async def _seal(app: "App") -> None:
    await app.log.seal()


async def _commit(app: "App", old: Deployment, lanes: int) -> None:
    async with app.sql.transaction() as connection:
        if not await begin_epoch(connection, old, lanes, RULES):
            raise NotReachable(f"another command has ended epoch {old.epoch} meanwhile")


async def _forget(app: "App", lanes: range) -> None:
    """Empty the lanes that the new epoch has not."""
    for lane in lanes:
        header = (await app.live.view(lane, ())).header
        if header is not None:
            token = ids.new_bytes(app.clock.now_ms())
            await app.live.begin_rebuild(lane, token=token, expected_token=header.token)


async def _ends(app: "App") -> list[int]:
    return [(await app.log.bounds(lane)).end for lane in range(app.log.lanes)]


async def _ended(app: "App") -> None:
    """Wait until every lane is folded, and in RAW, up to the log's end; for a store that is away as well."""
    started_ms = app.clock.monotonic_ms()
    reason = "the lanes were not folded to their ends in time"
    while app.clock.monotonic_ms() - started_ms < _PATIENCE_MS:
        try:
            if await _is_ended(app):
                return
        except Unavailable as error:
            reason = str(error)
        if app.lanes is not None:
            for worker in app.lanes.workers.values():
                if worker.stopped is not None:
                    raise Fatal(f"lane {worker.lane} is stopped: {worker.stopped}")
        await asyncio.sleep(_LOOK_S)
    raise Unavailable(f"{reason}; run the command again")


async def _is_ended(app: "App") -> bool:
    ends = await _ends(app)
    if not all([await _reached(app, lane, end) for lane, end in enumerate(ends)]):
        return False
    await app.flush()
    progress = await app.usage_store.progress(app.log.epoch)
    return all(progress.get(lane, (0, 0))[0] >= end for lane, end in enumerate(ends))


async def _reached(app: "App", lane: int, end: int) -> bool:
    header = (await app.live.view(lane, ())).header
    if header is None or header.state != READY or header.epoch != app.log.epoch:
        return False
    return header.next >= end
