"""A new epoch of the log: another number of lanes, or other rules of folding, and nothing that counted is lost.

Order: nobody else is there; every lane is folded and sunk to the log's end; one SQL transaction names the new epoch;
its lanes are made, and LIVE from RAW. Before the transaction nothing has changed. After it everything that is missing
is made by whoever starts next: the embedded server, or `migrate` and the roles. Every process has to be stopped, and
says in LIVE that it is there: what one appends to the old log after the transaction is never read.
Source: DESIGN 3.2, 3.5.4, 3.9.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aggregator.fold import RULES
from catalog.definition import Deployment
from catalog.store.deployment import begin_epoch, load_deployment
from kernel.engine.live.base import READY
from kernel.errors import Fatal, Misconfigured, NotReachable, Unavailable
from kernel.limits import APPEND_WAIT_MS, EPOCH_MAX
from kernel.settings import LANES_MAX, Settings
from meterline.role import Role

if TYPE_CHECKING:
    from meterline.app import App

_PATIENCE_MS: Final = 600_000  # a lane's whole backlog, or a rebuild of many customers
_LOOK_S: Final = 0.05


async def change_epoch(settings: Settings, lanes: int | None) -> dict[str, Any]:
    """Begin the next epoch with `lanes` lanes (None: as many as there are); returns its number and lanes.

    Raises Misconfigured for a wrong number or when no epoch is left, NotReachable while others work on the deployment,
    Fatal for a lane that cannot be folded to its end, Unavailable when that takes too long.
    """
    from meterline.app import opened  # noqa: PLC0415 - opens the whole engine

    role = Role.OPERATOR if settings.embedded else Role.AGGREGATOR
    if lanes is not None and not 1 <= lanes <= LANES_MAX:
        raise Misconfigured(f"--lanes is {lanes}: set it to 1 to {LANES_MAX}")
    settings = msgspec.structs.replace(settings, lanes=0)  # they are what is about to change
    if not settings.embedded:
        async with opened(settings, Role.OPERATOR) as app:
            await _alone(app)
    async with opened(settings, role) as app:
        async with app.sql.snapshot() as connection:
            old = await load_deployment(connection)
        if old is None or old.epoch >= EPOCH_MAX:
            raise Misconfigured(f"the last epoch is {EPOCH_MAX}: restore a backup into a deployment of its own")
        ends = await _ended(app)
        await _commit(app, old, lanes or old.lanes)
        if ends != await _ends(app):
            raise Fatal("usage was appended while the epoch changed, and is not in it: a gateway was not stopped")
    async with opened(settings, role, make=True) as app:
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


async def _commit(app: "App", old: Deployment, lanes: int) -> None:
    async with app.sql.transaction() as connection:
        if not await begin_epoch(connection, old, lanes):
            raise NotReachable(f"another command has ended epoch {old.epoch} meanwhile")


async def _ends(app: "App") -> list[int]:
    return [(await app.log.bounds(lane)).end for lane in range(app.log.lanes)]


async def _ended(app: "App") -> list[int]:
    """Wait until every lane is folded, and in RAW, up to the log's end; returns the ends."""
    started_ms = app.clock.monotonic_ms()
    while True:
        ends = await _ends(app)
        if all([await _reached(app, lane, end) for lane, end in enumerate(ends)]):
            await app.flush()
            progress = await app.usage_store.progress(app.log.epoch)
            if all(progress.get(lane, (0, 0))[0] >= end for lane, end in enumerate(ends)):
                return ends
        if app.lanes is not None:
            for worker in app.lanes.workers.values():
                if worker.stopped is not None:
                    raise Fatal(f"lane {worker.lane} is stopped: {worker.stopped}")
        if app.clock.monotonic_ms() - started_ms > _PATIENCE_MS:
            raise Unavailable("the lanes were not folded to their ends in time; run the command again")
        await asyncio.sleep(_LOOK_S)


async def _reached(app: "App", lane: int, end: int) -> bool:
    header = (await app.live.view(lane, [])).header
    if header is None or header.state != READY or header.epoch != app.log.epoch:
        return False
    if header.rules < RULES and header.next < end:
        raise Fatal(
            f"lane {lane} has {end - header.next} records that rules {header.rules} have to judge: "
            "start the Meterline that ran before, and stop it once it is ready"
        )
    return header.next >= end
